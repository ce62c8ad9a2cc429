"""The command that runs one result of a run again."""

from __future__ import annotations

from collections.abc import Sequence

from kmodpipe.pipeline.config import Project, Request
from kmodpipe.results import CONTROL, CaseInfo, CellResult, Run
from kmodpipe.series import Series
from kmodpipe.util import process

PROPERTY = "repeat-with"
"""The property of a run that holds the command without series, cell and case."""


def properties(request: Request, project: Project, series: Sequence[Series]) -> dict[str, str]:
    """What `command` needs of a run. What is the project's default is left out of the command, for it will be
    read again; series have to be named, and those that were given by a path are found by that."""
    argv = ["invoke", "test"]
    if request.tree != project.tree:
        argv += ["--tree", request.tree]
    if request.matrix != project.matrix:
        argv += ["--matrix", str(request.matrix)]
    if request.module:
        argv += ["--module", request.module]
    argv += [part for name in request.flavours for part in ("--flavour", name)]
    argv += ["--head"] * request.head + ["--each-patch"] * request.each_patch
    if request.runtime != "docker":
        argv += ["--runtime", request.runtime]
    found = {PROPERTY: process.pasteable(argv)}
    given = [name for name in request.series if name != "none"]
    whole = [one for one in series if not one.partial]
    for one, argument in zip(whole, given, strict=False):
        if argument != one.name:
            found[_argument(one.name)] = argument
    return found


def _argument(series: str) -> str:
    return f"series.{series}.argument"


def command(run: Run, cell: CellResult | None = None, info: CaseInfo | None = None, variant: str = "") -> str:
    """``invoke test … --series NAME --cell ID --case ID``; every case where ``info`` is None, and every cell
    of series ``variant`` with its controls where ``cell`` is None."""
    variant = cell.variant if cell else variant
    if variant == CONTROL:
        # It is there whatever the series; which module is tested is something that a series says.
        variant = next((c.variant for c in run.cells if c.variant != CONTROL), "none")
    name = variant.partition("@")[0]
    argv = ["--series", run.properties.get(_argument(name), name)]
    argv += ["--cell", cell.cell] if cell else []
    argv += ["--case", info.argument or info.id] if info else []
    return f"{run.properties.get(PROPERTY, 'invoke test')} {process.pasteable(argv)}"
