"""Choose few of many cells that still have every combination of a few axes' values. Pure.

Most configuration bugs need one or two symbols, not all of them in one constellation (Kuhn, Wallace, Gallo:
"Software fault interactions and implications for software testing", 2004). So a sample of strength 2 has
every pair of values that some legal cell has. The cells are chosen greedily: each time the one with most
combinations that are still missing, the first of equals, so that the same cells give the same sample.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

Combination = tuple[tuple[str, str], ...]
"""Axes with a value each: ``(("INDEX", "n"), ("NOUUID", "y"))``."""


@dataclass(frozen=True)
class Sample:
    """A part of the choices of a matrix."""

    # Positions in the choices that it was made of, in their order.
    chosen: tuple[int, ...]
    # How many combinations it has: all that a legal choice has.
    covered: int
    # The combinations that no legal choice has.
    impossible: tuple[Combination, ...]


def sample(choices: Sequence[Mapping[str, str]], legal: Sequence[bool], strength: int) -> Sample:
    """Return a sample of the legal choices that has every combination of ``strength`` values that they have.

    All choices have the same axes. With fewer axes than ``strength``, a combination is a whole choice.
    """
    numbers: dict[Combination, int] = {}
    # By choice, a bit for each combination that it has.
    sets = [_bits(choice, strength, numbers) for choice in choices]
    missing = 0
    for bits, allowed in zip(sets, legal, strict=True):
        missing |= bits if allowed else 0
    covered, chosen = missing.bit_count(), []
    left = [at for at, allowed in enumerate(legal) if allowed]
    while missing:
        best = max(left, key=lambda at: (sets[at] & missing).bit_count())
        chosen.append(best)
        missing &= ~sets[best]
        # What adds nothing now adds nothing later.
        left = [at for at in left if sets[at] & missing]
    had = 0
    for at in chosen:
        had |= sets[at]
    impossible = tuple(one for one, number in numbers.items() if not had >> number & 1)
    return Sample(tuple(sorted(chosen)), covered, impossible)


def _bits(choice: Mapping[str, str], strength: int, numbers: dict[Combination, int]) -> int:
    """Return the combinations of a choice as a set of bits; ``numbers`` says which bit is which."""
    found = 0
    for combination in _combinations(choice.items(), strength):
        found |= 1 << numbers.setdefault(combination, len(numbers))
    return found


def _combinations(values: Iterable[tuple[str, str]], strength: int) -> Iterator[Combination]:
    known = tuple(values)
    return itertools.combinations(known, min(strength, len(known)))
