"""What the loop is told: by files, keys, the clock, and the threads that read and run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kmodpipe.results import CellResult
from kmodpipe.watch.inputs import Inputs
from kmodpipe.watch.places import Places


@dataclass(frozen=True)
class FilesChanged:
    """A watched file changed; `Files.take` says which."""


@dataclass(frozen=True)
class Pressed:
    """A key."""

    key: str


@dataclass(frozen=True)
class Redraw:
    """The terminal has another size, or a step went on."""


@dataclass(frozen=True)
class Read:
    """The inputs were read again. Exactly one of the two is there."""

    read: Reading | None
    error: BaseException | None = None


@dataclass(frozen=True)
class Reading:
    """What was read."""

    inputs: Inputs
    places: Places
    # By case: how much it executed of what changed.
    touched: Mapping[str, float]


@dataclass(frozen=True)
class CellSettled:
    """A round has the result of a cell."""

    round: int
    cell: CellResult
    # The cases that ran there.
    cases: tuple[str, ...]
    # By the monotonic clock.
    at: float


@dataclass(frozen=True)
class RoundEnded:
    """A round has ended; ``error`` is what ended it early, if anything did."""

    round: int
    error: BaseException | None = None


Message = FilesChanged | Pressed | Redraw | Read | CellSettled | RoundEnded
