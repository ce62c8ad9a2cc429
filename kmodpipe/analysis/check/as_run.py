"""Turn a report into a run, of which patches are the cells and checks the cases. Pure.

What JUnit, HTML, the mail, the screen and publishers make of a result, they make of these.
"""

from __future__ import annotations

from collections.abc import Mapping

from kmodpipe.analysis.check.model import CHECKS, Finding, Outcome, PatchReport, Report, SeriesReport
from kmodpipe.results import CHECKED, CaseInfo, CaseResult, CellResult, Run, State, Verdict
from kmodpipe.util.text import count, one_line

CLEAN = "clean"
_LINES = 200


def as_run(report: Report, started: str, finished: str, properties: Mapping[str, str]) -> Run:
    """Return the report as a run."""
    made = {one.check for series in report.series for patch in series.patches for one in patch.outcomes}
    cells = tuple(_cell(series, patch) for series in report.series for patch in series.patches)
    left = {f"not-checked.{name}": why for name, why in report.not_checked.items()}
    return Run(
        id=report.run,
        started=started,
        cases=tuple(CaseInfo(one.id, one.summary, CLEAN) for one in CHECKS if one.id in made),
        cells=cells,
        properties={**properties, CHECKED: "yes", **left},
        finished=finished,
    )


def cell_id(series: SeriesReport, patch: PatchReport) -> str:
    """Return a patch's name among the cells of the run: ``NAME@3``, ``NAME@3.debian-6.1``."""
    return ".".join(filter(None, (f"{series.series}@{patch.number}", series.kernel)))


def _cell(series: SeriesReport, patch: PatchReport) -> CellResult:
    return CellResult(
        cell=cell_id(series, patch),
        variant=series.series,
        design="",
        choice={"patch": str(patch.number)},
        state=State.RAN,
        cases=tuple(map(_case, patch.outcomes)),
        properties={
            "patch": patch.name,
            **({"subject": patch.subject} if patch.subject else {}),
            "cells": ", ".join(series.cells),
        },
        kernel=series.kernel,
    )


def _case(one: Outcome) -> CaseResult:
    verdict = (
        Verdict.FAIL
        if one.fails
        else Verdict.ERROR
        if one.not_checked
        else Verdict.SKIP
        if one.skipped
        else Verdict.PASS
    )
    return CaseResult(
        case=one.check,
        verdict=verdict,
        message=sentence(one),
        outcome=one.word.replace(" ", "-"),
        expected=CLEAN,
        goal_met={Verdict.PASS: True, Verdict.FAIL: False}.get(verdict),
        evidence="\n".join(lines(one)),
        attempts=1,
    )


def sentence(one: Outcome) -> str:
    """Return the outcome of a check in a sentence."""
    bad = [finding for finding in one.findings if finding.fails]
    rest = f"; not checked in part: {one.not_checked}" if bad and one.not_checked else ""
    if bad:
        return f"{count(len(bad), 'finding')}: {one_line(str(bad[0]))}{' …' if len(bad) > 1 else ''}{rest}"
    if one.not_checked:
        return f"not checked: {one_line(one.not_checked)}"
    if one.skipped:
        return f"nothing to check: {one.skipped}"
    notes = [one_line(str(finding)) for finding in one.findings]
    return f"{count(len(notes), 'note')}: {notes[0]}{' …' if len(notes) > 1 else ''}" if notes else CLEAN


def lines(one: Outcome) -> list[str]:
    """Return a line for each finding."""
    found = [_line(finding) for finding in one.findings[:_LINES]]
    more = len(one.findings) - _LINES
    return [*found, *([f"… and {more} more, all in check.json"] if more > 0 else [])]


def _line(finding: Finding) -> str:
    where = f" (in {', '.join(finding.cells)})" if finding.cells else ""
    return f"{finding.level.value}: {one_line(str(finding))}{where}"
