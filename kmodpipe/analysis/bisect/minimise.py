"""Find a smallest part of a set that still makes the difference: delta debugging (ddmin). Pure.

Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002. A part whose outcome is
neither end's, or that cannot be had, counts as one that does not make it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence


def minimise(whole: Sequence[str], makes_it: Callable[[tuple[str, ...]], bool]) -> tuple[str, ...]:
    """Return a part of ``whole`` that makes the difference, and from which nothing can be left out alone.

    ``whole`` itself is known to make it. ``makes_it`` is called once for each part.
    """
    known: dict[tuple[str, ...], bool] = {tuple(whole): True, (): False}

    def tried(part: tuple[str, ...]) -> bool:
        if part not in known:
            known[part] = makes_it(part)
        return known[part]

    current, pieces = tuple(whole), 2
    while len(current) > 1:
        parts = _split(current, pieces)
        rests = [tuple(one for one in current if one not in part) for part in parts]
        if smaller := next(filter(tried, parts), None):
            current, pieces = smaller, 2
        elif pieces > 2 and (smaller := next(filter(tried, rests), None)):
            current, pieces = smaller, max(pieces - 1, 2)
        elif pieces < len(current):
            pieces = min(2 * pieces, len(current))
        else:
            break
    return current


def _split(whole: tuple[str, ...], pieces: int) -> list[tuple[str, ...]]:
    """Return a set in so many parts of about equal size."""
    edges = [len(whole) * n // pieces for n in range(pieces + 1)]
    return [whole[a:b] for a, b in itertools.pairwise(edges) if b > a]
