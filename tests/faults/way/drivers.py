"""Drivers in the toy world, and what has to hold of the results that they leave, however they ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from kmodpipe import results
from kmodpipe.errors import ExitCode, UserError
from kmodpipe.results import Run, Verdict
from tests import toy
from tests.faults import Ended, Scene
from tests.toy import World

CELLS = "*.INDEX=y.NOUUID=n"
COMMAND = ("test", "--runtime", "host", "--cell", CELLS)
EXPECTED = {
    ("unpatched.INDEX=y.NOUUID=n", "remount"): (Verdict.PASS, "ESTALE"),
    ("toy-fix.INDEX=y.NOUUID=n", "remount"): (Verdict.PASS, "mounted"),
}


def world(scene: Scene, name: str = "world", *, waits: bool = False) -> World:
    """A toy world in the scene; its case ``waits`` in the guest until `let_go`, and for good without."""
    made = toy.build(scene.root / name)
    (made.root / "tmp").mkdir()
    if waits:
        script = made.root / "images/guest/cases/remount/run.sh"
        script.write_text(f"#!/bin/sh\n# toy: until {made.root / 'go'}\n# toy: observe-module\n")
        case = script.with_name("case.toml")
        case.write_text(case.read_text().replace("timeout_s = 5", "timeout_s = 60"))
    return made


def let_go(made: World) -> None:
    """Let the cases of a world that waits come to their end."""
    (made.root / "go").touch()


def environment(made: World) -> dict[str, str]:
    """What a driver in this world has; its temporary files are its own, so that those left can be told."""
    return made.environment({"TMPDIR": str(made.root / "tmp")})


def start(made: World, *argv: str, prefix: tuple[str, ...] = (), out: str = "out") -> subprocess.Popen[str]:
    """A command of the world in the background, behind ``prefix``, in a session of its own."""
    return subprocess.Popen(
        [*prefix, sys.executable, "-m", "invoke", *argv, "--out", out],
        cwd=made.root, env=environment(made), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def wait_for(condition: Callable[[], bool], within_s: float = 60) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def ended(child: subprocess.Popen[str], timeout_s: float = 60) -> Ended:
    from tests import faults

    return faults.ended(child, timeout_s)


def run(made: World, *argv: str, out: str = "out", prefix: tuple[str, ...] = ()) -> Ended:
    return ended(start(made, *(argv or COMMAND), out=out, prefix=prefix))


def sentence(done: Ended) -> str:
    """The error as the screen says it, in one line."""
    errors = [line.strip() for line in done.err.splitlines() if line.startswith("error:")]
    return errors[0] if errors else done.sentence()


# -- what has to hold ---------------------------------------------------------------------------------
def verdicts(run_: Run) -> dict[tuple[str, str], tuple[Verdict, str]]:
    return {(cell.cell, case.case): (case.verdict, case.outcome) for cell, case in run_.results()}


def whole(made: World) -> Iterator[str]:
    """What is wrong with the results of every run there is, killed ones too; a part of a file, a planned case
    that is missing, a pass that was not one, an unfinished run that reads as success."""
    for folder in sorted((made.root / "out").glob("2*")):
        with suppress(FileNotFoundError):
            ElementTree.fromstring((folder / "junit.xml").read_bytes())
            if not (folder / "results.json").exists():
                yield f"{folder.name} has junit.xml and no results.json"
        if not (folder / "results.json").exists():
            continue
        try:
            found = results.load(folder / "results.json")
        except UserError as e:
            yield f"{folder.name}: {e.what}"
            continue
        told = json.loads((folder / "results.json").read_text())["exit_code"]
        if verdicts(found).keys() != EXPECTED.keys():
            yield f"{folder.name}: planned cases are missing"
        for case, (verdict, outcome) in verdicts(found).items():
            if verdict is not Verdict.ERROR and (verdict, outcome) != EXPECTED.get(case):
                yield f"{folder.name}: {case} {verdict} {outcome}"
        if told == 0 and (not found.finished or verdicts(found) != EXPECTED):
            yield f"{folder.name}: an unfinished run reads as success"
    latest = made.latest
    if latest.is_symlink() and not latest.exists():
        yield "latest points nowhere"


def complete(made: World, done: Ended) -> Iterator[str]:
    """What is wrong with a run that was not disturbed."""
    if done.code != 0:
        yield f"exit {done.code}: {done.text[-600:]}"
    elif verdicts(results.load(made.latest / "results.json")) != EXPECTED:
        yield "the verdicts are not the right ones"


def left(made: World) -> Iterator[str]:
    """What is left in the world of runs that have ended: processes, half-made things, temporary files."""
    for place in (made.root / "tmp", made.cache / "work", made.cache / "locks" / "users"):
        yield from (f"left: {path}" for path in place.glob("*"))
    yield from (f"half a file left: {path}" for path in (made.root / "out").rglob(".*.part"))
    yield from (f"half a file left: {path}" for path in made.cache.rglob(".*.part"))
    yield from processes(str(made.root.parent))


def processes(marked: str) -> list[str]:
    """Processes with ``marked`` in their command line, other than this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes().replace(bytes(1), b" ").decode(errors="replace")
            if marked in command and int(process.name) != os.getpid():
                found.append(f"process left: {process.name} {command[:200]}")
    return found


# -- drivers without the time that Python takes to start ---------------------------------------------
_ZYGOTE = """
import json, os, sys
from pathlib import Path
from kmodpipe import accel, asking, bench, building, commands, guard, pipeline, report, signals, usage
for line in sys.stdin:
    asked = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.chdir(asked["root"])
        os.environ.clear()
        os.environ.update(asked["env"])
        said = os.open(asked["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(said, 1)
        os.dup2(said, 2)
        signals.install()
        asked_for = asking.Asking(root=Path(asked["root"]), runtime="host", cell=[asked["cell"]])
        code = guard.guarded(commands.test, asked_for)
        sys.stdout.flush()
        os._exit(code)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@dataclass
class Zygote:
    """A Python with all of kmodpipe loaded, of which each driver is a fork: the same code, sooner."""

    child: subprocess.Popen[str]

    @classmethod
    def start(cls) -> Zygote:
        child = subprocess.Popen(
            [sys.executable, "-c", _ZYGOTE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd="/", env={**os.environ, "PYTHONPATH": str(toy.REPO)},
        )  # fmt: skip
        return cls(child)

    def begin(self, made: World) -> int:
        """Start a driver; its pid."""
        assert self.child.stdin and self.child.stdout
        said = str(made.root.parent / "said")
        asked = {"root": str(made.root), "env": environment(made), "cell": CELLS, "said": said}
        self.child.stdin.write(json.dumps(asked) + "\n")
        self.child.stdin.flush()
        return int(self.child.stdout.readline())

    def wait(self, made: World) -> Ended:
        assert self.child.stdout
        code = int(self.child.stdout.readline())
        return Ended(code, "", (made.root.parent / "said").read_text())

    def close(self) -> None:
        assert self.child.stdin
        self.child.stdin.close()
        self.child.wait(10)


INFRA = int(ExitCode.INFRA)
