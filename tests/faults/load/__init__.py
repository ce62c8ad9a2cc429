"""Interference: this machine is busy with something else while guests run, and no verdict may show it.

    count.sh lost-count.patch   a race in the module, lost now and then: a soak is there to tell its rate

`load` is twice as many busy loops as there are processors, a disk that is written to all the time, and memory
that is taken and touched. ``KMODPIPE_SOAK`` is the number of guests of a soak, 20 where it is not set: enough
to find what is broken, and 200 bound a rate at 1.5 %.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kmodpipe.cache.place import cache_folder
from tests.faults import REPO, Ended, Outcome, Registry, Scene
from tests.faults.load import limits

fault = Registry("load")

HERE = Path(__file__).resolve().parent
SERIES, CHOICE = "index-nouuid", "INDEX=y.NOUUID=n"
CELL = f"{SERIES}.{CHOICE}"
CLEAN = "uuid-remount-index-nouuid"
MOST_MEMORY = 1 << 30
TIMEOUT = "did not end within 5 s.*; QEMU had [0-9.]+ s of processor time and waited [0-9.]+ s for more"
_BUSY = "while True: pass"
_DISK = """
import os, sys
while True:
    with open(sys.argv[1], "wb") as f:
        for _ in range(32):
            f.write(os.urandom(1 << 20))
            os.fsync(f.fileno())
"""
_MEMORY = """
import sys
taken = bytearray(int(sys.argv[1]))
while True:
    for at in range(0, len(taken), 4096):
        taken[at] ^= 1
"""


@contextmanager
def load(folder: Path) -> Iterator[str]:
    """This machine under full load; the file that is written is in ``folder``. Yields what it consists of."""
    number = 2 * (os.cpu_count() or 1)
    memory = min(_available_bytes() // 8, MOST_MEMORY)
    programs = [[_BUSY]] * number + [[_DISK, str(folder / "written")], [_MEMORY, str(memory)]]
    # They end with us, whatever ends us.
    guard = [shutil.which("setpriv") or "setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-c"]
    running = [subprocess.Popen([*guard, *words]) for words in programs]
    try:
        yield f"{number} busy loops, a disk written to, {memory >> 20} MiB touched"
    finally:
        for child in running:
            child.kill()
        for child in running:
            child.wait()
        (folder / "written").unlink(missing_ok=True)


def _available_bytes() -> int:
    rows = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(rows["MemAvailable"].split()[0]) * 1024


# -- runs -----------------------------------------------------------------------------------------------
def soak_size() -> int:
    return int(os.environ.get("KMODPIPE_SOAK", "20"))


def invoke(scene: Scene, *words: str | Path, cwd: Path = REPO) -> Ended:
    """``invoke test`` with the user's own cache: what is tested here is not the build."""
    own = {"KMODPIPE_CACHE": str(cache_folder())}
    return scene.invoke("test", *words, env=own, cwd=cwd, timeout_s=7200)


def run_of(scene: Scene) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((scene.latest / "results.json").read_text())["run"]
    return found


def cell_of(scene: Scene, name: str) -> dict[str, Any]:
    return next(c for c in run_of(scene)["cells"] if c["cell"] == name)


def result(scene: Scene, cell: str) -> dict[str, Any]:
    """The one case of a cell."""
    found = cell_of(scene, cell)
    return {**found["cases"][0], "cell": found, "run": run_of(scene)}


def judged(ended: Ended, found: dict[str, Any], wanted: tuple[int, str, str]) -> list[str]:
    """What speaks against a run that must have had this exit code, verdict and word."""
    seen = ended.code, found["verdict"], found["outcome"]
    return [] if seen == wanted else [f"{seen}, not {wanted}: {found['message']}; {ended.text[-300:]}"]


def told(found: dict[str, Any]) -> str:
    """What the machine did: of all guests of a cell, and how near a limit the nearest case was."""
    own, run = found["cell"]["properties"], found["run"]["properties"]
    return (
        f"{own['boots']} guests, {own['guest-seconds']} s: {own['guest-cpu-seconds']} s of processor time, "
        f"{own['guest-waited-seconds']} s waiting; at most {found['limit_used']:.0%} of a limit, which "
        f"is ×{run['speed.factor']}; load {run['load.begin'].split()[0]} to {run['load.end'].split()[0]}"
    )


def soak_clean(scene: Scene) -> Outcome:
    """One clean cell, again and again."""
    size = soak_size()
    ran = invoke(scene, "--no-control", "--cell", CELL, "--case", CLEAN, "--repeat", str(size))
    found = result(scene, CELL)
    problems = judged(ran, found, (0, "pass", "mounted"))
    if found["attempts"] != size or found["failures"]:
        problems.append(f"{found['failures']} of {found['attempts']} failed, not 0 of {size}")
    logs = sorted(p.name for p in (scene.latest / CELL).glob("console*.log"))
    if len(logs) > 2:
        problems.append(f"more logs are kept than anybody reads: {len(logs)}")
    return Outcome(found["message"].split(";")[0], ran.code, told(found), tuple(problems))


def soak_racy(scene: Scene) -> Outcome:
    """One cell with a race in it: some fail, some pass, and the rate is told."""
    made = scene.root / "lost-count"
    shutil.copytree(REPO / "patches" / SERIES, made, dirs_exist_ok=True)
    shutil.copyfile(HERE / "lost-count.patch", made / "lost-count.patch")
    listing = made / "series"
    listing.write_text(f"{listing.read_text().rstrip()}\nlost-count.patch\n")
    size, cell = soak_size(), f"lost-count.{CHOICE}"
    ran = invoke(
        scene,
        "--series",
        made,
        "--no-control",
        "--cell",
        cell,
        "--case",
        HERE / "count.sh",
        "--repeat",
        str(size),
    )
    found = result(scene, cell)
    problems = judged(ran, found, (1, "fail", "flaky"))
    if found["attempts"] != size or not 0 < found["failures"] < size:
        problems.append(
            f"{found['failures']} of {found['attempts']} failed: not a race that is lost now and then"
        )
    if "of 8 copy-ups were counted" not in found["message"]:
        problems.append(f"a failure of another kind: {found['message']}")
    return Outcome(found["message"].split(";")[0], ran.code, told(found), tuple(problems))


def on_a_busy_machine(scene: Scene) -> Outcome:
    """See `limits`."""
    project = limits.make_project(scene.root / "project")
    stopper = limits.Stopper(scene)
    stopper.start()
    try:
        cases = [word for name in limits.CASES for word in ("--case", name)]
        ran = invoke(scene, "--no-control", "--cell", CELL, *cases, "--jobs", "1", cwd=project)
    finally:
        stopper.end()
    cell = cell_of(scene, CELL)
    found = {case["case"]: case for case in cell["cases"]}
    kept, loops = found["kept-waiting"], found["loops"]
    # "27.35 s, 0.62 s of processor time, 24.11 s waiting"
    lasted_s = float(cell["properties"]["guest.1.time"].split()[0])
    problems = [] if lasted_s > limits.STOPPED_S else [f"the first guest was not stopped: {lasted_s} s"]
    problems += judged(ran, kept, (1, "pass", "through")) + judged(ran, loops, (1, "fail", "timeout"))
    if not re.search(TIMEOUT, loops["message"]):
        problems.append(f"the message does not say what the machine did: {loops['message']}")
    spent = ", ".join(cell["properties"][f"guest.{number}.time"] for number in (1, 2))
    return Outcome(loops["message"], ran.code, f"kept-waiting passed; {spent}", tuple(problems))


# -- the faults -----------------------------------------------------------------------------------------
@fault("limits", "a guest that is kept waiting, and one that never ends, under full load")
def _(scene: Scene) -> Outcome:
    with load(scene.root):
        return on_a_busy_machine(scene)


@fault("clean-cell", "a clean cell, soaked on a machine under full load")
def _(scene: Scene) -> Outcome:
    with load(scene.root):
        return soak_clean(scene)


@fault("race", "a race in the module, soaked on a machine under full load")
def _(scene: Scene) -> Outcome:
    with load(scene.root):
        return soak_racy(scene)


@fault("race-in-quiet", "the same race, without that load")
def _(scene: Scene) -> Outcome:
    return soak_racy(scene)
