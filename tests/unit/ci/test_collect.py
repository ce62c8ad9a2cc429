"""Many runs merged into the one that was planned."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe import results
from kmodpipe.ci import collect
from kmodpipe.ci.collect import Part
from kmodpipe.ci.job_plan import Plan
from kmodpipe.cli import commands
from kmodpipe.results import CellResult, EffectKind, Run, State, Verdict
from kmodpipe.util.errors import InfraError
from kmodpipe.util.screen import Mode, Screen
from tests.support import toy
from tests.support.planned_jobs import planned
from tests.support.sampled import sampled
from tests.support.toy import World

CONTROL = "unpatched.INDEX=y.NOUUID=n"
FIXED = "toy-fix.INDEX=y.NOUUID=n"
NOW = "2026-01-01T00:00:00+00:00"


def parts(run: Run, folder: Path = Path("out")) -> list[Part]:
    """The run as one job a cell would have left it."""
    return [
        Part(folder / f"{n:02}", replace(run, id=f"job-{n:02}", cells=(cell,), dead_axes=()))
        for n, cell in enumerate(run.cells)
    ]


def changed(part: Part, **properties: str) -> Part:
    return replace(part, run=replace(part.run, properties={**part.run.properties, **properties}))


# -- merging ------------------------------------------------------------------------------------------
def test_the_parts_make_the_whole_with_the_control_of_another_job(tested: tuple[World, Plan, Run]) -> None:
    _, made, run = tested
    single = parts(run)
    fixed = next(p for p in single if p.run.cells[0].cell == FIXED)
    assert {e.kind for e in results.effects(fixed.run)} == {EffectKind.NOT_COMPARED}
    found = collect.merge(made, single, "whole", NOW)
    assert not found.missing and not found.doubled
    assert results.effects(found.run) == results.effects(run)
    assert [c.cell for c in found.run.cells] == [c.cell for c in run.cells]
    assert results.exit_code(found.run) == 0


def test_a_cell_that_nobody_reported_has_no_verdict(tested: tuple[World, Plan, Run]) -> None:
    _, made, run = tested
    rest = [p for p in parts(run) if p.run.cells[0].cell != CONTROL]
    found = collect.merge(made, rest, "whole", NOW)
    assert list(found.missing) == [CONTROL]
    assert [c.verdict for c in cell_of(found.run, CONTROL).cases] == [Verdict.ERROR]
    assert results.exit_code(found.run) == 3
    trouble = collect.problem(found, len(made.cells))
    assert trouble and trouble.exit_code == 3 and CONTROL in trouble.detail


def test_a_skipped_cell_that_no_job_ran_is_skipped_with_the_plans_reason(
    tested: tuple[World, Plan, Run],
) -> None:
    _, made, run = tested
    ran = [p for p in parts(run) if p.run.cells[0].state is State.RAN]
    found = collect.merge(made, ran, "whole", NOW)
    assert not found.missing
    skipped = cell_of(found.run, "toy-fix.INDEX=n.NOUUID=y")
    assert skipped.state is State.SKIPPED and "depends on TOY_FS_INDEX" in skipped.reason


def test_a_job_that_was_killed_did_not_report(tested: tuple[World, Plan, Run]) -> None:
    _, made, run = tested
    some = parts(run)
    at = next(n for n, p in enumerate(some) if p.run.cells[0].cell == CONTROL)
    begun = replace(some[at].run.cells[0], state=State.NOT_RUN, cases=())
    some[at] = replace(some[at], run=results.planned(replace(some[at].run, cells=(begun,), finished="")))
    found = collect.merge(made, some, "whole", NOW)
    assert "began and did not end it" in found.missing[CONTROL]
    # Its second try counts, and the first is not a second result.
    again = collect.merge(made, [*some, parts(run)[at]], "whole", NOW)
    assert not again.missing and not again.doubled


def test_a_cell_that_two_jobs_reported_has_no_verdict(tested: tuple[World, Plan, Run]) -> None:
    _, made, run = tested
    some = parts(run)
    again = next(p for p in some if p.run.cells[0].cell == FIXED)
    twin = Part(Path("out/again"), replace(again.run, id="other"))
    found = collect.merge(made, [*some, twin], "whole", NOW)
    assert set(found.doubled) == {FIXED}
    assert cell_of(found.run, FIXED).state is State.INFRA
    assert results.exit_code(found.run) == 3


@pytest.mark.parametrize(
    "name", ["tree.identity", "series.toy-fix", "builder.image", "question.matrix", "shuffle", "attempts"]
)
def test_what_is_not_of_one_run_is_not_merged(tested: tuple[World, Plan, Run], name: str) -> None:
    _, made, run = tested
    first, *rest = parts(run)
    with pytest.raises(InfraError, match=rf"{name}( \(the matrix\))? differs") as caught:
        collect.merge(made, [changed(first, **{name: "something else"}), *rest], "whole", NOW)
    assert "something else in out/00" in caught.value.detail


def test_other_cases_are_not_merged_and_another_accelerator_is(tested: tuple[World, Plan, Run]) -> None:
    _, made, run = tested
    first, *rest = parts(run)
    cases = tuple(replace(c, digest="0" * 64) for c in first.run.cases)
    with pytest.raises(InfraError, match="case remount differs"):
        collect.merge(made, [replace(first, run=replace(first.run, cases=cases)), *rest], "whole", NOW)
    mixed = collect.merge(made, [changed(first, accel="hvf"), *rest], "whole", NOW)
    assert mixed.run.properties["accel"].startswith("hvf | ")


BENIGN = """\
[[benign]]
kind = "WARNING"
title = "WARNING in toy_fill_super"
reason = "the toy warns in all its boots"
"""


FLAVOUR = '[flavours.two]\nsummary = "two processors"\ncpus = 2\n[axes.INDEX]'


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    sampled([
        ("images/guest/cases/remount/case.toml", '"ESTALE"', '"EINVAL"', "the cases, or what is expected"),
        ("kconfigs/benign.toml", "", BENIGN, "the known benign reports"),
        ("pyproject.toml", "case_grace_s = 1", "case_grace_s = 2", "the project's deadlines"),
        ("patches/toy-fix/series.toml", "module", 'design = "t"\nmodule', "a series, or what"),
        ("kconfigs/matrix.toml", "[axes.INDEX]", FLAVOUR, "the matrix"),
    ]),
)  # fmt: skip
def test_jobs_that_were_judged_by_something_else_are_not_merged(
    tmp_path: Path, file: str, old: str, new: str, told: str
) -> None:
    world = toy.build(tmp_path)
    text = (world.root / "pyproject.toml").read_text()
    (world.root / "kconfigs/benign.toml").write_text("")
    declared = text.replace("[tool.kmodpipe]\n", '[tool.kmodpipe]\nbenign = "kconfigs/benign.toml"\n')
    (world.root / "pyproject.toml").write_text(declared)
    made = planned(world, per_job=8)
    path = world.root / file
    path.write_text(path.read_text().replace(old, new, 1))
    world.command(commands.ci, cell=made.jobs[0].cells, out=str(world.root / "out" / "01"))
    asked = {"plan": str(world.root / "plan.json"), "dir": [str(world.root / "out")]}
    ran = world.command(commands.collect, **asked)
    shown = " ".join(ran.text.split())
    assert ran.code == 3 and "these are not parts of one run" in shown and told in shown, ran.text


def test_a_cell_that_was_not_planned_is_not_merged(tested: tuple[World, Plan, Run]) -> None:
    _, made, run = tested
    stray = replace(run, cells=(CellResult("unpatched.INDEX=y.NOUUID=m", "unpatched", "none"),))
    with pytest.raises(InfraError, match="not planned"):
        collect.merge(made, [Part(Path("out/9"), stray)], "whole", NOW)


def test_an_axis_that_is_dead_across_jobs_is_found(tested: tuple[World, Plan, Run]) -> None:
    _, made, run = tested

    def same_module(part: Part) -> Part:
        (cell,) = part.run.cells
        proved = {n: "0" * 64 for n in cell.properties if n.startswith("module.")}
        return replace(
            part, run=replace(part.run, cells=(replace(cell, properties={**cell.properties, **proved}),))
        )

    assert collect.merge(made, parts(run), "whole", NOW).run.dead_axes == ()
    found = collect.merge(made, [same_module(p) for p in parts(run)], "whole", NOW).run
    assert {(d.axis, d.failure) for d in found.dead_axes if d.variant == "toy-fix"} == {
        ("INDEX", True),
        ("NOUUID", True),
    }
    assert results.exit_code(found) == 1


def cell_of(run: Run, cell: str) -> CellResult:
    return next(c for c in run.cells if c.cell == cell)


# -- files --------------------------------------------------------------------------------------------
def test_collect_finds_each_run_once_and_keeps_what_the_jobs_left(tmp_path: Path) -> None:
    world = toy.build(tmp_path)
    made = planned(world, prepare=True, per_job=3)
    for job in made.jobs:
        ran = world.command(
            commands.ci, cell=job.cells, no_control=True, out=str(world.root / "out" / job.job)
        )
        assert ran.code == 0, ran.text
    asked = {"plan": str(world.root / "plan.json"), "out": str(world.root / "out")}
    for _ in range(2):
        # The second finds the first's results below out/ as well, and does not count them.
        ran = world.command(commands.collect, dir=[str(world.root / "out")], **asked)
        assert ran.code == 0, ran.text
    run = results.load(world.latest / "results.json")
    assert len(run.properties[collect.COLLECTED].split(", ")) == len(made.jobs)
    cell = cell_of(run, FIXED)
    assert (world.latest / cell.artifacts["console.log"]).is_file()
    assert "TOY" in (world.latest / cell.artifacts["config"]).read_text()
    shutil.rmtree(world.root / "out" / made.jobs[0].job)
    ran = world.command(commands.collect, dir=[str(world.root / "out")], **asked)
    assert ran.code == 3, ran.text
    assert all(
        f"missing: {cell}: job {made.jobs[0].job} never reported it" in ran.text
        for cell in made.jobs[0].cells
    )


def test_collect_keeps_equal_files_once(tested: tuple[World, Plan, Run], tmp_path: Path) -> None:
    world, _, run = tested
    both = [Part(world.latest.resolve(), replace(run, id=name)) for name in ("one", "two")]
    collect.copy_parts(both, tmp_path)
    kernels = [p.stat().st_ino for p in tmp_path.glob("jobs/*/shared/bzImage-*")]
    assert len(kernels) == 2 and len(set(kernels)) == 1
    assert not [p for p in tmp_path.rglob("*") if p.is_symlink()]


def test_collect_needs_a_plan_and_folders(tested: tuple[World, Plan, Run], tmp_path: Path) -> None:
    world, _, _ = tested
    assert world.command(commands.collect, dir=["out"]).code == 2
    planned(world)
    at = str(world.root / "plan.json")
    assert world.command(commands.collect, plan=at, dir=[str(tmp_path / "none*")]).code == 2
    empty = world.command(commands.collect, plan=at, dir=[str(tmp_path)], out=str(tmp_path / "out"))
    assert empty.code == 3 and "no job left a result" in empty.text


def test_a_results_file_that_cannot_be_read_is_said_and_missed(
    tested: tuple[World, Plan, Run], tmp_path: Path
) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "results.json").write_text('{"schema"')
    found = found_in([str(tmp_path)])
    assert found == ()


def found_in(patterns: Sequence[str]) -> tuple[Part, ...]:
    return collect.find(patterns, Screen(Mode.QUIET))
