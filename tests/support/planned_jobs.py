"""A plan of a toy world."""

from __future__ import annotations

from kmodpipe.ci import job_plan
from kmodpipe.ci.job_plan import Plan
from kmodpipe.cli import commands
from tests.support.toy import World


def planned(world: World, **asked: object) -> Plan:
    ran = world.command(commands.matrix, to=str(world.root / "plan.json"), **asked)
    assert ran.code == 0, ran.text
    return job_plan.load(world.root / "plan.json")
