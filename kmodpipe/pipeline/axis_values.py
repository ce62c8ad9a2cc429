"""Require that some cell can have each value of an axis: no matrix may promise what is never tested."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kmodpipe import kconfig
from kmodpipe.build.sharing import Subject
from kmodpipe.kconfig import Cell, Index
from kmodpipe.pipeline.requested_symbols import brought_by_project
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.util import document
from kmodpipe.util.errors import UserError

_SHOWN = 6


@dataclass(frozen=True)
class Planned:
    """A cell, and why Kconfig rules it out; empty if it does not."""

    subject: Subject
    cell: Cell
    ruled_out: str = ""


def planned_cells(spec: RunSpec, subject: Subject) -> list[Planned]:
    """Return the cells of a source, with what its Kconfig files rule out; no configuration is made."""
    cells = spec.cells_of(subject.variant.name)
    index = kconfig.index_symbols(subject.src, {symbol for cell in cells for symbol in cell.requested})
    return [
        Planned(subject, cell, kconfig.illegal(cell.own_requests, cell.requested, index) or "")
        for cell in cells
    ]


def require_possible(spec: RunSpec, planned: Sequence[Planned]) -> None:
    """Raise UserError for a value of an axis that no cell of any variant can take, with the reasons.

    ``planned`` are all cells of the run. A selection of cells is not looked at: what it leaves out may have
    the value. Nor is a symbol that only a series of the project brings which is not part of this run.
    """
    if spec.selected:
        return
    for axis, declared in spec.matrix.axes.items():
        for value in declared.values:
            own = [one for one in planned if one.cell.choice.get(axis) == value]
            if own and all(one.ruled_out for one in own):
                _look(spec, axis, own)


def _look(spec: RunSpec, axis: str, own: Sequence[Planned]) -> None:
    """Raise UserError if it is the axis that rules out all of these cells."""
    indexes: dict[str, Index] = {}
    reasons: dict[str, str] = {}
    for one in own:
        name, entry = one.subject.variant.name, one.cell.axes[axis]
        if name not in indexes:
            symbols = {cell.cell.axes[axis].symbol for cell in own}
            indexes[name] = kconfig.index_symbols(one.subject.src, symbols)
        known = {symbol: request.value for symbol, request in one.cell.requested.items()}
        reason = kconfig.why_not(entry.symbol, entry.value, indexes[name], known)
        if reason is None and re.search(rf"\b{entry.symbol}\b", one.ruled_out):
            reason = one.ruled_out
        if reason is None:
            return
        reasons.setdefault(name, reason)
    symbols = {one.cell.axes[axis].symbol for one in own}
    defined = {s for index in indexes.values() for s, found in index.definitions.items() if found}
    if not symbols & defined and _brought(spec.project.patches, axis, symbols):
        return
    request = own[0].cell.axes[axis]
    missing = "" if request.symbol in defined else kconfig.nearest(own[-1].subject.src, request.symbol)
    raise UserError(
        f"axis {axis}={request.value} ({request.symbol}): no cell of any variant can have it",
        where=str(spec.matrix.path),
        detail="\n".join(f"{name}: {reason}" for name, reason in list(reasons.items())[:_SHOWN]),
        hint=(f"is {missing} meant? " if missing else "")
        + "leave the value out of the axis, or request what the symbol depends on in a fragment",
    )


def _brought(patches: Path, axis: str, symbols: Iterable[str]) -> bool:
    """Return whether a series of the project defines one of the symbols, or its own spelling of the axis."""
    return not brought_by_project(patches).isdisjoint({*symbols, *_spellings(patches, axis)})


def _spellings(patches: Path, axis: str) -> Iterator[str]:
    for path in sorted(patches.glob("*/series.toml")):
        with suppress(OSError, ValueError):
            axes = tomllib.loads(document.read_text(path)).get("axes", {})
            if isinstance(axes, Mapping) and isinstance(axes.get(axis), str):
                yield axes[axis]
