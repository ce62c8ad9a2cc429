"""Build the cells of a run and boot none, and compare what was built along each axis."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kmodpipe.build.configured import Buildable, Configured, RuledOut
from kmodpipe.judge import dead_axes
from kmodpipe.pipeline.builder import Built, BuiltCell, CellBuilder, Row
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.stage_maker import StageMaker, Tally
from kmodpipe.pipeline.workspace import Workspace
from kmodpipe.util import kept
from kmodpipe.util.digest import digest_of
from kmodpipe.util.files import write_atomically
from kmodpipe.util.workers import gather, workers

if TYPE_CHECKING:
    from kmodpipe.results import DeadAxis


def build(workspace: Workspace, folder: RunFolder) -> tuple[tuple[Built, ...], Tally]:
    """Build every cell, and boot none. A cell's own failure is returned; other errors are raised."""
    maker = StageMaker(workspace, folder)
    builder = CellBuilder(workspace, maker)

    def one(row: Row) -> Built:
        write_configuration(folder, row[1])
        return builder.cell(*row)

    with workers(workspace.spec.jobs) as pool:
        builds = [pool.submit(one, row) for row in builder.prepare(pool)]
        gather(builds)
    return tuple(build.result() for build in builds), maker.tally


def write_configuration(folder: RunFolder, configured: Configured) -> None:
    """Write the final configuration of a cell that can be built to its folder."""
    if isinstance(configured, Buildable):
        write_atomically(folder.cell(configured.cell.id) / "config", configured.text, durable=False)


def find_dead_axes(workspace: Workspace, built: Iterable[Built]) -> tuple[DeadAxis, ...]:
    """Return the axes that make no difference to the modules of ``built``, all cells of a run."""
    by_id = {one.cell.id: one for one in built}
    contents = _contents([one for one in by_id.values() if isinstance(one, BuiltCell)])
    found: list[DeadAxis] = []
    for kernel in workspace.kernels:
        products = [
            dead_axes.Product(cell, contents.get(cell.id, ""))
            for cell in kernel.spec.cells
            if not isinstance(by_id[cell.id], RuledOut)
        ]
        subjects = {subject.variant.name: subject for subject in kernel.subjects}
        found += dead_axes.find(
            products, subjects, workspace.spec.folder, selected=workspace.spec.selected, kernel=kernel.name
        )
    return tuple(found)


def _contents(built: Sequence[BuiltCell]) -> Mapping[str, str]:
    """Return what each cell runs (`dead_axes.content`), as an earlier command found it for the same bytes."""
    sums = [[one.cell.id, one.base.key, one.module.sums()] for one in built]

    def read() -> tuple[Mapping[str, str], Mapping[str, str]]:
        return {one.cell.id: dead_axes.content(one.base, one.module) for one in built}, {}

    def recall(plain: Mapping[str, object]) -> Mapping[str, str]:
        return {one.cell.id: _digest(plain[one.cell.id]) for one in built}

    if not sums or not all(found for *_, found in sums):
        return read()[0]
    name = digest_of(sums)
    return kept.of_files("code", name, Path(), read, kept.Written(name, dict, recall))


def _digest(value: object) -> str:
    """Return a digest that was read from a file. Raise ValueError for anything else."""
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise ValueError(f"no digest: {value!r}")
    return value
