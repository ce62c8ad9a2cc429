"""Reduce the cells of a run to a sample: few that have every combination of axes' values that can be had.

What a legal cell is, the Kconfig files of each source say, so this needs the patched trees. Each series,
kernel and flavour has its own sample. The control has the cells that these are compared with; alone, it has a
sample itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from kmodpipe.build.sharing import Subject
from kmodpipe.kconfig import Cell
from kmodpipe.kconfig.matrix import CONTROL_VARIANT
from kmodpipe.kconfig.sample import Combination, sample
from kmodpipe.pipeline import cell_choice
from kmodpipe.pipeline.axis_values import planned_cells, require_possible
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.source import Tree
from kmodpipe.util.text import count

_SHOWN = 8
_SIZES = {1: "value", 2: "pair of values", 3: "triple of values"}


def sampled(spec: RunSpec, subjects: Sequence[Subject]) -> RunSpec:
    """Return the part of a run on one kernel with its sample, if it asks for one (``spec.sample``).

    ``subjects`` are the sources that there are; of a series without one, one cell is left in each flavour.
    Raise UserError for a value of an axis that no cell can have.
    """
    if not spec.sample:
        return spec
    planned = [one for subject in subjects for one in planned_cells(spec, subject)]
    require_possible(replace(spec, sample=0), planned)
    legal = {one.cell.id for one in planned if not one.ruled_out}
    groups = list(_groups(spec))
    series = [group for group in groups if not group[0].variant.is_control]
    kept: set[str] = set()
    notes: list[str] = []
    for group in series or groups:
        if group[0].variant.name not in {subject.variant.name for subject in subjects}:
            kept.add(group[0].id)
            continue
        found = sample([cell.choice for cell in group], [cell.id in legal for cell in group], spec.sample)
        kept |= {group[at].id for at in found.chosen}
        notes += _notes(group, len(found.chosen), found.covered, found.impossible, spec.sample)
    if series:
        kept |= _compared_with(spec, kept, legal)
    cells = tuple(cell for cell in spec.cells if cell.id in kept)
    return replace(spec, cells=cells, sample_notes=tuple(dict.fromkeys(notes)))


def not_applied(spec: RunSpec, tree: Tree, subjects: Sequence[Subject]) -> list[str]:
    """Return the series that may apply to a kernel and have no source yet: what is legal is open."""
    there = {subject.variant.name for subject in subjects}
    return [
        one.name for one, _ in spec.series_on(tree) if one.name not in there and not spec.left_out(one, tree)
    ]


def _groups(spec: RunSpec) -> Iterator[list[Cell]]:
    """Yield the cells of each variant in each flavour."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in spec.cells:
        groups.setdefault((cell.variant.name, cell.flavour.name), []).append(cell)
    yield from groups.values()


def _compared_with(spec: RunSpec, kept: set[str], legal: set[str]) -> set[str]:
    """Return the control's cells of the run that the kept ones are compared with."""
    choice = spec.choice
    controls = cell_choice.Controls(choice, spec.matrix, CONTROL_VARIANT)
    there = {cell.id for cell in spec.cells} & legal
    found = (
        [control.id for control in controls.of(cell) if control.id in there]
        for cell in spec.cells
        if cell.id in kept
    )
    return {ids[0] for ids in found if ids}


def _notes(
    group: Sequence[Cell], chosen: int, covered: int, impossible: Sequence[Combination], strength: int
) -> Iterator[str]:
    """Yield lines that say what a sample covers, and what no legal cell has."""
    first = group[0]
    where = ".".join(filter(None, (first.variant.name, first.kernel, first.flavour.name)))
    size = _SIZES.get(strength, f"{strength} values together")
    yield (
        f"sample of {where}: {chosen} of {count(len(group), 'cell')} have every {size} that a legal cell has "
        f"({covered})"
    )
    for one in impossible[:_SHOWN]:
        yield f"no legal cell of {where} has {' with '.join(f'{axis}={value}' for axis, value in one)}"
    if len(impossible) > _SHOWN:
        yield f"and {len(impossible) - _SHOWN} more that no legal cell of {where} has"
