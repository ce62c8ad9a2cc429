"""Plans: which jobs run which cells, and how they travel."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.ci import job_plan
from kmodpipe.ci.job_plan import Plan
from kmodpipe.cli import commands
from kmodpipe.results import Run, State
from kmodpipe.util.errors import UserError
from tests.support import toy
from tests.support.planned_jobs import planned
from tests.support.toy import World


def test_without_a_tree_every_cell_has_a_job_and_with_one_it_tells_which_are_ruled_out(
    tmp_path: Path, tested: tuple[World, Plan, Run]
) -> None:
    blind = planned(toy.build(tmp_path))
    assert [len(job.cells) for job in blind.jobs] == [1] * 8
    assert not any(cell.skip for cell in blind.cells)
    assert "tree.identity" not in blind.properties

    _, seeing, run = tested
    assert seeing.properties["tree.identity"] == run.properties["tree.identity"]
    assert {c.cell: c.skip for c in seeing.cells if c.skip} == {
        c.cell: c.reason for c in run.cells if c.state is State.SKIPPED
    }
    assert [job.cells for job in seeing.jobs] == [(c.cell,) for c in run.cells if c.state is State.RAN]
    assert not any(cell.job for cell in seeing.cells if cell.skip)


def test_a_plan_that_prepares_knows_the_tree_and_builds_what_cells_share(tmp_path: Path) -> None:
    world = toy.build(tmp_path)
    made = planned(world, prepare=True)
    assert len(made.jobs) == 5
    assert world.made().count("bzImage modules") == 1
    assert "fs/toy/toy.ko" not in world.made()


def test_a_job_says_what_was_asked_and_the_seed_is_drawn_once(tested: tuple[World, Plan, Run]) -> None:
    world, _, _ = tested
    made = planned(world, series=["toy-fix"], case=["remount"], shuffle="random", attempts=3, per_job=2)
    assert [len(job.cells) for job in made.jobs] == [2, 2, 1]
    words = made.jobs[0].arguments
    assert words[words.index("--attempts") + 1] == "3"
    assert words[words.index("--shuffle") + 1] == made.properties["shuffle"] != "0"
    assert words.count("--cell") == 2


FLAVOURED = '\n[flavours.slow]\nsummary = "another guest"\n'


def test_jobs_keep_to_the_limit_and_to_one_base(tmp_path: Path) -> None:
    world = toy.build(tmp_path)
    matrix = world.root / "kconfigs/matrix.toml"
    matrix.write_text(matrix.read_text() + FLAVOURED)
    made = planned(world, flavour=["all"], per_job=3)
    assert [len(job.cells) for job in made.jobs] == [3, 3, 2, 3, 3, 2]
    flavours = {cell.cell: cell.flavour for cell in made.cells}
    assert all(len({flavours[cell] for cell in job.cells}) == 1 for job in made.jobs)


def test_cells_are_put_together_only_where_there_are_too_many(
    tested: tuple[World, Plan, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, _, _ = tested
    monkeypatch.setattr(job_plan, "LIMITS", {**job_plan.LIMITS, "json": 3})
    assert [len(job.cells) for job in planned(world).jobs] == [2, 2, 1]
    refused = world.command(commands.matrix, per_job=1)
    assert refused.code == 2
    assert "5 cells make 5 jobs, and 3 are allowed" in refused.text
    assert "--per-job" in refused.text


@pytest.mark.parametrize("text", ["", "[]", '{"schema": "kmodpipe-plan", "version": 9}'])
def test_what_is_no_plan_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(UserError):
        job_plan.load(tmp_path / "plan.json")
