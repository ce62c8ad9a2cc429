"""Many cells on many workers, some of which are slow or get lost: only the work is simulated.

Scheduler, workers and client are processes of their own: Dask's scheduler as `dask scheduler` starts it; its
workers, many in a process (`hosts`); and a client with the code and the run folder of `--on` (`client`). A
cell sleeps for as long as it would take, and hands back a parcel with results.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from kmodpipe import results
from kmodpipe.results import State, journal
from tests.cluster_simulation.client import BEGAN, ENDED, WRITTEN
from tests.cluster_simulation.work import SLOW, SLOWER, STARTS, Simulation, doubled
from tests.support import REPO
from tests.support.servers import free_port, wait_for_port

_PER_PROCESS = 50
_LOOK_S = 0.2
Process = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Outcome:
    """How a simulation ended."""

    asked: Simulation
    took_s: float
    best_s: float
    # From the last cell to a written run.
    written_s: float
    # Cells that were begun more than once; of which there is no result; of which more than one was taken.
    begun_again: int
    missing: int
    doubled: int
    failed: int
    # Processor time a cell, in ms.
    client_ms: float
    scheduler_ms: float

    @property
    def ratio(self) -> float:
        return self.took_s / self.best_s


class _World:
    """The processes of one simulation."""

    def __init__(self, asked: Simulation, folder: Path) -> None:
        self._asked, self._folder = asked, folder
        self._stack = ExitStack()
        self._address = f"tcp://127.0.0.1:{free_port()}"
        self._lost: list[Process] = []
        self._environment = {
            **os.environ, "PYTHONPATH": str(REPO), "KMODPIPE_SIMULATION": str(folder),
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "2",
        }  # fmt: skip

    def __enter__(self) -> _World:
        port = self._address.rpartition(":")[2]
        self.scheduler = self._start(
            "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard",
            "--no-show",
        )  # fmt: skip
        wait_for_port(int(port), self.scheduler)
        asked = self._asked
        for n in range(asked.lost):
            self._lost.append(self._workers(f"lost-{n}"))
        names = [
            *(f"{SLOW}-{n}" for n in range(asked.slow)),
            *(f"w-{n}" for n in range(asked.workers - asked.slow - asked.lost)),
        ]
        for n in range(0, len(names), _PER_PROCESS):
            self._workers(*names[n : n + _PER_PROCESS])
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, module: str, *words: str) -> Process:
        with (self._folder / f"{module.rpartition('.')[2]}.log").open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", module, *words], cwd=self._folder, env=self._environment,
                stdout=log, stderr=log,
            )  # fmt: skip
        self._stack.callback(_end, child)
        return child

    def _workers(self, *names: str) -> Process:
        return self._start("tests.cluster_simulation.hosts", self._address, self._asked.to_json(), *names)

    def client(self) -> Process:
        return self._start(
            "tests.cluster_simulation.client", self._address, self._asked.to_json(), str(self._folder)
        )

    def wait_for_workers(self) -> None:
        from distributed import Client

        with Client(self._address, set_as_default=False) as one:
            one.wait_for_workers(self._asked.workers, timeout=120)

    def lose_worker(self) -> None:
        child = self._lost.pop()
        child.kill()
        child.wait()


def _end(child: Process) -> None:
    if child.poll() is None:
        child.kill()
        child.wait()


def _cpu_s(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def simulate(asked: Simulation, *, within_s: float = 1800) -> Outcome:
    """Run a simulation to its end."""
    with tempfile.TemporaryDirectory(prefix="simulation-") as name, _World(asked, Path(name)) as world:
        folder = Path(name)
        world.wait_for_workers()
        before = _cpu_s(world.scheduler.pid)
        lost_at, client_s = _to_its_end(asked, world, folder, within_s)
        scheduler_s = _cpu_s(world.scheduler.pid) - before
        began, ended, written = (float((folder / n).read_text()) for n in (BEGAN, ENDED, WRITTEN))
        (path,) = (folder / "out").glob("2*/results.json")
        run = results.load(path)
        again, twice = doubled(folder / STARTS, run)
    states = [cell.state for cell in run.cells]
    return Outcome(
        asked, ended - began, _best(asked, [at - began for at in lost_at]), written - ended, again,
        asked.cells - states.count(State.RAN), twice, states.count(State.INFRA),
        1000 * client_s / asked.cells, 1000 * scheduler_s / asked.cells,
    )  # fmt: skip


def _to_its_end(asked: Simulation, world: _World, folder: Path, within_s: float) -> tuple[list[float], float]:
    """Follow the clients, and take away what gets lost.

    Return when workers were lost, and the clients' processor time in seconds.
    """
    lost_at: list[float] = []
    cpu_s, last = 0.0, 0.0
    deadline = time.monotonic() + within_s
    child, goes = world.client(), asked.client_goes
    while child.poll() is None:
        if time.monotonic() > deadline:
            raise AssertionError(f"it takes too long: {_settled(folder)} of {asked.cells} cells so far")
        with suppress(OSError, IndexError):
            last = _cpu_s(child.pid)
        settled = _settled(folder)
        if len(lost_at) < asked.lost and settled > asked.cells * (len(lost_at) + 1) // (2 * asked.lost + 2):
            world.lose_worker()
            lost_at.append(time.time())
        if goes and settled > asked.cells // 2:
            child.send_signal(signal.SIGKILL)
            child.wait()
            cpu_s, last, goes = cpu_s + last, 0.0, False
            child = world.client()
        time.sleep(_LOOK_S)
    if child.returncode:
        raise AssertionError((folder / "client.log").read_text()[-3000:])
    return lost_at, cpu_s + last


def _settled(folder: Path) -> int:
    """Return how many cells have a result on the disk."""
    with suppress(OSError, ValueError):
        (path,) = (folder / "out").glob(f"2*/{journal.NAME}")
        return path.read_bytes().count(b'\n{"cell"')
    return 0


def _best(asked: Simulation, lost_after_s: list[float]) -> float:
    """Return the least time that any schedule takes: all work over all that the workers could do."""
    work = sum(asked.seconds.values())
    there = asked.workers - asked.slow - len(lost_after_s)
    even = (work - sum(lost_after_s)) / (there + asked.slow / SLOWER)
    return max(even, max(asked.seconds.values()))


def table(rows: list[Outcome]) -> str:
    """Return a table of outcomes, as Markdown."""
    heads = (
        "cells", "workers", "killed", f"slow (×{SLOWER:g})", "client killed", "took", "best possible",
        "ratio", "begun again", "missing", "double", "failed", "client's CPU a cell", "scheduler's",
        "written in",
    )  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for one in rows:
        asked = one.asked
        cells = (
            f"{asked.cells:,}", asked.workers, asked.lost, asked.slow, "yes" if asked.client_goes else "no",
            f"{one.took_s:.1f} s", f"{one.best_s:.1f} s", f"{one.ratio:.2f}", one.begun_again, one.missing,
            one.doubled, one.failed, f"{one.client_ms:.1f} ms", f"{one.scheduler_ms:.1f} ms",
            f"{one.written_s:.1f} s",
        )  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main(cells: int = 10_000, workers: int = 100, mean_s: float = 3.0) -> str:
    """Simulate, and return the table."""
    quiet = Simulation(cells // 5, workers, mean_s)
    lossy = Simulation(cells, workers, mean_s, lost=workers // 20, slow=workers // 10, client_goes=True)
    return table([simulate(quiet), simulate(lossy)])
