"""Which side a state is on, and how sure that is."""

from __future__ import annotations

import random

import pytest

from kmodpipe.analysis.bisect import rates
from kmodpipe.analysis.bisect.model import Side
from kmodpipe.analysis.bisect.rates import MOST_RUNS, Decision, Ends, Policy

ONCE = Ends({"ESTALE": 1}, {"mounted": 1})
FLAKY = Ends({"mounted": 20}, {"mounted": 12, "died": 8})
REPEATED = Policy(20, 0.99)


@pytest.mark.parametrize(
    ("outcomes", "side"),
    [({"ESTALE": 1}, Side.GOOD), ({"mounted": 1}, Side.BAD), ({"EIO": 1}, Side.SKIPPED), ({}, Side.SKIPPED)],
)
def test_one_run_decides_where_nothing_is_repeated(outcomes: dict[str, int], side: Side) -> None:
    assert rates.decide(outcomes, ONCE, Policy(), 3).side is side


def test_the_ends_differ_or_are_the_same() -> None:
    assert rates.differ(ONCE, Policy()) is True
    assert rates.differ(Ends({"x": 1}, {"x": 1}), Policy()) is False
    assert rates.differ(Ends({}, {"x": 1}), Policy()) is False


def test_repeated_ends_are_run_until_their_rates_are_apart() -> None:
    assert rates.differ(FLAKY, REPEATED) is True
    assert rates.differ(Ends({"a": 10}, {"a": 8, "b": 2}), REPEATED) is None
    assert rates.differ(Ends({"a": 10}, {"a": 10}), REPEATED) is False
    # The same rates, and enough of it.
    assert rates.differ(Ends({"a": MOST_RUNS - 9, "b": 9}, {"a": MOST_RUNS - 10, "b": 10}), REPEATED) is False


def test_the_signs_are_what_comes_more_often_at_the_bad_end() -> None:
    assert FLAKY.signs == {"died"}
    # The good end is the flaky one.
    assert Ends({"ok": 7, "timeout": 3}, {"timeout": 10}).signs == {"timeout"}
    assert FLAKY.hits({"died": 1, "mounted": 2, "EIO": 5}) == (1, 3)


def test_more_runs_make_it_surer() -> None:
    seen = [rates.decide({"mounted": n}, FLAKY, REPEATED, 3) for n in (1, 5, 10)]
    assert all(one.side is None for one in seen)
    assert seen[0].doubt > seen[1].doubt > seen[2].doubt
    enough = rates.decide({"mounted": 40}, FLAKY, REPEATED, 3)
    assert enough.side is Side.GOOD and enough.doubt <= 0.01 / 3
    assert rates.decide({"mounted": 3, "died": 5}, FLAKY, REPEATED, 3).side is Side.BAD


def test_what_neither_end_showed_is_skipped() -> None:
    assert rates.decide({"EIO": 20}, FLAKY, REPEATED, 3) == Decision(Side.SKIPPED, why="as at neither end")
    # A stray one among many does not count.
    assert rates.decide({"mounted": 60, "EIO": 1}, FLAKY, REPEATED, 3).side is Side.GOOD


def test_a_rate_between_both_is_given_up_at_last() -> None:
    ends = Ends({"a": 9, "b": 1}, {"a": 1, "b": 9})
    found = rates.decide({"a": MOST_RUNS // 2, "b": MOST_RUNS // 2}, ends, REPEATED, 3)
    assert found.side is Side.SKIPPED and found.why == f"undecided after {MOST_RUNS} runs"


def test_the_stated_doubt_holds() -> None:
    """Of many simulated states, no more are put on the wrong side than the doubt allows."""
    chance = random.Random(17)
    policy, rate = Policy(20, 0.95), 0.4
    wrong = trials = 0
    for _ in range(400):
        ends = Ends({"a": 20}, _sample(chance, 20, rate))
        if not rates.differ(ends, policy):
            continue
        is_bad = chance.random() < 0.5
        outcomes: dict[str, int] = {}
        while (found := rates.decide(outcomes, ends, policy, 1) if outcomes else Decision(None)).side is None:
            outcomes = rates.add(outcomes, _sample(chance, 20, rate if is_bad else 0.0))
        trials += 1
        wrong += found.side is not (Side.BAD if is_bad else Side.GOOD)
    assert trials > 200 and wrong <= 0.05 * trials


def _sample(chance: random.Random, runs: int, rate: float) -> dict[str, int]:
    hits = sum(chance.random() < rate for _ in range(runs))
    return {word: n for word, n in (("a", runs - hits), ("b", hits)) if n}
