"""Count what a run has done of what it planned, and guess from the last run how long the rest takes."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from statistics import fmean

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
    """Cells and results of a run. Thread-safe."""

    def __init__(self, cells: Iterable[str], cases: int, jobs: int, last: Mapping[str, float]) -> None:
        """``jobs`` cells run at once; ``last`` has the seconds that cells took in an earlier run."""
        self._left = dict.fromkeys(cells)
        self._done: dict[str, float] = {}
        self._built: dict[str, float] = {}
        self._cases = cases
        self._jobs = max(jobs, 1)
        self._last = dict(last)
        self._lock = threading.Lock()

    def skip(self, cell: str) -> None:
        """Leave out a cell that does not run."""
        with self._lock:
            self._left.pop(cell, None)

    def built(self, cell: str, seconds: float) -> None:
        """Note how long a cell's module took to build, or to be found in the cache."""
        with self._lock:
            self._built[cell] = seconds

    def finish(self, cell: str, seconds: float) -> None:
        """Count a cell that has all its results, after so many seconds in guests; 0 if it did not run."""
        with self._lock:
            if cell in self._left:
                del self._left[cell]
                self._done[cell] = seconds

    def describe(self) -> str:
        """Return ``3 of 8 cells, 30 of 80 results, about 2 min left``."""
        with self._lock:
            done, planned = len(self._done), len(self._done) + len(self._left)
            text = f"{done} of {count(planned, 'cell')}, "
            text += f"{done * self._cases} of {count(planned * self._cases, 'result')}"
            left = self._seconds_left()
        return f"{text}, about {_rounded(left)} left" if left else text

    def _seconds_left(self) -> float:
        """Return a guess; 0 if there is nothing to guess from, or nothing left.

        Cells of which nothing is known count as the mean of the others, and so do builds to come. This run
        may be slower or faster than the last one: what both have run tells how much.
        """
        both = [(self._done[c], self._last[c]) for c in self._done if self._last.get(c) and self._done[c]]
        factor = sum(now for now, _ in both) / sum(before for _, before in both) if both else 1.0
        known = {c: seconds * factor for c, seconds in self._last.items() if c in self._left}
        times = [*known.values(), *(s for s in self._done.values() if s)]
        if not times or not self._left:
            return 0.0
        total = sum(known.get(cell, fmean(times)) for cell in self._left)
        if self._built:
            total += fmean(self._built.values()) * len(self._left.keys() - self._built.keys())
        return total / min(self._jobs, len(self._left))


def _rounded(seconds: float) -> str:
    if seconds < 90:
        return f"{max(5 * round(seconds / 5), 5)} s"
    return f"{round(seconds / 60)} min"
