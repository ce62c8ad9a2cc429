"""A small module on three stock kernels, beside what its author does today.

``python -m tests.benchmark --modules``. Ours builds, boots and judges; the reference is a loop that compiles
against the same headers, in the same images.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from kmodpipe.build import builder_image
from kmodpipe.build.runtime import DockerRuntime, Folder, Job
from kmodpipe.build.runtime.docker_engine import connect
from kmodpipe.pipeline import config
from kmodpipe.source import packaged
from kmodpipe.source.packaged import PackagedKernel
from kmodpipe.util.screen import Mode, Screen
from tests.support.trees import commit_all

REPO = Path(__file__).resolve().parents[1]
KERNELS = ("debian-11", "debian-12", "debian-13")
TIMES = 3
COLD_S, EDIT_S, UNCHANGED_S = 60, 25, 1.5
# What was downloaded, and to what it was resolved, is there; what is made of it is not.
DOWNLOADED = ("downloads", "trees", "accel.json")
LOOP = """\
set -eu
cp -r "$MODULE/." "$OBJ/"
make -s -C "$KIT" M="$OBJ" -j"$JOBS" CC="$COMPILER" modules
"""
Row = Callable[[str, Sequence[float], float, str], None]


def measure(row: Row, cache: Path, work: Path, jobs: int) -> None:
    """Add the rows: an empty store, one edit, nothing changed; each beside the loop."""
    root = work / "hello"
    shutil.copytree(REPO / "examples/hello", root)
    commit_all(root, "first")
    names = [word for name in KERNELS for word in ("--kernel", name)]
    cold, edited, unchanged = [], [], []
    for number in range(TIMES):
        own = work / f"cache-{number}"
        own.mkdir()
        for name in DOWNLOADED:
            if (cache / name).exists():
                (own / name).symlink_to(cache / name)
        cold.append(_kmodpipe(own, root, "test", *names))
        source = root / "hello.c"
        source.write_text(source.read_text().replace("42", f"42 + {number} - {number}"))
        edited.append(_kmodpipe(own, root, "test", "--no-control", *names))
        unchanged.append(_kmodpipe(own, root, "build", *names))
    made = _kernels(work / "cache-0")
    loop = [_loop(made, root, work / f"loop-{number}", jobs) for number in range(TIMES)]
    reference = sorted(loop)[TIMES // 2]
    row("a module on three stock kernels, empty store: built, booted, judged", cold, COLD_S, "limit")
    row("  the same, beside compiling alone in a loop", cold, reference, "loop")
    row("after an edit", edited, EDIT_S, "limit")
    row("  the same, beside compiling alone in a loop", edited, reference, "loop")
    row("unchanged, the build", unchanged, UNCHANGED_S, "limit")


def _kmodpipe(cache: Path, root: Path, *argv: str) -> float:
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "kmodpipe", *argv],
        cwd=root,
        env={**os.environ, "KMODPIPE_CACHE": str(cache), "PYTHONPATH": str(REPO)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return time.monotonic() - began


def _kernels(cache: Path) -> list[PackagedKernel]:
    declared = config.load(REPO).packaged
    return [packaged.fetch(declared[name], cache, Screen(Mode.QUIET)) for name in KERNELS]


def _loop(kernels: Sequence[PackagedKernel], root: Path, work: Path, jobs: int) -> float:
    client, began = connect(), time.monotonic()
    for kernel in kernels:
        folder = work / kernel.release
        for name in ("recipe", "obj"):
            (folder / name).mkdir(parents=True)
        (folder / "recipe" / "loop.sh").write_text(LOOP)
        image = builder_image.find(client, REPO / "images", release=kernel.suite)
        assert image, kernel.suite
        job = Job(
            "a loop", "loop.sh",
            (Folder("RECIPE", folder / "recipe"), Folder("MODULE", root), Folder("KIT", kernel.kit),
             Folder("OBJ", folder / "obj", writable=True)),
            folder / "log", 600, {"JOBS": str(jobs), "COMPILER": kernel.compiler},
        )  # fmt: skip
        ended = DockerRuntime(client, image).run(job)
        assert ended.status == 0, ended.tail
    return time.monotonic() - began
