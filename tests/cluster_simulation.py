"""Many cells on many workers, some of which are slow or get lost: only the work is simulated.

The scheduler and its workers are Dask's, in one process; the tasks, and what is done with them, are those of
`kmodpipe.cluster.far_run`. A cell sleeps for as long as it would take.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import resource
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kmodpipe.ci.job_plan import Plan, PlannedCell, PlannedJob
from kmodpipe.cluster import graph, parcel
from kmodpipe.cluster.bundle import Bundle
from kmodpipe.cluster.facts import Facts, Wanted
from kmodpipe.cluster.far_run import FarRun
from kmodpipe.cluster.graph import Settings
from kmodpipe.cluster.greeting import Greeted
from kmodpipe.cluster.parcel import Note
from kmodpipe.cluster.record import Record
from kmodpipe.util.screen import Mode, Screen

PROGRAM, BUNDLE = "a" * 64, "b" * 64
_SLOW = 4.0
# By the cell: how long it takes. In this process, which is the workers' as well.
DURATIONS: dict[str, float] = {}
SLOW_WORKERS: set[str] = set()
STARTS: Counter[str] = Counter()
_lock = threading.Lock()


def job(text: str, data: bytes, *after: bytes) -> bytes:
    """Play a job on a worker: sleep."""
    from distributed import get_worker

    words = json.loads(text)["words"]
    cell = words[words.index("--cell") + 1]
    if "--prepare" in words:
        with tempfile.TemporaryDirectory() as scratch:
            return parcel.wrap(Note(0, "", "one", "host", 0.0), None, Path(scratch), Path(scratch))
    with _lock:
        STARTS[cell] += 1
    slow = str(get_worker().name) in SLOW_WORKERS
    time.sleep(DURATIONS[cell] * (_SLOW if slow else 1.0))
    return cell.encode()


@dataclass
class Sink:
    """Counts what came back."""

    open_cells: dict[str, None]
    taken: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)
    # Our own seconds for it.
    seconds: float = 0.0
    # Called once this many came back.
    after: int = 0
    then: Callable[[], None] = lambda: None

    def take(self, cell: str, data: object, fetch: Callable[[str, str], bytes]) -> str:
        assert data == cell.encode(), (cell, data)
        self.open_cells.pop(cell, None)
        self.taken[cell] += 1
        if self.after and sum(self.taken.values()) == self.after:
            self.then()
        return cell

    def failed(self, cell: str, reason: str) -> str:
        self.open_cells.pop(cell, None)
        self.failures[cell] = reason
        if len(self.failures) == 1:
            Screen(Mode.PLAIN).say(reason)
        return cell

    def skipped(self, cell: str, reason: str) -> str:
        return self.failed(cell, reason)

    def note_logs(self, data: object) -> Note:
        return Note(0, "", "one", "host", 0.0)


class ClientLost(Exception):
    """The client goes away in the middle of the run."""


@dataclass(frozen=True)
class Outcome:
    """How a simulation ended."""

    cells: int
    workers: int
    took_s: float
    best_s: float
    lost_workers: int
    slow_workers: int
    # Of cells that were begun more than once.
    begun_again: int
    missing: int
    doubled: int
    failed: int
    # Processor time of the client, the scheduler and all workers together, a cell.
    own_ms: float

    @property
    def ratio(self) -> float:
        return self.took_s / self.best_s


def simulate(
    cells: int, workers: int, *, mean_s: float, lost: int = 0, slow: int = 0, client_goes: bool = False,
    known: bool = True, seed: int = 1,
) -> Outcome:  # fmt: skip
    """Run ``cells`` on ``workers``; ``known`` is whether an earlier run says how long each takes."""
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL + 1)
    dice = random.Random(seed)
    names = [f"cell-{n}" for n in range(cells)]
    DURATIONS.clear()
    DURATIONS.update({name: mean_s * dice.lognormvariate(-0.18, 0.6) for name in names})
    SLOW_WORKERS.clear()
    SLOW_WORKERS.update(str(n) for n in range(workers - slow, workers))
    STARTS.clear()
    made = tuple(PlannedCell(name, "s", "d", {}, {}) for name in names)
    plan = Plan(made, (), tuple(PlannedJob("1", (n,), ("--cell", n)) for n in names))
    tasks = graph.tasks(
        plan, Settings("run", BUNDLE, PROGRAM, Wanted(PROGRAM).resource), {}, DURATIONS if known else {}
    )
    record = Record(
        "run", "now", "", "simulation", True, PROGRAM, Wanted(PROGRAM).resource, BUNDLE, plan, tuple(tasks)
    )
    facts = Facts(
        "one",
        "host",
        "1",
        PROGRAM,
        "x86_64",
        1,
        1 << 20,
        1 << 20,
        "/",
        accel="tcg",
        resource=Wanted(PROGRAM).resource,
    )
    screen = Screen(Mode.QUIET)
    with LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=False, dashboard_address=None,
        worker_dashboard_address=None, resources=dict(facts.resources), silence_logs=logging.CRITICAL,
    ) as cluster:  # fmt: skip
        address = cluster.scheduler_address
        deserializers = ["dask", "msgpack", "error"]
        connect = lambda: Client(address, set_as_default=False, deserializers=deserializers)  # noqa: E731
        greeted = Greeted({f"w{n}": facts for n in range(workers)}, Wanted(PROGRAM), "")
        sink = Sink(dict.fromkeys(names))
        goes = threading.Event()

        def leave() -> None:
            if client_goes:
                goes.set()

        sink.after, sink.then = cells // 2, leave
        loser = _Loser(cluster, lost, sum(DURATIONS.values()) / workers / 4)
        before = resource.getrusage(resource.RUSAGE_SELF)
        began = time.monotonic()
        far = FarRun(record, connect(), greeted, connect, sink, screen, job=job)
        far.begin(Bundle(BUNDLE, b""))
        loser.start()
        try:
            far.watch(_describing(goes))
        except ClientLost:
            far.client.close()
            far = FarRun(record, connect(), greeted, connect, sink, screen, job=job)
            far.resume(Bundle(BUNDLE, b""))
            far.watch(lambda: "")
        took = time.monotonic() - began
        after = resource.getrusage(resource.RUSAGE_SELF)
        loser.join()
        far.forget()
        far.client.close()
    own = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    return Outcome(
        cells, workers, took, _best(workers, slow, loser.when), len(loser.when), slow,
        sum(n > 1 for n in STARTS.values()), len(sink.open_cells),
        sum(n > 1 for n in sink.taken.values()), len(sink.failures), 1000 * own / cells,
    )  # fmt: skip


def _describing(goes: threading.Event) -> Callable[[], str]:
    def describe() -> str:
        if goes.is_set():
            goes.clear()
            raise ClientLost
        return ""

    return describe


def _best(workers: int, slow: int, lost_at: list[float]) -> float:
    """Return the least time that any schedule takes: all work over all that the workers could do."""
    work = sum(DURATIONS.values())
    there = workers - slow - len(lost_at)
    even = (work - sum(lost_at)) / (there + slow / _SLOW)
    return max(even, max(DURATIONS.values()))


class _Loser(threading.Thread):
    """Ends workers without a word while the run goes on."""

    def __init__(self, cluster: Any, number: int, every_s: float) -> None:
        super().__init__(daemon=True)
        self._cluster, self._number, self._every_s = cluster, number, every_s
        self.when: list[float] = []

    def run(self) -> None:
        began = time.monotonic()
        for n in range(self._number):
            time.sleep(self._every_s / max(self._number, 1))
            worker = self._cluster.workers[n]
            loop = self._cluster.loop.asyncio_loop
            # Without waiting for its end, which waits for its thread.
            asyncio.run_coroutine_threadsafe(worker.close(timeout=0, executor_wait=False, nanny=False), loop)
            self.when.append(time.monotonic() - began)


def table(rows: list[Outcome]) -> str:
    """Return a table of outcomes, as Markdown."""
    heads = (
        "cells", "workers", "lost", "slow (×4)", "took", "best possible", "ratio", "begun again", "missing",
        "double", "failed", "CPU a cell",
    )  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for one in rows:
        cells = (
            f"{one.cells:,}", one.workers, one.lost_workers, one.slow_workers, f"{one.took_s:.1f} s",
            f"{one.best_s:.1f} s", f"{one.ratio:.2f}", one.begun_again, one.missing, one.doubled, one.failed,
            f"{one.own_ms:.1f} ms",
        )  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main(cells: int = 10_000, workers: int = 100, mean_s: float = 3.0) -> str:
    """Simulate, and return the table."""
    return table([
        simulate(cells, workers, mean_s=mean_s),
        simulate(cells, workers, mean_s=mean_s, lost=workers // 20, slow=workers // 10, client_goes=True),
    ])  # fmt: skip
