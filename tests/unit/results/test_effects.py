"""What a series did, against the control."""

from __future__ import annotations

import time
from dataclasses import replace

from kmodpipe import results
from kmodpipe.results import CaseResult, CellResult, EffectKind, Run, State, Verdict
from tests.support.sample_run import (
    INFOS,
    Y_N,
    Y_Y,
    change,
    failed,
    finished,
    ran,
    seen,
    skipped,
)


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
