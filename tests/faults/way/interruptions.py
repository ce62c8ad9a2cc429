"""Signals, two runs at once, and limits of the host: what a driver makes of them."""

from __future__ import annotations

import os
import pty
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kmodpipe import results
from kmodpipe.results import State
from tests.faults import Ended, Outcome, Scene, ended, wait_for
from tests.faults.way import fault
from tests.faults.way.judging import (
    COMMAND,
    EXPECTED,
    complete,
    latest,
    outcome,
    problems,
    verdicts,
    whole,
)
from tests.faults.way.toys import Toys, toys

# What the event log or the file system shows once a stage has begun.
STAGES = ("fetch", "apply", "configure", "build", "boot", "write")


@dataclass(frozen=True)
class Interrupted:
    """How a driver ended that got a signal in a stage."""

    told: str
    done: Ended
    problems: tuple[str, ...]


def reached(play: Toys, stage: str) -> bool:
    """Whether the run in this world is in ``stage``, or beyond."""
    scene, targets = play.scene, play.world.made()
    match stage:
        case "fetch":
            return bool(list(scene.cache.glob("locks/dir-*")))
        case "apply":
            return bool(list(scene.cache.glob("locks/make-patched-*")))
        case "configure":
            return bool(targets)
        case "build":
            return "bzImage modules" in targets
        case "boot":
            return any(path.stat().st_size for path in scene.latest.glob("toy-fix*/verdict.log"))
        case _:
            return bool(list(scene.latest.glob("toy-fix*/reproduce.sh")))


def interrupt(scene: Scene, stage: str, *numbers: signal.Signals) -> Interrupted:
    """Send signals, one right after the other, to a run in a stage."""
    told = f"{'+'.join(n.name for n in numbers)} at {stage}"
    play = toys(scene, told.replace("+", "-").replace(" ", "-"), waits=stage == "boot")
    running = play.start(*COMMAND)
    try:
        in_time = wait_for(lambda: reached(play, stage) or running.poll() is not None)
        for number in numbers:
            with suppress(ProcessLookupError):
                running.send_signal(number)
            time.sleep(0.02)
        done = ended(running, 30)
    finally:
        running.kill()
    never = [] if in_time else [f"{told}: the stage never came"]
    return Interrupted(told, done, (*never, *after(play, told, done)))


def after(play: Toys, told: str, done: Ended, *, mute: bool = False) -> list[str]:
    """What is wrong after an interruption: the exit code, the sentence, the results, what is left."""
    scene = play.scene
    found = problems(done, 3)
    if not mute and "interrupted" not in done.sentence():
        found.append(f"told as: {done.text[-400:]}")
    if (scene.latest / "results.json").exists():
        run = latest(scene)
        if not (run.finished and (scene.latest / "junit.xml").is_file()):
            found.append("the results were not written to their end")
        if any(cell.state is State.NOT_RUN for cell in run.cells):
            found.append("a cell that was not run is not marked as interrupted")
    found += [*whole(scene), *play.left()]
    return [f"{told}: {problem}" for problem in found]


@fault("signals", "SIGINT, SIGTERM, SIGHUP, and two in a row, in every stage of a run")
def _signals(scene: Scene) -> Outcome:
    single = [(stage, number) for stage in STAGES for number in (signal.SIGTERM, signal.SIGINT)]
    asked = [(stage, (number,)) for stage, number in single if (STAGES.index(stage) + number) % 2]
    asked += [(stage, (signal.SIGINT, signal.SIGINT)) for stage in ("build", "boot", "write")]
    asked += [("boot", (signal.SIGHUP,)), ("configure", (signal.SIGTERM, signal.SIGTERM, signal.SIGINT))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = list(pool.map(lambda row: interrupt(scene, row[0], *row[1]), asked))
    found = [problem for row in rows for problem in row.problems]
    return Outcome(
        rows[0].done.sentence(), max(row.done.code for row in rows),
        f"after each of {len(rows)}: every result, the rest marked as interrupted", tuple(found[:12]),
    )  # fmt: skip


@fault("terminal-gone", "the terminal of a run is closed: SIGHUP, and nobody to write to")
def _terminal_gone(scene: Scene) -> Outcome:
    play = toys(scene, waits=True)
    ours, theirs = pty.openpty()
    # A shell's place: the child leads the session whose terminal this is.
    code = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    code += "os.execv(sys.argv[1], sys.argv[1:])"
    running = subprocess.Popen(
        [sys.executable, "-c", code, *play.argv(*COMMAND)],
        cwd=play.world.root, env=play.environment({"TERM": "xterm"}),
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        deadline = time.monotonic() + 60
        while not reached(play, "boot") and time.monotonic() < deadline:
            os.set_blocking(ours, False)
            with suppress(BlockingIOError):
                os.read(ours, 65536)
            time.sleep(0.02)
        os.close(ours)
        done = Ended(running.wait(30), "", "")
    finally:
        running.kill()
    return Outcome(
        "(nobody to read it)", done.code, "results, the rest marked as interrupted",
        tuple(after(play, "terminal gone", done, mute=True)),
    )  # fmt: skip


# -- two at once ------------------------------------------------------------------------------------
@fault("two-runs", "the same test twice at once in one checkout, with one cache and one results folder")
def _two_runs(scene: Scene) -> Outcome:
    play = toys(scene)
    pair = [play.start(*COMMAND) for _ in range(2)]
    both = [ended(child, 60) for child in pair]
    found = [problem for done in both for problem in complete(scene, done)]
    found += whole(scene)
    runs = list(scene.out.glob("2*/results.json"))
    if len(runs) != 2:
        found.append(f"{len(runs)} results of 2 runs")
    found += [
        f"{run.parent.name}: not the right verdicts"
        for run in runs
        if verdicts(results.load(run)) != EXPECTED
    ]
    made = play.world.made()
    for target, times in (("bzImage modules", 1), ("fs/toy/toy.ko", 2)):
        if made.count(target) != times:
            found.append(f"{target} was made {made.count(target)} times")
    found += play.left()
    waited = [line.strip() for done in both for line in done.err.splitlines() if "waiting for pid" in line]
    if not any("invoke test" in line for line in waited):
        found.append("nobody said whom it waits for")
    return Outcome(
        (waited or ["NOTHING"])[0], max(done.code for done in both), "both results; each artifact made once",
        tuple(found),
    )  # fmt: skip


@fault(
    "clean-beside-run", "invoke clean, and invoke clean --all, while a test runs; also from another checkout"
)
def _clean_beside_run(scene: Scene) -> Outcome:
    play = toys(scene, waits=True)
    running = play.start(*COMMAND)
    wait_for(lambda: reached(play, "boot"))
    elsewhere, shared = toys(scene, "another"), {"KMODPIPE_CACHE": str(scene.cache)}
    cleaning = [
        *(play.start("clean", *more) for more in ((), ("--all",))),
        *(elsewhere.start("clean", *more, **shared) for more in ((), ("--all",))),
    ]
    refused = [ended(child, 60) for child in cleaning]
    play.let_go()
    found = [problem for done in refused for problem in problems(done, 3)]
    found += complete(scene, ended(running, 60))
    found += whole(scene)
    cleaned = play.invoke("clean")
    if cleaned.code or list(scene.cache.glob("store/module/[0-9a-f]*")):
        found.append(f"clean afterwards: exit {cleaned.code} {cleaned.text}")
    return outcome(refused[0], "the run and all that it used", found)


@fault("beside-a-container", "a run in another pid namespace, as jobs of a CI runner are, shares the cache")
def _beside_a_container(scene: Scene) -> Outcome:
    play = toys(scene, waits=True)
    prefix = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    running = play.start(*COMMAND, prefix=prefix)
    wait_for(lambda: reached(play, "boot"))
    beside = toys(scene, "another").invoke(*COMMAND, KMODPIPE_CACHE=str(scene.cache))
    play.let_go()
    done = ended(running, 60)
    found = [*problems(beside, 0), *(f"in the namespace: {one}" for one in complete(scene, done))]
    found += whole(scene)
    return Outcome("nothing", done.code, "both runs", tuple(found))


@fault(
    "dead-holders", "locks and leftovers of dead processes, one of an earlier boot, one whose pid is taken"
)
def _dead_holders(scene: Scene) -> Outcome:
    from kmodpipe.util import process_id

    play = toys(scene)
    boot, taken = process_id.boot_id(), os.getpid()
    dead = {
        "of-a-dead-one": f"999999999 {boot} 1",
        "of-another-boot": f"{taken} 00000000-another-boot 1",
        "of-a-reused-pid": f"{taken} {boot} 1",
    }
    work, users, locks = scene.cache / "work", scene.cache / "locks/users", scene.cache / "locks"
    for folder in (work, users):
        folder.mkdir(parents=True)
    for name, owner in dead.items():
        (work / name).mkdir()
        (work / f"{name}.owner").write_text(owner)
        (work / f".{name}.{owner.replace(' ', '~')}~ab12.part").write_text("half")
        (users / name).write_text("pid 1 (invoke test)")
    for name in ("accel", "cache", "git"):
        (locks / name).write_text(f"pid {taken} boot {boot}\n")
    began = time.monotonic()
    done = play.invoke(*COMMAND)
    found = [*complete(scene, done), *whole(scene), *play.left()]
    found += ["it waited for the dead"] * ("waiting for" in done.text)
    found += problems(play.invoke("clean"), 0)
    told = f"(nothing; {time.monotonic() - began:.1f} s)"
    return Outcome(told, done.code, "everything; what the dead left is gone", tuple(found))


# -- limits -----------------------------------------------------------------------------------------
def limited(scene: Scene, option: str, words: tuple[str, ...], kept: str) -> Outcome:
    """A run under ``ulimit OPTION``, judged."""
    play = toys(scene)
    return judged(play, play.invoke(*COMMAND, prefix=under(option)), words, kept)


def under(option: str) -> tuple[str, ...]:
    return ("sh", "-c", f'ulimit {option}; exec "$0" "$@"')


def judged(play: Toys, done: Ended, words: tuple[str, ...], kept: str) -> Outcome:
    """What came of a run that lacked something: 3, a sentence with one of ``words``; the next is whole."""
    found = problems(done, 3)
    if not any(word in done.sentence() for word in words):
        found.append(f"told as: {done.text[-1500:]}")
    found += whole(play.scene)
    found += complete(play.scene, play.invoke(*COMMAND))
    return outcome(done, kept, found, play.left())


NEXT = "the next run, without the limit, goes on"


@fault("few-files", "a limit of 16 open files (ulimit -n)")
def _few_files(scene: Scene) -> Outcome:
    play = toys(scene, "enough")
    enough = play.invoke(*COMMAND, prefix=under("-n 64"))
    few = limited(scene, "-n 16", ("files",), NEXT)
    more = tuple(f"with 64: {problem}" for problem in complete(play.scene, enough))
    return Outcome(few.reported, few.code, few.kept, few.problems + more)


@fault("small-files", "a limit on the size of a file (ulimit -f: SIGXFSZ, EFBIG)")
def _small_files(scene: Scene) -> Outcome:
    return limited(scene, "-f 1", ("size of a file", "SIGXFSZ", "File too large", "may not grow"), NEXT)


@fault("little-memory", "not a page of address space more (RLIMIT_AS), from the first compiler on")
def _little_memory(scene: Scene) -> Outcome:
    play = toys(scene)
    # A thread's own arena is 64 MiB of address space that nobody uses: room for all that is to come.
    running = play.start(*COMMAND, MALLOC_ARENA_MAX="1")
    wait_for(lambda: reached(play, "configure"))
    pages = int(Path(f"/proc/{running.pid}/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (1 << 20)
    resource.prlimit(running.pid, resource.RLIMIT_AS, (limit, limit))
    return judged(play, ended(running, 60), ("memory", "threads"), NEXT)
