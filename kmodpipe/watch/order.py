"""Lay out a round: what runs, in which order, and in how many runs. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from kmodpipe.watch.inputs import Pair

# A second guest costs some seconds: what comes later has to be worth it.
_WORTH_S = 6.0
_UNKNOWN_S = 1.0


@dataclass(frozen=True)
class Part:
    """One run of a round."""

    # In the order in which they are built and booted.
    cells: tuple[str, ...]
    # In the order in which they run in each guest.
    cases: tuple[str, ...]


def parts(
    due: Collection[Pair],
    cells: Sequence[str],
    cases: Sequence[str],
    *,
    failed: Collection[Pair],
    touched: Mapping[str, float],
    seconds: Mapping[Pair, float],
) -> tuple[Part, ...]:
    """Return the runs that give everything that is ``due`` a verdict.

    What ``failed`` last comes first, then the cases that executed what changed (``touched``, the most lines
    first), then the others as they are declared. Where these would keep a verdict back for long, by the
    ``seconds`` that cases took last, they get guests of their own, in a second run.
    """
    due_cells = [cell for cell in cells if any(pair[0] == cell for pair in due)]
    due_cases = [case for case in cases if any(pair[1] == case for pair in due)]
    red = [pair for pair in failed if pair in due]
    red_cells, red_cases = {cell for cell, _ in red}, {case for _, case in red}
    ordered_cells = sorted(due_cells, key=lambda cell: cell not in red_cells)
    ordered = sorted(due_cases, key=lambda case: (case not in red_cases, -touched.get(case, 0.0)))
    first = [case for case in ordered if case in red_cases or touched.get(case)]
    rest = ordered[len(first) :]
    if first and rest and _longest(ordered_cells, rest, seconds) > _WORTH_S:
        return Part(tuple(ordered_cells), tuple(first)), Part(tuple(ordered_cells), tuple(rest))
    return (Part(tuple(ordered_cells), tuple(ordered)),) if due_cells else ()


def _longest(cells: Iterable[str], cases: Sequence[str], seconds: Mapping[Pair, float]) -> float:
    return max((sum(seconds.get((cell, case), _UNKNOWN_S) for case in cases) for cell in cells), default=0.0)
