"""Decide which end a state behaves like, from how often each outcome was observed. Pure.

If a case runs once in each state, its outcome decides. If it is repeated, the ends teach how often the
outcomes of the bad end come at each of them, and a state is run until the odds between both rates are clear.
The rates are known from a few runs only, so each is a Beta distribution (Jeffreys' prior and the runs at that
end), and what k such outcomes in n runs say is the ratio of two beta-binomial probabilities.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from kmodpipe.analysis.bisect.model import Side
from kmodpipe.judge import attempts

MOST_RUNS = 300
"""A state that is not decided after so many runs is skipped; ends that still look alike are the same."""
_PRIOR = 0.5

Outcomes = Mapping[str, int]


@dataclass(frozen=True)
class Policy:
    """How often a case runs, and how sure each decision has to be."""

    # At first, in each state; 1 takes every outcome for certain.
    repeat: int = 1
    confidence: float = 0.99

    @property
    def certain(self) -> bool:
        """Whether one run decides."""
        return self.repeat == 1


@dataclass(frozen=True)
class Decision:
    """Which side a state is on; None if more runs are needed."""

    side: Side | None
    # The probability that it is the other one.
    doubt: float = 0.0
    why: str = ""


def add(one: Outcomes, other: Outcomes) -> dict[str, int]:
    """Return the outcomes of both together."""
    return dict(Counter(one) + Counter(other))


# -- the ends -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Ends:
    """The outcomes at both ends."""

    good: Outcomes
    bad: Outcomes

    @property
    def signs(self) -> frozenset[str]:
        """The outcomes that come more often at the bad end."""
        return frozenset(w for w in self.bad if _share(self.bad, w) > _share(self.good, w))

    def hits(self, outcomes: Outcomes) -> tuple[int, int]:
        """Return how many outcomes speak for the bad end, and how many are those of either end."""
        known = {**self.good, **self.bad}
        signs = self.signs
        hit = sum(n for word, n in outcomes.items() if word in signs)
        return hit, sum(n for word, n in outcomes.items() if word in known)

    @property
    def alike(self) -> bool:
        """Whether nothing was observed at one end alone, or more often than at the other."""
        return not self.signs

    @property
    def apart(self) -> bool:
        """Whether the rates at both ends are told apart: their 95 % intervals have nothing in common."""
        (bad, bad_runs), (good, good_runs) = self.hits(self.bad), self.hits(self.good)
        if not bad_runs or not good_runs:
            return False
        return attempts.interval(good, good_runs)[1] < attempts.interval(bad, bad_runs)[0]


def _share(outcomes: Outcomes, word: str) -> float:
    total = sum(outcomes.values())
    return outcomes.get(word, 0) / total if total else 0.0


def differ(ends: Ends, policy: Policy) -> bool | None:
    """Return whether the ends differ; None if more runs are needed to tell."""
    if not ends.good or not ends.bad:
        return False
    if policy.certain:
        return dict(ends.good) != dict(ends.bad)
    if ends.apart:
        return True
    if ends.alike or min(sum(ends.good.values()), sum(ends.bad.values())) >= MOST_RUNS:
        return False
    return None


# -- a state between them --------------------------------------------------------------------------------
def decide(outcomes: Outcomes, ends: Ends, policy: Policy, steps: int) -> Decision:
    """Return which end a state behaves like. ``steps`` are decided in all, and share the allowed doubt."""
    if not outcomes:
        return Decision(Side.SKIPPED, why="no verdict")
    hit, runs = ends.hits(outcomes)
    total = sum(outcomes.values())
    if 2 * runs <= total:
        return Decision(Side.SKIPPED, why="as at neither end")
    if policy.certain:
        return Decision(Side.BAD if hit else Side.GOOD)
    doubt = 1 / (1 + math.exp(min(abs(odds := log_odds(hit, runs, ends)), 700.0)))
    if doubt <= (1 - policy.confidence) / max(steps, 1):
        return Decision(Side.BAD if odds > 0 else Side.GOOD, doubt)
    if total >= MOST_RUNS:
        return Decision(Side.SKIPPED, why=f"undecided after {total} runs")
    return Decision(None, doubt)


def log_odds(hit: int, runs: int, ends: Ends) -> float:
    """Return the logarithm of the odds that ``hit`` of ``runs`` come from the bad end's rate, not the good
    one's."""
    return _log_probability(hit, runs, *ends.hits(ends.bad)) - _log_probability(
        hit, runs, *ends.hits(ends.good)
    )


def _log_probability(hit: int, runs: int, learned_hit: int, learned_runs: int) -> float:
    """Return the logarithm of the beta-binomial probability, without the factor that both ends share."""
    a, b = learned_hit + _PRIOR, learned_runs - learned_hit + _PRIOR
    return _log_beta(hit + a, runs - hit + b) - _log_beta(a, b)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
