"""Faults, injected for real: what was reported of each, the exit code, what was kept, what was left over.

    kernel/     faults in the module under test, found by the guest's kernel
    forgery/    guests that lie
    hostile/    archives, patches, series and names that mean harm
    way/        what breaks on the way: servers, disks, daemons, processes, clocks

`kernel` and `forgery` have all of theirs in one ``invoke test``; every other is an `Injection`: a function
that gets a `Scene` of its own, does the harm, and gives the `Outcome`. ``python -m tests.faults`` prints them
all in one table; tests/integration/ has a test for each.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Table

REPO = Path(__file__).resolve().parents[2]
_TOLD = 240


@dataclass(frozen=True)
class Outcome:
    """What came of a fault. ``reported`` is the sentence that a user reads; ``code`` the exit code; ``kept``
    what was not lost; ``problems`` is all that speaks against it, empty where everything is as it must be."""

    reported: str
    code: int
    kept: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One line of the table: a fault and what came of it."""

    group: str
    name: str
    fault: str
    outcome: Outcome


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit code and both streams."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err

    def sentence(self) -> str:
        """The first line of the error, as the screen shows it; the last line of all where there is none."""
        lines = [line.strip() for line in (self.err or self.out).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error:")]
        failed = [line for line in lines if line.startswith("✗")]
        return (errors or failed or lines[-1:] or ["NOTHING"])[0]


@dataclass(frozen=True)
class Scene:
    """A place of its own for one fault: ``root`` holds a cache, a HOME and a TMPDIR, all empty."""

    root: Path
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def out(self) -> Path:
        return self.root / "out"

    @property
    def latest(self) -> Path:
        """The newest run, also one that did not come to its end."""
        runs = [path.parent for path in self.out.glob("2*/.kmodpipe-run")]
        return max(runs, key=lambda run: run.stat().st_ctime_ns, default=self.out / "latest")

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        own = {
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"),
            "KMODPIPE_CACHE": str(self.cache),
            "COLUMNS": "200",
        }
        return {**os.environ, **own, **self.env, **(more or {})}

    def argv(self, *words: str | Path, module: str = "invoke") -> list[str]:
        return [sys.executable, "-m", module, *map(str, words), "--out", str(self.out)]

    def start(
        self,
        *words: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path = REPO,
        module: str = "invoke",
        prefix: Sequence[str] = (),
    ) -> subprocess.Popen[str]:
        """``invoke WORDS`` in a process group of its own, behind ``prefix``, with its output in pipes."""
        return subprocess.Popen(
            [*prefix, *self.argv(*words, module=module)],
            cwd=cwd, env=self.environment(env), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def invoke(
        self,
        *words: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path = REPO,
        module: str = "invoke",
        timeout_s: float = 1200,
    ) -> Ended:
        """``invoke WORDS``, to its end."""
        return ended(self.start(*words, env=env, cwd=cwd, module=module), timeout_s)


def copy_project(root: Path, cases: str) -> Path:
    """A copy of this project in ``root`` without its cases; what it builds is the same, so the cache has it.
    Returns the folder of its own ``cases``, still empty."""
    root.mkdir(parents=True, exist_ok=True)
    for name in ("tasks.py", "pyproject.toml"):
        shutil.copy(REPO / name, root)
    for name in ("kconfigs", "patches"):
        shutil.copytree(REPO / name, root / name)
    shutil.copytree(REPO / "images", root / "images", ignore=shutil.ignore_patterns("cases"))
    folder = root / "images/guest/cases" / cases
    folder.mkdir(parents=True)
    return folder


def make_scene(root: Path) -> Scene:
    """A scene in the folder ``root``, which may be there and is empty; it can be within another one."""
    for name in ("", "home", "tmp", "cache"):
        (root / name).mkdir(parents=True, exist_ok=True)
    return Scene(root)


def ended(child: subprocess.Popen[str], timeout_s: float = 1200) -> Ended:
    """Wait for a child of `Scene.start`; one that does not end is killed, and fails the test."""
    try:
        out, err = child.communicate(timeout=timeout_s)
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, 9)
        child.communicate()
        raise
    return Ended(child.returncode, out, err)


def wait_for(condition: Callable[[], object], within_s: float = 60, every_s: float = 0.005) -> bool:
    """Whether ``condition`` came to hold; what it raises is for the caller."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True


Inject = Callable[[Scene], Outcome]


@dataclass(frozen=True)
class Injection:
    """A fault: ``name`` is unique in its ``group``, ``fault`` says it in a few words, ``inject`` does it;
    ``as_root`` where that takes root, to mount something say."""

    group: str
    name: str
    fault: str
    inject: Inject
    as_root: bool = False

    def __str__(self) -> str:
        return f"{self.group}/{self.name}"


class Registry:
    """The faults of one group, in the order in which they are written down."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.injections: list[Injection] = []

    def __call__(self, name: str, fault: str, *, as_root: bool = False) -> Callable[[Inject], Inject]:
        """Register a function as the fault ``name``."""

        def register(body: Inject) -> Inject:
            if name in {one.name for one in self.injections}:
                raise ValueError(f"two faults {self.group}/{name}")
            self.injections.append(Injection(self.group, name, fault, body, as_root))
            return body

        return register


def run(injection: Injection, root: Path) -> Row:
    """Inject one fault in an empty folder ``root``; what it leaves behind is among the problems."""
    scene = make_scene(root)
    outcome = injection.inject(scene)
    left = leftovers(scene)
    told = Outcome(outcome.reported, outcome.code, outcome.kept, (*outcome.problems, *left))
    return Row(injection.group, injection.name, injection.fault, told)


# -- leftovers ------------------------------------------------------------------------------------------
def leftovers(scene: Scene, within_s: float = 5) -> tuple[str, ...]:
    """Containers, processes, mounts, loop devices, worktrees and temporary files that belong to ``scene`` and
    are still there after ``within_s``. What others do on this machine meanwhile does not count."""
    deadline = time.monotonic() + within_s
    while (left := (*_containers(scene), *left_here(scene))) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def left_here(scene: Scene) -> Iterator[str]:
    """The same without containers, which take time to ask for, and as it is at this moment."""
    yield from processes(scene)
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if str(scene.root) in line:
            yield f"mount left: {line.split()[4]}"
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):
            if str(scene.root) in backing.read_text():
                yield f"loop device left: {backing.parts[3]}"
    for path in scene.cache.glob("git/**/worktrees/*/gitdir"):
        # That of a tree which is there is no leftover.
        if not Path(path.read_text().strip()).exists():
            yield f"worktree left: {path.parent}"
    for name in ("tmp", "cache/work", "cache/locks/users"):
        yield from (f"temporary file left: {path}" for path in (scene.root / name).glob("*"))
    yield from (f"half a file left: {path}" for path in scene.out.rglob(".*.??????*") if path.is_file())
    yield from (f"half a file left: {path}" for path in scene.cache.rglob(".*.part"))


def processes(scene: Scene) -> Iterator[str]:
    """Processes that work in the scene or have a path of it in their command line, other than this one."""
    # Not those of a scene beside it whose name only begins alike.
    ours = re.compile(re.escape(os.fsencode(scene.root)) + rb"(?![\w.-])")
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes()
            working = os.fsencode((process / "cwd").readlink())
            if process.name != str(os.getpid()) and (ours.search(command) or ours.match(working)):
                told = command.replace(bytes(1), b" ").decode(errors="replace")[:160]
                yield f"process left: {process.name} {told}"


def _containers(scene: Scene) -> Iterable[str]:
    """The containers, running or not, that have a folder of the scene mounted."""
    from kmodpipe.build.runtime import docker_engine

    if docker_engine.look().state is not docker_engine.State.ANSWERS:
        return
    for container in docker_engine.connect().containers.list(all=True, ignore_removed=True):
        mounts = [str(mount.get("Source", "")) for mount in container.attrs.get("Mounts", [])]
        if any(source.startswith(str(scene.root)) for source in mounts):
            yield f"container left: {container.name}"


# -- the table ------------------------------------------------------------------------------------------
def table(rows: Sequence[Row]) -> Table:
    """Every fault × what was reported × exit code × what was kept × whether that is as it must be."""
    made = Table()
    for heading in ("fault", "what", "reported", "exit code", "kept", ""):
        made.add_column(heading, overflow="fold")
    group = ""
    for row in rows:
        if group and row.group != group:
            made.add_section()
        group = row.group
        one = row.outcome
        made.add_row(
            f"{row.group}/{row.name}", row.fault, _short(one.reported), str(one.code), one.kept,
            "\n".join(("✗", *one.problems)) if one.problems else "✓",
        )  # fmt: skip
    return made


def _short(text: str) -> str:
    return text if len(text) <= _TOLD else f"{text[:_TOLD]}…"
