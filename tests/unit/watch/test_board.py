"""The last verdicts: which of them hold, what turned, and what they mean together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe.report.compare import Change
from kmodpipe.results import State, Verdict
from kmodpipe.watch.board import Board, turned
from kmodpipe.watch.inputs import Inputs
from tests.support import toy
from tests.support.watched import CONTROL, FIXED, cell, inputs, result

ASIDE = "toy-fix.INDEX=n.NOUUID=y"


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return inputs(toy.build(tmp_path_factory.mktemp("board")))


@pytest.fixture
def later(now: Inputs) -> Inputs:
    """After an edit of the series."""
    return replace(now, parts={**now.parts, "series.toy-fix": "another"})


def board(now: Inputs, **verdicts: Verdict) -> Board:
    """All cells with these verdicts of the control and of the series."""
    made = Board().planned(now)
    for one in now.spec.cells:
        kind = "control" if one.variant.is_control else "series"
        verdict = verdicts.get(kind, Verdict.PASS)
        made = made.with_cell(cell(one.id, result(verdict)), now, 1, ["remount"])
    return made


def test_what_has_no_verdict_of_these_files_is_due(now: Inputs, later: Inputs) -> None:
    empty = Board().planned(now)
    assert empty.due(now) == set(now.pairs) and empty.exit_code(now) == 3
    whole = board(now)
    assert whole.due(now) == set() and whole.exit_code(now) == 0
    assert {one.partition(".")[0] for one, _ in whole.due(later)} == {"toy-fix"}
    assert whole.is_old((FIXED, "remount"), later) and not whole.is_old((CONTROL, "remount"), later)
    # The old verdicts say nothing of the files as they are.
    assert whole.exit_code(later) == 3


def test_a_verdict_of_a_round_that_a_save_overtook_is_old_at_once(now: Inputs, later: Inputs) -> None:
    made = board(now).planned(later).with_cell(cell(FIXED, result(Verdict.PASS)), now, 2, ["remount"])
    assert (FIXED, "remount") in made.due(later)


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (Verdict.PASS, Verdict.FAIL, Change.NEWLY_FAILING),
        (Verdict.FAIL, Verdict.PASS, Change.NEWLY_PASSING),
        (Verdict.PASS, Verdict.ERROR, Change.LOST),
    ],
)
def test_what_turned_is_named(now: Inputs, before: Verdict, after: Verdict, change: Change) -> None:
    old = board(now, series=before)
    new = old.with_cell(cell(FIXED, result(after)), now, 2, ["remount"])
    assert [(one.cell, one.case, one.change) for one in turned(old, new)] == [(FIXED, "remount", change)]
    assert turned(old, old) == ()


def test_the_first_verdicts_did_not_turn(now: Inputs) -> None:
    assert turned(Board(), board(now, series=Verdict.FAIL)) == ()


def test_a_cell_that_does_not_build_keeps_its_verdicts_and_fails(now: Inputs, later: Inputs) -> None:
    broken = cell(FIXED, state=State.BUILD_FAILED, reason="does not compile")
    made = board(now).with_cell(broken, later, 2, ["remount"])
    assert made.entries[FIXED, "remount"].result.verdict is Verdict.PASS
    assert made.is_old((FIXED, "remount"), later)
    # It was tried with these files: only others can make it build.
    assert (FIXED, "remount") not in made.due(later)
    assert made.exit_code(later) == 1
    assert turned(board(now), made) == ()
    # As it was before: its verdict holds, and is due no more.
    assert (FIXED, "remount") not in made.due(now)
    assert made.planned(later).troubles and not made.planned(now).troubles
    assert made.planned(now).exit_code(now) == 0
    fixed = made.with_cell(cell(FIXED, result(Verdict.PASS)), later, 3, ["remount"])
    assert not fixed.troubles


def test_a_machine_that_failed_is_tried_again(now: Inputs) -> None:
    made = board(now).with_cell(cell(FIXED, state=State.INFRA, reason="no disk"), now, 2, ["remount"])
    assert made.due(now) == {(FIXED, "remount")}
    assert made.exit_code(now) == 3
    # As it was before, and yet it is to be tried.
    assert made.planned(now).troubles


def test_a_skipped_cell_has_its_cases_skipped_and_is_not_due(now: Inputs) -> None:
    made = board(now).with_cell(cell(ASIDE, state=State.SKIPPED, reason="ruled out"), now, 2, ["remount"])
    assert made.entries[ASIDE, "remount"].result.verdict is Verdict.SKIP
    assert made.due(now) == set() and made.exit_code(now) == 0


def test_what_is_planned_no_more_is_gone(now: Inputs) -> None:
    fewer = replace(now, spec=replace(now.spec, cells=now.spec.cells[:1], cases=()))
    made = board(now).planned(fewer)
    assert list(made.cells) == [now.spec.cells[0].id] and not made.entries


def test_a_verdict_by_the_goal_is_compared_with_the_control_of_an_earlier_round(now: Inputs) -> None:
    lost = result(Verdict.FAIL, by_goal=True, goal_met=False, outcome="ESTALE", expected="mounted")
    control = cell(CONTROL, result(Verdict.PASS, goal_met=False, outcome="ESTALE"))
    made = board(now).with_cell(control, now, 1, ["remount"])
    made = made.with_cell(cell(FIXED, lost), now, 2, ["remount"])
    found = next(one for one in made.run.cells if one.cell == FIXED).cases[0]
    assert found.verdict is Verdict.PASS and found.message.startswith("still failing as before")


def test_failing_are_those_of_the_last_rounds(now: Inputs, tmp_path: Path) -> None:
    made = board(now).with_cell(cell(FIXED, result(Verdict.FAIL)), now, 2, ["remount"])
    assert made.failing() == ((FIXED, "remount"),)
    assert Board().planned(now).failing() == ()
