"""Run many guests of one cell at once, and decide which of their files to keep.

A soak boots a fresh guest for every run of a case. All cells together have no more guests at a time than the
run has jobs. Kept are the files of the first guest of each case, to compare with, and of those that failed
or had no verdict, up to `MOST_KEPT` a case.
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
    """Limits how many guests run at a time; shared by all cells."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = threading.BoundedSemaphore(count)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold one slot in the block; wait until one is free."""
        with self._free:
            yield


def in_parallel(jobs: Sequence[int], slots: GuestSlots, run: Callable[[int, int], None]) -> None:
    """Call ``run(number, job)`` for each job, with numbers from 1, as many at once as there are slots.

    After an error no further job is started, and the error is raised when those that run have ended.
    """
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
        """Return a text such as ``12 of 200 guests, 1 failed``."""
        bad = {"failed": self.verdicts[Verdict.FAIL], "without verdict": self.verdicts[Verdict.ERROR]}
        parts = [f"{self.done} of {self.total} guests", *(f"{n} {word}" for word, n in bad.items() if n)]
        return ", ".join(parts)


class LogRetention:
    """Decides which guests of a soak keep their files."""

    def __init__(self) -> None:
        self._bad: Counter[str] = Counter()

    def keeps(self, result: CaseResult) -> bool:
        """Return whether to keep the files of a guest with this result, apart from the first of each case."""
        if result.verdict in _UNEVENTFUL:
            return False
        self._bad[result.case] += 1
        return self._bad[result.case] <= MOST_KEPT


def remove(files: Sequence[Path]) -> None:
    """Remove those of ``files`` that exist."""
    for file in files:
        file.unlink(missing_ok=True)
