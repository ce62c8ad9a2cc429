"""A smallest set of symbols, and what it costs."""

from __future__ import annotations

import itertools

import pytest

from kmodpipe.analysis.bisect.minimise import minimise

WHOLE = tuple("abcdefghijklmnop")


@pytest.mark.parametrize("number", [1, 2, 3])
def test_every_cause_is_found(number: int) -> None:
    for cause in itertools.combinations(WHOLE[:8], number):
        assert minimise(WHOLE[:8], lambda part, cause=cause: set(cause) <= set(part)) == cause


def test_one_symbol_of_many_takes_logarithmic_trials() -> None:
    tried: list[tuple[str, ...]] = []

    def makes_it(part: tuple[str, ...]) -> bool:
        tried.append(part)
        return "k" in part

    assert minimise(WHOLE, makes_it) == ("k",)
    assert len(tried) == len(set(tried)) <= 2 * 4


def test_the_whole_stays_where_all_of_it_is_needed() -> None:
    assert minimise(("a", "b", "c"), lambda part: len(part) == 3) == ("a", "b", "c")
    assert minimise(("a",), lambda part: False) == ("a",)


def test_what_cannot_be_had_alone_is_kept_together() -> None:
    """``b`` without ``a`` is ruled out, which counts as not making it."""
    found = minimise(WHOLE, lambda part: "b" in part and "a" in part)
    assert found == ("a", "b")


def test_either_of_two_causes_is_an_answer() -> None:
    assert minimise(WHOLE, lambda part: "c" in part or "n" in part) in (("c",), ("n",))
