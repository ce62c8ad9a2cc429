"""What a series without a design is judged by."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kmodpipe.results import (
    CaseInfo,
    CaseResult,
    CellResult,
    EffectKind,
    Run,
    State,
    Verdict,
    effects,
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


FAILS = CaseResult("c", Verdict.FAIL, "the script ended with exit status 1", "exit-1", goal_met=False)
PASSES = CaseResult("c", Verdict.PASS, "the script ended with exit status 0", "exit-0", goal_met=True)


def script(before: CaseResult, after: CaseResult) -> Run:
    return replace(run(before, after), cases=(CaseInfo("c", "", "exit-0", argument="./c.sh"),))


def control(found: Run) -> CaseResult:
    return found.cells[-1].cases[0]


def test_a_reproducer_that_the_series_fixes_is_no_failure_of_the_run() -> None:
    found = judged_against_control(script(FAILS, PASSES))
    assert control(found).verdict is Verdict.PASS and control(found).goal_met is False
    assert control(found).message == (
        "without the series, as a reproducer should: the script ended with exit status 1 (fixed by fix)"
    )
    assert exit_code(found) == 0
    assert judged_against_control(found) == found
    assert [effect.kind for effect in effects(found)] == [EffectKind.FIXED]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (FAILS, FAILS),
        (FAILS, CaseResult("c", Verdict.ERROR)),
        (FAILS, CaseResult("c", Verdict.SKIP)),
        (FAILS, replace(PASSES, verdict=Verdict.FAIL, flaky=True, goal_met=None)),
        (replace(FAILS, flaky=True), PASSES),
    ],
)
def test_any_other_failure_of_the_control_stays_one(before: CaseResult, after: CaseResult) -> None:
    found = judged_against_control(script(before, after))
    assert control(found) == before
    assert exit_code(found) == 1


def without_rules(before: CaseResult, after: CaseResult) -> Run:
    return replace(run(before, after), cases=(CaseInfo("c", "", "exit-0", unruled=True),))


def test_a_projects_case_without_a_rule_shows_what_the_series_fixes_too() -> None:
    found = judged_against_control(without_rules(FAILS, PASSES))
    assert control(found).message.endswith("(fixed by fix)") and exit_code(found) == 0
    ruled = replace(found, cases=(CaseInfo("c", "", "exit-0"),))
    before = replace(ruled, cells=(found.cells[0], replace(found.cells[1], cases=(FAILS,))))
    assert judged_against_control(before) == before and exit_code(before) == 1


NOT_BUILT = CaseResult("c", Verdict.FAIL, "not run: the cell did not build")


def unbuilt(before: Run) -> Run:
    return replace(before, cells=(before.cells[0], replace(before.cells[1], state=State.BUILD_FAILED)))


def test_a_control_that_does_not_build_is_no_failure_where_the_series_makes_it() -> None:
    found = judged_against_control(unbuilt(without_rules(NOT_BUILT, PASSES)))
    # It did not run: it can neither pass nor fail.
    assert control(found).verdict is Verdict.SKIP and "(fixed by fix)" in control(found).message
    assert control(found).word == "does not build"
    assert exit_code(found) == 0
    assert judged_against_control(found) == found
    assert [effect.kind for effect in effects(found)] == [EffectKind.FIXED]


@pytest.mark.parametrize("after", [FAILS, CaseResult("c", Verdict.ERROR), CaseResult("c", Verdict.SKIP)])
def test_a_control_that_does_not_build_fails_the_run_otherwise(after: CaseResult) -> None:
    found = judged_against_control(unbuilt(without_rules(NOT_BUILT, after)))
    assert control(found) == NOT_BUILT and exit_code(found) == 1


def test_rules_say_that_the_control_has_to_build() -> None:
    found = judged_against_control(unbuilt(run(NOT_BUILT, PASSES)))
    assert control(found) == NOT_BUILT and exit_code(found) == 1


def test_the_series_that_does_not_build_is_never_excused() -> None:
    cells = without_rules(PASSES, NOT_BUILT).cells
    found = replace(
        without_rules(PASSES, NOT_BUILT), cells=(replace(cells[0], state=State.BUILD_FAILED), cells[1])
    )
    assert exit_code(judged_against_control(found)) == 1


def test_every_series_beside_it_has_to_fix_it() -> None:
    one = script(FAILS, PASSES)
    other = CellResult("two.A=y", "two", "", {"A": "y"}, State.RAN, cases=(FAILS,))
    both = replace(one, cells=(other, *one.cells))
    assert control(judged_against_control(both)).verdict is Verdict.FAIL
    # Not yet run: nothing is known of it.
    waiting = replace(other, state=State.NOT_RUN, cases=())
    assert control(judged_against_control(replace(both, cells=(waiting, *one.cells)))).verdict is Verdict.FAIL
    # Ruled out: it has nothing to say.
    skipped = replace(waiting, state=State.SKIPPED)
    assert control(judged_against_control(replace(both, cells=(skipped, *one.cells)))).verdict is Verdict.PASS


def test_a_declared_case_has_rules_for_the_control_or_is_judged_by_its_goal() -> None:
    assert control(judged_against_control(run(FAILS, PASSES))).verdict is Verdict.FAIL
