"""Threads that work for a command: what they start is the command's, and is ended with it.

A new thread knows nothing of the context that it is started in, and so not whose children it starts: threads
and pools of the package are made here.
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
    """A thread that works for the command that made it, and does not keep the process alive."""

    def __init__(self, work: Callable[[], object], name: str | None = None) -> None:
        super().__init__(target=copy_context().run, args=(work,), name=name, daemon=True)


class Pool(ThreadPoolExecutor):
    """A pool of threads, each of which works for the command that gave it the work."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        context = copy_context()
        return super().submit(lambda: context.run(fn, *args, **kwargs))


@contextmanager
def workers(jobs: int) -> Iterator[Pool]:
    """A pool whose work is stopped, children and containers included, when the block is left by an error."""
    pool = Pool(max_workers=max(jobs, 1), thread_name_prefix="worker")
    try:
        yield pool
    except BaseException:
        process.children().stop_all()
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
