"""Find an error in the kernel that a case left traces of, and that no report explains. Pure.

A case can turn the console off, and a flood of messages can push out others; the taint stays. Benign reports
explain the taint that they caused themselves, and no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from kmodpipe.logs.evidence import KernelReport
from kmodpipe.logs.signatures import Kind

_TAINT = re.compile(r"\btaint:(?P<letters>[^\s,]*)")
_LOCKDEP_OFF = re.compile(r"\blockdep:off\b")
_LOCKDEP = "lockdep:off"
# Taints that are no error: of modules and firmware, and what root can set (kernel/panic.c, taint_flags).
_HARMLESS = frozenset("PGFSRUACIOEKXTNJ")
# What else a report of a kind leaves behind: a taint, and lockdep off where the taint makes it unreliable.
_D, _B, _W = ("D", _LOCKDEP), ("B", _LOCKDEP), ("W",)
_LEAVES: Mapping[Kind, tuple[str, ...]] = {
    Kind.OOPS: (*_D, "W"),
    Kind.GPF: _D,
    Kind.STACK: (*_D, "W"),
    Kind.BUG: (*_D, "B", "W"),
    Kind.WARNING: _W,
    Kind.KASAN: (*_B, "W"),
    Kind.KFENCE: ("B", "W"),
    Kind.KMSAN: (*_B, "W"),
    Kind.UBSAN: _W,
    Kind.SLAB: (*_B, "W"),
    Kind.REFCOUNT: _W,
    Kind.LIST: (*_D, "W"),
    Kind.LOCKDEP: (_LOCKDEP, "W"),
    Kind.ATOMIC_SLEEP: _W,
    Kind.SOFT_LOCKUP: ("L",),
    Kind.UNKNOWN: _W,
}


def unheard(left: str, benign: Iterable[KernelReport], dropped: Mapping[str, int]) -> str:
    """Return which traces of an error no report explains; empty if there are none.

    ``left`` is the agent's text on what a case left behind, ``benign`` its reports, which are all benign, and
    ``dropped`` the bytes of its evidence that were dropped, by stream.
    """
    traces = [letter for match in _TAINT.finditer(left) for letter in match["letters"]]
    traces = [f"taint:{letter}" for letter in dict.fromkeys(traces) if letter not in _HARMLESS]
    if _LOCKDEP_OFF.search(left):
        traces.append(_LOCKDEP)
    explained = {one for report in benign for one in _left_by(report.kind)}
    if missing := [one for one in traces if one.removeprefix("taint:") not in explained]:
        return ", ".join(missing)
    if traces and dropped.get("kmsg"):
        # A second report with the same taint would leave no more than the first did.
        return f"{', '.join(traces)}, and {dropped['kmsg']} bytes of kernel messages were dropped"
    return ""


def _left_by(kind: str) -> tuple[str, ...]:
    return _LEAVES.get(Kind(kind), ()) if kind in set(Kind) else ()
