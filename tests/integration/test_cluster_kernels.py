"""The default tree on a cluster of separate processes, each with a cache of its own: real kernels and guests.

The machine's own cache has the base, so that none has to be compiled here: what is tested is how it travels.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pytest
from rich.table import Table

from kmodpipe import results
from kmodpipe.cache.place import cache_folder
from kmodpipe.cache.share import ORIGIN
from kmodpipe.results import Run, State
from tests.integration.conftest import require, require_machinery, show
from tests.integration.test_fanout import Registry, registry
from tests.support import REPO
from tests.support.caches import empty
from tests.support.dask_cluster import Cluster, cluster

pytest.importorskip("distributed", reason="Dask is not installed: pip install 'kmodpipe[cluster]'")

pytestmark = [
    pytest.mark.integration, pytest.mark.kernels, pytest.mark.thorough, pytest.mark.timeout(3000),
    pytest.mark.xdist_group("cluster"),
]  # fmt: skip

__all__ = ["registry"]
CASES = ("--case", "uuid-remount-index-nouuid", "--case", "remount-on-to-on")
CELLS = 5
BOTH = ("--series", "index-nouuid", "--series", "uuid-off")
CELLS_OF_BOTH = 9


@pytest.fixture
def environment() -> Mapping[str, str]:
    require_machinery()
    return {**os.environ, "PYTHONPATH": str(REPO), "COLUMNS": "200"}


def invoke(tmp_path: Path, *argv: str, within_s: float = 2500) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "invoke", *argv, "--out", str(tmp_path / "out")], cwd=REPO,
        env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, timeout=within_s, check=False,
    )  # fmt: skip


def newest(tmp_path: Path) -> tuple[Path, Run]:
    folder = max((tmp_path / "out").glob("2*/results.json")).parent
    return folder, results.load(folder / "results.json")


def words(run: Run) -> dict[tuple[str, str], tuple[str, str]]:
    return {(cell.cell, case.case): (case.verdict.value, case.outcome) for cell, case in run.results()}


@pytest.fixture
def four(tmp_path: Path, environment: Mapping[str, str]) -> Iterator[Cluster]:
    names = ("one", "two", "three", "four")
    caches = {name: empty(cache_folder(), tmp_path / "caches" / name) for name in names}
    with cluster(tmp_path / "dask", environment, *names, cache=caches.__getitem__) as found:
        yield found


def test_four_machines_compile_modules_only_with_a_registry(
    tmp_path: Path, registry: Registry, four: Cluster
) -> None:
    # What this machine has built, the registry has.
    first = invoke(tmp_path, "build", "--share", registry.share)
    assert first.returncode == 0, first.stdout + first.stderr
    ran = invoke(tmp_path, "test", *CASES, "--share", registry.share, "--on", four.address)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    folder, run = newest(tmp_path)
    booted = [cell for cell in run.cells if cell.state is State.RAN]
    assert len(booted) == CELLS and len({cell.properties["worker"] for cell in booted}) >= 2
    for cell in booted:
        assert re.fullmatch(rf"{registry.share}@sha256:[0-9a-f]{{64}}", cell.properties["base.from"])
        log = (folder / cell.artifacts["build.log"]).read_text()
        assert re.findall(r"^  CC \[M\]", log, re.MULTILINE)
    made = [path.parent.parent.name for name in four.workers
            for path in (four.cache(name) / "store").glob("*/*/.sums")]  # fmt: skip
    assert made.count("module") == CELLS
    local = invoke(tmp_path, "test", *CASES)
    assert local.returncode == 0, local.stdout + local.stderr
    assert words(newest(tmp_path)[1]) == words(run)


def test_what_is_killed_costs_no_verdict_and_each_cell_is_there_once(
    tmp_path: Path, registry: Registry, environment: Mapping[str, str], request: pytest.FixtureRequest
) -> None:
    """Both designs on four machines with nothing but the tree: the base is compiled as well."""
    caches = {
        name: empty(cache_folder(), tmp_path / "caches" / name) for name in ("one", "two", "three", "four")
    }

    def journal() -> Path:
        (path,) = tmp_path.glob("out/2*/cells.jsonl")
        return path

    with cluster(tmp_path / "dask", environment, cache=caches.__getitem__) as found:
        for name in caches:
            found.start_worker(name, "--nthreads", "2")
        asked = ("ci", *BOTH, *CASES, "--share", registry.share, "--on", found.address)
        first = _begin(tmp_path, "first", *asked)
        # A worker in a build: vmlinux is being compiled.
        _until(lambda: _compiled(caches.values()) > 100, first, 900)
        in_a_build = found.kill(found.worker_of("--prepare"))
        # A worker in a boot.
        _until(found.worker_with_guest, first, 1800)
        in_a_boot = found.kill(found.worker_with_guest())
        # The client, which has written down a cell.
        _until(lambda: '{"cell"' in journal().read_text(), first, 600)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait(20)
        folder = journal().parent
        killed = results.load(folder / "results.json")
        assert not killed.finished and State.RAN in {cell.state for cell in killed.cells}
        second = _begin(tmp_path, "second", "attach")
        # The scheduler, while cells are open; what keeps Dask's workers running starts them again.
        _until(lambda: "run on" in (tmp_path / "second.log").read_text(), second, 120)
        found.kill_scheduler()
        found.start_scheduler()
        for name in list(found.workers):
            found.start_again(name, "--nthreads", "2")
        assert second.wait(1800) == 0, (tmp_path / "second.log").read_text()
    run = results.load(folder / "results.json")
    local = invoke(tmp_path, "ci", *BOTH, *CASES)
    assert local.returncode == 0, local.stdout + local.stderr
    here = newest(tmp_path)[1]
    assert here.id != run.id and words(here) == words(run)
    assert [cell.cell for cell in run.cells] == [cell.cell for cell in here.cells]
    tests = [span.subject for span in run.timeline if span.kind == "test"]
    ran = [cell for cell in run.cells if cell.state is State.RAN]
    assert sorted(tests) == sorted(cell.cell for cell in ran) and len(ran) == CELLS_OF_BOTH
    made = {name: _made(cache) for name, cache in caches.items()}
    assert in_a_build != in_a_boot
    assert [name for name, kinds in made.items() if kinds["base"]] != [in_a_build]
    assert sum(kinds["base"] for kinds in made.values()) == 1
    assert made[in_a_boot]["module"]
    # A module that was on its way to a killed worker's guest was compiled once more.
    assert sum(kinds["module"] for kinds in made.values()) >= CELLS_OF_BOTH
    assert "the scheduler is gone" in (tmp_path / "second.log").read_text()
    ends = {in_a_build: "killed in the build of the base", in_a_boot: "killed in a boot"}
    show(request, _table(run, made, ends))


def _begin(tmp_path: Path, name: str, *argv: str) -> subprocess.Popen[bytes]:
    with (tmp_path / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "invoke", *argv, "--out", str(tmp_path / "out")], cwd=REPO,
            env={**os.environ, "COLUMNS": "200"}, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def _until(seen: Callable[[], object], child: subprocess.Popen[bytes], within_s: float) -> None:
    """Wait until something is so while a command runs."""
    deadline = time.monotonic() + within_s
    while not seen():
        assert child.poll() is None, "the command has ended"
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.2)


def _compiled(caches: Iterable[Path]) -> int:
    """How many objects a base that is being built has so far."""
    logs = [log for cache in caches for log in cache.glob("work/job-*/out/2*/shared/base-*.log")]
    return sum(log.read_text(errors="replace").count("\n  CC ") for log in logs if log.is_file())


def _made(cache: Path) -> Counter[str]:
    """What a machine has made itself, by kind: what it fetched says where it came from."""
    whole = (path.parent for path in cache.glob("store/*/*/.sums"))
    return Counter(path.parent.name for path in whole if not (path / ORIGIN).exists())


def _table(run: Run, made: Mapping[str, Counter[str]], ends: Mapping[str, str]) -> Table:
    table = Table("worker", "compiled", "its cells in the results", "how it ended")
    for name, kinds in made.items():
        cells = [cell.cell for cell in run.cells if cell.properties.get("worker") == name]
        text = ", ".join(f"{kinds[kind]} {kind}" for kind in ("base", "module") if kinds[kind])
        table.add_row(name, text or "nothing", "\n".join(cells), ends.get(name, ""))
    return table


def test_what_one_machine_has_built_travels_through_dask_without_a_registry(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    def cache(name: str) -> Path:
        return cache_folder() if name == "one" else tmp_path / "caches" / name

    empty(cache_folder(), tmp_path / "caches" / "two")
    with cluster(tmp_path / "dask", environment, "one", cache=cache) as found:
        child = subprocess.Popen(
            [sys.executable, "-m", "invoke", "test", *CASES, "--on", found.address, "--out",
             str(tmp_path / "out")],
            cwd=REPO, env={**os.environ, "COLUMNS": "200"}, stdout=subprocess.PIPE,
            stderr=(tmp_path / "err").open("w"), text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 1500
        while "✓ base" not in (tmp_path / "err").read_text() and time.monotonic() < deadline:
            time.sleep(0.5)
        # It has nothing but the tree, and joins when the base is there.
        found.start_worker("two")
        out, _ = child.communicate(timeout=1500)
    assert child.returncode == 0, out + (tmp_path / "err").read_text()
    folder, run = newest(tmp_path)
    of_two = [cell for cell in run.cells if cell.properties.get("worker") == "two"]
    require(bool(of_two), "the first worker was through before the second one joined")
    assert all(cell.properties["base.from"].startswith("file://") for cell in of_two)
    assert not list((tmp_path / "caches/two/store").glob("base/*/build.log")) or of_two
    shutil.rmtree(folder)
