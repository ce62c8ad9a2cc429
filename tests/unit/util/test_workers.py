"""Threads of a command: what they start is the command's, and no other's."""

from __future__ import annotations

import threading

import pytest

from kmodpipe.util import process
from kmodpipe.util.errors import Interrupted
from kmodpipe.util.process import Children
from kmodpipe.util.workers import Pool, Thread, workers


def test_threads_and_pools_belong_to_the_command_that_made_them() -> None:
    seen: list[Children] = []
    look = lambda: seen.append(process.children())  # noqa: E731
    with Children().collecting() as ours, Pool(2) as pool:
        thread = Thread(look)
        pool.submit(look).result()
        with Children().collecting() as theirs:
            list(pool.map(lambda _: look(), range(2)))
    thread.start()
    thread.join()
    look()
    assert [c is ours for c in seen] == [True, False, False, True, False]
    assert [c is theirs for c in seen] == [False, True, True, False, False]


def test_a_command_that_is_stopped_stops_no_other_in_the_process() -> None:
    started, stopped = threading.Event(), threading.Event()

    def command() -> int:
        with Children().collecting():
            started.set()
            assert stopped.wait(10)
            return process.run(["true"], timeout_s=10).returncode

    with Pool(1) as pool:
        other = pool.submit(command)
        assert started.wait(10)
        with pytest.raises(RuntimeError), Children().collecting() as children, workers(1) as own:
            own.submit(process.run, ["true"], timeout_s=10).result()
            raise RuntimeError
        assert children.stopping and not process.stopping()
        with children.collecting(), pytest.raises(Interrupted):
            process.run(["true"], timeout_s=10)
        stopped.set()
        assert other.result() == 0
