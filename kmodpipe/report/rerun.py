"""Build the command that runs one result of a run again."""

from __future__ import annotations

from kmodpipe.results import CHECKED, CONTROL, OWN_MODULE, WORKTREE, CaseInfo, CellResult, Run
from kmodpipe.util import process

PROPERTY = "repeat-with"
"""The property of a run that holds the command, without series, cell and case."""


def argument_property(series: str) -> str:
    """Return the name of the property that holds what ``--series`` was given for *series*, if a path."""
    return f"series.{series}.argument"


def command(run: Run, cell: CellResult | None = None, info: CaseInfo | None = None, variant: str = "") -> str:
    """Return ``invoke test … --series NAME --cell ID --case ID``.

    Without *info* it runs every case; without *cell* every cell of the series *variant* and the control.
    """
    variant = cell.variant if cell else variant
    if variant == CONTROL:
        # The control runs with any series; one has to be named as it declares the module under test.
        variant = next((c.variant for c in run.cells if c.variant != CONTROL), "none")
    name = variant.partition("@")[0]
    # The change of a module of its own source is there without a word.
    own = OWN_MODULE in run.properties and name in (WORKTREE, "none")
    argv = [] if own else ["--series", run.properties.get(argument_property(name), name)]
    if CHECKED not in run.properties:
        argv += ["--cell", cell.cell] if cell else []
        argv += ["--case", info.argument or info.id] if info else []
    return f"{run.properties.get(PROPERTY, 'invoke test')} {process.pasteable(argv)}"
