"""What bare commands take for what kmodpipe does: make in a container, QEMU by a run's scripts."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from kmodpipe.build import builder_image
from kmodpipe.build.runtime import DockerRuntime, Ended, Folder, Job
from kmodpipe.build.runtime.docker_engine import connect

REPO = Path(__file__).resolve().parents[1]
FOLDER, FILE = "fs/overlayfs", "super.o"
BASE = """\
set -eu
cp "$ASK/base.config" "$OBJ/.config"
make -C "$SRC" O="$OBJ" -j"$JOBS"
"""
# As by hand, where the base was made: what it has of the module is made again only where make thinks so.
MODULES = """\
set -eu
for config in "$ASK"/*.config; do
    cp "$config" "$OBJ/.config"
    make -C "$SRC" O="$OBJ" -j"$JOBS" "$FOLDER/overlay.ko"
done
"""
TURNS = """\
set -eu
cp -a "$KIT/." "$OBJ/"
cp "$ASK/cell.config" "$OBJ/.config"
make -s -C "$SRC" O="$OBJ" -j"$JOBS" modules_prepare
make -s -C "$OBJ" -j"$JOBS" M="$FOLDER"
took() {
    before=$(date +%s%N)
    "$@"
    echo "$name $((($(date +%s%N) - before) / 1000000))" >> "$OUT/times"
}
for turn in 1 2 3 4 5; do
    name=unchanged
    took make -s -C "$OBJ" -j"$JOBS" M="$FOLDER"
    rm "$OBJ/$FOLDER/$FILE"
    name=edited
    took make -s -C "$OBJ" -j"$JOBS" M="$FOLDER"
done
"""


def base(source: Path, config: str, work: Path, jobs: int) -> float:
    """Return the seconds of ``make -jN`` with this configuration."""
    return _run(BASE, work, {"base.config": config}, (Folder("SRC", source),), jobs).duration_s


def modules(source: Path, configs: Sequence[str], work: Path, jobs: int) -> float:
    """Return the seconds of a make of the module with each configuration, where ``base`` made its own."""
    asks = {f"{number}.config": text for number, text in enumerate(configs)}
    return _run(MODULES, work, asks, (Folder("SRC", source),), jobs).duration_s


def patched(source: Path, series: Path, to: Path) -> Path:
    """Apply a folder's patches to a copy of the tree that shares its other files."""
    subprocess.run(["cp", "-al", source, to], check=True)
    for patch in sorted(series.glob("*.patch")):
        # Writes new files for those that it changes.
        env = {**os.environ, "GIT_CEILING_DIRECTORIES": str(to.parent)}
        subprocess.run(["git", "-C", to, "apply", patch], env=env, check=True)
    return to


def turns(source: Path, kit: Path, config: str, work: Path, jobs: int) -> Mapping[str, Sequence[float]]:
    """Return what each ``make M=`` takes, with nothing to do ("unchanged") and with one object ("edited")."""
    _run(TURNS, work, {"cell.config": config}, (Folder("SRC", source), Folder("KIT", kit)), jobs)
    found: dict[str, list[float]] = {}
    for line in (work / "out" / "times").read_text().splitlines():
        name, milliseconds = line.split()
        found.setdefault(name, []).append(int(milliseconds) / 1000)
    return found


def _run(script: str, work: Path, asks: Mapping[str, str], read: Sequence[Folder], jobs: int) -> Ended:
    folders = {name: work / name for name in ("recipe", "ask", "obj", "out")}
    shutil.rmtree(folders["ask"], ignore_errors=True)
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    (folders["recipe"] / "bare.sh").write_text(script)
    for name, text in asks.items():
        (folders["ask"] / name).write_text(text)
    client = connect()
    image = builder_image.find(client, REPO / "images")
    assert image, "run invoke setup first"
    job = Job(
        "bare make", "bare.sh",
        (Folder("RECIPE", folders["recipe"]), Folder("ASK", folders["ask"]), *read,
         Folder("OBJ", folders["obj"], writable=True), Folder("OUT", folders["out"], writable=True)),
        work / "log", 3600, {"JOBS": str(jobs), "FOLDER": FOLDER, "FILE": FILE},
    )  # fmt: skip
    ended = DockerRuntime(client, image).run(job)
    assert ended.status == 0, ended.tail
    return ended


def guests(run: Path, jobs: int) -> float:
    """Return how long the guests of a run take by their scripts alone, as many at once as there are jobs."""
    scripts = sorted(str(one) for one in run.glob("*/reproduce*.sh"))
    began = time.monotonic()
    subprocess.run(
        ["xargs", "-P", str(jobs), "-n", "1", "sh"], input="\n".join(scripts), text=True, check=False,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ,
    )  # fmt: skip
    return time.monotonic() - began
