"""A runtime whose engine is asked when the first job runs."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from kmodpipe.build.runtime import DockerRuntime, Ended, Job, LateDocker, Unready

JOB = Job("a job", "x.sh", (), Path("log"), 1.0)


class Engine:
    """Counts who connects, and which jobs ran."""

    def __init__(self) -> None:
        self.connected = 0
        self.ran: list[str] = []
        self.fails = False

    def connect(self) -> DockerRuntime:
        self.connected += 1
        if self.fails:
            raise Unready("no engine")
        return cast(DockerRuntime, self)

    def run(self, job: Job, on_line: Any = None) -> Ended:
        self.ran.append(job.name)
        return Ended(0, "", 0.0)


def test_nobody_is_asked_what_the_image_is() -> None:
    engine = Engine()
    late = LateDocker("sha256:1", engine.connect)
    assert late.identity() == {"runtime": "docker", "image": "sha256:1"} and late.sweep() == 0
    # As keys and results have it of an engine that was asked.
    asked = DockerRuntime(cast(Any, None), "sha256:1")
    assert late.identity() == asked.identity()
    assert (late.name, late.isolation, late.same_paths) == (asked.name, asked.isolation, asked.same_paths)
    assert engine.connected == 0


def test_the_first_job_connects_and_the_others_use_that() -> None:
    engine = Engine()
    late = LateDocker("sha256:1", engine.connect)
    begin = threading.Barrier(4)

    def run(_: int) -> Ended:
        begin.wait(10)
        return late.run(JOB)

    with ThreadPoolExecutor(4) as pool:
        assert {ended.status for ended in pool.map(run, range(4))} == {0}
    assert engine.connected == 1 and engine.ran == ["a job"] * 4


def test_where_it_cannot_connect_each_job_tries_again() -> None:
    engine = Engine()
    engine.fails = True
    late = LateDocker("sha256:1", engine.connect)
    with pytest.raises(Unready):
        late.run(JOB)
    engine.fails = False
    assert late.run(JOB).status == 0 and engine.connected == 2
