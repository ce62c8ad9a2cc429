"""Look at every need and say how it stands, with the fix beside each problem. Changes nothing."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kmodpipe.build import builder_image
from kmodpipe.build.runtime import docker_engine
from kmodpipe.build.runtime.docker_engine import State
from kmodpipe.host import facts
from kmodpipe.util import process
from kmodpipe.util.errors import KmodpipeError
from kmodpipe.util.workers import Thread

if TYPE_CHECKING:
    from rich.table import Table

    from kmodpipe.source import TreeSpec
    from kmodpipe.util.screen import Screen
    from kmodpipe.vm.accel import Accel

DISK_WANTED_MIB = 6 * 1024
DISK_NEEDED_MIB = 2 * 1024
MEMORY_WANTED_MIB = 2 * 1024
MEMORY_NEEDED_MIB = 768
_SETUP = "run: invoke setup"
_SLOW = 2.0

Reach = Callable[["TreeSpec"], tuple[bool, str]]
Probe = Callable[[Path, "Screen"], "Accel"]


@dataclass(frozen=True)
class Finding:
    """How one need stands. ``ok``: True met, None works with a limit, False not met; ``fix`` what to do."""

    need: str
    ok: bool | None
    found: str
    fix: str = ""


def healthy(findings: tuple[Finding, ...]) -> bool:
    """Whether kmodpipe can do its work here: no need is unmet."""
    return all(f.ok is not False for f in findings)


def examine(
    images_dir: Path,
    cache: Path,
    screen: Screen,
    trees: Mapping[str, TreeSpec],
    *,
    default_tree: str | None = None,
    reach: Reach | None = None,
    probe: Probe | None = None,
    names: builder_image.Names | None = None,
    network_s: float = 6.0,
) -> tuple[Finding, ...]:
    """Every need, in the order it is told. Takes as long as the slower of the accelerator and ``network_s``.

    With ``default_tree``, the sources of that tree alone must be reachable; the others' are told.
    ``reach`` and ``probe`` default to `source.check_reach` and `accel.probe`.
    """
    # The network answers while the accelerator is tried.
    network = _Network(trees, reach, time.monotonic() + network_s)
    seen = docker_engine.look(3)
    findings = [
        docker(seen),
        examine_image(seen, images_dir, names),
        rights(os.getuid(), facts.user_name(), seen),
        qemu(),
        *running(cache, screen, probe),
        disk(cache),
        memory(_meminfo()),
        git(),
    ]
    return (*findings, *network.findings(default_tree))


def table(findings: tuple[Finding, ...]) -> Table:
    """The findings for the screen: a line a need."""
    from rich.table import Table
    from rich.text import Text

    from kmodpipe.util.text import visible

    marks = {True: ("ok", "green"), None: ("limited", "yellow"), False: ("missing", "bold red")}
    shown = Table(box=None, pad_edge=False)
    for heading in ("", "need", "found", "fix"):
        shown.add_column(heading, overflow="fold")
    for f in findings:
        mark, style = marks[f.ok]
        shown.add_row(Text(mark, style), f.need, Text(visible(f.found)), Text(visible(f.fix)))
    return shown


# -- one need each ---------------------------------------------------------------------------------
def docker(seen: docker_engine.Look) -> Finding:
    if seen.state is State.ANSWERS:
        return Finding("Docker Engine", True, f"{seen.version} at {seen.endpoint}")
    trouble = docker_engine.unusable(seen)
    return Finding("Docker Engine", False, trouble.what, trouble.hint)


def examine_image(
    seen: docker_engine.Look, images_dir: Path, names: builder_image.Names | None = None
) -> Finding:
    need = "builder image"
    try:
        name = builder_image.tag(images_dir, names)
        if seen.state is not State.ANSWERS:
            return Finding(need, False, "unknown while no engine answers", _SETUP)
        found = builder_image.find(docker_engine.connect(3), images_dir, names=names)
    except KmodpipeError as e:
        return Finding(need, False, e.what, e.hint)
    if found is None:
        return Finding(need, False, f"{name} is not there", f"{_SETUP} (a build makes it, too)")
    return Finding(need, True, f"{name} ({found.removeprefix('sha256:')[:12]})")


def rights(uid: int, user: str, seen: docker_engine.Look) -> Finding:
    """Whether this user may do what kmodpipe does: use the engine now, and become root for `setup`."""
    sudo = _which("sudo") is not None
    if seen.state is State.DENIED:
        return Finding("rights", False, f"{user} may not use {seen.endpoint}", _SETUP)
    if uid == 0:
        return Finding("rights", True, "root")
    if seen.state is State.ANSWERS:
        return Finding("rights", True, f"{user} may use Docker Engine")
    if sudo:
        return Finding("rights", True, f"{user}, with sudo for setup")
    return Finding("rights", None, f"{user}, without sudo", "run invoke setup as root")


def qemu() -> Finding:
    return _program(facts.QEMU, ["--version"], "QEMU")


def git() -> Finding:
    return _program(facts.GIT, ["--version"], "git")


def _program(need: facts.Need, argv: list[str], name: str) -> Finding:
    if _which(need.program) is None:
        return Finding(name, False, f"{need.program} is not installed ({need.purpose})", _SETUP)
    try:
        answer = process.run([need.program, *argv], timeout_s=10).text.splitlines()
    except KmodpipeError as e:
        return Finding(
            name, False, f"{e.what}: {e.detail.splitlines()[-1] if e.detail else 'no output'}", _SETUP
        )
    return Finding(name, True, answer[0] if answer else need.program)


def running(cache: Path, screen: Screen, probe: Probe | None = None) -> tuple[Finding, ...]:
    """What QEMU really runs on, proved by running something, slow but sound without KVM; and how fast."""
    need = "accelerator"
    if _which(facts.QEMU.program) is None:
        return (Finding(need, False, "unknown without QEMU", _SETUP),)
    try:
        if probe is None:
            from kmodpipe.vm import accel

            probe = accel.probe
        works = probe(cache, screen)
    except KmodpipeError as e:
        return (Finding(need, False, e.what, e.hint),)
    found = f"{works.name}, CPU {works.cpu}" + (f": {works.reason}" if works.reason else "")
    return (Finding(need, True, found), speed(works))


def speed(works: Accel) -> Finding:
    """How fast this machine is now: what the limits of a run that begins now are scaled by."""
    from tempfile import TemporaryDirectory

    from kmodpipe.vm import speed as measuring

    try:
        with TemporaryDirectory(prefix="kmodpipe-") as folder:
            found = measuring.measure(works, Path(folder))
    except KmodpipeError as e:
        return Finding("speed", None, e.what, e.hint)
    if found.trouble:
        return Finding(
            "speed", None, found.describe(), "run invoke test all the same; limits may be too short"
        )
    if found.factor < _SLOW:
        return Finding("speed", True, found.describe())
    fix = "every boot takes that much longer; a machine with KVM, or less beside it, would help"
    return Finding("speed", None, found.describe(), fix)


def disk(cache: Path) -> Finding:
    # The cache may not be there yet: its nearest folder that is tells the file system.
    place = next(p for p in (cache, *cache.absolute().parents) if p.is_dir())
    free_mib = shutil.disk_usage(place).free // (1024 * 1024)
    found = f"{free_mib} MiB free at {cache}"
    if not os.access(place, os.W_OK):
        return Finding("disk", False, f"{place} cannot be written", "set KMODPIPE_CACHE to a folder of yours")
    if free_mib >= DISK_WANTED_MIB:
        return Finding("disk", True, found)
    fix = f"have {DISK_WANTED_MIB} MiB free, or set KMODPIPE_CACHE to a folder elsewhere; invoke clean helps"
    return Finding("disk", False if free_mib < DISK_NEEDED_MIB else None, found, fix)


def memory(meminfo: str) -> Finding:
    """Memory from the text of /proc/meminfo: a compiler a CPU, and a guest of 256 MiB a cell that runs."""
    rows = dict(line.split(":", 1) for line in meminfo.splitlines() if ":" in line)
    try:
        available_mib = int(rows["MemAvailable"].split()[0]) // 1024
    except (KeyError, ValueError, IndexError):
        return Finding("memory", None, "unknown: /proc/meminfo does not tell", "have 2 GiB available")
    found = f"{available_mib} MiB available"
    if available_mib >= MEMORY_WANTED_MIB:
        return Finding("memory", True, found)
    ok = False if available_mib < MEMORY_NEEDED_MIB else None
    return Finding("memory", ok, found, f"have {MEMORY_WANTED_MIB} MiB available, or run with --jobs 1")


class _Network:
    """Each tree's sources asked for at once, in threads that nobody waits for after ``deadline``."""

    def __init__(self, trees: Mapping[str, TreeSpec], reach: Reach | None, deadline: float) -> None:
        self._deadline = deadline
        self._trees = trees
        self._reach = reach
        self._answers: dict[str, tuple[bool, str]] = {}
        self._threads = [Thread(partial(self._ask, name), f"reach-{name}") for name in trees]
        for thread in self._threads:
            thread.start()

    def _ask(self, name: str) -> None:
        try:
            if self._reach is None:
                from kmodpipe import source

                self._answers[name] = source.check_reach(self._trees[name])
            else:
                self._answers[name] = self._reach(self._trees[name])
        except Exception as e:
            self._answers[name] = (False, str(e).splitlines()[0] if str(e) else type(e).__name__)

    def findings(self, default: str | None) -> tuple[Finding, ...]:
        for thread in self._threads:
            thread.join(max(self._deadline - time.monotonic(), 0))
        late = (False, "no answer in time")
        answers = {name: self._answers.get(name, late) for name in self._trees}
        return tuple(self._finding(name, answers, default in (None, name)) for name in self._trees)

    def _finding(self, name: str, answers: Mapping[str, tuple[bool, str]], must: bool) -> Finding:
        need = f"tree {name}"
        reached, phrase = answers[name]
        if reached:
            return Finding(need, True, phrase)
        stand_in = self._trees[name].stand_in
        if stand_in and answers.get(stand_in, (False, ""))[0]:
            return Finding(
                need, None, phrase, f"its stand-in {stand_in} will be tested, and the result says so"
            )
        fix = "check the network and its proxy, or use another --tree"
        return Finding(need, False if must else None, phrase, fix)


def _which(program: str) -> str | None:
    return shutil.which(program, path=process.clean_environment()["PATH"])


def _meminfo() -> str:
    try:
        return Path("/proc/meminfo").read_text(encoding="utf-8")
    except OSError:
        return ""
