"""Name some cells out of many by what they have in common: ``INDEX=y``, ``on debian-6.1``. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence

from kmodpipe.kconfig.matrix import PLAIN
from kmodpipe.report.wording import count
from kmodpipe.results import CellResult

# Of more cells than these no common choice is looked for.
_MOST_CELLS = 64


def where(own: Sequence[CellResult], cells: Sequence[CellResult]) -> str:
    """Return the shortest choice that picks *own* out of *cells*: ``INDEX=y NOUUID=n``."""
    # With several of them, kernel and flavour count as further axes.
    kernels = len({cell.kernel for cell in cells}) > 1
    flavours = len({cell.flavour for cell in cells}) > 1
    choices = {
        cell.cell: {
            **({"kernel": cell.kernel} if kernels else {}),
            **cell.choice,
            **({"flavour": cell.flavour or PLAIN} if flavours else {}),
        }
        for cell in cells
    }
    wanted = {cell.cell for cell in own}
    first = choices[own[0].cell]
    for size in range(1, len(first) + 1):
        for names in itertools.combinations(first, size):
            choice = {name: first[name] for name in names}
            if {cell for cell, known in choices.items() if choice.items() <= known.items()} == wanted:
                return _assignments(choice)
    return "; ".join(_assignments(choices[cell.cell]) for cell in own)


def some_of(own: Sequence[CellResult], cells: Sequence[CellResult], unit: str = "cell") -> str:
    """Return how many of *cells* these are, and which where that can be said in a few words.

    ``all 3 cells``, ``2 of 3 cells: INDEX=y``, ``12 of 1,024 cells``.
    """
    if len(own) == len(cells):
        return f"all {count(len(cells), unit)}" if len(cells) > 1 else f"the one {unit}"
    number = f"{len(own):,} of {count(len(cells), unit)}"
    if not own or len(cells) > _MOST_CELLS:
        return number
    which = re.sub(r"(^| )kernel=", r"\1on ", where(own, cells))
    return f"{number}: {which}" if which and ";" not in which else number


def _assignments(choice: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in choice.items())
