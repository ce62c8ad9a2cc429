"""The client of a simulated run: ``python -m tests.cluster_simulation.client ADDRESS SIMULATION FOLDER``.

It is what a command is behind ``--on``, without what comes before a plan and after the last cell. If the
folder has a run, that is followed to its end.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing
from pathlib import Path

from kmodpipe import results
from kmodpipe.cluster import record, scheduler
from kmodpipe.cluster.bundle import Bundle
from kmodpipe.cluster.facts import Wanted
from kmodpipe.cluster.far_run import FarRun
from kmodpipe.cluster.gathered import Gathered
from kmodpipe.cluster.greeting import Greeted
from kmodpipe.cluster.sinks import TestSink
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.util.screen import Mode, Screen
from tests.cluster_simulation.work import BUNDLE, PROGRAM, Simulation, job

BEGAN, ENDED, WRITTEN = "began", "ended", "written"
"""Files with the time of that moment: the first task handed over, the last cell taken, the run written."""


def note(folder: Path, name: str) -> None:
    (folder / name).write_text(str(time.time()))


def main(address: str, asked: str, place: str) -> None:
    folder, simulation = Path(place), Simulation(**json.loads(asked))
    begun = next(iter((folder / "out").glob("2*")), None)
    with RunFolder.reopened(begun) if begun else RunFolder(folder / "out") as run:
        made = record.load(run.path) if begun else simulation.record(run.id)
        before = results.load(run.path / "results.json") if begun else None
        screen = Screen(Mode.QUIET)
        screen.log_to(run.path / "events.jsonl")
        where = scheduler.parse(address, {})
        greeted = Greeted({f"w{n}": simulation.facts for n in range(simulation.workers)}, Wanted(PROGRAM), "")
        with (
            scheduler.connected(where, folder, screen) as client,
            closing(TestSink(Gathered(made, run, before), len(made.plan.cases), {})) as sink,
        ):
            sink.slots = simulation.workers
            again = lambda: scheduler.client_of(address, where)  # noqa: E731
            far = FarRun(made, client, greeted, again, sink, screen, job=job)
            bundle = Bundle(BUNDLE, b"")
            if begun:
                far.resume(bundle)
            else:
                record.save(made, run.path)
                note(folder, BEGAN)
                far.begin(bundle)
            far.watch(sink.describe)
            note(folder, ENDED)
            far.forget()
            sink.finish()
            note(folder, WRITTEN)


if __name__ == "__main__":
    main(*sys.argv[1:])
