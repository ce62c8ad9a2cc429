"""One cached step of a build."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.build.recipes import WorkDir
from kmodpipe.build.reuse import Names, Reused
from kmodpipe.cache.store import Inputs


@dataclass(frozen=True)
class Reusing:
    """How a stage is made with what others left, and what it is found by as one that leaves something."""

    make: Callable[[WorkDir, Reused], None]
    names: Callable[[], Names]
    objects: Path | None = None  # what there is to take where nothing was left yet
    # Whether a kindred artifact has all that the first of this source would leave: see `neutral.has_all`.
    suffices: Callable[[Path], bool] = lambda kindred: False


@dataclass(frozen=True)
class Stage:
    """One cached step."""

    kind: str
    label: str
    inputs: Inputs  # all that the content depends on; the cache key is their digest
    make: Callable[[WorkDir], None]  # writes the content
    need_mib: int = 64  # free disk space that making it takes
    # Raises InfraError if a folder, which another machine or version made, lacks what later steps read.
    check: Callable[[Path], None] = lambda folder: None
    reusing: Reusing | None = None  # None for what takes of no other one, and leaves nothing
