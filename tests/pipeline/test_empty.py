"""Runs and series in which no case is judged, in the toy world: they are not green, and say why."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kmodpipe.ci import job_plan
from kmodpipe.cli import commands
from tests.support import toy
from tests.support.planned_jobs import planned
from tests.support.toy import World

CELL = "toy-fix.INDEX=y.NOUUID=n"
ALL = "*.INDEX=y.NOUUID=n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return toy.build(tmp_path)


def second_series(world: World) -> None:
    """A series without the symbol that toy-fix brings."""
    folder = world.root / "patches/other"
    folder.mkdir()
    (folder / "series").write_text("0001.patch\n")
    (folder / "series.toml").write_text('summary = "another"\nmodule = "fs/toy"\n')
    (folder / "0001.patch").write_text(
        "--- a/fs/toy/toy.c\n+++ b/fs/toy/toy.c\n@@ -1,4 +1,4 @@\n"
        " /* what a toy guest observes with this module */\n-outcome: ESTALE\n+outcome: ESTALE2\n"
        " index: CONFIG_TOY_FS_INDEX\n end\n"
    )


def needs(world: World, symbol: str) -> None:
    case = world.root / "images/guest/cases/remount/case.toml"
    case.write_text(case.read_text().replace("goal =", f'needs = ["{symbol}"]\ngoal ='))


def test_a_run_in_which_every_case_skips_itself_is_not_green_and_says_so(world: World) -> None:
    script = world.script("allskip.sh", "exit 4")
    ran = world.command(commands.test, cell=[ALL], case=[script])
    told = "no case was judged: every case was skipped in all 2 cells that ran"
    assert ran.code == 3 and told in " ".join(ran.text.split()), ran.text
    assert "exit 3" in ran.text
    root = ElementTree.parse(world.latest / "junit.xml").getroot()
    assert root.get("errors") == "1" and root.get("failures") == "0"
    (error,) = root.iter("error")
    assert told in str(error.get("message"))
    assert told in (world.latest / "report.html").read_text()
    for form in ("mail", "markdown", "summary", "findings"):
        shown = world.command(commands.report, format=form)
        assert told in " ".join(shown.text.split()), form
    assert "Tested-by" not in world.command(commands.report, format="mail").text
    document = json.loads((world.latest / "results.json").read_text())
    assert document["exit_code"] == 3 and told in document["unjudged"][0]


def test_that_is_accepted_where_the_user_says_so_and_told_all_the_same(world: World) -> None:
    script = world.script("allskip.sh", "exit 4")
    ran = world.command(commands.test, cell=[ALL], case=[script], allow_empty=True)
    shown = " ".join(ran.text.split())
    assert ran.code == 0 and "no case was judged" in shown and "--allow-empty accepts that" in shown
    root = ElementTree.parse(world.latest / "junit.xml").getroot()
    assert root.get("errors") == "0" and "no case was judged" in (world.latest / "junit.xml").read_text()
    assert "no case was judged" in (world.latest / "report.html").read_text()
    # It accepts nothing else.
    failing = world.script("fails.sh", "exit 1")
    assert world.command(commands.test, cell=[CELL], case=[failing], allow_empty=True).code == 1


def test_each_series_needs_a_judged_case(world: World) -> None:
    second_series(world)
    needs(world, "TOY_FS_NOUUID")
    both = world.test("--series", "toy-fix", "--series", "other")
    shown = " ".join(both.text.split())
    assert both.code == 3 and "no case was judged with series other: every case was skipped" in shown, (
        both.text
    )
    assert "needs CONFIG_TOY_FS_NOUUID" in shown and "with series toy-fix" not in shown
    assert world.test("--series", "toy-fix").code == 0


def test_a_series_that_kconfig_rules_out_everywhere_is_not_green(world: World) -> None:
    second_series(world)
    matrix = world.root / "kconfigs/matrix.toml"
    matrix.write_text(matrix.read_text().replace('"TOY_FS_NOUUID"', '"TOY_FS_NOUUID"\nvalues = ["y"]'))
    ran = world.test("--series", "toy-fix", "--series", "other")
    shown = " ".join(ran.text.split())
    assert ran.code == 3, ran.text
    assert "with series other: none of its 2 cells could run: the tree has no symbol TOY_FS_NOUUID" in shown
    built = world.command(commands.build, series=["toy-fix", "other"])
    assert built.code == 3 and "no cell of other could be built" in built.text, built.text


def test_a_job_may_be_empty_and_the_whole_run_may_not(world: World) -> None:
    needs(world, "TOY_FS_NOUUID")
    made = planned(world, prepare=True, per_job=1)
    assert all("--allow-empty" in job.arguments for job in made.jobs)
    for job in made.jobs:
        out = str(world.root / "out" / job.job)
        ran = world.command(commands.ci, cell=job.cells, out=out, no_control=True, allow_empty=True)
        assert ran.code == 0, ran.text
    asked = {"plan": str(world.root / "plan.json"), "dir": [str(world.root / "out")]}
    assert world.command(commands.collect, **asked).code == 0
    # Without the job that has the case.
    plan = json.loads((world.root / "plan.json").read_text())
    judged = "toy-fix.INDEX=y.NOUUID=y"
    plan["plan"]["cells"] = [c for c in plan["plan"]["cells"] if c["cell"] != judged]
    (world.root / "plan.json").write_text(json.dumps(plan))
    owner = next(job.job for job in made.jobs if judged in job.cells)
    asked["dir"] = [str(world.root / "out" / job.job) for job in made.jobs if job.job != owner]
    ran = world.command(commands.collect, **asked)
    assert ran.code == 3 and "no case was judged" in ran.text, ran.text
    allowed = planned(world, prepare=True, per_job=1, allow_empty=True)
    assert job_plan.load(world.root / "plan.json").properties["allow-empty"] == "yes"
    assert allowed.jobs == made.jobs
