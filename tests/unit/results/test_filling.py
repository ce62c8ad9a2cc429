"""Nothing that was planned vanishes from a run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kmodpipe import results
from kmodpipe.results import CaseResult, Run, State, Verdict
from kmodpipe.util.errors import ExitCode
from tests.support.sample_run import (
    INFOS,
    SKELETON,
    cell,
    finished,
    ran,
    seen,
)


def test_every_planned_case_is_there_from_the_start() -> None:
    run = results.planned(SKELETON)
    got = {(c.cell, r.case): r.verdict for c, r in run.results()}
    assert len(got) == 7 * 4
    for c in run.cells:
        wanted = Verdict.SKIP if c.state is State.SKIPPED else Verdict.ERROR
        assert {got[c.cell, info.id] for info in INFOS} == {wanted}
    assert run.cells[0].cases[0].message == "not run"
    assert "no OVERLAY_FS_INDEX_NOUUID" in run.cells[2].cases[0].message


def test_a_cell_that_loses_cases_gets_them_back_as_errors() -> None:
    run = results.with_cell(results.planned(SKELETON), ran("index-nouuid", "y", "y", seen(1, "mounted")))
    got = run.cells[-1]
    assert [c.case for c in got.cases] == [i.id for i in INFOS]
    assert [c.verdict.value for c in got.cases] == ["error", "pass", "error", "error"]
    assert "left no verdict" in got.cases[0].message


def test_results_do_not_appear_from_nowhere() -> None:
    run = results.planned(SKELETON)
    with pytest.raises(ValueError, match="not planned"):
        results.with_cell(run, cell("another", "y", "y"))
    with pytest.raises(ValueError, match="not planned"):
        results.with_cell(run, replace(run.cells[0], cases=(CaseResult("stray", Verdict.PASS),)))
    with pytest.raises(ValueError, match="cell twice"):
        Run("r", "", cells=(run.cells[0], run.cells[0]))
    with pytest.raises(ValueError, match="twice"):
        results.with_cell(run, replace(run.cells[0], cases=(seen(0, "a"), seen(0, "b"))))


def test_interrupted_keeps_what_was_done() -> None:
    run = results.with_cell(results.planned(SKELETON), finished().cells[0])
    stopped = results.interrupted(run)
    assert stopped.cells[0] == run.cells[0] and stopped.cells[2].state is State.SKIPPED
    assert stopped.cells[-1].state is State.INTERRUPTED
    assert {c.message for c in stopped.cells[-1].cases} == {"not run: interrupted"}
    assert stopped.properties[results.ENDED_EARLY] == "interrupted"
    assert results.exit_code(stopped) is ExitCode.INFRA
    # A cell that was cut off half way keeps its verdicts, a crash before its first case among them.
    crash = CaseResult(INFOS[1].id, Verdict.FAIL, "kernel crash before this case began: panic")
    half = results.with_cell(run, replace(run.cells[-1], cases=(seen(0, "ESTALE"), crash)))
    cut = results.interrupted(half).cells[-1]
    assert [c.verdict.value for c in cut.cases] == ["pass", "fail", "error", "error"]
    assert cut.state is State.INTERRUPTED and cut.cases[2].message == "not run: interrupted"
