"""A recipe that is to run, how it ended, and what runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kmodpipe.util.errors import InfraError

# Objects depend on the source alone: Documentation/kbuild/reproducible-builds.rst
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
    """A folder a job sees as ``$name`` (in a container mounted at ``/<name in lower case>``)."""

    name: str
    path: Path
    writable: bool = False


@dataclass(frozen=True)
class Job:
    """One recipe run. ``script`` is a file name below the folder named RECIPE; the log gets both streams."""

    name: str
    script: str
    folders: tuple[Folder, ...]
    log: Path
    timeout_s: float
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """How a job ended: the recipe's exit status, the last lines of its output, the time it took."""

    status: int
    tail: str
    duration_s: float


class EngineWentAway(InfraError):
    """The engine ended while a job ran. It answers again, and the job can be run once more."""


class Runtime(Protocol):
    """Something that runs jobs. ``identity`` goes into every key: what compiles, exactly."""

    name: str
    isolation: str

    def identity(self) -> Mapping[str, str]: ...

    def run(self, job: Job, on_line: Callable[[str], None] | None = None) -> Ended: ...

    def sweep(self) -> int: ...
