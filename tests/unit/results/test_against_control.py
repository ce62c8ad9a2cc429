"""What a series without a design is judged by."""

from __future__ import annotations

import pytest

from kmodpipe.results import (
    CaseInfo,
    CaseResult,
    CellResult,
    Run,
    State,
    Verdict,
    exit_code,
    judged_against_control,
)


def run(before: CaseResult | None, after: CaseResult) -> Run:
    cells = [CellResult("fix.A=y", "fix", "", {"A": "y"}, State.RAN, cases=(after,))]
    if before:
        cells.append(CellResult("unpatched.A=y", "unpatched", "none", {"A": "y"}, State.RAN, cases=(before,)))
    return Run("r", "now", (CaseInfo("c", "", "mounted"),), tuple(cells), finished="then")


def seen(outcome: str, verdict: Verdict = Verdict.PASS, goal: str = "mounted") -> CaseResult:
    return CaseResult("c", verdict, outcome=outcome, goal_met=outcome == goal)


def judged(outcome: str) -> CaseResult:
    met = outcome == "mounted"
    return CaseResult(
        "c",
        Verdict.PASS if met else Verdict.FAIL,
        outcome=outcome,
        expected="mounted",
        goal_met=met,
        by_goal=True,
    )


@pytest.mark.parametrize(
    ("before", "after", "verdict", "said"),
    [
        (seen("ESTALE"), "ESTALE", Verdict.PASS, "still failing as before: observed ESTALE"),
        (seen("ESTALE"), "mounted", Verdict.PASS, "fixed: ESTALE without the series"),
        (seen("mounted"), "mounted", Verdict.PASS, "as without the series"),
        (seen("mounted"), "ESTALE", Verdict.FAIL, "regressed, the tree without the series observed mounted"),
        (
            seen("ESTALE"),
            "EINVAL",
            Verdict.FAIL,
            "expected mounted, or ESTALE as without the series; observed EINVAL",
        ),
        (None, "ESTALE", Verdict.FAIL, "nothing to compare with"),
        (None, "mounted", Verdict.PASS, ""),
        (CaseResult("c", Verdict.SKIP), "ESTALE", Verdict.FAIL, "nothing to compare with"),
        (CaseResult("c", Verdict.ERROR), "ESTALE", Verdict.ERROR, "no verdict to compare with"),
        (CaseResult("c", Verdict.ERROR), "mounted", Verdict.PASS, ""),
    ],
)
def test_the_verdict_is_by_the_goal_and_the_control(
    before: CaseResult | None, after: str, verdict: Verdict, said: str
) -> None:
    once = judged_against_control(run(before, judged(after)))
    found = once.cells[0].cases[0]
    assert found.verdict is verdict and said in found.message
    assert judged_against_control(once) == once
    if before:
        assert once.cells[1].cases == (before,)


def test_what_was_judged_before_its_control_is_judged_again() -> None:
    early = judged_against_control(run(None, judged("ESTALE")))
    assert exit_code(early) == 1
    late = judged_against_control(run(seen("ESTALE"), early.cells[0].cases[0]))
    assert exit_code(late) == 0


def test_rules_crashes_and_flaky_cases_are_left_alone() -> None:
    for result in (
        CaseResult("c", Verdict.FAIL, "crash", outcome="ESTALE", goal_met=False),
        CaseResult("c", Verdict.FAIL, "flaky", outcome="flaky", goal_met=None, flaky=True, by_goal=True),
    ):
        assert judged_against_control(run(seen("ESTALE"), result)).cells[0].cases[0] == result
