"""A toy world after one whole run, with the plan of the same."""

from __future__ import annotations

import pytest

from kmodpipe import results
from kmodpipe.ci.job_plan import Plan
from kmodpipe.results import Run
from tests.support import toy
from tests.support.planned_jobs import planned
from tests.support.toy import World


@pytest.fixture(scope="session")
def tested(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Plan, Run]:
    """A world after one whole run, that run, and the plan of the same."""
    world = toy.build(tmp_path_factory.mktemp("tested"))
    assert world.test().code == 0
    made = planned(world, per_job=1)
    return world, made, results.load(world.latest / "results.json")
