"""Costs of steps: nested, in threads, of their own."""

from __future__ import annotations

import time

import pytest

from kmodpipe.util import costs
from kmodpipe.util.costs import Part, step
from kmodpipe.util.workers import workers


def test_counts_a_step_inside_of_another_once() -> None:
    with costs.collecting() as found, step(Part.APPLY):
        time.sleep(0.02)
        with step(Part.TREE):
            time.sleep(0.1)
        time.sleep(0.02)
    outer, inner = found.found()[Part.APPLY], found.found()[Part.TREE]
    assert inner.times == outer.times == 1
    assert inner.seconds >= 0.1
    assert 0.04 <= outer.seconds < 0.1


def test_adds_up_what_is_done_again_and_in_other_threads() -> None:
    def work() -> None:
        with step(Part.BOOT):
            time.sleep(0.05)

    with costs.collecting() as found, workers(2) as pool:
        for one in [pool.submit(work) for _ in range(4)]:
            one.result()
    assert found.found()[Part.BOOT].times == 4
    assert found.found()[Part.BOOT].seconds >= 0.2


def test_tells_work_from_waiting() -> None:
    with costs.collecting() as found:
        with step(Part.JUDGE):
            until = time.thread_time() + 0.05
            while time.thread_time() < until:
                pass
        with step(Part.BOOT):
            time.sleep(0.05)
    assert found.found()[Part.JUDGE].own_cpu_s >= 0.05
    assert found.found()[Part.BOOT].own_cpu_s < 0.04


def test_a_step_that_fails_is_counted_and_ends() -> None:
    with costs.collecting() as found:
        with pytest.raises(ValueError, match="broken"), step(Part.APPLY):
            raise ValueError("broken")
        with step(Part.REPORT):
            pass
    assert {part: cost.times for part, cost in found.found().items()} == {Part.APPLY: 1, Part.REPORT: 1}


def test_what_is_collected_is_not_counted_outside() -> None:
    before = costs.current().found().get(Part.MACHINE, costs.Cost()).times
    with costs.collecting(), step(Part.MACHINE):
        pass
    assert costs.current().found().get(Part.MACHINE, costs.Cost()).times == before


def test_counts_the_start_of_the_process_once() -> None:
    with costs.collecting() as found:
        costs.started()
        costs.started()
    start = found.found()[Part.START]
    assert start.times == 1
    assert start.seconds >= start.own_cpu_s / 8 > 0


def test_lists_the_steps_in_their_order() -> None:
    with costs.collecting() as found:
        for part in reversed(Part):
            found.add(part, 1.5, 0.25)
        found.add(Part.TREE, 0.5, 0.25)
    assert list(found.as_fields()) == [part.value for part in Part]
    assert found.as_fields()[Part.TREE.value] == {"seconds": 2.0, "own_cpu_s": 0.5, "times": 2}
