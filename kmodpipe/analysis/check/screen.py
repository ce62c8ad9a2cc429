"""Show a report on the screen: what was found, in one line first, then patch by patch. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from kmodpipe.analysis.check.as_run import lines
from kmodpipe.analysis.check.model import Outcome, PatchReport, Report, SeriesReport
from kmodpipe.util.text import count, one_line

_FINDINGS = 12


def first_lines(report: Report) -> list[str]:
    """Return what was found in each series, in a line."""
    found = [_first(one) for one in report.series]
    return found + [
        f"{one_line(name)}: not checked: {one_line(why)}" for name, why in report.not_checked.items()
    ]


def _first(series: SeriesReport) -> str:
    where = f"{one_line(series.series)}{f' on {one_line(series.kernel)}' if series.kernel else ''}"
    of = count(len(series.patches), "patch", "patches")
    bad = [patch for patch in series.patches if any(one.fails for one in patch.outcomes)]
    open_ones = sorted({one.check for patch in series.patches for one in patch.outcomes if one.not_checked})
    rest = f"; not checked, wholly or in part: {', '.join(open_ones)}" if open_ones else ""
    if not bad:
        notes = sum(len(one.findings) for patch in series.patches for one in patch.outcomes)
        told = f", {count(notes, 'note')}" if notes else ""
        return f"{where}: {of}, nothing new that fails a check{told}{rest}"
    counts = Counter(
        one.check
        for patch in series.patches
        for one in patch.outcomes
        for finding in one.findings
        if finding.fails
    )
    each = ", ".join(f"{number} {check}" for check, number in counts.items())
    return f"{where}: {len(bad)} of {of} {'brings' if len(bad) == 1 else 'bring'} something new: {each}{rest}"


def details(report: Report) -> list[str]:
    """Return the findings, and why something was not checked, patch by patch."""
    made: list[str] = []
    told: set[str] = set()
    for series in report.series:
        for patch in series.patches:
            own = [line for one in patch.outcomes for line in _findings(one)] + _not_checked(patch, told)
            if own:
                made += ["", _heading(series, patch), *own]
    return made


def _heading(series: SeriesReport, patch: PatchReport) -> str:
    name = one_line(patch.subject or patch.name)
    return (
        f"{one_line(series.series)}@{patch.number}{f' on {series.kernel}' if series.kernel else ''}: {name}"
    )


def _findings(one: Outcome) -> Iterable[str]:
    found = lines(one)
    for line in found[:_FINDINGS]:
        yield f"  {one.check}: {one_line(line)}"
    if len(found) > _FINDINGS:
        yield f"  {one.check}: … and {len(one.findings) - _FINDINGS} more, all in check.json"


def _not_checked(patch: PatchReport, told: set[str]) -> list[str]:
    """Return a line for each reason why checks were not made, which is told once for the same checks."""
    reasons: dict[str, list[str]] = {}
    for one in patch.outcomes:
        if one.not_checked:
            reasons.setdefault(one.not_checked, []).append(one.check)
    lines = [f"  not checked: {', '.join(checks)}: {one_line(why)}" for why, checks in reasons.items()]
    fresh = [line for line in lines if line not in told]
    told.update(fresh)
    return fresh
