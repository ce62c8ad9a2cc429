"""Choose the cells of a run: by flavour, by pattern, and with their control beside them.

A series is compared with the control's cell of the same choice. A cell that is chosen without it brings it
along. Which cell that is depends on the tree: the control may not have an axis' symbol, and stands in with
that axis at n then. So `with_controls` takes every cell that may be the one, and `settle` keeps the right
ones as soon as the tree is known.
"""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kmodpipe import kconfig
from kmodpipe.kconfig import Cell, Matrix, Variant
from kmodpipe.source import Tree
from kmodpipe.util.errors import UserError, unknown_name
from kmodpipe.util.text import count, some

# So many reasons are quoted.
_REASONS = 12


@dataclass(frozen=True)
class Choice:
    """The cells of a run, and how they were chosen."""

    cells: tuple[Cell, ...]
    # The cells that each pattern of --cell chose, by the pattern; empty if there is none.
    chosen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # The control's cells that were not chosen: some of them are compared with.
    companions: tuple[str, ...] = ()


def choose_cells(
    matrix: Matrix,
    variants: Sequence[Variant],
    flavours: Iterable[str],
    patterns: Sequence[str],
    kernels: Sequence[str] = ("",),
) -> Choice:
    """Return the cells of ``flavours`` whose ids match one of ``patterns``, or all if there are no patterns.

    Raises UserError with similar ids if a pattern matches no cell.
    """
    flavours = tuple(flavours)
    known = kconfig.expand(matrix, variants, kconfig.flavours_of(matrix, flavours), kernels)
    if not patterns:
        return Choice(known)
    # If no flavour is requested, a pattern that matches no plain cell is tried on cells of all flavours: the
    # id of a cell is enough to select it.
    others = () if flavours else kconfig.expand(matrix, variants, tuple(matrix.flavours.values()), kernels)
    chosen: dict[str, tuple[str, ...]] = {}
    for pattern in patterns:
        hits = _hits(pattern, known) or _hits(pattern, others)
        if not hits:
            ids = [cell.id for cell in (*known, *others)]
            raise unknown_name("cell", pattern, ids, hint="patterns with * work; quote them in a shell")
        chosen[pattern] = hits
    wanted = {hit for hits in chosen.values() for hit in hits}
    return Choice(tuple(cell for cell in (*known, *others) if cell.id in wanted), chosen)


def _hits(pattern: str, cells: Sequence[Cell]) -> tuple[str, ...]:
    ids = [cell.id for cell in cells]
    return tuple([i for i in ids if i == pattern] or fnmatch.filter(ids, pattern))


def with_controls(choice: Choice, matrix: Matrix, control: Variant) -> Choice:
    """Return ``choice`` with every cell of the control that one of its cells may be compared with.

    A cell is compared on its own kernel alone.
    """
    if not choice.chosen:
        return choice
    controls = Controls(choice, matrix, control)
    have = {cell.id for cell in choice.cells}
    found = {one.id: one for own in choice.cells for one in controls.of(own) if one.id not in have}
    kernels = list(dict.fromkeys(cell.kernel for cell in choice.cells))
    cells = sorted(
        (*found.values(), *choice.cells),
        key=lambda cell: (kernels.index(cell.kernel), not cell.variant.is_control),
    )
    return replace(choice, cells=tuple(cells), companions=tuple(found))


def without_controls(choice: Choice) -> Choice:
    """Return ``choice`` without the control's cells, but for those that were named one by one.

    Raises UserError if no cell is left.
    """
    cells = tuple(c for c in choice.cells if not c.variant.is_control or c.id in choice.chosen)
    if not cells:
        raise UserError(
            "--no-control leaves no cell: only the unpatched tree was chosen",
            hint="choose a series with --series, or cells of one with --cell",
        )
    return replace(choice, cells=cells)


class Controls:
    """The control's cells on the kernels and in the flavours of a choice."""

    def __init__(self, choice: Choice, matrix: Matrix, control: Variant) -> None:
        flavours = list({cell.flavour.name: cell.flavour for cell in choice.cells}.values())
        kernels = list(dict.fromkeys(cell.kernel for cell in choice.cells))
        self._cells = {
            (c.kernel, c.flavour.name, *c.choice.items()): c
            for c in kconfig.expand(matrix, [control], flavours, kernels)
        }

    def of(self, cell: Cell) -> list[Cell]:
        """Return the cells that ``cell`` may be compared with, the most alike first.

        Each has its axes at the same value, or at n.
        """
        if cell.variant.is_control:
            return []
        values = [[(axis, value), (axis, "n")] for axis, value in cell.choice.items()]
        keys = dict.fromkeys((cell.kernel, cell.flavour.name, *pairs) for pairs in itertools.product(*values))
        found = [self._cells[key] for key in keys if key in self._cells]
        return sorted(found, key=lambda c: sum(c.choice[a] != v for a, v in cell.choice.items()))


def settle(choice: Choice, matrix: Matrix, control: Variant, tree: Tree) -> Choice:
    """Return ``choice`` with those companions alone that its cells are compared with in this tree."""
    if not choice.companions:
        return choice
    symbols = {symbol for cell in choice.cells for symbol in cell.requested}
    index = kconfig.index_symbols(tree.path, symbols)
    controls, needed = Controls(choice, matrix, control), set[str]()
    for cell in choice.cells:
        for one in controls.of(cell):
            if kconfig.illegal(one.own_requests, one.requested, index) is None:
                needed.add(one.id)
                break
    kept = tuple(i for i in choice.companions if i in needed)
    cells = tuple(c for c in choice.cells if c.id not in choice.companions or c.id in kept)
    return replace(choice, cells=cells, companions=kept)


def require_legal(choice: Choice, ruled_out: Mapping[str, str], *, each: bool) -> None:
    """Raise UserError if all chosen cells are ruled out; with ``each`` also if one pattern chose only such.

    ``ruled_out`` has the reasons, by the cells' ids.
    """
    bad = {pattern: ids for pattern, ids in choice.chosen.items() if ids and all(i in ruled_out for i in ids)}
    if bad and (each or len(bad) == len(choice.chosen)):
        cells = list(dict.fromkeys(i for ids in bad.values() for i in ids))
        what = cells[0] if len(cells) == 1 else f"none of the {len(cells)} cells of {', '.join(bad)}"
        can = "cannot be configured" if len(cells) == 1 else "can be configured"
        raise UserError(
            f"{what} {can}: the tree's Kconfig rules it out",
            detail="\n".join(f"{i}: {ruled_out[i]}" for i in cells[:_REASONS]),
            hint="plan lists the cells that are left, and why others are skipped",
        )


def describe(choice: Choice) -> str:
    """Return the line about the control's cells that were not chosen and run all the same; '' if none do."""
    if not choice.companions:
        return ""
    names = [cell.id for cell in choice.cells if cell.id in choice.companions]
    return f"to compare with: {count(len(names), 'cell')} of the unpatched tree as well ({some(names, 3)})"
