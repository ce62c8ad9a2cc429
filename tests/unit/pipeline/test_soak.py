"""Many guests at once: the order in which they begin, how many there are at a time, and what is kept."""

from __future__ import annotations

import threading
import time

import pytest

from kmodpipe.pipeline import soak
from kmodpipe.pipeline.soak import MOST_KEPT, GuestSlots, LogRetention
from kmodpipe.results import CaseResult, Verdict


def test_every_job_runs_once_and_no_more_at_a_time_than_there_are_places() -> None:
    running, most, ran = 0, 0, []
    lock = threading.Lock()

    def run(number: int, job: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            ran.append((number, job))
        time.sleep(0.01)
        with lock:
            running -= 1

    soak.in_parallel([7, 8, 9] * 5, GuestSlots(4), run)
    assert sorted(ran) == list(enumerate([7, 8, 9] * 5, 1))
    assert most == 4
    soak.in_parallel([], GuestSlots(2), run)


def test_cells_share_the_places() -> None:
    places, running, most = GuestSlots(2), 0, 0
    lock = threading.Lock()

    def run(*_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    cells = [threading.Thread(target=soak.in_parallel, args=([0] * 6, places, run)) for _ in range(3)]
    for cell in cells:
        cell.start()
    for cell in cells:
        cell.join()
    assert most == 2


def test_an_error_ends_it() -> None:
    ran: list[int] = []

    def run(number: int, _: int) -> None:
        ran.append(number)
        if number == 3:
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        soak.in_parallel([0] * 100, GuestSlots(2), run)
    assert len(ran) < 10


def test_what_went_wrong_is_kept_up_to_a_bound() -> None:
    shelf = LogRetention()
    assert not shelf.keeps(CaseResult("a", Verdict.PASS)) and not shelf.keeps(CaseResult("a", Verdict.SKIP))
    failed = [shelf.keeps(CaseResult("a", Verdict.FAIL)) for _ in range(MOST_KEPT + 5)]
    assert failed == [True] * MOST_KEPT + [False] * 5
    assert shelf.keeps(CaseResult("b", Verdict.ERROR))
