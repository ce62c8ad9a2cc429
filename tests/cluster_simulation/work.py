"""What is simulated: cells that take their time on a worker, and leave a result as a real one does."""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from kmodpipe import results
from kmodpipe.ci.job_plan import Plan, PlannedCell, PlannedJob
from kmodpipe.cluster import graph, parcel
from kmodpipe.cluster.facts import Facts, Wanted
from kmodpipe.cluster.graph import Settings
from kmodpipe.cluster.parcel import Note
from kmodpipe.cluster.record import Record
from kmodpipe.cluster.worker import told
from kmodpipe.results import Run, Span, State
from tests.support.sample_run import INFOS, cell, seen

PROGRAM, BUNDLE = "a" * 64, "b" * 64
STARTS = "starts"
"""The file of a simulation's folder with the name of a cell a line, each time that one begins."""
# How much longer a cell takes on a slow worker, whose name begins so.
SLOWER, SLOW = 4.0, "slow"
_CASES = len(INFOS)


@dataclass(frozen=True)
class Simulation:
    """What is to be run."""

    cells: int
    workers: int
    # The mean of what a cell takes; the longest of 10,000 takes some eight times as long.
    mean_s: float
    # Workers that are killed in the first half of the run, one after the other.
    lost: int = 0
    # Workers on which everything takes four times as long.
    slow: int = 0
    # Whether the client is killed in the middle, and another one follows the run.
    client_goes: bool = False
    # Whether an earlier run says how long each cell takes.
    known: bool = True
    seed: int = 1

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @cached_property
    def seconds(self) -> dict[str, float]:
        """How long each cell takes."""
        dice = random.Random(self.seed)
        return {f"cell-{n}": self.mean_s * dice.lognormvariate(-0.18, 0.6) for n in range(self.cells)}

    @property
    def plan(self) -> Plan:
        cells = tuple(PlannedCell(name, "unpatched", "none", {"N": name}, {}) for name in self.seconds)
        jobs = tuple(
            PlannedJob("1", (name,), ("--cell", name, "--seconds", f"{seconds:.3f}"))
            for name, seconds in self.seconds.items()
        )
        return Plan(cells, INFOS, jobs)

    def record(self, run: str) -> Record:
        """Return what a run of that name is begun with."""
        resource = Wanted(PROGRAM).resource
        asked = Settings(run, BUNDLE, PROGRAM, resource)
        tasks = graph.tasks(self.plan, asked, {}, self.seconds if self.known else {})
        return Record(run, "now", "", "simulation", True, PROGRAM, resource, BUNDLE, self.plan, tuple(tasks))

    @property
    def facts(self) -> Facts:
        """What every worker says of itself."""
        return Facts(
            "one", "host", "1", PROGRAM, "x86_64", 1, 1 << 20, 1 << 20, "/", accel="tcg",
            resource=Wanted(PROGRAM).resource,
        )  # fmt: skip


def job(text: str, data: bytes, *after: bytes) -> bytes:
    """Play a job on a worker: sleep for as long as it takes, and hand back a parcel with its results."""
    from distributed import get_worker

    dask_worker = get_worker()
    with told(dask_worker, str(dask_worker.get_current_task())):
        return _play(json.loads(text)["words"], str(dask_worker.name))


def _play(words: Sequence[str], worker: str) -> bytes:
    folder = Path(os.environ["KMODPIPE_SIMULATION"])
    if "--prepare" in words:
        return _parcel(folder, Note(0, "", worker, "host", 0.0), None)
    name, taking = (words[words.index(flag) + 1] for flag in ("--cell", "--seconds"))
    with (folder / STARTS).open("a") as f:
        f.write(f"{name}\n")
    began, seconds = time.time(), float(taking) * (SLOWER if worker.startswith(SLOW) else 1.0)
    time.sleep(seconds)
    done = replace(
        cell("unpatched", "n", "n", state=State.RAN), cell=name, choice={"N": name},
        cases=tuple(seen(n, "mounted", duration_s=seconds / _CASES) for n in range(_CASES)),
    )  # fmt: skip
    run = Run(name, "now", INFOS, (done,), finished="now", timeline=(Span("test", name, began, seconds),))
    return _parcel(folder, Note(0, "", worker, "host", seconds, began), run)


def _parcel(folder: Path, note: Note, run: Run | None) -> bytes:
    scratch = Path(tempfile.mkdtemp(dir=folder))
    try:
        if run is None:
            return parcel.wrap(note, None, scratch, folder)
        made = scratch / "run"
        (made / run.id).mkdir(parents=True)
        (made / run.id / "console.log").write_text("[    0.000000] Linux version\n" * 20)
        # No fsync: a real worker has a disk of its own.
        (made / "results.json").write_text(results.to_json(run))
        return parcel.wrap(note, made, scratch, folder)
    finally:
        shutil.rmtree(scratch)


def doubled(starts: Path, run: Run) -> tuple[int, int]:
    """Return how many cells were begun more than once, and of how many more than one result was taken."""
    begun = starts.read_text().split()
    taken: list[str] = [span.subject for span in run.timeline if span.kind == "test"]
    return _twice(begun), _twice(taken)


def _twice(names: Sequence[str]) -> int:
    return sum(number > 1 for number in Counter(names).values())
