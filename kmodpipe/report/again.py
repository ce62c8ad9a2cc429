"""The command that runs one result of a run again."""

from __future__ import annotations

from kmodpipe import proc
from kmodpipe.config import Project, Request
from kmodpipe.results import CaseInfo, CellResult, Run

PROPERTY = "repeat-with"
"""The property of a run that holds the command without cell and case."""


def stem(request: Request, project: Project) -> str:
    """The command that finds the same tree, series and matrix again; what is the project's default is left
    out, for it will be read again."""
    argv = ["invoke", "test"]
    if request.tree != project.tree:
        argv += ["--tree", request.tree]
    if request.series != project.series:
        argv += [part for name in request.series or ("none",) for part in ("--series", name)]
    if request.matrix != project.matrix:
        argv += ["--matrix", str(request.matrix)]
    if request.module:
        argv += ["--module", request.module]
    argv += [part for name in request.flavours for part in ("--flavour", name)]
    for flag, given in (("--head", request.head), ("--each-patch", request.each_patch)):
        argv += [flag] * given
    if request.runtime != "docker":
        argv += ["--runtime", request.runtime]
    return proc.pasteable(argv)


def command(run: Run, cell: CellResult, info: CaseInfo | None = None) -> str:
    """``invoke test … --cell ID --case ID``; every case where ``info`` is None."""
    argv = ["--cell", cell.cell]
    if info:
        argv += ["--case", info.argument or info.id]
    return f"{run.properties.get(PROPERTY, 'invoke test')} {proc.pasteable(argv)}"
