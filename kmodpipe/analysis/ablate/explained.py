"""Hold what no case notices against what series.toml explains. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from kmodpipe.analysis.ablate.edits import HUNK
from kmodpipe.analysis.ablate.records import Finding, Status
from kmodpipe.series import Series
from kmodpipe.series.changes import Hunk
from kmodpipe.series.model import Unnoticed
from kmodpipe.series.unnoticed import is_about, same_line

LineOf = Callable[[str, int], str]
"""The text of a line of a file after the series."""


def explain(
    series: Series, findings: Sequence[Finding], hunk_of: Callable[[Finding], Hunk], line_of: LineOf
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Return the findings with what series.toml explains, and the entries that explain nothing.

    An entry about what was not tried, or is not known, is left alone.
    """
    done: list[Finding] = list(findings)
    stale: list[str] = []
    for entry in series.unnoticed:
        own = [n for n, one in enumerate(done) if _is_of(entry, one, hunk_of(one), line_of)]
        for number in own:
            if done[number].status is Status.UNNOTICED:
                done[number] = replace(done[number], status=Status.EXPLAINED, reason=entry.reason)
        stale += _stale(entry, [done[number] for number in own])
    return tuple(done), tuple(stale)


def _is_of(entry: Unnoticed, one: Finding, hunk: Hunk, line_of: LineOf) -> bool:
    if one.file != entry.file:
        return False
    if one.kind == HUNK:
        return not entry.mistake and is_about(entry, hunk)
    return (
        one.kind == entry.mistake
        and entry.of in ("", one.was)
        and entry.function in ("", one.function)
        and same_line(entry, line_of(one.file, one.line))
    )


def _stale(entry: Unnoticed, own: Sequence[Finding]) -> list[str]:
    """Return why an entry is not needed, in a sentence; nothing if it is, or if that is not known."""
    name = f"{entry.file}: {' '.join(entry.line.split())!r}{f', {entry.mistake}' if entry.mistake else ''}"
    if not own:
        return [f"{name}: nothing of the series fits"]
    if any(one.status in (Status.EXPLAINED, Status.UNKNOWN, Status.NOT_TRIED) for one in own):
        return []
    first = own[0]
    by = {
        Status.CASE: f"noticed by {first.case} in {first.cell}",
        Status.COMPILER: "noticed by the compiler",
        Status.KCONFIG: "noticed by Kconfig",
        Status.NO_CODE: "no code",
        Status.SAME: "the module is the same without it",
    }
    return [f"{name}: {by[first.status]}"]
