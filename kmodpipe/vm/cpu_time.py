"""Measure the processor time of a process, and how long it had to wait for a processor.

A process that hangs and one that is starved are both silent. /proc distinguishes them: one in a loop uses
processor time, one that sleeps neither uses nor waits, and one that is starved waits in the run queue
(/proc/PID/task/TID/schedstat), for its memory to come from disk (state D), was stopped (state T), or runs on
a machine that is itself a guest and has to wait (steal in /proc/stat). See proc(5) and the kernel's
Documentation/scheduler/sched-stats.rst. `Meter` adds this up, so that limits can apply to the process's *own*
time, which is all but the waiting:

    wall = own + waited        own = processor time + sleep

On a kernel without these statistics the waiting is always 0, and own time is wall time.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kmodpipe.util import proc_stat
from kmodpipe.util.proc_stat import TICK_S

# A process that has to wait is waited for at most so many times its limit, in wall time.
PATIENCE = 10.0
# At least so long between two looks into /proc: each costs a third of a millisecond.
_LEAST_S = 0.1
# Uninterruptible, stopped, traced: states in which a thread is kept from running.
_HELD = "DTt"


@dataclass(frozen=True)
class Reading:
    """The time of a process since its start, in seconds."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    waited_s: float = 0.0  # for a processor

    @property
    def own_s(self) -> float:
        """Wall time without the waiting."""
        return max(self.wall_s - self.waited_s, 0.0)

    def since(self, before: Reading) -> Reading:
        """Return the time between an earlier reading and this one."""
        return Reading(
            self.wall_s - before.wall_s, self.cpu_s - before.cpu_s, self.waited_s - before.waited_s
        )

    def describe(self) -> str:
        """Return ``QEMU had 97.0 s of processor time and waited 9.0 s for more``."""
        return f"QEMU had {self.cpu_s:.1f} s of processor time and waited {self.waited_s:.1f} s for more"


@dataclass(frozen=True)
class Look:
    """One thread as /proc shows it."""

    state: str  # a letter: R, S, D …
    ran_s: float
    queued_s: float  # spent in the run queue
    turns: int  # how often it was put on a processor


@dataclass
class _Thread:
    """The waiting of one thread.

    The kernel counts a wait when it is over. A wait that is still pending is added here, and not counted
    again once the kernel counts it.
    """

    last: Look
    seen_s: float  # when ``last`` was taken
    held_s: float = 0.0  # time in the states of ``_HELD``
    counted_s: float = 0.0  # what `waited_s` has returned so far

    def waited_s(self, look: Look, now_s: float) -> float:
        """Return the seconds that it has waited since the previous call."""
        if look.state in _HELD and self.last.state in _HELD:
            moved_s = look.ran_s - self.last.ran_s + look.queued_s - self.last.queued_s
            self.held_s += max(now_s - self.seen_s - moved_s, 0.0)
        idle = look.ran_s == self.last.ran_s and look.turns == self.last.turns
        pending_s = now_s - self.seen_s if idle and look.state == self.last.state == "R" else 0.0
        if not pending_s:
            self.last, self.seen_s = look, now_s
        total_s = look.queued_s + self.held_s + pending_s
        more_s = max(total_s - self.counted_s, 0.0)
        self.counted_s += more_s
        return more_s


@dataclass
class Meter:
    """Measures a running process, from the first `read` on."""

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
        """Return the time of the process at ``now_s``, by the same clock as ``started_s``.

        /proc is not read again within ``least_s`` seconds.
        """
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
        """Return how long the process has waited since the last look: as long as the thread that waited most.

        Threads wait at the same time, so their waits must not be added up.
        """
        most_s = 0.0
        for tid, look in look_at(self.proc / str(self.pid) / "task").items():
            thread = self._threads.setdefault(tid, _Thread(look, now_s))
            self._ran_s[tid] = look.ran_s
            most_s = max(most_s, thread.waited_s(look, now_s))
        # Coarse, as it counts ticks, but it includes threads that have ended.
        whole = proc_stat.read(self.proc / str(self.pid) / "stat")
        self._whole_s = whole.cpu_s if whole else 0.0
        stolen_s = _stolen(self.proc / "stat")
        more_s = 0.0 if self._stolen_s is None else max(stolen_s - self._stolen_s, 0.0)
        self._stolen_s = stolen_s
        return most_s + more_s


class Bound:
    """A limit on a process's own time, and on `PATIENCE` times as much wall time."""

    def __init__(self, pid: int, seconds: float) -> None:
        self._meter = Meter(pid, time.monotonic())
        self._seconds = seconds

    @property
    def passed(self) -> bool:
        now = self._meter.read(time.monotonic())
        return now.own_s >= self._seconds or now.wall_s >= PATIENCE * self._seconds


def look_at(tasks: Path) -> dict[str, Look]:
    """Return the threads in a folder like /proc/PID/task by id; empty if the process is gone."""
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
    """Return the seconds that this machine's processors waited for the host's, if it is itself a guest.

    The mean over all processors.
    """
    with suppress(OSError, ValueError, IndexError):
        lines = stat.read_text(encoding="utf-8").splitlines()
        number = sum(line.startswith("cpu") for line in lines) - 1
        return int(lines[0].split()[8]) * TICK_S / max(number, 1)
    return 0.0


def load_average() -> str:
    """Return the three load averages of this machine as text; empty if the system has none."""
    try:
        return " ".join(f"{value:.2f}" for value in os.getloadavg())
    except OSError:
        return ""


__all__ = ["PATIENCE", "Bound", "Look", "Meter", "Reading", "load_average", "look_at"]
