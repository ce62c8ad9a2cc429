"""Processes that end when they should not: drivers killed, interrupted, two at once, without means."""

from __future__ import annotations

import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Queue

from tests.faults import Outcome, Scene, processes, wait_for
from tests.faults.way import fault
from tests.faults.way.judging import complete, whole
from tests.faults.way.moments import moments, seed
from tests.faults.way.toys import toys
from tests.faults.way.zygotes import Zygote

MOMENTS = int(os.environ.get("KMODPIPE_FAULT_MOMENTS") or 100)


@fault("driver-killed", f"SIGKILL of invoke test at any of {MOMENTS} random moments")
def _driver_killed(scene: Scene) -> Outcome:
    chosen = seed()
    problems: list[str] = []
    zygotes: Queue[Zygote] = Queue()
    for _ in range(os.cpu_count() or 1):
        zygotes.put(Zygote.start())
    try:
        # The fastest of some: on a machine that has other work as well, most moments are in time.
        with ThreadPoolExecutor(zygotes.qsize()) as pool:
            whole_s = min(pool.map(lambda n: _undisturbed(scene, zygotes, n), range(3 * zygotes.qsize())))
            rows = list(
                pool.map(
                    lambda row: _killed_at(scene, zygotes, *row),
                    enumerate(moments(chosen, MOMENTS, whole_s)),
                )
            )
    finally:
        while not zygotes.empty():
            zygotes.get().close()
    problems += [f"at {at:.3f} s of {whole_s:.2f} s: {p}" for at, _, found in rows for p in found]
    cut = sum(killed for _, killed, _ in rows)
    if cut < MOMENTS * 0.6:
        problems.append(f"only {cut} of {MOMENTS} were killed before their end")
    return Outcome(
        f"killed at {cut} moments of {whole_s:.1f} s (seed {chosen})",
        -signal.SIGKILL,
        "every next run was whole, and built what was missing only",
        tuple(problems[:12]),
    )


def _undisturbed(scene: Scene, zygotes: Queue[Zygote], number: int) -> float:
    play = toys(scene, f"undisturbed-{number}")
    zygote = zygotes.get()
    try:
        began = time.monotonic()
        zygote.begin(play)
        done = zygote.wait(play)
        took_s = time.monotonic() - began
    finally:
        zygotes.put(zygote)
    assert complete(play.scene, done) == [], done.text
    return took_s


def _killed_at(
    scene: Scene, zygotes: Queue[Zygote], number: int, moment_s: float
) -> tuple[float, bool, list[str]]:
    """Kill a fresh run at a moment, then run again: (moment, whether it was in time, what is wrong)."""
    play = toys(scene, f"moment-{number}")
    cache = play.scene.cache
    zygote = zygotes.get()
    try:
        pid = zygote.begin(play)
        time.sleep(moment_s)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        killed = zygote.wait(play).code == -signal.SIGKILL
        problems = [f"after the kill: {p}" for p in whole(play.scene)]
        if not wait_for(lambda: not list(processes(play.scene)), 5):
            problems.append("its children live on")
        bases = len(list(cache.glob("store/base/[0-9a-f]*")))
        modules = len(list(cache.glob("store/module/[0-9a-f]*")))
        before = len(play.world.made())
        zygote.begin(play)
        problems += complete(play.scene, zygote.wait(play))
    finally:
        zygotes.put(zygote)
    problems += whole(play.scene)
    again = play.world.made()[before:]
    for target, there, needed in (("bzImage modules", bases, 1), ("fs/toy/toy.ko", modules, 2)):
        if again.count(target) > needed - there:
            problems.append(f"{target} was made again")
    problems += play.left()
    if not problems:
        shutil.rmtree(play.scene.root)
    return moment_s, killed, problems
