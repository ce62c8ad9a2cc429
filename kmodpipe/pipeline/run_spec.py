"""The record of what a command is to do: all names are resolved, nothing is fetched or started."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kmodpipe import kconfig, series
from kmodpipe.build.kbuild import split
from kmodpipe.judge.retries import RetryPolicy
from kmodpipe.kconfig import Cell, Flavour, Matrix, Variant
from kmodpipe.pipeline.cell_choice import Choice
from kmodpipe.pipeline.config import Project
from kmodpipe.pipeline.own_module import ModuleUnderTest
from kmodpipe.series import Series
from kmodpipe.source.kernels import KernelSource, KernelSpec

if TYPE_CHECKING:
    # A run that only builds has none.
    from kmodpipe.judge.cases import Case
    from kmodpipe.logs.known_benign import Benign

# So many cells of one variant and flavour are configured though fewer were chosen: a minute at most.
_CONFIGURED = 64


@dataclass(frozen=True)
class RunSpec:
    """A command line with every name turned into a record."""

    project: Project
    # The kernels under test.
    trees: tuple[KernelSpec, ...]
    matrix: Matrix
    # The module under test: a folder of the tree, or one module of it as make has it (fs/fuse/cuse.ko); the
    # name of one of its own source.
    module: str
    series: tuple[Series, ...]
    cells: tuple[Cell, ...]
    # The folder for results.
    out: Path
    jobs: int
    # The module under test, if it is in no tree: the series are for its source then.
    own: ModuleUnderTest | None = None
    runtime: str = "docker"
    # A registry's repository, or "".
    share: str = ""
    # The trees' moving branch heads instead of their pinned commits.
    head: bool = False
    # The cells that each pattern of --cell chose, by the pattern; empty if there is none.
    chosen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # The control's cells that were not chosen, and may be compared with.
    companions: tuple[str, ...] = ()
    # How many axes' values each legal combination of which a cell has to have; 0 for all cells.
    sample: int = 0
    # What the sample covers, and what no legal cell has, a line each.
    sample_notes: tuple[str, ...] = ()
    # A chosen cell that the tree rules out is skipped, as the jobs of a plan need it, and no usage error.
    skip_illegal: bool = False
    cases: tuple[Case, ...] = ()
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    # The seed of the cases' order; 0 keeps the declared order.
    shuffle: int = 0
    # Known benign reports of the kernel.
    benign: tuple[Benign, ...] = ()
    # The order in which the verdicts on cells are wanted; () for no matter which.
    awaited: tuple[str, ...] = ()
    # A run, or a series in it, may have no judged case.
    allow_empty: bool = False
    # The command as it was typed.
    command: str = ""
    # The command that runs a case again, without the options for series, cell and case.
    repeat_command: str = "invoke test"
    # The command-line arguments of series and cases that are not found by name (paths …), by name.
    series_arguments: Mapping[str, str] = field(default_factory=dict)
    case_arguments: Mapping[str, str] = field(default_factory=dict)
    # The options that the verdicts depend on, as plain JSON.
    question: Mapping[str, object] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The folder of the module under test, below the tree."""
        return split(self.module)[0]

    @property
    def kernels(self) -> tuple[tuple[str, KernelSpec], ...]:
        """The kernels that have a cell, each with the name by which the cells have it."""
        names = [""] if len(self.trees) == 1 else [tree.name for tree in self.trees]
        used = {cell.kernel for cell in self.cells}
        return tuple((name, tree) for name, tree in zip(names, self.trees, strict=True) if name in used)

    def on(self, kernel: str) -> RunSpec:
        """Return the part of the run on one kernel, by the name that its cells have it by."""
        cells = tuple(cell for cell in self.cells if cell.kernel == kernel)
        own = {cell.id for cell in cells}
        return replace(
            self,
            cells=cells,
            chosen={pattern: tuple(i for i in ids if i in own) for pattern, ids in self.chosen.items()},
            companions=tuple(i for i in self.companions if i in own),
        )

    def joined(self, parts: Mapping[str, RunSpec]) -> RunSpec:
        """Return the run with the cells of ``parts``, by kernel; a kernel without a part keeps its cells."""
        every = [parts.get(name) or self.on(name) for name, _ in self.kernels]
        return replace(
            self,
            cells=tuple(cell for part in every for cell in part.cells),
            companions=tuple(i for part in every for i in part.companions),
            sample_notes=tuple(line for part in every for line in part.sample_notes),
        )

    @property
    def flavours(self) -> tuple[Flavour, ...]:
        """The flavours that have a cell."""
        return tuple({cell.flavour.name: cell.flavour for cell in self.cells}.values())

    def series_on(self, tree: KernelSource) -> Iterator[tuple[Series, tuple[Cell, ...]]]:
        """Yield each series that has a cell, as it is for the tree's kernel version, with its cells."""
        for one in self.series:
            if cells := self.cells_of(one.name):
                yield one.on(tree.kernel_version), cells

    def left_out(self, one: Series, tree: KernelSource) -> str:
        """Return why a series is not tried on one of several kernels; empty if it is."""
        return (series.mismatch(one, tree) or "") if len(self.trees) > 1 else ""

    def tools(self, flavour: Flavour) -> tuple[str, ...]:
        """Return the tools of a flavour's guests: those of the flavour and of the cases."""
        return tuple(dict.fromkeys((*flavour.tools, *(name for case in self.cases for name in case.tools))))

    @property
    def selected(self) -> bool:
        """Whether the cells are a selection of the matrix."""
        return bool(self.chosen or self.sample)

    @property
    def choice(self) -> Choice:
        """The cells, and how they were chosen."""
        return Choice(self.cells, self.chosen, self.companions)

    def with_choice(self, choice: Choice) -> RunSpec:
        """Return the run with these cells."""
        return replace(self, cells=choice.cells, chosen=choice.chosen, companions=choice.companions)

    def to_configure(self, variant: Variant, flavour: Flavour) -> tuple[Cell, ...]:
        """Return the cells of a variant and flavour that are configured, of which some run.

        They are all that the matrix has, so that a choice of fewer cells finds its configurations; not so for
        a large matrix, where that would take longer than the run.
        """
        whole = math.prod(len(axis.values) for axis in self.matrix.axes.values())
        if not self.chosen or whole > _CONFIGURED:
            return self.cells_of(variant.name, flavour)
        kernels = list(dict.fromkeys(cell.kernel for cell in self.cells))
        return kconfig.expand(self.matrix, [variant], [flavour], kernels)

    def cells_of(self, variant: str, flavour: Flavour | None = None) -> tuple[Cell, ...]:
        """Return the cells of one variant, in one flavour or in all of them."""
        return tuple(
            cell for cell in self.cells if cell.variant.name == variant and flavour in (None, cell.flavour)
        )
