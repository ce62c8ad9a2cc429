"""What one command is to do: every name resolved, nothing fetched, nothing started."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kmodpipe import kconfig
from kmodpipe.judge.attempts import RetryPolicy
from kmodpipe.judge.cases import Case
from kmodpipe.kconfig import Cell, Flavour, Matrix, Variant
from kmodpipe.logs.known_benign import Benign
from kmodpipe.pipeline.config import Project
from kmodpipe.series import Series
from kmodpipe.source import TreeSpec
from kmodpipe.util import paths
from kmodpipe.util.errors import UserError, unknown_name


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
    # A moving branch is asked for anew: not what it was when it was fetched.
    latest: bool = False
    # Cells were picked out of the matrix.
    selected: bool = False
    cases: tuple[Case, ...] = ()
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    # The seed of the cases' order; 0 is the declared one.
    shuffle: int = 0
    # Reports of the kernel that are let off.
    benign: tuple[Benign, ...] = ()
    # The command as it was typed.
    command: str = ""
    # The command that runs results again, without series, cell and case.
    repeat_command: str = "invoke test"
    # How series and cases were given that are not found by their name, by their name.
    series_arguments: Mapping[str, str] = field(default_factory=dict)
    case_arguments: Mapping[str, str] = field(default_factory=dict)
    # What the verdicts depend on of the command line, as plain JSON.
    question: Mapping[str, object] = field(default_factory=dict)

    @property
    def flavours(self) -> tuple[Flavour, ...]:
        """The flavours that have a cell."""
        return tuple({cell.flavour.name: cell.flavour for cell in self.cells}.values())

    def cells_of(self, variant: str, flavour: Flavour | None = None) -> tuple[Cell, ...]:
        """Return the cells of one variant, in one flavour or in all."""
        return tuple(
            cell for cell in self.cells if cell.variant.name == variant and flavour in (None, cell.flavour)
        )


def choose_cells(
    matrix: Matrix, variants: Sequence[Variant], flavours: Iterable[str], patterns: Sequence[str]
) -> tuple[Cell, ...]:
    """Return the cells of ``flavours`` whose ids match one of ``patterns``; all where there are none.

    Raises UserError with the near ids for a pattern that matches nothing.
    """
    flavours = tuple(flavours)
    known = kconfig.expand(matrix, variants, kconfig.flavours_of(matrix, flavours))
    if not patterns:
        return known
    # A cell's id is enough to name it: where no flavour is asked for, what fits no plain cell may be one of
    # a flavour's.
    others = () if flavours else kconfig.expand(matrix, variants, tuple(matrix.flavours.values()))
    wanted: set[str] = set()
    for pattern in patterns:
        hits = _hits(pattern, known) or _hits(pattern, others)
        if not hits:
            ids = [cell.id for cell in (*known, *others)]
            raise unknown_name("cell", pattern, ids, hint="patterns with * work; quote them in a shell")
        wanted.update(hits)
    return tuple(cell for cell in (*known, *others) if cell.id in wanted)


def _hits(pattern: str, cells: Sequence[Cell]) -> list[str]:
    ids = [cell.id for cell in cells]
    return [i for i in ids if i == pattern] or fnmatch.filter(ids, pattern)


def only_module(series: Iterable[Series], matrix: Matrix, asked: str) -> str:
    """Return the one module folder of a run: the one asked for, else the series', else the matrix's.

    Raises UserError where series disagree or nothing names one.
    """
    if asked:
        return _module_folder(asked, "--module")
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
        "nothing says which module is under test",
        where=str(matrix.path),
        hint='--module FOLDER, or module = "…" in series.toml or the matrix file',
    )


def _module_folder(folder: str, where: str) -> str:
    """The folder as it is used. Raises UserError for one that cannot be below a tree."""
    name = folder.strip("/")
    # It stands in make's targets and in paths of the tree and of the object folder.
    if not re.fullmatch(r"[\w.+,-]+(?:/[\w.+,-]+)*", name, re.ASCII) or not paths.is_plain(name):
        raise UserError(
            f"not a module folder: {folder!r}",
            where=where,
            hint="a folder of the tree, from its top: fs/overlayfs",
        )
    if name.startswith("-"):
        raise UserError(f"a module folder cannot begin with a dash: {folder!r}", where=where)
    return name
