"""What the loop is given, and what it knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.util.screen import Screen
from kmodpipe.watch.board import Board
from kmodpipe.watch.inputs import Inputs, Pair
from kmodpipe.watch.places import Places


@dataclass(frozen=True)
class Commands:
    """What the loop asks of the command line."""

    # Reads it again, with all files that it names.
    read: Callable[[Screen], RunSpec]
    # The files that it names.
    files: tuple[Path, ...]
    # Opens a shell in a cell's guest, on the terminal.
    shell: Callable[[str], None]
    # Keeps others from emptying the cache, and yields its folder.
    cache: Callable[[], AbstractContextManager[Path]]


@dataclass(frozen=True)
class Settings:
    """How rounds are run."""

    # Where their runs are, and of how many rounds they are kept.
    out: Path
    keep: int = 10
    # Every round runs everything.
    whole: bool = False


@dataclass
class State:
    """What is known, for the next decision."""

    inputs: Inputs
    places: Places
    board: Board = field(default_factory=Board)
    # The board that a change is compared with: the last one of which nothing was due.
    before: Board = field(default_factory=Board)
    forced: frozenset[Pair] = frozenset()
    # Nothing was due when the last round ended.
    is_complete: bool = False
    # By case: how much it executed of the last change.
    touched: Mapping[str, float] = field(default_factory=dict)
    # Why the inputs cannot be read, or a round could not run; '' if nothing is wrong.
    broken: str = ""
    # What changed, in words, and when.
    why: str = "all"
    saved: float = 0.0
    # How often each tree changed, by the kernel's name.
    trees: dict[str, int] = field(default_factory=dict)
