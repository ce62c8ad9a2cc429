"""Add up what the steps of a command cost: seconds on the wall, and of our own processor time.

A step that is begun inside of another one is not counted in that one, so that the sum over the steps of one
thread is what passed. Steps of several threads go on at the same time: their sum may be more than the command
took.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum

from kmodpipe.util import proc_stat


class Part(StrEnum):
    """The steps of a command, in their order."""

    START = "process start and imports"
    PROJECT = "reading the project"
    TREE = "looking at the tree"
    KCONFIG = "reading Kconfig"
    APPLY = "applying"
    ENGINE = "the engine"
    STORE = "looking into the store"
    CONFIGURE = "configuring"
    COMPILE = "compiling"
    MACHINE = "the machine's speed"
    PACK = "packing"
    BOOT = "booting"
    JUDGE = "judging"
    REPORT = "reporting"


@dataclass(frozen=True)
class Cost:
    """What one step cost so far."""

    seconds: float = 0.0
    own_cpu_s: float = 0.0  # of the threads that did it, not of the programs that they waited for
    times: int = 0

    def plus(self, seconds: float, own_cpu_s: float, times: int) -> Cost:
        return Cost(self.seconds + seconds, self.own_cpu_s + own_cpu_s, self.times + times)


class Costs:
    """What a command's steps cost. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[Part, Cost] = {}

    def add(self, part: Part, seconds: float, own_cpu_s: float, times: int = 1) -> None:
        with self._lock:
            self._found[part] = self._found.get(part, Cost()).plus(seconds, own_cpu_s, times)

    def found(self) -> Mapping[Part, Cost]:
        """Return the costs so far, in the order of `Part`."""
        with self._lock:
            return {part: self._found[part] for part in Part if part in self._found}

    def as_fields(self) -> dict[str, object]:
        """Return the costs so far as plain values, for the event log."""
        return {
            part.value: {"seconds": round(c.seconds, 4), "own_cpu_s": round(c.own_cpu_s, 4), "times": c.times}
            for part, c in self.found().items()
        }


# The default is for a command, which is a process; see `collecting`.
_CURRENT: ContextVar[Costs] = ContextVar("costs", default=Costs())  # noqa: B039


def current() -> Costs:
    """Return the costs that steps are added to: those of the process, or of the innermost `collecting`."""
    return _CURRENT.get()


@contextmanager
def collecting() -> Iterator[Costs]:
    """Add up steps in the block, and in threads of `util.workers` made in it, on their own."""
    token = _CURRENT.set(Costs())
    try:
        yield current()
    finally:
        _CURRENT.reset(token)


class _Open(threading.local):
    """The steps that this thread has begun, and until when they are counted."""

    def __init__(self) -> None:
        self.parts: list[tuple[Costs, Part]] = []
        self.seconds = self.cpu_s = 0.0

    def count(self, times: int) -> None:
        """Count what passed for the innermost step; begin to count anew."""
        seconds, cpu_s = time.monotonic(), time.thread_time()
        if self.parts:
            costs, part = self.parts[-1]
            costs.add(part, seconds - self.seconds, cpu_s - self.cpu_s, times)
        self.seconds, self.cpu_s = seconds, cpu_s


_OPEN = _Open()


@contextmanager
def step(part: Part) -> Iterator[None]:
    """Count the block as a step of the current command."""
    _OPEN.count(0)
    _OPEN.parts.append((current(), part))
    try:
        yield
    finally:
        _OPEN.count(1)
        _OPEN.parts.pop()


def started() -> None:
    """Count the time from the start of this process to now as `Part.START`, the first time."""
    stat = proc_stat.of(os.getpid())
    if stat and stat.started.isdigit() and Part.START not in current().found():
        # A tick has 10 ms.
        age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(stat.started) * proc_stat.TICK_S
        current().add(Part.START, age_s, time.process_time())
