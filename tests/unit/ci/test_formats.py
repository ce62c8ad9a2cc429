"""The forms of a plan that each CI takes."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

from kmodpipe.ci import formats, job_plan
from kmodpipe.ci.job_plan import Plan
from kmodpipe.cli import commands
from kmodpipe.results import Run
from tests.support.planned_jobs import planned
from tests.support.toy import World


def test_github_gets_words_that_a_shell_takes_apart_again(tested: tuple[World, Plan, Run]) -> None:
    _, made, _ = tested
    odd = replace(made.jobs[0], arguments=("--series", "it's $(mine)", *made.jobs[0].arguments))
    rows = json.loads(formats.github(replace(made, jobs=(odd, *made.jobs[1:]))))["include"]
    assert [row["job"] for row in rows] == [job.job for job in made.jobs]
    assert shlex.split(rows[0]["arguments"]) == [*odd.arguments, "--out", f"out/{odd.job}"]
    assert "\n" not in formats.github(made)


def test_gitlab_gets_a_job_a_cell_and_the_plan_itself(
    tested: tuple[World, Plan, Run], tmp_path: Path
) -> None:
    _, made, _ = tested
    text = formats.gitlab(made)
    assert text.count("stage: cells") == len(made.jobs)
    inner = text.partition("<<'END-OF-PLAN'\n")[2].partition("END-OF-PLAN")[0]
    (tmp_path / "plan.json").write_text(inner)
    assert job_plan.load(tmp_path / "plan.json") == made


def test_a_plan_that_was_made_can_be_printed_in_another_form(tested: tuple[World, Plan, Run]) -> None:
    world, _, _ = tested
    made = planned(world)
    ran = world.command(commands.matrix, plan=str(world.root / "plan.json"), format="github")
    assert json.loads(ran.out) == json.loads(formats.github(made))
