"""Exit codes, and runs in which nothing was judged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kmodpipe import results
from kmodpipe.results import CaseResult, CellResult, Run, State, Verdict
from tests.support.sample_run import (
    DEAD,
    INFOS,
    PARTLY,
    SKELETON,
    Y_N,
    Y_Y,
    cell,
    change,
    failed,
    finished,
    ran,
    seen,
    skipped,
)


def in_state(state: State) -> Run:
    return results.planned(
        replace(finished(), cells=(*finished().cells[:-1], cell("index-nouuid", "y", "y", state=state)))
    )


@pytest.mark.parametrize(
    ("run", "code"),
    [
        (finished(), 0),
        (change(finished(), Y_Y, failed(2, "ESTALE", "mounted")), 1),
        (change(finished(), Y_Y, CaseResult(INFOS[0].id, Verdict.ERROR, "not run")), 3),
        (change(in_state(State.INFRA), Y_N, failed(2, "EIO", "mounted")), 1),
        (in_state(State.BUILD_FAILED), 1),
        (in_state(State.INFRA), 3),
        (in_state(State.NOT_RUN), 3),
        (in_state(State.SKIPPED), 0),
        (results.planned(SKELETON), 3),
        (Run("r", ""), 3),
        (Run("r", "", cells=(cell("unpatched", "y", "n", state=State.RAN),)), 3),
        (results.planned(Run("r", "", INFOS, (SKELETON.cells[2],))), 3),  # nothing ran: no success
        (Run("r", "", (), (cell("unpatched", "y", "n", state=State.BUILD_FAILED),)), 1),
        (replace(finished(), dead_axes=(DEAD,)), 1),
        (replace(finished(), dead_axes=(PARTLY,)), 0),
        (results.interrupted(finished(), "the disk is full"), 3),  # nobody looked for dead axes any more
    ],
)
def test_exit_code(run: Run, code: int) -> None:
    assert results.exit_code(run) == code


# -- was anything judged? -----------------------------------------------------------------------------
def only(*cells: CellResult, cases: int = 1) -> Run:
    return results.planned(Run("r", "", INFOS[:cases], cells, finished="2020-10-13T12:00:00Z"))


RULED_OUT = replace(SKELETON.cells[4], variant="other", cell="other.INDEX=n.NOUUID=y")
CONTROL_RAN, SERIES_RAN = (ran(v, "y", "n", seen(0, "mounted")) for v in ("unpatched", "index-nouuid"))
CONTROL_SKIPS, SERIES_SKIPS = (ran(v, "y", "n", skipped(0)) for v in ("unpatched", "index-nouuid"))
SECOND_SKIPS = ran("index-nouuid", "n", "n", skipped(0))


@pytest.mark.parametrize(
    ("run", "code", "told"),
    [
        (only(CONTROL_RAN, SERIES_RAN), 0, []),
        (only(CONTROL_SKIPS, SERIES_SKIPS), 3, ["no case was judged: every case was skipped in all 2 cells"]),
        (only(SERIES_SKIPS), 3, ["skipped in the one cell that ran: the case skips itself: no xattr"]),
        (only(SKELETON.cells[2], SKELETON.cells[4]), 3, ["none of its 2 cells could run: the tree has no"]),
        (only(SKELETON.cells[2]), 3, ["its one cell could not run: the tree has no"]),
        (Run("r", "", (), (replace(CONTROL_RAN, cases=()),), finished="x"), 3, ["no case was planned"]),
        (Run("r", "", INFOS, finished="x"), 3, ["no cell was planned"]),
        # The series proves nothing, whatever the control does.
        (only(CONTROL_RAN, SERIES_SKIPS), 3, ["with series index-nouuid: every case was skipped"]),
        (
            only(CONTROL_RAN, RULED_OUT),
            3,
            ["with series other: its one cell could not run: OVERLAY_FS_INDEX_N"],
        ),
        (only(CONTROL_RAN, SERIES_RAN, RULED_OUT), 3, ["with series other"]),
        # The control may skip what only the series has, and so may some of the cells of the series.
        (only(CONTROL_SKIPS, SERIES_RAN), 0, []),
        (only(CONTROL_RAN, SERIES_RAN, SECOND_SKIPS), 0, []),
        # One judged case of several.
        (only(CONTROL_RAN, ran("index-nouuid", "y", "n", skipped(0), seen(1, "mounted")), cases=2), 3, []),
        # Steps on the way to a series.
        (only(CONTROL_RAN, SERIES_RAN, replace(SERIES_SKIPS, cell="s", variant="index-nouuid@1")), 0, []),
        # What went wrong is told as that.
        (only(CONTROL_RAN, replace(RULED_OUT, state=State.INFRA)), 3, []),
        (only(CONTROL_RAN, replace(RULED_OUT, state=State.BUILD_FAILED)), 1, []),
        (only(CONTROL_RAN, ran("index-nouuid", "y", "n", CaseResult(INFOS[0].id, Verdict.ERROR))), 3, []),
    ],
)
def test_a_run_or_a_series_without_a_judged_case_is_not_green(run: Run, code: int, told: list[str]) -> None:
    assert results.exit_code(run) == code
    shown = [one.message for one in results.unjudged(run)]
    assert len(shown) == len(told) and all(a in b for a, b in zip(told, shown, strict=True)), shown
    accepted = replace(run, properties={results.ALLOW_EMPTY: "yes"})
    if told and run.cells and run.cases:
        assert results.exit_code(accepted) == 0
        assert results.exit_code(replace(accepted, finished="")) == 3
    else:
        assert results.exit_code(accepted) == code
