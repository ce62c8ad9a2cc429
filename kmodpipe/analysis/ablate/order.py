"""In which order edits are tried, and for how long. Pure.

The most telling first: hunks before mistakes, as a hunk that no case notices says more than a line; then by
round, one of each hunk before a second one of any, in the order of `operators.OPERATORS`. What no case
executes, by the coverage, needs no boot and comes before all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from kmodpipe.analysis.ablate.edits import HUNK, Edit
from kmodpipe.analysis.ablate.operators import OPERATORS
from kmodpipe.util.errors import UserError

_UNITS = {"s": 1, "m": 60, "h": 3600, "": 1}


def most_telling_first(edits: Iterable[Edit], is_free: Callable[[Edit], bool]) -> tuple[Edit, ...]:
    """Return the edits in the order to try them; ``is_free`` is true for one that needs no boot."""
    rounds: dict[tuple[object, str], int] = {}

    def key(numbered: tuple[int, Edit]) -> tuple[int, int, int, int, int]:
        number, one = numbered
        if one.kind == HUNK:
            return (not is_free(one), 0, 0, 0, number)
        own = (one.hunks[0], one.kind)
        return (not is_free(one), 1, rounds.get(own, 0), OPERATORS.index(one.kind), number)

    keyed = []
    for numbered in enumerate(edits):
        one = numbered[1]
        keyed.append((key(numbered), one))
        own = (one.hunks[0], one.kind)
        rounds[own] = rounds.get(own, 0) + 1
    return tuple(one for _, one in sorted(keyed, key=lambda row: row[0]))


def seconds(budget: str) -> float | None:
    """Return how long ``--budget`` allows; None for no bound. Raise UserError."""
    if not budget:
        return None
    match = re.fullmatch(r"([0-9]{1,6})(s|m|h)?", budget)
    if not match or int(match[1]) == 0:
        raise UserError(f"--budget takes a time such as 90s, 10m or 2h, not {budget[:40]!r}")
    return float(int(match[1]) * _UNITS[match[2] or ""])
