"""Compare what cases observe with and without an edit. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from kmodpipe.results import CaseResult, Verdict

# What a slow machine can bring about as well.
_OF_THE_CLOCK = ("timeout", "hung", "silent", "soft-lockup", "rcu-stall")


@dataclass(frozen=True)
class Seen:
    """What a case came to, as often as it ran."""

    case: str
    verdict: Verdict
    outcome: str
    # How often it ran with this result, in a guest of its own or with others.
    times: int = 1
    # It came to different results.
    unsteady: bool = False

    @staticmethod
    def of(result: CaseResult) -> Seen:
        """Return it for one result."""
        return Seen(result.case, result.verdict, result.outcome)

    @property
    def word(self) -> str:
        """The outcome; the verdict, if there is none or if it does not follow from the outcome."""
        return f"{self.outcome or 'no outcome'}, {self.verdict.value}"

    def again(self, other: Seen) -> Seen:
        """Return both together."""
        if self.agrees(other):
            return replace(self, times=self.times + other.times, unsteady=self.unsteady or other.unsteady)
        return replace(self, times=self.times + other.times, unsteady=True)

    def agrees(self, other: Seen) -> bool:
        """Return whether both are the same result."""
        return (self.verdict, self.outcome) == (other.verdict, other.outcome)

    @property
    def of_the_clock(self) -> bool:
        """Whether a machine that is slow just now could bring it about."""
        return self.verdict is Verdict.ERROR or self.outcome in _OF_THE_CLOCK


def usable(reference: Mapping[str, Seen]) -> tuple[str, ...]:
    """Return the cases that can notice: those that came to a verdict with the whole series, the same each
    time."""
    return tuple(
        name
        for name, seen in reference.items()
        if seen.verdict in (Verdict.PASS, Verdict.FAIL) and not seen.unsteady
    )


def differing(reference: Mapping[str, Seen], found: Iterable[Seen]) -> tuple[Seen, ...]:
    """Return the results that are others than with the whole series.

    One without a verdict says nothing, and a case that is skipped would not have failed a run.
    """
    able = {*usable(reference)}
    return tuple(
        one
        for one in found
        if one.case in able
        and one.verdict not in (Verdict.ERROR, Verdict.SKIP)
        and not one.unsteady
        and not one.agrees(reference[one.case])
    )


def words(before: Seen, after: Seen) -> tuple[str, str]:
    """Return what was observed before and after, with the verdicts where the outcomes are equal."""
    if before.outcome != after.outcome:
        return before.outcome or before.verdict.value, after.outcome or after.verdict.value
    return before.word, after.word
