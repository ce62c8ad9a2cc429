"""The result model: nothing vanishes, exit codes, results.json, and the verdict on the series."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe import results
from kmodpipe.results import CaseResult, CellResult, EffectKind, Run, State, Verdict
from kmodpipe.util.errors import ExitCode, UserError
from tests.sample_run import DEAD, INFOS, PARTLY, SKELETON, cell, change, failed, finished, ran, seen, skipped

Y_Y = "index-nouuid.INDEX=y.NOUUID=y"
Y_N = "index-nouuid.INDEX=y.NOUUID=n"


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


def test_json_keeps_everything(tmp_path: Path) -> None:
    run = change(finished(), Y_Y, failed(2, "ESTALE", "mounted"))
    results.save(run, tmp_path / "out" / "results.json")
    assert results.load(tmp_path / "out" / "results.json") == run
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert document["version"] == 1 and document["exit_code"] == 1 and document["totals"]["fail"] == 1
    assert {e["kind"] for e in document["effects"]} >= {"fixed", "known defect"}


def test_json_keeps_dead_axes_and_reads_runs_that_know_none() -> None:
    run = replace(finished(), dead_axes=(DEAD, PARTLY))
    document = json.loads(results.to_json(run))
    assert results.from_json(json.dumps(document)) == run
    assert document["totals"]["dead axes"] == 1 and document["exit_code"] == 1
    del document["run"]["dead_axes"]
    assert results.from_json(json.dumps(document)) == finished()


def test_json_takes_hostile_text() -> None:
    bad = replace(failed(2, "ESTALE", "mounted"), output_excerpt="a\x00\udc80\ud800\x1b]]>\u2028")
    text = results.to_json(change(finished(), Y_Y, bad))
    assert text.isascii()
    back = results.from_json(text).cells[-1].case(bad.case)
    assert back and back.output_excerpt == "a\x00\\udc80\\ud800\x1b]]>\u2028"


@pytest.mark.parametrize(
    ("change_", "told"),
    [
        (lambda d: d.update(version=99), "version 99"),
        (lambda d: d.update(schema="other"), "no results.json"),
        (lambda d: d["run"].pop("id"), "does not match its schema"),
        (lambda d: d["run"]["cells"].append(d["run"]["cells"][0]), "does not match its schema"),
        (lambda d: d["run"]["cells"][0]["cases"][0].update(verdict="passed"), "does not match its schema"),
    ],
)
def test_json_of_another_kind_is_refused(change_, told: str) -> None:  # type: ignore[no-untyped-def]
    document = json.loads(results.to_json(finished()))
    change_(document)
    with pytest.raises(UserError, match=told):
        results.from_json(json.dumps(document))
    with pytest.raises(UserError, match="cannot be read"):
        results.from_json(json.dumps(document)[:-5])


def kinds(run: Run) -> dict[tuple[str, str], tuple[str, str, str]]:
    return {(c, e.case): (e.kind.value, e.before, e.after) for e in results.effects(run) for c in e.cells}


def test_effects_of_the_sample() -> None:
    found = kinds(finished())
    on, nouuid, default, links = (i.id for i in INFOS)
    assert found[Y_Y, default] == (
        "fixed",
        "ESTALE",
        "mounted",
    )  # against the control without the NOUUID axis
    assert found[Y_N, default] == ("still failing", "ESTALE", "ESTALE")
    assert found[Y_N, nouuid] == ("fixed", "EINVAL", "mounted")
    assert found[Y_Y, links] == ("known defect", "shared", "hardlinks-split")
    n_n = "index-nouuid.INDEX=n.NOUUID=n"
    assert found[n_n, default] == ("unchanged", "mounted", "mounted")
    assert found[n_n, links][0] == "not applicable"
    assert found["index-nouuid.INDEX=n.NOUUID=y", on][0] == "not applicable"
    assert len(found) == 4 * 4  # every case of every series cell, once
    fixed = [e for e in results.effects(finished()) if e.kind is EffectKind.FIXED]
    assert [(e.case, len(e.cells)) for e in fixed] == [(nouuid, 3), (default, 1)]


def test_effects_tell_regressed_and_unknown_apart() -> None:
    links, default = INFOS[3].id, INFOS[2].id
    run = change(finished(), Y_N, failed(3, "EIO", "shared"))
    assert kinds(run)[Y_N, links] == ("regressed", "shared", "EIO")
    assert next(e for e in results.effects(run) if e.kind is EffectKind.REGRESSED).unexpected
    run = change(finished(), "unpatched.INDEX=y.NOUUID=n", CaseResult(default, Verdict.ERROR, "not run"))
    assert kinds(run)[Y_Y, default][0] == "no verdict"
    # A known defect is named even where the control cannot be compared.
    run = change(finished(), "unpatched.INDEX=y.NOUUID=n", skipped(3))
    assert kinds(run)[Y_Y, links][0] == "known defect"


def test_an_axis_that_the_control_has_is_not_ignored() -> None:
    """INDEX=n of the control says nothing about a series cell with INDEX=y."""
    run = finished()
    control = ran("unpatched", "y", "y", seen(0, "mounted"))
    cells = [c for c in run.cells if c.variant != "unpatched" or c.choice["INDEX"] == "n"]
    both = replace(run, cells=(control, *cells))
    y_n, y_y = (next(c for c in cells if c.cell == name) for name in (Y_N, Y_Y))
    assert results.control_of(both, y_n) is None  # the control has y,y and n,n: nothing with its choice
    assert results.control_of(both, y_y) == control
    assert results.control_of(replace(run, cells=run.cells[3:]), run.cells[-1]) is None


def test_a_cell_is_compared_within_its_flavour() -> None:
    plain = replace(
        CellResult("c", "unpatched", "none", {"INDEX": "y"}, State.RAN), cell="unpatched", flavour=""
    )
    xfs = replace(plain, cell="unpatched.xfs", flavour="xfs")
    run = Run("r", "2020-10-13T12:00:00Z", cells=(plain, xfs))
    assert results.control_of(run, replace(plain, cell="s", variant="s")) == plain
    assert results.control_of(run, replace(xfs, cell="s.xfs", variant="s")) == xfs
    assert results.control_of(run, replace(xfs, cell="s.btrfs", variant="s", flavour="btrfs")) is None


def test_a_large_run_is_cheap() -> None:
    """A run of 100 cells × 100 cases is cheap to plan and to write after every cell."""
    infos = tuple(replace(INFOS[0], id=f"case-{i}") for i in range(100))
    cells = tuple(CellResult(f"cell-{i}", "unpatched", "none") for i in range(100))
    cells += tuple(CellResult(f"s-{i}", "series", "x") for i in range(100))
    run = results.planned(Run("big", "", infos, cells))
    began = time.process_time()
    text = results.to_json(run)
    assert time.process_time() - began < 3
    assert sum(1 for _ in run.results()) == 20_000
    assert results.from_json(text) == run
