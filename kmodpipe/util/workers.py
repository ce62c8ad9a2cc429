"""Threads and pools whose child processes belong to the command that started the thread.

A new thread does not inherit the context variable that holds the command's children (`process.children`), so
all threads of the package that start processes are made here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar

from kmodpipe.util import process

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Thread(threading.Thread):
    """A daemon thread that runs ``work`` in the context of the command that made it."""

    def __init__(self, work: Callable[[], object], name: str | None = None) -> None:
        super().__init__(target=copy_context().run, args=(work,), name=name, daemon=True)


class Pool(ThreadPoolExecutor):
    """A pool of threads that run work in the context of the command that submitted it."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Schedule ``fn(*args, **kwargs)``."""
        context = copy_context()
        return super().submit(lambda: context.run(fn, *args, **kwargs))


@contextmanager
def workers(jobs: int) -> Iterator[Pool]:
    """Yield a pool; if the block raises, stop its work with all child processes and containers."""
    pool = Pool(max_workers=max(jobs, 1), thread_name_prefix="worker")
    try:
        yield pool
    except BaseException:
        process.children().stop_all()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown(wait=True)


def gather(futures: Sequence[Future[Any]], *, ignore: tuple[type[Exception], ...] = ()) -> None:
    """Wait for all futures. Raise the first error, except those of types in ``ignore``."""
    pending = set(futures)
    while pending:
        # With a timeout, so that Ctrl-C is noticed at once.
        done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
        for future in done:
            with suppress(*ignore):
                future.result()
