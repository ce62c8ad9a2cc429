"""Many guests of one cell at once, and what of theirs is kept.

A soak boots a fresh guest for every run of a case. All cells together have no more guests at a time than the
run has jobs. Of hundreds of logs nobody reads those of the guests in which nothing happened: kept are the
first guest of each case, to compare with, and those that went wrong, up to `MOST_KEPT` a case.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.results import CaseResult, Verdict
from kmodpipe.util.workers import Pool

MOST_KEPT = 20
_UNEVENTFUL = (Verdict.PASS, Verdict.SKIP)


class GuestSlots:
    """Slots for a bounded number of guests at a time, shared by all cells."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = threading.BoundedSemaphore(count)

    @contextmanager
    def one(self) -> Iterator[None]:
        with self._free:
            yield


def in_parallel(jobs: Sequence[int], slots: GuestSlots, run: Callable[[int, int], None]) -> None:
    """``run(number, job)`` for every job, numbered from 1 and started in this order, as many at once as there
    are slots. The first error ends it, when those that run have ended."""
    rest = iter(enumerate(jobs, 1))
    lock, over = threading.Lock(), threading.Event()

    def work() -> None:
        while not over.is_set():
            with slots.one():
                with lock:
                    number, job = next(rest, (0, 0))
                if not number:
                    return
                try:
                    run(number, job)
                except BaseException:
                    over.set()
                    raise

    with Pool(min(slots.count, len(jobs)) or 1, thread_name_prefix="soak") as pool:
        workers = [pool.submit(work) for _ in range(min(slots.count, len(jobs)))]
    for worker in workers:
        worker.result()


@dataclass(frozen=True)
class Progress:
    """How far a soak is."""

    done: int
    total: int
    verdicts: Counter[Verdict]

    def describe(self) -> str:
        """Return ``12 of 200 guests, 1 failed``."""
        bad = {"failed": self.verdicts[Verdict.FAIL], "without verdict": self.verdicts[Verdict.ERROR]}
        parts = [f"{self.done} of {self.total} guests", *(f"{n} {word}" for word, n in bad.items() if n)]
        return ", ".join(parts)


class Shelf:
    """The files of a soak's guests, and which of them stay."""

    def __init__(self) -> None:
        self._bad: Counter[str] = Counter()

    def keeps(self, result: CaseResult) -> bool:
        """Whether the files of a guest that gave ``result`` stay, were it not the first of its case."""
        if result.verdict in _UNEVENTFUL:
            return False
        self._bad[result.case] += 1
        return self._bad[result.case] <= MOST_KEPT


def remove(files: Sequence[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


__all__ = ["MOST_KEPT", "GuestSlots", "Progress", "Shelf", "in_parallel", "remove"]
