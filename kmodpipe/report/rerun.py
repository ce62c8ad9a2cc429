"""The command that runs one result of a run again."""

from __future__ import annotations

from kmodpipe.results import CONTROL, CaseInfo, CellResult, Run
from kmodpipe.util import process

PROPERTY = "repeat-with"
"""The property of a run that holds the command without series, cell and case."""


def argument_property(series: str) -> str:
    """Name the property of a run that holds how ``series`` was named on the command line, if by a path."""
    return f"series.{series}.argument"


def command(run: Run, cell: CellResult | None = None, info: CaseInfo | None = None, variant: str = "") -> str:
    """``invoke test … --series NAME --cell ID --case ID``; every case where ``info`` is None, and every cell
    of series ``variant`` with its controls where ``cell`` is None."""
    variant = cell.variant if cell else variant
    if variant == CONTROL:
        # It is there whatever the series; which module is tested is something that a series says.
        variant = next((c.variant for c in run.cells if c.variant != CONTROL), "none")
    name = variant.partition("@")[0]
    argv = ["--series", run.properties.get(argument_property(name), name)]
    argv += ["--cell", cell.cell] if cell else []
    argv += ["--case", info.argument or info.id] if info else []
    return f"{run.properties.get(PROPERTY, 'invoke test')} {process.pasteable(argv)}"
