"""A pool of threads whose work stops, children included, when its block is left by an error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Any

from kmodpipe.util import process


@contextmanager
def workers(jobs: int) -> Iterator[ThreadPoolExecutor]:
    """A pool whose work is stopped, children and containers included, when the block is left by an error."""
    pool = ThreadPoolExecutor(max_workers=max(jobs, 1), thread_name_prefix="worker")
    try:
        yield pool
    except BaseException:
        process.stop_all()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown(wait=True)


def gather(futures: Sequence[Future[Any]], *, ignore: tuple[type[Exception], ...] = ()) -> None:
    """Wait for all, in short steps so that Ctrl-C is seen at once; the first error is raised, unless it is
    one to ``ignore``."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
        for future in done:
            with suppress(*ignore):
                future.result()
