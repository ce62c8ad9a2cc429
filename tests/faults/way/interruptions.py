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
from tests.faults import Ended, Outcome, Scene
from tests.faults.way import drivers, fault
from tests.faults.way.drivers import wait_for
from tests.toy import World

# What the event log or the file system shows once a stage has begun.
STAGES = ("fetch", "apply", "configure", "build", "boot", "write")


@dataclass(frozen=True)
class Interrupted:
    """How a driver ended that got a signal in a stage."""

    told: str
    done: Ended
    problems: tuple[str, ...]


def reached(made: World, stage: str) -> bool:
    """Whether the run in this world is in ``stage``, or beyond."""
    latest, targets = made.latest, made.made()
    match stage:
        case "fetch":
            return bool(list(made.cache.glob("locks/dir-*")))
        case "apply":
            return bool(list(made.cache.glob("locks/make-patched-*")))
        case "configure":
            return bool(targets)
        case "build":
            return "bzImage modules" in targets
        case "boot":
            return any(path.stat().st_size for path in latest.glob("toy-fix*/verdict.log"))
        case _:
            return bool(list(latest.glob("toy-fix*/reproduce.sh")))


def interrupt(scene: Scene, stage: str, *numbers: signal.Signals) -> Interrupted:
    """Send signals, one right after the other, to a run in a stage."""
    told = f"{'+'.join(n.name for n in numbers)} at {stage}"
    made = drivers.world(scene, told.replace("+", "-").replace(" ", "-"), waits=stage == "boot")
    running = drivers.start(made, *drivers.COMMAND)
    try:
        in_time = wait_for(lambda: reached(made, stage) or running.poll() is not None)
        for number in numbers:
            with suppress(ProcessLookupError):
                running.send_signal(number)
            time.sleep(0.02)
        done = drivers.ended(running, 30)
    finally:
        running.kill()
    problems = [] if in_time else [f"{told}: the stage never came"]
    return Interrupted(told, done, (*problems, *after(made, told, done)))


def after(made: World, told: str, done: Ended, *, mute: bool = False) -> list[str]:
    """What is wrong after an interruption: the exit code, the sentence, the results, what is left."""
    problems = []
    finished = (made.latest / "junit.xml").is_file()
    if done.code != drivers.INFRA:
        problems.append(f"exit {done.code}: {done.text[-400:]}")
    if not mute and "interrupted" not in drivers.sentence(done):
        problems.append(f"told as: {done.text[-400:]}")
    if "Traceback" in done.text or "defect" in done.text:
        problems.append(f"a traceback: {done.text[-800:]}")
    if made.latest.exists() and (made.latest / "results.json").exists():
        run = results.load(made.latest / "results.json")
        if not (run.finished and finished):
            problems.append("the results were not written to their end")
        if any(cell.state is State.NOT_RUN for cell in run.cells):
            problems.append("a cell that was not run is not marked as interrupted")
    problems += drivers.whole(made)
    problems += drivers.left(made)
    return [f"{told}: {problem}" for problem in problems]


@fault("signals", "SIGINT, SIGTERM, SIGHUP, and two in a row, in every stage of a run")
def _signals(scene: Scene) -> Outcome:
    single = [(stage, number) for stage in STAGES for number in (signal.SIGTERM, signal.SIGINT)]
    asked = [(stage, (number,)) for stage, number in single if (STAGES.index(stage) + number) % 2]
    asked += [(stage, (signal.SIGINT, signal.SIGINT)) for stage in ("build", "boot", "write")]
    asked += [("boot", (signal.SIGHUP,)), ("configure", (signal.SIGTERM, signal.SIGTERM, signal.SIGINT))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = list(pool.map(lambda row: interrupt(scene, row[0], *row[1]), asked))
    problems = [problem for row in rows for problem in row.problems]
    return Outcome(
        drivers.sentence(rows[0].done), max(row.done.code for row in rows),
        f"after each of {len(rows)}: every result, the rest marked as interrupted", tuple(problems[:12]),
    )  # fmt: skip


@fault("terminal-gone", "the terminal of a run is closed: SIGHUP, and nobody to write to")
def _terminal_gone(scene: Scene) -> Outcome:
    made = drivers.world(scene, waits=True)
    ours, theirs = pty.openpty()
    # A shell's place: the child leads the session whose terminal this is.
    code = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    code += "os.execv(sys.argv[1], sys.argv[1:])"
    running = subprocess.Popen(
        [sys.executable, "-c", code, sys.executable, "-m", "invoke", *drivers.COMMAND],
        cwd=made.root, env=drivers.environment(made) | {"TERM": "xterm"},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        deadline = time.monotonic() + 60
        while not reached(made, "boot") and time.monotonic() < deadline:
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
        tuple(after(made, "terminal gone", done, mute=True)),
    )  # fmt: skip


# -- two at once ------------------------------------------------------------------------------------
@fault("two-runs", "the same test twice at once in one checkout, with one cache and one results folder")
def _two_runs(scene: Scene) -> Outcome:
    made = drivers.world(scene)
    pair = [drivers.start(made, *drivers.COMMAND) for _ in range(2)]
    both = [drivers.ended(child) for child in pair]
    problems = [problem for done in both for problem in drivers.complete(made, done)]
    problems += drivers.whole(made)
    runs = list((made.root / "out").glob("2*/results.json"))
    if len(runs) != 2:
        problems.append(f"{len(runs)} results of 2 runs")
    problems += [
        f"{run.parent.name}: not the right verdicts"
        for run in runs
        if drivers.verdicts(results.load(run)) != drivers.EXPECTED
    ]
    for target, times in (("bzImage modules", 1), ("fs/toy/toy.ko", 2)):
        if made.made().count(target) != times:
            problems.append(f"{target} was made {made.made().count(target)} times")
    problems += drivers.left(made)
    waited = [line.strip() for done in both for line in done.err.splitlines() if "waiting for pid" in line]
    if not any("invoke test" in line for line in waited):
        problems.append("nobody said whom it waits for")
    return Outcome(
        (waited or ["NOTHING"])[0], max(done.code for done in both), "both results; each artifact made once",
        tuple(problems),
    )  # fmt: skip


@fault("clean-beside-run", "invoke clean, and invoke clean --all, while a test runs")
def _clean_beside_run(scene: Scene) -> Outcome:
    made = drivers.world(scene, waits=True)
    running = drivers.start(made, *drivers.COMMAND)
    wait_for(lambda: reached(made, "boot"))
    cleaning = [drivers.start(made, "clean", *more) for more in ((), ("--all",))]
    refused = [drivers.ended(child) for child in cleaning]
    drivers.let_go(made)
    problems = [f"exit {done.code}: {done.text}" for done in refused if done.code != drivers.INFRA]
    problems += drivers.complete(made, drivers.ended(running))
    problems += drivers.whole(made)
    cleaned = drivers.run(made, "clean")
    if cleaned.code or list(made.cache.glob("store/module/[0-9a-f]*")):
        problems.append(f"clean afterwards: exit {cleaned.code} {cleaned.text}")
    return Outcome(
        drivers.sentence(refused[0]), refused[0].code, "the run and all that it used", tuple(problems)
    )


@fault(
    "dead-holders", "locks and leftovers of dead processes, one of an earlier boot, one whose pid is taken"
)
def _dead_holders(scene: Scene) -> Outcome:
    from kmodpipe import owners

    made = drivers.world(scene)
    boot, taken = owners.boot_id(), os.getpid()
    dead = {
        "of-a-dead-one": f"999999999 {boot} 1",
        "of-another-boot": f"{taken} 00000000-another-boot 1",
        "of-a-reused-pid": f"{taken} {boot} 1",
    }
    work, users, locks = made.cache / "work", made.cache / "locks/users", made.cache / "locks"
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
    done = drivers.run(made)
    problems = [*drivers.complete(made, done), *drivers.whole(made), *drivers.left(made)]
    problems += ["it waited for the dead"] * ("waiting for" in done.text)
    cleaned = drivers.run(made, "clean")
    problems += [f"clean: {cleaned.text}"] * (cleaned.code != 0)
    told = f"(nothing; {time.monotonic() - began:.1f} s)"
    return Outcome(told, done.code, "everything; what the dead left is gone", tuple(problems))


# -- limits -----------------------------------------------------------------------------------------
def limited(scene: Scene, option: str, words: tuple[str, ...], kept: str) -> Outcome:
    """A run under ``ulimit OPTION``, judged."""
    made = drivers.world(scene)
    done = drivers.run(made, prefix=("sh", "-c", f'ulimit {option}; exec "$0" "$@"'))
    return judged(made, done, words, kept)


def judged(made: World, done: Ended, words: tuple[str, ...], kept: str) -> Outcome:
    """What came of a run that lacked something: 3, a sentence with one of ``words``; the next is whole."""
    problems = []
    if done.code != drivers.INFRA:
        problems.append(f"exit {done.code}: {done.text[-1500:]}")
    if not any(word in drivers.sentence(done) for word in words):
        problems.append(f"told as: {done.text[-1500:]}")
    if "defect" in done.text or "Traceback" in done.text:
        problems.append("told as a defect")
    problems += drivers.whole(made)
    problems += drivers.complete(made, drivers.run(made))
    problems += drivers.left(made)
    return Outcome(drivers.sentence(done), done.code, kept, tuple(problems))


NEXT = "the next run, without the limit, goes on"


@fault("few-files", "a limit of 16 open files (ulimit -n)")
def _few_files(scene: Scene) -> Outcome:
    made = drivers.world(scene, "enough")
    enough = drivers.run(made, prefix=("sh", "-c", 'ulimit -n 64; exec "$0" "$@"'))
    few = limited(scene, "-n 16", ("files",), NEXT)
    more = tuple(f"with 64: {problem}" for problem in drivers.complete(made, enough))
    return Outcome(few.reported, few.code, few.kept, few.problems + more)


@fault("small-files", "a limit on the size of a file (ulimit -f: SIGXFSZ, EFBIG)")
def _small_files(scene: Scene) -> Outcome:
    return limited(scene, "-f 1", ("size of a file", "SIGXFSZ", "File too large", "may not grow"), NEXT)


@fault("little-memory", "not a page of address space more (RLIMIT_AS), from the first compiler on")
def _little_memory(scene: Scene) -> Outcome:
    made = drivers.world(scene)
    running = drivers.start(made, *drivers.COMMAND)
    wait_for(lambda: reached(made, "configure"))
    pages = int(Path(f"/proc/{running.pid}/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (1 << 20)
    resource.prlimit(running.pid, resource.RLIMIT_AS, (limit, limit))
    return judged(made, drivers.ended(running), ("memory", "threads"), NEXT)
