"""A Docker Engine that dies, comes back or hangs while something is built, and containers that end too soon.

The engine is one of our own, with its own containerd and data; never the machine's.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from kmodpipe.build import builder_image
from kmodpipe.build.runtime import LABEL
from tests.faults import REPO, Ended, Outcome, Scene, ended, wait_for
from tests.faults.way import fault
from tests.faults.way.judging import latest, outcome, problems
from tests.faults.way.warm import fill

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

CELL = "index-nouuid.INDEX=y.NOUUID=n"
CASE = "uuid-remount-default"


class Private:
    """An engine of our own with the builder image in it. Its folder is short: sockets' names are bounded."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kpw-"))
        self.socket = f"unix://{self.folder}/s"
        self._child: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)
        self.start()
        self._load()

    @property
    def env(self) -> dict[str, str]:
        return {"DOCKER_HOST": self.socket}

    def client(self) -> DockerClient:
        import docker

        return docker.DockerClient(base_url=self.socket, timeout=60)

    def start(self, *more: str) -> None:
        """Start it where it does not run, and wait until it answers."""
        if self._child is None or self._child.poll() is not None:
            argv = ["dockerd", "-H", self.socket, "--bridge=none", "--iptables=false", "--ip-forward=false"]
            for name in ("data-root", "exec-root", "pidfile"):
                argv += [f"--{name}", str(self.folder / name)]
            # What a killed one leaves would keep the next from starting.
            (self.folder / "pidfile").unlink(missing_ok=True)
            with (self.folder / "log").open("ab") as log:
                self._child = subprocess.Popen([*argv, *more], stdout=log, stderr=log, start_new_session=True)
        if not wait_for(self._answers, every_s=0.1):
            raise RuntimeError((self.folder / "log").read_text()[-2000:])

    def _answers(self) -> bool:
        with suppress(Exception):
            return bool(self.client().ping())
        return False

    def _load(self) -> None:
        tag = builder_image.tag(REPO / "images")
        tar = self.folder / "image.tar"
        subprocess.run(["docker", "save", "-o", tar, tag], check=True)
        subprocess.run(["docker", "load", "-q", "-i", tar], check=True, env={**os.environ, **self.env})
        tar.unlink()

    def send(self, number: signal.Signals) -> None:
        assert self._child is not None
        self._child.send_signal(number)
        if number is signal.SIGKILL:
            self._child.wait(30)
            self._end_containerd()

    def _end_containerd(self) -> None:
        """End the containerd of an engine that was killed: a new one that meets it half dead waits in vain.
        What runs the containers lives on, as it does."""
        folder = self.folder / "exec-root/containerd"
        with suppress(OSError, ValueError):
            pid = int((folder / "containerd.pid").read_text())
            if str(self.folder) in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGKILL)
        for name in ("containerd.pid", "containerd.sock", "containerd.sock.ttrpc", "containerd-debug.sock"):
            (folder / name).unlink(missing_ok=True)

    def stop(self) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGCONT)
            self._child.terminate()
            try:
                self._child.wait(30)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait(10)

    def containers(self) -> list[Container]:
        found = self.client().containers.list(all=True, filters={"label": LABEL}, ignore_removed=True)
        return list(found)

    def building(self, within_s: float = 90) -> Container:
        """The container of a build, once it is at work."""
        found: list[Container] = []

        def at_work() -> bool:
            for container in self.containers():
                with suppress(Exception):
                    # Not the one that tries whether the engine has this machine's files.
                    tries = "try.sh" in str(container.attrs.get("Args"))
                    # Its own init and shell, and what they have begun.
                    running = container.status == "running" and not tries
                    if running and len(container.top()["Processes"]) > 2:
                        found.append(container)
            return bool(found)

        if not wait_for(at_work, within_s, every_s=0.05):
            raise RuntimeError("no container was started")
        return found[0]

    def left(self) -> list[str]:
        return [f"container left: {container.name}" for container in self.containers()]

    def close(self) -> None:
        self.stop()
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            if str(self.folder) in line:
                subprocess.run(["umount", "-l", line.split()[4]], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


@cache
def _private() -> Private:
    return Private()


@contextmanager
def private(*more: str) -> Iterator[Private]:
    """The engine, running and empty, started with ``more``."""
    one = _private()
    if more:
        one.stop()
    one.start(*more)
    try:
        yield one
    finally:
        if more:
            one.stop()
        one.start()
        for container in one.containers():
            container.remove(force=True)


def warm(scene: Scene) -> None:
    """Fill the scene's cache with all that the cell takes but for its module."""
    fill(scene, ("--no-control", "--cell", CELL), without=("module",))


@contextmanager
def stage(scene: Scene) -> Iterator[Private]:
    """A warm scene and its engine."""
    warm(scene)
    with private() as one:
        yield one


def command(*more: str) -> tuple[str, ...]:
    return ("test", "--no-control", "--cell", CELL, "--case", CASE, *more)


def disturbed(scene: Scene, one: Private, harm: Callable[[Container], object]) -> Ended:
    """The run, with ``harm`` done once the container of its build is at work."""
    running = scene.start(*command(), env=one.env)
    harm(one.building())
    return ended(running, 240)


def next_run(scene: Scene, one: Private) -> list[str]:
    """What is wrong with the same command, once more; containers that are left included."""
    found = problems(scene.invoke(*command(), env=one.env), 0)
    return [*(f"the next run: {problem}" for problem in found), *one.left()]


def blamed(scene: Scene, done: Ended, *words: str) -> tuple[str, list[str]]:
    """Why the cell has no verdicts, and what is wrong with that: it is infrastructure, and the reason has one
    of ``words`` in it."""
    told = " ".join(cell.reason.splitlines()[0] for cell in latest(scene).cells if cell.reason)
    return told, problems(done, 3) + [f"the cell says: {told}"] * (not any(word in told for word in words))


# -- the engine ---------------------------------------------------------------------------------------
@fault("engine-stopped", "no engine runs when the run begins")
def _engine_stopped(scene: Scene) -> Outcome:
    with stage(scene) as one:
        one.stop()
        done = scene.invoke(*command(), env=one.env)
    return outcome(done, "the cache", problems(done, 3, "does not answer", "--runtime host"))


@fault("engine-killed", "dockerd is killed (SIGKILL) while a module is built, and stays away")
def _engine_killed(scene: Scene) -> Outcome:
    with stage(scene) as one:
        done = disturbed(scene, one, lambda _: one.send(signal.SIGKILL))
        told, found = blamed(scene, done, "Docker Engine ended")
        one.start()
        found += next_run(scene, one)
    return Outcome(told, done.code, "what was built; the next run removed the container", tuple(found))


@fault("engine-restarted", "dockerd is killed while a module is built, and started again")
def _engine_restarted(scene: Scene) -> Outcome:
    with stage(scene) as one:

        def restart(_: Container) -> None:
            one.send(signal.SIGKILL)
            time.sleep(1)
            one.start()

        done = disturbed(scene, one, restart)
        found = [*problems(done, 0, "was restarted while the module"), *one.left()]
    told = next((line for line in done.err.splitlines() if line.startswith("warning: Docker")), "NOTHING")
    return Outcome(told, done.code, "the run: the module was built once more", tuple(found))


@fault("engine-hangs", "dockerd hangs (SIGSTOP) while a module is built")
def _engine_hangs(scene: Scene) -> Outcome:
    stopped: list[float] = []
    with stage(scene) as one:

        def stop(_: Container) -> None:
            one.send(signal.SIGSTOP)
            stopped.append(time.monotonic())

        try:
            done = disturbed(scene, one, stop)
        finally:
            one.send(signal.SIGCONT)
        waited_s = time.monotonic() - stopped[0]
        told, found = blamed(scene, done, "stopped answering")
        found += [f"noticed after {waited_s:.0f} s"] * (waited_s > 90)
        found += next_run(scene, one)
    kept = "the next run removed the container"
    return Outcome(f"{told} ({waited_s:.0f} s)", done.code, kept, tuple(found))


# -- containers ---------------------------------------------------------------------------------------
@fault("container-ended", "a build's container is killed, then removed, from outside")
def _container_ended(scene: Scene) -> Outcome:
    with stage(scene) as one:
        killed = disturbed(scene, one, lambda container: container.kill())
        told, found = blamed(scene, killed, "was killed (status 137)")
        removed = disturbed(scene, one, lambda container: container.remove(force=True))
        also, more = blamed(scene, removed, "removed", "killed")
        found += [*more, *next_run(scene, one)]
    return Outcome(f"{told}; {also}", removed.code, "the next run built it", tuple(found))


# -- memory and processes -----------------------------------------------------------------------------
# Assignments: what a line that is only a call expands to may be anything, and would take a base of its own.
HOG = "greedy := $(shell tail /dev/zero)"
FORKS = "greedy := $(shell i=0; while [ $$i -lt 200 ]; do sleep 60 > /dev/null 2>&1 & i=$$((i+1)); done)"


def greedy(scene: Scene, line: str) -> Path:
    """A series that adds ``line`` to the module's Makefile."""
    folder = scene.root / "greedy"
    folder.mkdir()
    (folder / "series").write_text("0001-greedy.patch\n")
    known = next(p for p in (scene.cache / "trees").glob("deb-linux-source-5.10-*") if p.is_dir())
    old = (known / "fs/overlayfs/Makefile").read_text().splitlines()
    head = "".join(f" {text}\n" for text in old[:3])
    (folder / "0001-greedy.patch").write_text(
        "From: x <x@localhost.invalid>\nSubject: [PATCH] greedy\n\n---\n"
        "diff --git a/fs/overlayfs/Makefile b/fs/overlayfs/Makefile\n"
        f"--- a/fs/overlayfs/Makefile\n+++ b/fs/overlayfs/Makefile\n@@ -1,3 +1,4 @@\n+{line}\n{head}"
    )
    return folder


@contextmanager
def limited(controller: str, settings: Mapping[str, str]) -> Iterator[Private]:
    """The engine with all its containers in a control group that has limits. ``settings`` names the file of
    version 1; that of version 2 is known here."""
    name, top = f"kmodpipe-{os.getpid()}", Path("/sys/fs/cgroup")
    unified = (top / "cgroup.controllers").exists()
    group = (top if unified else top / controller) / name
    group.mkdir()
    try:
        if unified:
            (top / "cgroup.subtree_control").write_text(f"+{controller}")
        for file, value in settings.items():
            (
                group / {"memory.limit_in_bytes": "memory.max"}.get(file, file) if unified else group / file
            ).write_text(value)
        with private(f"--cgroup-parent=/{name}") as one:
            yield one
    finally:
        for place in (*reversed([p for p in group.rglob("*") if p.is_dir()]), group):
            with suppress(OSError):
                place.rmdir()
        # Docker makes the group under every controller.
        for place in () if unified else top.glob(f"*/{name}"):
            with suppress(OSError):
                place.rmdir()


def without(scene: Scene, line: str, controller: str, settings: Mapping[str, str], word: str) -> Outcome:
    warm(scene)
    series = greedy(scene, line)
    with limited(controller, settings) as one:
        done = scene.invoke(
            "test",
            "--series",
            series,
            "--no-control",
            "--cell",
            "greedy.INDEX=y*",
            "--case",
            CASE,
            env=one.env,
        )
        told, found = blamed(scene, done, word)
        found += one.left()
    modules = list((scene.cache / "store/module").glob("[0-9a-f]*"))
    found += ["a module that lacks something is in the store"] * bool(modules)
    return Outcome(told, done.code, "nothing that was made so is kept", tuple(found))


@fault("no-memory", "a compiler's memory runs out (a real OOM kill), and make says 0 all the same")
def _no_memory(scene: Scene) -> Outcome:
    return without(scene, HOG, "memory", {"memory.limit_in_bytes": str(192 << 20)}, "ran out of memory")


@fault("no-processes", "the limit on the builder's processes is hit")
def _no_processes(scene: Scene) -> Outcome:
    return without(scene, FORKS, "pids", {"pids.max": "100"}, "no more processes could be started")
