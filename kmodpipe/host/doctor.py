"""Check every need of kmodpipe on this machine, and name a fix for each problem. Changes nothing."""

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

    from kmodpipe.source.kernels import KernelSpec
    from kmodpipe.util.screen import Screen
    from kmodpipe.vm.accel import Accel

DISK_WANTED_MIB = 6 * 1024
DISK_NEEDED_MIB = 2 * 1024
MEMORY_WANTED_MIB = 2 * 1024
MEMORY_NEEDED_MIB = 768
_SETUP = "run: invoke setup"

# A factor (see `vm.speed`) from which the machine counts as slow.
_SLOW = 2.0

Reach = Callable[["KernelSpec"], tuple[bool, str]]
"""A function such as `source.kernels.check`."""
Probe = Callable[[Path, "Screen"], "Accel"]
"""A function such as `accel.probe`."""


@dataclass(frozen=True)
class Finding:
    """The result of checking one need."""

    need: str
    # True: met; None: kmodpipe works, with a limitation; False: not met.
    ok: bool | None
    # What was found, in a phrase.
    found: str
    # What to do about it; empty if nothing.
    fix: str = ""


def healthy(findings: tuple[Finding, ...]) -> bool:
    """Whether kmodpipe can work here: every need is met, if with a limitation."""
    return all(f.ok is not False for f in findings)


def examine(
    images_dir: Path,
    cache: Path,
    screen: Screen,
    trees: Mapping[str, KernelSpec],
    *,
    default_tree: str | None = None,
    reach: Reach | None = None,
    probe: Probe | None = None,
    names: builder_image.Names | None = None,
    network_s: float = 6.0,
) -> tuple[Finding, ...]:
    """Check every need; return the findings in the order to show them.

    With ``default_tree``, only that tree's source has to be reachable; the others are checked all the same.
    ``reach`` and ``probe`` default to `source.kernels.check` and `accel.probe`. The network is given
    ``network_s`` to answer.
    """
    # Started first, so that the network answers while the accelerator is tested.
    network = _Network(trees, reach, time.monotonic() + network_s)
    seen = docker_engine.look(3)
    findings = [
        docker(seen),
        examine_image(seen, images_dir, names),
        rights(os.getuid(), facts.user_name(), seen),
        disk(cache),
        memory(_meminfo()),
        git(),
        qemu(),
        *running(cache, screen, probe),
    ]
    return (*findings, *network.findings(default_tree))


_WORDS = {True: "ok", None: "limited", False: "missing"}


def document(findings: tuple[Finding, ...]) -> dict[str, object]:
    """Return the findings as a JSON document."""
    rows = [{"need": f.need, "state": _WORDS[f.ok], "found": f.found, "fix": f.fix} for f in findings]
    return {"schema": "kmodpipe-doctor", "version": 1, "healthy": healthy(findings), "findings": rows}


def table(findings: tuple[Finding, ...]) -> Table:
    """Return the findings as a table for the screen, one row a need."""
    from rich.table import Table
    from rich.text import Text

    from kmodpipe.util.text import visible

    styles = {True: "green", None: "yellow", False: "bold red"}
    shown = Table(box=None, pad_edge=False)
    for heading in ("", "need", "found", "fix"):
        shown.add_column(heading, overflow="fold")
    for f in findings:
        shown.add_row(Text(_WORDS[f.ok], styles[f.ok]), f.need, Text(visible(f.found)), Text(visible(f.fix)))
    return shown


# -- one need each ---------------------------------------------------------------------------------
def docker(seen: docker_engine.Look) -> Finding:
    """Check the container engine."""
    if seen.state is State.ANSWERS:
        return Finding("Docker Engine", True, f"{seen.version} at {seen.endpoint}")
    error = docker_engine.unusable(seen)
    return Finding("Docker Engine", False, error.what, error.hint)


def examine_image(
    seen: docker_engine.Look, images_dir: Path, names: builder_image.Names | None = None
) -> Finding:
    """Check the builder image."""
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
    """Check that this user may use the engine, or can become root for `setup`."""
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
    """Check QEMU."""
    return _program(facts.QEMU, ["--version"], "QEMU")


def git() -> Finding:
    """Check git."""
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
    """Find out by a boot which accelerator QEMU can use here, and how fast it is.

    Without KVM that is TCG, which is slow and counts as met.
    """
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
    """Measure how fast this machine is now; the time limits of a run are scaled by that."""
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
    fix = "every boot takes that much longer; a machine with KVM, or with less other load, is faster"
    return Finding("speed", None, found.describe(), fix)


def disk(cache: Path) -> Finding:
    """Check that the cache can be written to, and has enough free space."""
    # The cache may not exist yet: then its nearest existing parent is on the same file system.
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
    """Check the available memory in the text of /proc/meminfo (see proc_meminfo(5)).

    It has to suffice for one compiler per CPU, and a guest of 256 MiB for each cell that runs.
    """
    rows = dict(line.split(":", 1) for line in meminfo.splitlines() if ":" in line)
    try:
        available_mib = int(rows["MemAvailable"].split()[0]) // 1024
    except (KeyError, ValueError, IndexError):
        return Finding("memory", None, "unknown: not in /proc/meminfo", "have 2 GiB available")
    found = f"{available_mib} MiB available"
    if available_mib >= MEMORY_WANTED_MIB:
        return Finding("memory", True, found)
    ok = False if available_mib < MEMORY_NEEDED_MIB else None
    return Finding("memory", ok, found, f"have {MEMORY_WANTED_MIB} MiB available, or run with --jobs 1")


class _Network:
    """Check all trees' sources in parallel; a thread that has no result at ``deadline`` is abandoned."""

    def __init__(self, trees: Mapping[str, KernelSpec], reach: Reach | None, deadline: float) -> None:
        self._deadline = deadline
        self._trees = trees
        self._reach = reach
        self._answers: dict[str, tuple[bool, str]] = {}
        self._threads = [Thread(partial(self._check, name), f"reach-{name}") for name in trees]
        for thread in self._threads:
            thread.start()

    def _check(self, name: str) -> None:
        try:
            if self._reach is None:
                from kmodpipe.source import kernels

                self._answers[name] = kernels.check(self._trees[name])
            else:
                self._answers[name] = self._reach(self._trees[name])
        except Exception as e:
            self._answers[name] = (False, str(e).splitlines()[0] if str(e) else type(e).__name__)

    def findings(self, default: str | None) -> tuple[Finding, ...]:
        """Wait for the results until the deadline, and return a finding for each tree."""
        for thread in self._threads:
            thread.join(max(self._deadline - time.monotonic(), 0))
        late = (False, "no answer in time")
        answers = {name: self._answers.get(name, late) for name in self._trees}
        return tuple(self._finding(name, answers, default in (None, name)) for name in self._trees)

    def _finding(self, name: str, answers: Mapping[str, tuple[bool, str]], must: bool) -> Finding:
        need = f"{'tree' if hasattr(self._trees[name], 'stand_in') else 'kernel'} {name}"
        reached, phrase = answers[name]
        if reached:
            return Finding(need, True, phrase)
        stand_in = getattr(self._trees[name], "stand_in", None)
        if stand_in and answers.get(stand_in, (False, ""))[0]:
            return Finding(
                need, None, phrase, f"its fallback {stand_in} will be tested, and the results name it"
            )
        fix = "check the network and its proxy, or use another --kernel"
        return Finding(need, False if must else None, phrase, fix)


def _which(program: str) -> str | None:
    return shutil.which(program, path=process.clean_environment()["PATH"])


def _meminfo() -> str:
    try:
        return Path("/proc/meminfo").read_text(encoding="utf-8")
    except OSError:
        return ""
