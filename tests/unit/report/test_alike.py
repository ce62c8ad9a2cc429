"""Failures that are one."""

from __future__ import annotations

from dataclasses import replace

from kmodpipe.report import alike
from kmodpipe.results import State
from tests.support.sample_run import Y_N, Y_Y, change, failed, finished


def test_they_are_one_where_cells_and_numbers_alone_differ() -> None:
    run = change(finished(), Y_Y, replace(failed(2, "EIO", "x"), message="died at 0x7f after 12 s"))
    run = change(run, Y_N, replace(failed(2, "EIO", "x"), message="died at 0x8f after 3 s"))
    ((first, second),) = alike.groups(run)
    assert {first[0].cell, second[0].cell} == {Y_Y, Y_N}
    for other in (
        replace(failed(2, "EIO", "x"), message="died of something else"),
        replace(failed(2, "ENOMEM", "x"), message="died at 0x8f after 3 s"),
        replace(failed(2, "EIO", "x"), message="died at 0x8f after 3 s", flaky=True),
    ):
        assert len(alike.groups(change(run, Y_N, other))) == 2


def test_it_may_be_about_some_series_alone() -> None:
    run = change(finished(), Y_Y, failed(2, "EIO", "x"))
    run = change(run, "unpatched.INDEX=y.NOUUID=n", failed(1, "EIO", "x"))
    assert [found[0][0].variant for found in alike.groups(run)] == ["unpatched", "index-nouuid"]
    assert [found[0][0].variant for found in alike.groups(run, ["index-nouuid"])] == ["index-nouuid"]
    assert all(c.state is State.RAN for found in alike.groups(run) for c, _ in found)
    assert alike.groups(finished()) == []
