"""Find headers in messages, and decide which of them are of one event: the kernel prints several for many.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from kmodpipe.logs.crash_report import Draft
from kmodpipe.logs.signatures import (
    DIES,
    LEAKED_OBJECT,
    LEAKS_COUNTED,
    OOM_BEGINS,
    SIGNATURES,
    Kind,
    Signature,
)

_EXCEPTIONS = (Kind.OOPS, Kind.GPF, Kind.BUG, Kind.STACK, Kind.KASAN)
_STRUCTURES = (Kind.REFCOUNT, Kind.LIST)
_SANITIZERS = (Kind.KASAN, Kind.KFENCE, Kind.KMSAN, Kind.KCSAN, Kind.UBSAN)
# Which reports a panic is the consequence of, by what it says; however much stands between them.
_CAUSES: tuple[tuple[re.Pattern[str], tuple[Kind, ...]], ...] = tuple(
    (re.compile(rf"Kernel panic - not syncing: (?:{text})"), kinds)
    for text, kinds in (
        (r"(?:Oops: |[\w ]{1,40}: )?Fatal |Machine halted|oops", (*_EXCEPTIONS, Kind.UNKNOWN)),
        (r"(?:[\w ]{1,40}: )?panic_on_warn", tuple(set(Kind) - {Kind.PANIC, Kind.BOOT})),
        (r"scheduling while atomic", (Kind.ATOMIC_SLEEP,)),
        (r"softlockup: ", (Kind.SOFT_LOCKUP,)),
        (r"hung_task: ", (Kind.HUNG_TASK,)),
        (r"RCU Stall", (Kind.RCU_STALL,)),
        (r"(?:Watchdog detected )?[Hh]ard LOCKUP", (Kind.HARD_LOCKUP,)),
        (r"Out of memory|System is deadlocked", (Kind.OOM,)),
        (r"UBSAN: |KASAN|KFENCE|KMSAN|KCSAN", _SANITIZERS),
        (r"[kK]ernel stack overflow", (Kind.STACK,)),
    )
)
# Panics that follow from a report just before them, and have other reasons otherwise.
_FOLLOWS = re.compile(
    r"Kernel panic - not syncing: (?:Attempted to kill|Aiee, killing interrupt|stack-protector|"
    r"corrupted stack end|"
    r"kernel: panic_on_|panic_on_|BUG: |Fatal |synchronous |Oops)"
)


@dataclass(frozen=True)
class Found:
    """A header that was found in a message."""

    signature: Signature
    # Of the pattern.
    groups: dict[str, str]


def find_header(text: str) -> Found | None:
    """Return the header of a report that a message holds, or None."""
    for signature in SIGNATURES:
        if signature.token in text:
            look = signature.pattern.match if signature.start_only else signature.pattern.search
            if match := look(text):
                return Found(signature, {k: v or "" for k, v in match.groupdict().items()})
    return None


def causes(panic: str, current: Draft | None, near: Iterable[Draft]) -> Draft | None:
    """Return the report that led to a panic: the open one, or the last of its kind; None if none did."""
    for pattern, kinds in _CAUSES:
        if pattern.search(panic):
            likely = [d for d in (current, *near) if d and d.kind in kinds and not d.signature.watch]
            return next((d for d in likely if not d.consequence), None)
    if current and not current.consequence and not current.signature.watch and _FOLLOWS.search(panic):
        return current if current.kind is not Kind.WARNING else None
    return None


def counts_leaks(current: Draft, found: Signature) -> bool:
    """Return whether a header only counts the leaked objects that were reported before it."""
    return current.signature.token == LEAKED_OBJECT and found.token == LEAKS_COUNTED


def continues(current: Draft, found: Signature) -> bool:
    """Return whether a header continues the open report."""
    if current.ended or current.signature.watch or found.watch or found.single:
        return False
    if current.kind is Kind.UNKNOWN:
        return not current.frames
    if ends_oom_kill(found):
        return current.signature.token == OOM_BEGINS
    if current.frames:
        return False
    if found.kind in (Kind.WARNING, Kind.BUG) and current.kind in (*_STRUCTURES, Kind.SLAB):
        return True
    # A message of the code, and the WARNING with the trace behind it.
    if found.kind is Kind.WARNING and current.kind is Kind.BUG and current.signature.token != "ernel BUG at":
        return not current.described and len(current.lines) < 8
    if found.kind in _STRUCTURES and current.kind in (Kind.WARNING, Kind.BUG):
        return True
    if found.token == DIES or found.kind is Kind.STACK:
        return current.kind in (*_EXCEPTIONS, *_STRUCTURES)
    return found.kind is current.kind is Kind.KMEMLEAK


def ends_oom_kill(found: Signature) -> bool:
    """Return whether a header names the process that the OOM killer killed, long after it was invoked."""
    return found.kind is Kind.OOM and found.token != OOM_BEGINS
