"""Which cases and cells come first: those that noticed most, of the same hunk before others."""

from __future__ import annotations

from kmodpipe.analysis.ablate.telling import Telling

ONE, OTHER = ("1.patch", 1), ("1.patch", 2)
CASES = [f"case-{n}" for n in range(20)]


def test_nothing_speaks_for_any_at_first() -> None:
    assert Telling().first(ONE, CASES) == []


def test_what_noticed_the_same_hunk_comes_first_and_alone() -> None:
    telling = Telling()
    for _ in range(2):
        telling.noticed(OTHER, "cell", ["case-1", "case-2"])
    telling.noticed(ONE, "cell", ["case-9"])
    assert telling.first(ONE, CASES) == ["case-9"]
    assert telling.first(OTHER, CASES) == ["case-1", "case-2"]
    # When that has run, what noticed most.
    left = [name for name in CASES if name != "case-9"]
    assert telling.first(ONE, left) == ["case-1", "case-2"]
    assert telling.first(ONE, ["case-3"]) == []


def test_no_more_than_a_few_at_once() -> None:
    telling = Telling()
    telling.noticed(OTHER, "cell", CASES)
    assert len(telling.first(OTHER, CASES)) == 3
    assert len(telling.first(ONE, CASES)) == 10


def test_how_often_a_cell_noticed_a_hunk() -> None:
    telling = Telling()
    # The compiler takes no case.
    telling.noticed(ONE, "cell", ())
    assert (telling.times(ONE, "cell"), telling.times(OTHER, "cell"), telling.times(ONE, "x")) == (1, 0, 0)
