"""Write an answer of `invoke ablate` for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kmodpipe.analysis.ablate.records import Ablation, Finding, Status
from kmodpipe.analysis.ablate.run import in_words
from kmodpipe.util.text import some

_DIFF_LINES = 30


def lines(answer: Ablation, where: str, *, whole: bool = False, program: str = "invoke") -> Iterator[str]:
    """Yield the lines: the answer, what no case notices, what else is to do; with ``whole`` what was noticed,
    too. ``where`` is the run's folder."""
    yield answer.summary
    for one in answer.findings:
        if one.status is Status.UNNOTICED:
            yield ""
            yield from _survivor(one, where, answer.series, program)
    for text in answer.stale:
        yield ""
        yield f"series.toml of {answer.series}, [[unnoticed]] {text}"
    unknown = [one for one in answer.findings if one.status is Status.UNKNOWN]
    if unknown:
        yield ""
        yield "not known:"
        yield from (f"  {name(one)}: {one.reason}" for one in unknown)
    if whole or not any(one.status is Status.UNNOTICED for one in answer.findings):
        yield ""
        yield from (f"  {name(one)}: {in_words(one)}" for one in _rest(answer.findings))
    yield ""
    yield from answer.notes
    if any(one.status is Status.NOT_TRIED for one in answer.findings):
        yield "run it again: it goes on where it stopped"
    yield f"in {answer.seconds:.0f} s; all of it: {where}/ablate.json"


def _rest(findings: Sequence[Finding]) -> Iterator[Finding]:
    return (one for one in findings if one.status not in (Status.UNNOTICED, Status.UNKNOWN))


def name(one: Finding) -> str:
    """Return what an edit is called in a line."""
    what = f" {one.was} → {one.becomes}" if one.was else ""
    beside = f" (with {some(one.together, 6)})" if one.together else ""
    return f"{one.id} {one.file}:{one.line}{what}{beside}"


def _survivor(one: Finding, where: str, series: str, program: str) -> Iterator[str]:
    place = f"{one.file}:{one.line}{f', {one.function}()' if one.function else ''}"
    if one.kind == "hunk":
        beside = f", with {some(one.together, 8)}, which need it" if one.together else ""
        yield f"✗ {one.id} {place}: left out{beside}, no case notices"
    else:
        yield f"✗ {one.id} {place}: {one.was} → {one.becomes}, no case notices"
    for line in _shown(one.diff):
        yield f"    {line}"
    if one.executed_by is not None:
        yield f"  executed by: {some(one.executed_by, 6) if one.executed_by else 'no case'}"
    if one.unsteady:
        yield f"  not steady, so it does not count: {some(one.unsteady, 4)}"
    for text in one.observe:
        yield f"  a case would have to: {text}"
    slug = one.id.replace(".", "-")
    yield f"  try it: {program} test --series {where}/unnoticed/{series}-{slug}"


def _shown(diff: str) -> Iterator[str]:
    """Yield the hunks of a diff, without its headers, and not more than fit."""
    rows = [
        row for row in diff.rstrip("\n").split("\n") if not row.startswith(("diff --git", "--- ", "+++ "))
    ]
    yield from rows[:_DIFF_LINES]
    if len(rows) > _DIFF_LINES:
        yield f"… {len(rows) - _DIFF_LINES} lines more"
