"""QEMU that dies, stands still, is gone or is another one: never the kernel's fault, never a pass."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from kmodpipe import results
from kmodpipe.results import CaseResult, Run, Verdict
from tests.faults import Ended, Outcome, Scene, ended, processes, wait_for
from tests.faults.way import engines, fault
from tests.faults.way.judging import latest, problems
from tests.faults.way.moments import moments, seed
from tests.faults.way.toys import Toys, toys

FIXED = "toy-fix.INDEX=y.NOUUID=n"


def qemus(marked: str) -> Iterator[int]:
    """The QEMUs, or what plays one, that have ``marked`` in their command line, but for their guards."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes().split(b"\0")
            played = command[1:2] if b"python" in command[0] else command[:1]
            if b"qemu-system-x86_64" in b"".join(played) and any(marked.encode() in word for word in command):
                yield int(process.name)


def send(marked: str, number: signal.Signals, within_s: float = 30) -> bool:
    """Send a signal to each of those QEMUs; False where none comes up."""
    sent = False

    def try_it() -> bool:
        nonlocal sent
        for pid in qemus(marked):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
                sent = True
        return sent

    return wait_for(try_it, within_s)


def begin(play: Toys, *scripts: str) -> subprocess.Popen[str]:
    named = [part for script in scripts for part in ("--case", script)]
    return play.start("test", "--no-control", "--cell", FIXED, *named)


def case(run: Run, name: str) -> CaseResult:
    return next(found for _, found in run.results() if found.case == name)


def told(play: Toys, done: Ended, code: int, **wanted: tuple[Verdict, str]) -> tuple[Run, list[str]]:
    """The run and what is wrong with it: its exit code, and each case's verdict and a part of its message."""
    run = latest(play.scene)
    wrong = problems(done, code)
    for name, (verdict, part) in wanted.items():
        found = case(run, name)
        if found.verdict is not verdict or part not in found.message:
            wrong.append(f"{name}: {found.verdict} {found.message[:300]}")
    return run, [*wrong, *play.left()]


def in_case(scene: Scene, name: str) -> Callable[[], bool]:
    def started() -> bool:
        logs = scene.latest.glob(f"{FIXED}/verdict*.log")
        return any(f"id={name}".encode() in log.read_bytes() for log in logs)

    return started


def hit_in_case(scene: Scene, number: signal.Signals, word: str) -> Outcome:
    """Three cases; QEMU gets a signal in the second: that one has no verdict, the others have theirs."""
    play = toys(scene)
    stop = play.world.root / "never"
    scripts = [
        play.world.script("first.sh", "exit 0"),
        play.world.script("second.sh", f"until {stop}"),
        play.world.script("third.sh", "exit 0"),
    ]
    text = Path(scripts[1]).read_text()
    running = begin(play, *scripts)
    came = wait_for(in_case(scene, "second"))
    send(str(scene.root), number)
    done = ended(running, 60)
    run, wrong = told(
        play, done, 3,
        first=(Verdict.PASS, ""), second=(Verdict.ERROR, word), third=(Verdict.PASS, ""),
    )  # fmt: skip
    wrong += ["the case never began"] * (not came or Path(scripts[1]).read_text() != text)
    return Outcome(case(run, "second").message.splitlines()[0], done.code, "the other cases", tuple(wrong))


@fault("qemu-killed", "QEMU is killed (SIGKILL) in the middle of a case")
def _killed(scene: Scene) -> Outcome:
    return hit_in_case(scene, signal.SIGKILL, "QEMU was killed by SIGKILL")


@fault("qemu-segfault", "QEMU dies of SIGSEGV in the middle of a case")
def _segfault(scene: Scene) -> Outcome:
    return hit_in_case(scene, signal.SIGSEGV, "QEMU was killed by SIGSEGV")


@fault("qemu-stopped", "QEMU is stopped (SIGSTOP) in the middle of a case")
def _stopped(scene: Scene) -> Outcome:
    return hit_in_case(scene, signal.SIGSTOP, "QEMU was stopped from outside")


def wrapped(play: Toys, body: str) -> None:
    """Put a shell script in QEMU's place; ``$REAL`` is what was there, and proves itself still."""
    program = play.program("qemu-system-x86_64")
    real = program.with_name("real-qemu-system-x86_64")
    program.rename(real)
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *-kernel*) ;; *) exec {real} "$@" ;; esac\nREAL={real}\n{body}\n'
    )
    program.chmod(0o755)


@fault("qemu-killed-early", "QEMU is killed before the guest's /init")
def _killed_early(scene: Scene) -> Outcome:
    play = toys(scene)
    wrapped(play, "sleep 0.2; kill -9 $$")
    done = ended(begin(play), 60)
    run, wrong = told(play, done, 3, remount=(Verdict.ERROR, "QEMU was killed by SIGKILL"))
    return Outcome(case(run, "remount").message.splitlines()[0], done.code, "no verdict", tuple(wrong))


@fault("qemu-killed-late", "QEMU is killed after the guest's last record")
def _killed_late(scene: Scene) -> Outcome:
    play = toys(scene)
    wrapped(play, '"$REAL" "$@"; kill -9 $$')
    done = ended(begin(play), 60)
    _, wrong = told(play, done, 0, remount=(Verdict.PASS, ""))
    return Outcome("(nothing: all was said)", done.code, "every verdict", tuple(wrong))


@fault("qemu-gone", "QEMU is removed, then replaced, between its proof and the boot")
def _gone(scene: Scene) -> Outcome:
    wrong: list[str] = []
    said: list[str] = []
    for name, replacement in (("removed", ""), ("replaced", "#!/bin/sh\nexit 0\n")):
        play = toys(scene, name)
        program = play.program("qemu-system-x86_64")
        running = begin(play)
        wait_for(play.world.made)
        program.unlink()
        if replacement:
            program.write_text(replacement)
            program.chmod(0o755)
        done = ended(running, 60)
        run, more = told(play, done, 3, remount=(Verdict.ERROR, ""))
        said.append(run.cells[0].reason.splitlines()[0])
        # Behind the one that was removed there may be another on this machine's PATH.
        words = ("was replaced",) if replacement else ("is gone", "was replaced")
        wrong += [f"{name}: {problem}" for problem in more]
        wrong += [f"{name}: told as {said[-1]}"] * (not any(word in said[-1] for word in words))
    return Outcome("; ".join(said), done.code, "no verdict: the kernel is not blamed", tuple(wrong))


@fault("real-driver-killed", "SIGKILL at 6 random moments, with Docker, QEMU and kernels")
def _driver_killed(scene: Scene) -> Outcome:
    chosen = seed()
    engines.warm(scene)
    began = time.monotonic()
    first = scene.invoke(*engines.command())
    whole_s = time.monotonic() - began
    wrong = [f"undisturbed: {problem}" for problem in problems(first, 0)]
    killed = 0
    for part in moments(chosen, 6, 1):
        for _ in range(4):
            moment_s = part * whole_s
            began = time.monotonic()
            cut = kill_after(scene, moment_s)
            wrong += [f"at {moment_s:.1f} s: {p}" for p in unfinished(scene)]
            if cut:
                killed += 1
                break
            # The machine has less other work than it had: runs are shorter now.
            whole_s = min(whole_s, time.monotonic() - began)
    last = scene.invoke(*engines.command())
    wrong += [f"the next run: {problem}" for problem in problems(last, 0)]
    wrong += processes(scene)
    if killed < 6:
        wrong.append(f"only {killed} of 6 were killed before their end")
    return Outcome(
        f"killed at {killed} moments of {whole_s:.0f} s (seed {chosen})", -signal.SIGKILL,
        "the next run was whole, and removed the containers", tuple(wrong),
    )  # fmt: skip


def kill_after(scene: Scene, seconds: float) -> bool:
    """Start the run, with its module to build, and kill it then; False where it had ended by itself."""
    for module in (scene.cache / "store/module").glob("[0-9a-f]*"):
        shutil.rmtree(module)
    running = scene.start(*engines.command())
    with suppress(subprocess.TimeoutExpired):
        running.wait(seconds)
    running.kill()
    return ended(running, 60).code == -signal.SIGKILL


def unfinished(scene: Scene) -> Iterator[str]:
    """What is wrong with the results of a run that was killed, and with what lives on without it."""
    for path in scene.out.glob("2*/results.json"):
        run = results.load(path)
        if {found.case for _, found in run.results()} != {engines.CASE}:
            yield "a planned case is missing"
        if not run.finished and results.exit_code(run) == 0:
            yield "an unfinished run reads as success"
    if not wait_for(lambda: not list(qemus(str(scene.root))), 5):
        yield "QEMU lives on"
