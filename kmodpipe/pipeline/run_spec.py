"""The record of what a command is to do: all names are resolved, nothing is fetched or started."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from kmodpipe.judge.attempts import RetryPolicy
from kmodpipe.judge.cases import Case
from kmodpipe.kconfig import Cell, Flavour, Matrix
from kmodpipe.logs.known_benign import Benign
from kmodpipe.pipeline.cell_choice import Choice
from kmodpipe.pipeline.config import Project
from kmodpipe.series import Series
from kmodpipe.source import TreeSpec
from kmodpipe.util import paths
from kmodpipe.util.errors import UserError


@dataclass(frozen=True)
class RunSpec:
    """A command line with every name turned into a record."""

    project: Project
    tree: TreeSpec
    matrix: Matrix
    # The folder of the module under test, below the tree.
    module: str
    series: tuple[Series, ...]
    cells: tuple[Cell, ...]
    # The folder for results.
    out: Path
    jobs: int
    runtime: str = "docker"
    # A registry's repository, or "".
    share: str = ""
    # The tree's moving branch head instead of its pinned commit.
    head: bool = False
    # The cells that each pattern of --cell chose, by the pattern; empty if there is none.
    chosen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # The control's cells that were not chosen, and may be compared with.
    companions: tuple[str, ...] = ()
    # A chosen cell that the tree rules out is skipped, as the jobs of a plan need it, and no usage error.
    skip_illegal: bool = False
    cases: tuple[Case, ...] = ()
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    # The seed of the cases' order; 0 keeps the declared order.
    shuffle: int = 0
    # Known benign reports of the kernel.
    benign: tuple[Benign, ...] = ()
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
    def flavours(self) -> tuple[Flavour, ...]:
        """The flavours that have a cell."""
        return tuple({cell.flavour.name: cell.flavour for cell in self.cells}.values())

    @property
    def selected(self) -> bool:
        """Whether the cells are a selection of the matrix."""
        return bool(self.chosen)

    @property
    def choice(self) -> Choice:
        """The cells, and how they were chosen."""
        return Choice(self.cells, self.chosen, self.companions)

    def with_choice(self, choice: Choice) -> RunSpec:
        """Return the run with these cells."""
        return replace(self, cells=choice.cells, chosen=choice.chosen, companions=choice.companions)

    def cells_of(self, variant: str, flavour: Flavour | None = None) -> tuple[Cell, ...]:
        """Return the cells of one variant, in one flavour or in all of them."""
        return tuple(
            cell for cell in self.cells if cell.variant.name == variant and flavour in (None, cell.flavour)
        )


def only_module(series: Iterable[Series], matrix: Matrix, option: str) -> str:
    """Return the one module folder of a run: the option's, else the series', else the matrix's.

    Raises UserError where series disagree or nothing names one.
    """
    if option:
        return _module_folder(option, "--module")
    named = {s.module.strip("/"): s.name for s in series if s.module}
    if len(named) > 1:
        raise UserError(
            "the series are for different modules: " + ", ".join(f"{s} for {m}" for m, s in named.items()),
            hint="run them one at a time, or name one with --module",
        )
    if named:
        folder, owner = next(iter(named.items()))
        return _module_folder(folder, f"series.toml of {owner}")
    if matrix.module:
        return _module_folder(matrix.module, str(matrix.path))
    raise UserError(
        "no module under test is given",
        where=str(matrix.path),
        hint='--module FOLDER, or module = "…" in series.toml or the matrix file',
    )


def _module_folder(folder: str, where: str) -> str:
    """Return ``folder`` without slashes at its ends. Raises UserError if it cannot be a folder of a tree."""
    name = folder.strip("/")
    # It is part of make's targets, and of paths in the tree and in the object folder.
    if not re.fullmatch(r"[\w.+,-]+(?:/[\w.+,-]+)*", name, re.ASCII) or not paths.is_plain(name):
        raise UserError(
            f"not a module folder: {folder!r}",
            where=where,
            hint="a folder of the tree, from its top: fs/overlayfs",
        )
    if name.startswith("-"):
        raise UserError(f"a module folder cannot begin with a dash: {folder!r}", where=where)
    return name
