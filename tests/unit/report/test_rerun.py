"""The command that repeats a result."""

from __future__ import annotations

from dataclasses import replace

from kmodpipe.report import rerun
from kmodpipe.results import OWN_MODULE, CellResult, Run
from tests.support.sample_days import KNOWN, Y_Y, good
from tests.support.sample_run import INFOS


def test_the_command_that_repeats_a_result() -> None:
    run = replace(good(), cases=(replace(INFOS[0], argument="./my case.sh"), *INFOS[1:]))
    there = run.cells[-1]
    stem = "invoke test --tree ~/linux"
    assert rerun.command(run, there, run.cases[0]) == (
        f"{stem} --series index-nouuid --cell {Y_Y} --case './my case.sh'"
    )
    control = run.cells[0]
    assert rerun.command(run, control) == f"{stem} --series index-nouuid --cell {control.cell}"
    known = {**KNOWN, "series.index-nouuid.argument": "~/fixes.mbox"}
    partial = replace(there, variant="index-nouuid@2")
    assert rerun.command(replace(run, properties=known), partial).startswith(
        f"{stem} --series '~/fixes.mbox' --cell"
    )


def test_the_change_of_a_module_of_its_own_source_needs_no_word() -> None:
    cell = CellResult("worktree.old", "worktree", "", {})
    properties = {OWN_MODULE: "main (abc)", rerun.PROPERTY: "kmodpipe test"}
    run = Run("r", "", (), (cell,), properties=properties)
    assert rerun.command(run, cell) == "kmodpipe test --cell worktree.old"
    fix = CellResult("fix.old", "fix", "", {})
    assert rerun.command(run, fix) == "kmodpipe test --series fix --cell fix.old"
