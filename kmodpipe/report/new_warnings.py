"""Find the compiler's warnings that a series brings, and the control does not have. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from kmodpipe.build import compile_warnings
from kmodpipe.build.compile_warnings import CompileWarning
from kmodpipe.results import CONTROL, CellResult, Run, State, compared_with
from kmodpipe.series.came_from import Origin, Place
from kmodpipe.util.text import count

WARNINGS = "module.warnings"
"""The property of a cell with the compiler's warnings about the module, a line each."""
ORIGINS = "module.warnings.origins"
"""The property of a series' cell with the place of each warning's line before the series, a line each:
FILE:LINE, and line 0 for one that the series adds."""


@dataclass(frozen=True)
class NewWarning:
    """A warning that the control does not have."""

    variant: str
    warning: CompileWarning
    # The ids of the cells that have it.
    cells: tuple[str, ...]


def recorded(found: Iterable[CompileWarning], origin: Origin | None) -> Mapping[str, str]:
    """Return the properties of a cell with these warnings; ``origin`` is that of its series."""
    rows = list(found)
    if not rows:
        return {}
    made = {WARNINGS: "\n".join(map(str, rows))}
    if origin:
        places = [origin(one.file, one.line) for one in rows]
        made[ORIGINS] = "\n".join(f"{file}:{line}" for file, line in places)
    return made


def sentence(found: Iterable[NewWarning]) -> str:
    """Return how many warnings are new; empty if none is."""
    number = len({one.warning for one in found})
    return f"{count(number, 'new compiler warning')}" if number else ""


def of_cell(cell: CellResult) -> tuple[CompileWarning, ...]:
    """Return the warnings about a cell's module."""
    return tuple(map(compile_warnings.read_line, cell.properties.get(WARNINGS, "").splitlines()))


def of_run(run: Run) -> tuple[NewWarning, ...]:
    """Return the new warnings of each series; nothing is new in a cell that was compared with nothing."""
    found: dict[tuple[str, CompileWarning], list[str]] = {}
    for cell in run.cells:
        for one in in_cell(run, cell):
            found.setdefault((cell.variant, one), []).append(cell.cell)
    return tuple(NewWarning(variant, one, tuple(cells)) for (variant, one), cells in found.items())


def in_cell(run: Run, cell: CellResult) -> tuple[CompileWarning, ...]:
    """Return the new warnings of a series' cell."""
    if cell.variant == CONTROL or cell.state is not State.RAN or not cell.properties.get(WARNINGS):
        return ()
    control = compared_with(run, cell)
    if control is None or control.state is not State.RAN:
        return ()
    return compile_warnings.new(of_cell(control), of_cell(cell), _origin(cell))


def _origin(cell: CellResult) -> Callable[[str, int], Place]:
    """Return the origins of a cell's warnings, as far as they are recorded."""
    places = dict(
        zip(
            ((one.file, one.line) for one in of_cell(cell)),
            map(_place, cell.properties.get(ORIGINS, "").splitlines()),
            strict=False,
        )
    )
    return lambda file, line: places.get((file, line), (file, line))


def _place(text: str) -> Place:
    file, _, line = text.rpartition(":")
    return file, int(line) if line.isdigit() and len(line) < 10 else 0
