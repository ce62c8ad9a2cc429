"""Which cases may notice an edit: those that execute its lines, by the coverage. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kmodpipe.analysis.ablate.edits import Edit
from kmodpipe.kconfig import Cell
from kmodpipe.results.coverage import LOAD, CellCoverage, Coverage
from kmodpipe.util.cell_id import cell_id


@dataclass(frozen=True)
class Touching:
    """The coverage of a series, or none: then every case may notice."""

    coverage: Coverage | None = None
    # The cases as they were when it was taken, by id, and as they are now.
    then: Mapping[str, str] = field(default_factory=dict)
    now: Mapping[str, str] = field(default_factory=dict)

    def cases(self, edit: Edit, cell: Cell, names: Sequence[str]) -> tuple[str, ...]:
        """Return which of the cases may notice an edit in a cell.

        All of them, where the coverage does not say: for what is outside of functions, or executed when the
        module is loaded, or if the cell has no code in these lines.
        """
        found = self._of(cell)
        if found is None or edit.everywhere:
            return tuple(names)
        touched: set[str] = set()
        has_code = False
        for path, lines in edit.touches.items():
            for line in lines:
                has_code = has_code or found.has(path, line)
                touched |= set(found.executed_by(path, line))
        if LOAD in touched or not has_code:
            return tuple(names)
        unknown = {*found.unknown_cases, *(name for name in names if not self._is_known(name, found))}
        return tuple(name for name in names if name in touched or name in unknown)

    def executed_by(self, edit: Edit) -> tuple[str, ...] | None:
        """Return the cases that execute the lines of an edit, in any cell; None if that is not known."""
        if self.coverage is None or edit.everywhere:
            return None
        return tuple(
            dict.fromkeys(
                name
                for one in self.coverage.cells.values()
                for path, lines in edit.touches.items()
                for line in sorted(lines)
                for name in one.executed_by(path, line)
            )
        )

    def _is_known(self, name: str, found: CellCoverage) -> bool:
        return name in found.cases and self.then.get(name) == self.now.get(name)

    def _of(self, cell: Cell) -> CellCoverage | None:
        """Return the coverage of a cell, in whatever flavour it was taken."""
        if self.coverage is None:
            return None
        plain = cell_id(cell.variant.name, cell.choice, "", cell.kernel)
        for name, one in self.coverage.cells.items():
            bare = name.removesuffix(f".{one.flavour}") if one.flavour else name
            if bare == plain and one.variant == cell.variant.name and not one.unknown:
                return one
        return None
