"""The default tree on a cluster of separate processes, each with a cache of its own: real kernels and guests.

The machine's own cache has the base, so that none has to be compiled here: what is tested is how it travels.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from kmodpipe import results
from kmodpipe.cache.place import cache_folder
from kmodpipe.results import Run, State
from tests.integration.conftest import require, require_machinery
from tests.integration.test_fanout import Registry, registry
from tests.support import REPO
from tests.support.dask_cluster import Cluster, cluster

pytest.importorskip("distributed", reason="Dask is not installed: pip install 'kmodpipe[cluster]'")

pytestmark = [
    pytest.mark.integration, pytest.mark.kernels, pytest.mark.thorough, pytest.mark.timeout(3000),
    pytest.mark.xdist_group("cluster"),
]  # fmt: skip

__all__ = ["registry"]
CASES = ("--case", "uuid-remount-index-nouuid", "--case", "remount-on-to-on")
CELLS = 5


@pytest.fixture
def environment() -> Mapping[str, str]:
    require_machinery()
    return {**os.environ, "PYTHONPATH": str(REPO), "COLUMNS": "200"}


def empty(folder: Path) -> Path:
    """A cache with the trees that this machine has fetched, and nothing that was built of them."""
    folder.mkdir(parents=True)
    for name in ("trees", "downloads", "git", "kernels", "accel.json"):
        if (cache_folder() / name).exists():
            (folder / name).symlink_to(cache_folder() / name)
    return folder


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
    caches = {name: empty(tmp_path / "caches" / name) for name in names}
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


def test_what_one_machine_has_built_travels_through_dask_without_a_registry(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    def cache(name: str) -> Path:
        return cache_folder() if name == "one" else tmp_path / "caches" / name

    empty(tmp_path / "caches" / "two")
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
