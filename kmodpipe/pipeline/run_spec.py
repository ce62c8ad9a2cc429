"""The record of what a command is to do: all names are resolved, nothing is fetched or started."""

from __future__ import annotations

import fnmatch
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
from kmodpipe.util.errors import unknown_name


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
    # The latest commit of a moving branch instead of the one in the cache.
    latest: bool = False
    # Whether the cells are a selection of the matrix.
    selected: bool = False
    cases: tuple[Case, ...] = ()
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    # The seed of the cases' order; 0 keeps the declared order.
    shuffle: int = 0
    # Known benign reports of the kernel.
    benign: tuple[Benign, ...] = ()
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

    def cells_of(self, variant: str, flavour: Flavour | None = None) -> tuple[Cell, ...]:
        """Return the cells of one variant, in one flavour or in all of them."""
        return tuple(
            cell for cell in self.cells if cell.variant.name == variant and flavour in (None, cell.flavour)
        )


def choose_cells(
    matrix: Matrix, variants: Sequence[Variant], flavours: Iterable[str], patterns: Sequence[str]
) -> tuple[Cell, ...]:
    """Return the cells of ``flavours`` whose ids match one of ``patterns``, or all if there are no patterns.

    Raises UserError with similar ids if a pattern matches no cell.
    """
    flavours = tuple(flavours)
    known = kconfig.expand(matrix, variants, kconfig.flavours_of(matrix, flavours))
    if not patterns:
        return known
    # If no flavour is requested, a pattern that matches no plain cell is tried on cells of all flavours: the
    # id of a cell is enough to select it.
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
