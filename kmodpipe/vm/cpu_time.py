"""What a process got of this machine: processor time, and how long it waited for some.

A process that hangs and one that is starved both say nothing. What tells them apart is in /proc: one that
runs in a loop uses processor time, one that sleeps neither uses nor waits, and one that is starved waits in
the run queue (/proc/PID/task/TID/schedstat), for its memory to come from disk (state D), was stopped (state
T), or is on a machine that is itself a guest and has to wait (steal in /proc/stat). `Meter` adds that up, so
that a limit can be one on the process's *own* time: all but the waiting.

    wall = own + waited        own = processor time + sleep

Where the kernel keeps no such account nothing is ever waited, and own time is wall time.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kmodpipe.util import proc_stat
from kmodpipe.util.proc_stat import TICK_S

PATIENCE = 10.0
"""How many times as long as it may take a process is waited for when it has to wait."""
_LEAST_S = 0.1
"""Between two looks into /proc: one costs a third of a millisecond."""
_HELD = "DTt"


@dataclass(frozen=True)
class Reading:
    """Seconds since the start: on the wall, of the processor, waited for it."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    waited_s: float = 0.0

    @property
    def own_s(self) -> float:
        return max(self.wall_s - self.waited_s, 0.0)

    def since(self, before: Reading) -> Reading:
        return Reading(
            self.wall_s - before.wall_s, self.cpu_s - before.cpu_s, self.waited_s - before.waited_s
        )

    def describe(self) -> str:
        """Return ``QEMU had 97.0 s of processor time and waited 9.0 s for more``."""
        return f"QEMU had {self.cpu_s:.1f} s of processor time and waited {self.waited_s:.1f} s for more"


@dataclass(frozen=True)
class Look:
    """One thread as /proc shows it: its state, what it ran and waited for in seconds, how often it ran."""

    state: str
    ran_s: float
    queued_s: float
    turns: int


@dataclass
class _Thread:
    """A thread's account. A wait is in the kernel's own only when it is over: what is pending since the last
    sign of running is added, and gone again when the kernel tells it."""

    last: Look
    seen_s: float
    held_s: float = 0.0
    told_s: float = 0.0

    def waited_s(self, look: Look, now_s: float) -> float:
        """How much more it has waited now than was told before."""
        if look.state in _HELD and self.last.state in _HELD:
            moved_s = look.ran_s - self.last.ran_s + look.queued_s - self.last.queued_s
            self.held_s += max(now_s - self.seen_s - moved_s, 0.0)
        idle = look.ran_s == self.last.ran_s and look.turns == self.last.turns
        pending_s = now_s - self.seen_s if idle and look.state == self.last.state == "R" else 0.0
        if not pending_s:
            self.last, self.seen_s = look, now_s
        total_s = look.queued_s + self.held_s + pending_s
        more_s = max(total_s - self.told_s, 0.0)
        self.told_s += more_s
        return more_s


@dataclass
class Meter:
    """The account of a process that runs, from the first `read` on."""

    pid: int
    started_s: float
    proc: Path = Path("/proc")
    _threads: dict[str, _Thread] = field(default_factory=dict)
    _ran_s: dict[str, float] = field(default_factory=dict)
    _last: Reading = Reading()
    _stolen_s: float | None = None
    _whole_s: float = 0.0
    _looked_s: float = 0.0

    def read(self, now_s: float, *, least_s: float = _LEAST_S) -> Reading:
        """The account at ``now_s``, of the clock that ``started_s`` is of; a look that is younger than
        ``least_s`` is not repeated."""
        wall_s = now_s - self.started_s
        waited_s = self._last.waited_s
        if not self._ran_s or wall_s - self._looked_s >= least_s:
            self._looked_s = wall_s
            waited_s = min(waited_s + self._wait_since(now_s), max(wall_s, waited_s))
        self._last = Reading(
            wall_s, max(self._last.cpu_s, sum(self._ran_s.values()), self._whole_s), waited_s
        )
        return self._last

    def _wait_since(self, now_s: float) -> float:
        """How long the process could not go on: as long as that of its threads which waited longest. Several
        wait at once, and no time must count twice."""
        most_s = 0.0
        for tid, look in look_at(self.proc / str(self.pid) / "task").items():
            thread = self._threads.setdefault(tid, _Thread(look, now_s))
            self._ran_s[tid] = look.ran_s
            most_s = max(most_s, thread.waited_s(look, now_s))
        # In ticks, so a little behind, but of threads that are gone as well.
        whole = proc_stat.read(self.proc / str(self.pid) / "stat")
        self._whole_s = whole.cpu_s if whole else 0.0
        stolen_s = _stolen(self.proc / "stat")
        more_s = 0.0 if self._stolen_s is None else max(stolen_s - self._stolen_s, 0.0)
        self._stolen_s = stolen_s
        return most_s + more_s


class Bound:
    """So many of a process's own seconds; `PATIENCE` times as many on the wall at the most."""

    def __init__(self, pid: int, seconds: float) -> None:
        self._meter = Meter(pid, time.monotonic())
        self._seconds = seconds

    @property
    def passed(self) -> bool:
        now = self._meter.read(time.monotonic())
        return now.own_s >= self._seconds or now.wall_s >= PATIENCE * self._seconds


def look_at(tasks: Path) -> dict[str, Look]:
    """Every thread in a folder like /proc/PID/task; empty when the process is gone."""
    found: dict[str, Look] = {}
    with suppress(OSError):
        for task in tasks.iterdir():
            if look := _look(task):
                found[task.name] = look
    return found


def _look(task: Path) -> Look | None:
    stat = proc_stat.read(task / "stat")
    if stat is None:
        return None
    ran_s, queued_s, turns = stat.cpu_s, 0.0, 0
    with suppress(OSError, ValueError, IndexError):
        ran_ns, queued_ns, count = (int(word) for word in (task / "schedstat").read_text().split())
        if count:
            ran_s, queued_s, turns = ran_ns / 1e9, queued_ns / 1e9, count
    return Look(stat.state, ran_s, queued_s, turns)


def _stolen(stat: Path) -> float:
    """Seconds that a processor of this machine, itself a guest, waited for a real one: the mean of them."""
    with suppress(OSError, ValueError, IndexError):
        lines = stat.read_text(encoding="utf-8").splitlines()
        number = sum(line.startswith("cpu") for line in lines) - 1
        return int(lines[0].split()[8]) * TICK_S / max(number, 1)
    return 0.0


def load_average() -> str:
    """The three load averages of this machine in words, ``""`` where there are none."""
    try:
        return " ".join(f"{value:.2f}" for value in os.getloadavg())
    except OSError:
        return ""


__all__ = ["PATIENCE", "Bound", "Look", "Meter", "Reading", "load_average", "look_at"]
