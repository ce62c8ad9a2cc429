"""Count what a run has done of what it planned, and guess from the last run how long the rest takes."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.util import document
from kmodpipe.util.text import count


def last_times(out: Path) -> Mapping[str, float]:
    """Return how many seconds the guests of each cell took in the last complete run; empty if unknown.

    They are read from its events, line by line: its results can be a hundred times as large.
    """
    found: dict[str, float] = {}
    with suppress(OSError), (out / "latest" / "events.jsonl").open(encoding="utf-8", errors="replace") as log:
        for text in log:
            with suppress(document.Unreadable, KeyError, TypeError, ValueError):
                event = document.parse(text)
                kind, _, cell = str(event["step"]).partition(" ")
                if kind == "test" and event["event"] == "end":
                    found[cell] = float(event["seconds"])
    return found


class Progress:
    """Cells and results of a run. Thread-safe; what a cell costs does not depend on how many there are."""

    def __init__(self, cells: Iterable[str], cases: int, jobs: int, last: Mapping[str, float]) -> None:
        """``jobs`` cells run at once; ``last`` has the seconds that cells took in an earlier run."""
        self._left = set(cells)
        self._done = 0
        self._built: set[str] = set()
        self._cases = cases
        self._jobs = max(jobs, 1)
        self._last = {cell: last[cell] for cell in self._left if cell in last}
        self._lock = threading.Lock()
        # Of the cells that are left: how many seconds they took in the last run, and how many of them are not
        # built.
        self._known = _Sum(sum(self._last.values()), len(self._last))
        self._unbuilt = len(self._left)
        # Of those that are done: the seconds that they took; of those in both runs, in this and in the last.
        self._took, self._builds = _Sum(), _Sum()
        self._now = self._before = 0.0

    @property
    def left(self) -> int:
        """How many cells have not all their results."""
        with self._lock:
            return len(self._left)

    def skip(self, cell: str) -> None:
        """Leave out a cell that does not run."""
        with self._lock:
            self._leave(cell)

    def at_once(self, jobs: int) -> None:
        """Note that so many cells run at once from now on."""
        with self._lock:
            self._jobs = max(jobs, 1)

    def built(self, cell: str, seconds: float) -> None:
        """Note how long a cell's module took to build, or to be found in the cache."""
        with self._lock:
            if cell not in self._built:
                self._unbuilt -= cell in self._left
                self._built.add(cell)
                self._builds.add(seconds)

    def finish(self, cell: str, seconds: float) -> None:
        """Count a cell that has all its results, after so many seconds in guests; 0 if it did not run."""
        with self._lock:
            if not self._leave(cell):
                return
            self._done += 1
            if seconds:
                self._took.add(seconds)
                if before := self._last.get(cell):
                    self._now, self._before = self._now + seconds, self._before + before

    def _leave(self, cell: str) -> bool:
        """Take a cell out of those that are left; return whether it was among them."""
        if cell not in self._left:
            return False
        self._left.remove(cell)
        self._unbuilt -= cell not in self._built
        if cell in self._last:
            self._known.add(-self._last[cell], -1)
        return True

    def describe(self) -> str:
        """Return ``3 of 8 cells, 30 of 80 results, about 2 min left``."""
        with self._lock:
            done, planned = self._done, self._done + len(self._left)
            text = f"{done} of {count(planned, 'cell')}, "
            text += f"{done * self._cases} of {count(planned * self._cases, 'result')}"
            left = self._seconds_left()
        return f"{text}, about {_rounded(left)} left" if left else text

    def _seconds_left(self) -> float:
        """Return a guess; 0 if there is nothing to guess from, or nothing left.

        Cells of which nothing is known count as the mean of the others, and so do builds to come. This run
        may be slower or faster than the last one: what both have run tells how much.
        """
        guesses = self._known.number + self._took.number
        if not guesses or not self._left:
            return 0.0
        known = self._known.seconds * (self._now / self._before if self._before else 1.0)
        mean = (known + self._took.seconds) / guesses
        total = known + (len(self._left) - self._known.number) * mean
        if self._builds.number:
            total += self._builds.seconds / self._builds.number * self._unbuilt
        return total / min(self._jobs, len(self._left))


@dataclass
class _Sum:
    """Seconds that are added up, and of how many cells."""

    seconds: float = 0.0
    number: int = 0

    def add(self, seconds: float, number: int = 1) -> None:
        self.seconds += seconds
        self.number += number


def _rounded(seconds: float) -> str:
    if seconds < 90:
        return f"{max(5 * round(seconds / 5), 5)} s"
    return f"{round(seconds / 60)} min"
