"""The part of a guest's console in which a failure is, with its line marked. Pure.

A report of the kernel says at which byte it begins. The messages of a case without one are looked for as
they stand one behind the other; where they are found twice, another case may have caused them, and nothing is
shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kmodpipe.results import CaseResult
from kmodpipe.util.text import count

Read = Callable[[str, int, int], bytes]
"""Reads so many bytes of a file of the run from an offset, from its end where that is negative; none if it
cannot."""

MOST_BYTES = 4 * 1024 * 1024
"""The most of one console that is searched."""
_BEFORE, _AFTER = 8, 24
_STAMP = re.compile(r"^(?:<\d+>)?\[ *\d+\.\d+\](?:\[[^\]]{1,20}\])? ?")
_FAULT = re.compile(
    r"\b(?:BUG|WARNING|Oops|panic|fail(?:ed|ure)?|error|refus|invalid|unable|corrupt|conflict|unrecognized)",
    re.I,
)


@dataclass(frozen=True)
class Excerpt:
    """Some lines of a console; `line` is the one at the fault."""

    # ``line 212 of 339``
    place: str
    before: str
    line: str
    after: str


def at_fault(result: CaseResult, path: str, read: Read) -> Excerpt | None:
    """Return the lines around the fault in the console *path*; None if it is not found."""
    report = next((r for r in result.reports if not r.benign and r.log), None)
    if not path or not (result.kmsg or report):
        return None
    data = read(path, 0, MOST_BYTES)
    lines = data.decode("utf-8", "replace").replace("\r", "").split("\n")
    if lines and not lines[-1]:
        lines.pop()
    if report and path.rpartition("/")[2] == report.log and report.offset < len(data):
        at: int | None = data.count(b"\n", 0, report.offset)
    else:
        at = _of_messages(lines, result.kmsg)
    return None if at is None or at >= len(lines) else _excerpt(lines, at, whole=len(data) < MOST_BYTES)


def _of_messages(lines: Sequence[str], kmsg: Sequence[str]) -> int | None:
    """Return the index of the line at the fault: of the case's messages the last that tells of trouble."""
    wanted = [line.strip() for message in kmsg for line in message.split("\n")]
    if not wanted:
        return None
    plain = [_STAMP.sub("", line).strip() for line in lines]
    found = [
        start
        for start in range(len(plain) - len(wanted) + 1)
        if plain[start] == wanted[0] and plain[start : start + len(wanted)] == wanted
    ]
    if len(found) != 1:
        return None
    telling = [n for n, line in enumerate(wanted) if _FAULT.search(line)]
    return found[0] + (telling[-1] if telling else len(wanted) - 1)


def _excerpt(lines: Sequence[str], at: int, *, whole: bool) -> Excerpt:
    of = f"of {count(len(lines), 'line')}" if whole else "of a long console"
    return Excerpt(
        f"line {at + 1:,} {of}",
        "\n".join(lines[max(at - _BEFORE, 0) : at]),
        lines[at],
        "\n".join(lines[at + 1 : at + 1 + _AFTER]),
    )
