"""Which state of a row is tried next."""

from __future__ import annotations

import math

import pytest

from kmodpipe.analysis.bisect.linear import Row
from kmodpipe.analysis.bisect.model import Side


def search(last: int, first: int, skipped: frozenset[int] = frozenset()) -> tuple[tuple[int, ...], int]:
    """The suspects, and how many states were tried, where ``first`` is the first bad one."""
    row, tried = Row(last), 0
    while (number := row.next()) is not None:
        tried += 1
        side = Side.SKIPPED if number in skipped else Side.BAD if number >= first else Side.GOOD
        row = row.marked(number, side)
    return row.suspects, tried


@pytest.mark.parametrize("last", range(1, 40))
def test_every_first_is_found_in_logarithmic_steps(last: int) -> None:
    most = math.ceil(math.log2(last))
    for first in range(1, last + 1):
        suspects, tried = search(last, first)
        assert suspects == (first,) and tried <= most
    assert Row(last).steps_left >= most


def test_what_is_skipped_elsewhere_does_not_matter() -> None:
    assert search(6, 5, frozenset({3}))[0] == (5,)
    assert search(6, 2, frozenset({3, 4, 5}))[0] == (2,)


def test_what_is_skipped_before_it_leaves_several() -> None:
    assert search(6, 4, frozenset({3}))[0] == (3, 4)
    assert search(6, 4, frozenset({1, 2, 3, 4, 5}))[0] == (1, 2, 3, 4, 5, 6)


def test_the_steps_that_are_left_go_down() -> None:
    row = Row(6)
    assert row.steps_left == 3 and row.next() == 3
    row = row.marked(3, Side.BAD)
    assert row.steps_left == 2
    row = row.marked(1, Side.GOOD).marked(2, Side.SKIPPED)
    assert row.steps_left == 0 and row.next() is None
