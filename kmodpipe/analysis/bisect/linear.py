"""Choose which state of a row to try next, between a good and a bad one. Pure.

A state that cannot be tried is skipped, and another one near the middle is tried instead, as git bisect does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from kmodpipe.analysis.bisect.model import Side


@dataclass(frozen=True)
class Row:
    """A row of states, of which number 0 is good, and the last one bad."""

    last: int
    # The newest state that is known to be good, and the oldest that is known to be bad.
    good: int = 0
    bad: int = field(default=-1)
    skipped: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if self.bad < 0:
            object.__setattr__(self, "bad", self.last)

    def next(self) -> int | None:
        """Return the state to try: the nearest to the middle that was not skipped; None if none is left."""
        middle = (self.good + self.bad) // 2
        left = [n for n in range(self.good + 1, self.bad) if n not in self.skipped]
        return min(left, key=lambda n: (abs(n - middle), n), default=None)

    def marked(self, number: int, side: Side) -> Row:
        """Return the row after a state was tried."""
        match side:
            case Side.GOOD:
                return replace(self, good=number)
            case Side.BAD:
                return replace(self, bad=number)
            case Side.SKIPPED:
                return replace(self, skipped=self.skipped | {number})

    @property
    def suspects(self) -> tuple[int, ...]:
        """The states with which it may have begun: one if it is found."""
        return tuple(range(self.good + 1, self.bad + 1))

    @property
    def steps_left(self) -> int:
        """How many more have to be tried, at most, if none is skipped."""
        left = sum(n not in self.skipped for n in range(self.good + 1, self.bad))
        return math.ceil(math.log2(left + 1))
