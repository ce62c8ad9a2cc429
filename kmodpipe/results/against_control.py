"""Judge by comparison of a series with the control what no rule decides. Pure.

No rule says what a series without a design is expected to do. A case of it whose goal is not met fails,
unless the tree without the series shows the same: what was broken before is no failure of the series.

Nor is there a rule for what a case without expectations shows on the control: a script that is given by its
path, or one of a project that says nothing but its goal. Where it fails there, and passes with every series
beside it, it shows what they fix: that is no failure of the run. Where the control does not build and every
series beside it does, and passes, its cases are skipped: they did not run, and did not fail.
"""

from __future__ import annotations

from dataclasses import replace

from kmodpipe.kconfig.matrix import CONTROL
from kmodpipe.results.effects import UNBUILT, Controls
from kmodpipe.results.model import CaseResult, CellResult, Run, State, Verdict
from kmodpipe.util.text import one_line


def judged_against_control(run: Run) -> Run:
    """Return *run* with these results judged anew; others stay. Judging twice changes nothing more."""
    known = Controls(run)
    judged = replace(run, cells=tuple(_cell(known, cell) for cell in run.cells))
    unruled = {info.id for info in run.cases if info.argument or info.unruled}
    if not unruled:
        return judged
    known = Controls(judged)
    beside: dict[str, list[CellResult]] = {}
    for cell in judged.cells:
        control = known.of(cell) if cell.variant != CONTROL else None
        if control and cell.state is not State.SKIPPED:
            beside.setdefault(control.cell, []).append(cell)
    cells = (_control(cell, unruled, beside.get(cell.cell, [])) for cell in judged.cells)
    return replace(judged, cells=tuple(cells))


def _control(cell: CellResult, unruled: set[str], beside: list[CellResult]) -> CellResult:
    """Return a cell of the control with those of the *unruled* as expected that the cells *beside* it fix."""
    if cell.variant != CONTROL:
        return cell
    cases = (
        _shown(cell, case, beside) if case.case in unruled and _may_be_fixed(cell, case) else case
        for case in cell.cases
    )
    return replace(cell, cases=tuple(cases))


def _may_be_fixed(cell: CellResult, case: CaseResult) -> bool:
    """Return whether a case failed each time that it ran, or could not, as its cell does not build."""
    failed = case.goal_met is False and not case.flaky
    return case.verdict is Verdict.FAIL and (failed or cell.state is State.BUILD_FAILED)


def _shown(cell: CellResult, before: CaseResult, beside: list[CellResult]) -> CaseResult:
    after = [one.case(before.case) for one in beside]
    if not after or not all(one and one.goal_met and one.verdict is Verdict.PASS for one in after):
        return before
    names = ", ".join(dict.fromkeys(one_line(one.variant) for one in beside))
    if cell.state is State.BUILD_FAILED:
        text = f"not run: does not build without the series (fixed by {names})"
        return replace(before, verdict=Verdict.SKIP, message=text, outcome=UNBUILT)
    text = f"without the series, as a reproducer should: {before.message} (fixed by {names})"
    return replace(before, verdict=Verdict.PASS, message=text)


def _cell(known: Controls, cell: CellResult) -> CellResult:
    if cell.variant == CONTROL or not any(case.by_goal for case in cell.cases):
        return cell
    control = known.of(cell)
    cases = tuple(_case(case, control.case(case.case) if control else None) for case in cell.cases)
    return replace(cell, cases=cases)


def _case(after: CaseResult, before: CaseResult | None) -> CaseResult:
    # A flaky case has no goal_met: it is a failure of its own kind.
    if not after.by_goal or after.goal_met is None:
        return after
    seen, wanted = one_line(after.outcome), one_line(after.expected)
    if before is None or before.verdict is Verdict.SKIP:
        if after.goal_met:
            return after
        text = f"expected {wanted}, observed {seen}; nothing to compare with: not run without the series"
        return replace(after, verdict=Verdict.FAIL, message=text)
    then = one_line(before.word)
    if before.goal_met is None:
        if after.goal_met:
            return after
        text = f"expected {wanted}, observed {seen}; no verdict to compare with: {then} without the series"
        return replace(after, verdict=Verdict.ERROR, message=text)
    if after.goal_met:
        how = "as without the series" if before.goal_met else f"fixed: {then} without the series"
        return replace(after, message=f"observed {seen}, the case's goal; {how}")
    if before.goal_met:
        text = f"expected {wanted}, observed {seen}: regressed, the tree without the series observed {then}"
        return replace(after, verdict=Verdict.FAIL, message=text)
    if before.word == after.word:
        text = f"still failing as before: observed {seen}, as without the series, where {wanted} is the goal"
        return replace(after, verdict=Verdict.PASS, message=text, failures=0)
    text = f"expected {wanted}, or {then} as without the series; observed {seen}"
    return replace(after, verdict=Verdict.FAIL, message=text)
