"""A run on a cluster: real schedulers and workers as processes of their own, in the toy world."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kmodpipe import results
from tests import cluster_simulation
from tests.integration.test_fanout import Registry, registry
from tests.support import REPO, toy
from tests.support.dask_cluster import FLAGS, Cluster, cluster
from tests.support.servers import free_port
from tests.support.toy import World
from tests.support.trees import commit_all, git, write

pytest.importorskip("distributed", reason="Dask is not installed: pip install 'kmodpipe[cluster]'")

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600), pytest.mark.xdist_group("cluster")]

__all__ = ["registry"]
HOST = ("--runtime", "host")
KEY = "a key that machines share, and no registry"
CELLS = 5
SLOW = "# toy: sleep 4\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return toy.build(tmp_path / "world")


@pytest.fixture
def two(tmp_path: Path, world: World) -> Iterator[Cluster]:
    with cluster(tmp_path / "dask", world.environment(), "one", "two") as found:
        yield found


def verdicts(world: World) -> dict[str, Any]:
    """What the newest run says: the state of each cell, and each case's verdict, outcome and message."""
    run = results.load(world.latest / "results.json")
    return {
        cell.cell: [cell.state.value, *((c.case, c.verdict.value, c.outcome, c.message) for c in cell.cases)]
        for cell in run.cells
    }


def local(world: World) -> dict[str, Any]:
    """What a run on this machine says of the same."""
    ran = world.invoke("test", *HOST, timeout_s=300)
    assert ran.code == 0, ran.text
    return verdicts(world)


def slow(world: World) -> None:
    """Let every cell take a few seconds."""
    path = world.root / "images/guest/cases/remount/run.sh"
    path.write_text(path.read_text() + SLOW)


def on(found: Cluster, *more: str) -> tuple[str, ...]:
    return ("test", *HOST, "--on", found.address, *more)


def begin(world: World, *argv: str) -> subprocess.Popen[str]:
    return world.start(*argv)


def end(child: subprocess.Popen[str], within_s: float = 400) -> tuple[int, str]:
    out, err = child.communicate(timeout=within_s)
    return child.returncode, out + err


def wait_for(path_of: Any, within_s: float = 120) -> Any:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if found := path_of():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come")


@pytest.mark.thorough
def test_processes_of_this_machine_answer_as_a_local_run_does(world: World) -> None:
    ran = world.invoke("test", *HOST, "--on", "local:2", timeout_s=400)
    assert ran.code == 0, ran.text
    far, run = verdicts(world), results.load(world.latest / "results.json")
    latest = world.latest
    assert far == local(world)
    assert world.made().count("bzImage modules") == 1
    booted = [cell for cell in run.cells if cell.state is results.State.RAN]
    assert len(booted) == CELLS
    assert {cell.properties["worker"] for cell in booted} <= {"local-1", "local-2"}
    for cell in booted:
        assert all((latest / path).exists() for path in cell.artifacts.values()), cell.artifacts
        script = (latest / cell.artifacts["reproduce.sh"]).read_text()
        (kernel,) = set(re.findall(r"\.\./shared/bzImage-\w+", script))
        assert (latest / cell.cell / kernel).is_file()
    assert run.finished and (latest / "junit.xml").is_file() and (latest / "report.html").is_file()
    assert not list(latest.glob("*.part")) and not list(latest.glob(".*.part"))


@pytest.mark.thorough
def test_a_case_of_ones_own_and_a_changed_file_travel(world: World, tmp_path: Path) -> None:
    case = tmp_path / "elsewhere" / "mine.sh"
    case.parent.mkdir()
    case.write_text("#!/bin/sh\n# toy: exit 0\n")
    ran = world.invoke(
        "ci", *HOST, "--on", "local:1", "--cell", "toy-fix.INDEX=y.NOUUID=n", "--case", str(case),
        "--junit", "there.xml", timeout_s=400,
    )  # fmt: skip
    assert ran.code == 0, ran.text
    run = results.load(world.latest / "results.json")
    assert {(cell.variant, c.case, c.verdict.value) for cell, c in run.results()} == {
        ("unpatched", "mine", "pass"), ("toy-fix", "mine", "pass"),
    }  # fmt: skip
    assert (world.root / "there.xml").is_file()
    assert run.cases[0].argument == str(case)


@pytest.mark.thorough
def test_a_module_of_its_own_repository_travels_with_its_change(world: World, two: Cluster) -> None:
    module = world.root.parent / "module"
    write(module, {"src/Kbuild": "obj-m := own.o\n", "src/own.c": "outcome: ESTALE\nneeds: toy\n"})
    commit_all(module, "first")
    git(module, "checkout", "-q", "-b", "topic")
    write(module, {"src/own.c": "outcome: mounted\nneeds: toy\n"})
    matrix = 'base = "tinyconfig"\nmodule = { source = "../../module/src" }\nfragments = ["guest.config"]\n'
    write(world.root, {"kconfigs/matrix.toml": matrix})
    world.script("mounts.sh", "observe-module")
    compared = ("module.identity", "module.own", "series.worktree", "repeat-with", "module")

    def is_as_here(*more: str) -> set[str]:
        asked = ("--case", "mounts.sh", *more)
        ran = world.invoke(*on(two, *asked), timeout_s=400)
        assert ran.code == 0, ran.text
        far, there = verdicts(world), results.load(world.latest / "results.json").properties
        ran = world.invoke("test", *HOST, *asked, timeout_s=300)
        assert far == verdicts(world), ran.text
        here = results.load(world.latest / "results.json").properties
        assert {name: there.get(name) for name in compared} == {name: here.get(name) for name in compared}
        return set(far)

    assert is_as_here() == {"unpatched", "worktree"}
    assert is_as_here("--series", "none") == {"unpatched"}
    commit_all(module, "it mounts")
    git(module, "checkout", "-q", "main")
    assert is_as_here("--series", "../module#main..topic") == {"unpatched", "topic"}


@pytest.mark.thorough
def test_a_build_on_workers_says_of_each_cell_how_it_ended(world: World) -> None:
    source = world.root / "patches/toy-fix/0001-toy-mount.patch"
    source.write_text(source.read_text().replace("+nouuid:", "+error:"))
    ran = world.invoke("build", *HOST, "--on", "local:2", timeout_s=400)
    here = world.invoke("build", *HOST, timeout_s=400)
    assert ran.code == here.code, ran.text + here.text
    marks = {line for line in ran.out.splitlines() if line[:1] in "✓–"}
    assert marks == {line for line in here.out.splitlines() if line[:1] in "✓–"}


@pytest.mark.thorough
def test_workers_that_are_killed_cost_a_retry_and_no_verdict(world: World, two: Cluster) -> None:
    slow(world)
    two.start_worker("three")
    child = begin(world, *on(two))
    in_a_build = two.kill_worker_of("--prepare")
    in_a_boot = two.kill_worker_of("toy-fix.INDEX=y.NOUUID=y")
    code, text = end(child)
    assert code == 0, text
    assert in_a_build != in_a_boot
    assert "gone: " in text and "joined: " in text
    far = verdicts(world)
    assert far == local(world)
    # Nothing of a killed worker goes on.
    assert two.worker_of("--cell") == 0


@pytest.mark.thorough
@pytest.mark.kernels
def test_a_cell_that_kills_three_workers_is_an_error_that_says_so(world: World, two: Cluster) -> None:
    slow(world)
    cell = "toy-fix.INDEX=y.NOUUID=y"
    child = begin(world, *on(two))
    for _ in range(3):
        two.kill_worker_of(cell)
    code, text = end(child)
    assert code == 3, text
    run = results.load(world.latest / "results.json")
    states = {c.cell: c for c in run.cells}
    assert "3 workers died while they had it" in states[cell].reason
    others = {c.state for c in run.cells if c.cell != cell}
    assert others == {results.State.RAN, results.State.SKIPPED}


@pytest.mark.thorough
@pytest.mark.kernels
def test_a_scheduler_that_is_started_again_gets_what_is_left(world: World, two: Cluster) -> None:
    slow(world)
    child = begin(world, *on(two))
    wait_for(lambda: two.worker_of("--no-control") and list((world.root / "out").glob("2*/toy-fix*")))
    two.kill_scheduler()
    time.sleep(1)
    two.start_scheduler()
    # Dask's workers end without their scheduler: what keeps them running starts them again.
    for name in ("one", "two"):
        two.start_worker(name)
    code, text = end(child)
    assert code == 0, text
    assert "the scheduler is gone" in text and "handed over again" in text
    assert verdicts(world) == local(world)


@pytest.mark.thorough
def test_a_client_that_was_killed_is_followed_by_another(world: World, two: Cluster) -> None:
    slow(world)
    child = begin(world, *on(two))
    wait_for(lambda: list((world.root / "out").glob("2*/toy-fix*")))
    os.killpg(child.pid, signal.SIGKILL)
    child.wait(20)
    first = world.latest
    ran = world.invoke("attach", timeout_s=400)
    assert ran.code == 0, ran.text
    assert world.latest == first
    run = results.load(first / "results.json")
    assert run.finished and len([c for c in run.cells if c.state is results.State.RAN]) == CELLS
    far = verdicts(world)
    again = world.invoke("attach", timeout_s=60)
    assert again.code == 2 and "has ended" in again.text
    assert far == local(world)


@pytest.mark.thorough
@pytest.mark.kernels
def test_a_run_that_was_left_goes_on(world: World, two: Cluster) -> None:
    left = world.invoke(*on(two, "--detach"), timeout_s=120)
    assert left.code == 0, left.text
    assert "attach --run" in left.out
    ran = world.invoke("attach", "--json", timeout_s=400)
    assert ran.code == 0, ran.text
    assert json.loads(ran.out)["totals"]["pass"] == CELLS


@pytest.mark.thorough
@pytest.mark.kernels
def test_an_interruption_ends_our_jobs_and_nothing_else(world: World, two: Cluster) -> None:
    from distributed import Client

    slow(world)
    with Client(two.address, set_as_default=False) as other:
        theirs = other.submit(pow, 2, 5, key="of-someone-else")
        assert theirs.result(30) == 32
        child = begin(world, *on(two))
        wait_for(lambda: two.worker_of("--no-control") and list((world.root / "out").glob("2*/cluster.json")))
        wait_for(lambda: two.worker_of("toy-fix.INDEX=y.NOUUID=n"))
        child.send_signal(signal.SIGINT)
        code, text = end(child, 120)
        assert code == 3 and "interrupted by SIGINT" in text, text
        wait_for(lambda: not two.worker_of("--no-control"), 40)
        assert other.list_datasets() == ()
        assert theirs.status == "finished" and theirs.result(10) == 32
    run = results.load(world.latest / "results.json")
    assert results.State.INTERRUPTED in {cell.state for cell in run.cells}
    assert len(run.cells) == 8 and all(cell.cases for cell in run.cells)


@pytest.mark.thorough
@pytest.mark.kernels
def test_a_base_is_built_once_and_goes_through_dask_or_a_registry(
    world: World, tmp_path: Path, registry: Registry
) -> None:
    environment = {**world.environment(), "KMODPIPE_SHARE_KEY": KEY}
    slow(world)
    for number, share in ((1, "none"), (2, registry.share)):
        with cluster(tmp_path / f"dask{number}", environment, "one", "two", "three", "four") as found:
            ran = world.invoke(*on(found, "--share", share), timeout_s=500)
            assert ran.code == 0, ran.text
        assert world.made().count("bzImage modules") == number
        run = results.load(world.latest / "results.json")
        booted = [cell for cell in run.cells if cell.state is results.State.RAN]
        assert len({cell.properties["worker"] for cell in booted}) >= 2
        # Where a cell was built on another machine than the base, the base came from there.
        origins = {cell.properties.get("base.from", "").partition("@")[0] for cell in booted}
        assert any(one.startswith("file://" if share == "none" else share) for one in origins), origins
        # Nothing is left of what the first machine had.
        (world.root / "images/guest/lib.sh").write_text("# another\n")


@pytest.mark.thorough
@pytest.mark.kernels
def test_certificates_are_what_a_tls_scheduler_asks_for(world: World, tmp_path: Path) -> None:
    from distributed import Security

    for name in ("ours", "theirs"):
        made = Security.temporary()
        write(
            tmp_path / name,
            {"ca": made.tls_ca_file, "cert": made.tls_client_cert, "key": made.tls_client_key},
        )
    tls = [word for n in ("ca", "cert", "key") for word in (FLAGS[n], str(tmp_path / "ours" / n))]
    with cluster(tmp_path / "dask", world.environment(), "one", tls=tls) as found:
        project = world.root / "pyproject.toml"
        text = project.read_text()

        def table(place: Path) -> None:
            files = ", ".join(f'{n} = "{place / n}"' for n in ("ca", "cert", "key"))
            project.write_text(
                f'{text}\n[tool.kmodpipe.cluster.lab]\nscheduler = "{found.address}"\ntls = {{ {files} }}\n'
            )

        table(tmp_path / "theirs")
        ran = world.invoke("test", *HOST, "--on", "lab", timeout_s=200)
        assert ran.code == 3 and "do not agree on TLS" in ran.text, ran.text
        table(tmp_path / "nowhere")
        ran = world.invoke("test", *HOST, "--on", "lab", timeout_s=200)
        assert ran.code == 2 and "no such certificate" in ran.text, ran.text
        table(tmp_path / "ours")
        ran = world.invoke(
            "test", *HOST, "--on", "lab", "--cell", "unpatched.INDEX=y.NOUUID=n", timeout_s=300
        )
        assert ran.code == 0, ran.text


@pytest.mark.thorough
def test_what_cannot_run_says_why_within_seconds(world: World, tmp_path: Path) -> None:
    project = world.root / "pyproject.toml"
    text = project.read_text()

    def said(*argv: str, **env: str) -> tuple[int, str]:
        ran = world.invoke("test", *HOST, *argv, timeout_s=200, **env)
        return ran.code, " ".join(ran.text.split())

    code, shown = said("--on", f"tcp://127.0.0.1:{free_port()}")
    assert code == 3 and "no scheduler answers" in shown
    code, shown = said("--on", "tls://127.0.0.1:1")
    assert code == 2 and "needs certificates" in shown
    code, shown = said("--on", "local:1", "--detach")
    assert code == 2 and "needs a scheduler that stays" in shown
    write(tmp_path, {"shim/distributed/__init__.py": "raise ImportError('No module named distributed')"})
    code, shown = said("--on", "local", PYTHONPATH=f"{tmp_path / 'shim'}:{REPO}")
    assert code == 2 and "pip install 'kmodpipe[cluster]'" in shown
    with cluster(tmp_path / "dask", world.environment()) as found:
        began = time.monotonic()
        code, shown = said("--on", found.address)
        assert code == 3 and "has no worker after 15 s" in shown
        assert time.monotonic() - began < 120
        other = tmp_path / "other"
        shutil.copytree(REPO / "kmodpipe", other / "kmodpipe")
        with (other / "kmodpipe/judge/verdict.py").open("a") as f:
            f.write("# another\n")
        found.start_worker("old", PYTHONPATH=str(other))
        wait_for(lambda: "Registered to" in found.log("old"))
        code, shown = said("--on", found.address)
        assert code == 3 and "worker old gets no work" in shown and "other code" in shown
        found.start_worker("new")
        wait_for(lambda: "Registered to" in found.log("new"))
        table = f'[tool.kmodpipe.cluster.lab]\nscheduler = "{found.address}"\nrequires = {{ gpu = 1 }}\n'
        project.write_text(f"{text}\n{table}patience_s = 20\n")
        code, shown = said("--on", "lab")
        assert code == 3 and "no worker has what the cells need: gpu 1 (the most is 0)" in shown, shown


@pytest.mark.thorough
@pytest.mark.kernels
def test_many_cells_on_many_workers_lose_and_double_nothing() -> None:
    # Of few workers many are killed: each had many cells in its queue.
    asked = cluster_simulation.Simulation(200, 8, 0.5, lost=4, slow=1, client_goes=True)
    one = cluster_simulation.simulate(asked, within_s=500)
    assert (one.missing, one.doubled, one.failed) == (0, 0, 0), one
    # What the killed workers had was begun again.
    assert one.begun_again >= 1
