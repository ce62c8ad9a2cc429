"""The records of a job and its end, and the interface of what runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kmodpipe.util.errors import InfraError

# Makes objects depend on the source alone: Documentation/kbuild/reproducible-builds.rst
REPRODUCIBLE = {
    "KBUILD_BUILD_TIMESTAMP": "1970-01-01",
    "KBUILD_BUILD_USER": "kmodpipe",
    "KBUILD_BUILD_HOST": "kmodpipe",
    "KBUILD_BUILD_VERSION": "1",
    "LOCALVERSION": "",
    "SOURCE_DATE_EPOCH": "0",
    "LC_ALL": "C.UTF-8",
}


@dataclass(frozen=True)
class Folder:
    """A folder that a job may use."""

    name: str  # of the variable with its path
    path: Path  # on this machine
    writable: bool = False
    inside: str = ""  # where a container has it; by default ``/<name in lower case>``
    # If not 0, what is in it at the end is of no use: a container has it in memory, with that much room.
    memory_mib: int = 0


@dataclass(frozen=True)
class Job:
    """One run of a recipe."""

    name: str  # for messages
    script: str  # a file's name in the folder RECIPE
    folders: tuple[Folder, ...]
    log: Path  # stdout and stderr are appended to it
    timeout_s: float
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """How a job ended."""

    status: int  # the recipe's exit status
    tail: str  # the last lines of its output
    duration_s: float


class EngineWentAway(InfraError):
    """The engine was restarted while a job ran: the job can be run once more."""


class Runtime(Protocol):
    """Runs jobs."""

    name: str
    isolation: str
    same_paths: bool
    """Whether every job finds its folders under the same paths."""

    def identity(self) -> Mapping[str, str]:
        """Return what identifies the compiler and its tools; it is part of every cache key."""
        ...

    def run(self, job: Job, on_line: Callable[[str], None] | None = None) -> Ended:
        """Run a job to its end; call ``on_line`` with each line of its output."""
        ...

    def sweep(self) -> int:
        """Remove what jobs of killed processes left; return how many leftovers there were."""
        ...
