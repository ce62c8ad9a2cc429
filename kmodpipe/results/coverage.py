"""Write and read coverage.json: which lines of the module each case executed, cell by cell. Pure except for
`save` and `load`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from kmodpipe.results.plain import line
from kmodpipe.util import document
from kmodpipe.util.errors import UserError
from kmodpipe.util.files import write_atomically

SCHEMA: Literal["kmodpipe-coverage"] = "kmodpipe-coverage"
VERSION: Literal[1] = 1
FILE_NAME = "coverage.json"
"""Its name in a run's folder."""
LOAD = "(load)"
"""The pseudo-case of what is executed before the first case: the modules are loaded. No case has brackets."""
_MOST_BYTES = 256 * document.MIB

Line = Annotated[int, Field(ge=1, le=10**7)]
Times = Annotated[int, Field(ge=0, lt=2**64)]


@dataclass(frozen=True)
class Function:
    """Where a function is."""

    first: Line
    """Its first line."""
    last: Line
    """Its last line."""


@dataclass(frozen=True)
class FileLines:
    """What of a source file a cell's module has code for."""

    lines: tuple[Line, ...]
    """The lines that compile to code in this cell, ascending."""
    functions: Mapping[str, Function] = field(default_factory=dict)
    """The functions, by name."""
    branches: Mapping[Line, int] = field(default_factory=dict)
    """The number of ways that a line can be left, by line; lines with one way are not listed."""


@dataclass(frozen=True)
class FileCounts:
    """What a case executed of a source file."""

    lines: Mapping[Line, Times]
    """How often each line was executed; lines that were not are not listed."""
    functions: Mapping[str, Times] = field(default_factory=dict)
    """How often each function was called; functions that were not are not listed."""
    branches: Mapping[Line, tuple[Times, ...]] = field(default_factory=dict)
    """How often a line was left in each way, by line; lines that were not executed are not listed."""


@dataclass(frozen=True)
class CaseCoverage:
    """What a case executed of the module, in one cell."""

    unknown: str = ""
    """Why the counters are not known, as after a crash. `files` then has what is known all the same, and a
    line that is not in it may have been executed."""
    files: Mapping[str, FileCounts] = field(default_factory=dict)
    """By path from the tree's top, or that of the module's own source."""


@dataclass(frozen=True)
class CellCoverage:
    """What the cases of one cell executed."""

    variant: str
    """The series, or `unpatched`."""
    kernel: str = ""
    """The name of its kernel; empty where the run has one kernel."""
    flavour: str = ""
    """The flavour."""
    unknown: str = ""
    """Why nothing of this cell is known: it did not build, say."""
    files: Mapping[str, FileLines] = field(default_factory=dict)
    """By path from the tree's top, or that of the module's own source."""
    cases: Mapping[str, CaseCoverage] = field(default_factory=dict)
    """By the case's id; `(load)` is what is executed before the first case, as the module is loaded."""

    def executed_by(self, path: str, line: int) -> tuple[str, ...]:
        """Return the cases that executed a line, in their order."""
        return tuple(
            case
            for case, one in self.cases.items()
            if (counts := one.files.get(path)) is not None and counts.lines.get(line)
        )

    @property
    def unknown_cases(self) -> tuple[str, ...]:
        """The cases of which the counters are not known."""
        return tuple(case for case, one in self.cases.items() if one.unknown)

    def has(self, path: str, line: int) -> bool:
        """Return whether this cell has code for a line."""
        return path in self.files and line in self.files[path].lines


@dataclass(frozen=True)
class Coverage:
    """What the cases of a run executed of the module under test."""

    schema: Literal["kmodpipe-coverage"] = SCHEMA
    """What this document is."""
    version: Literal[1] = VERSION
    """It is raised when a field gets another meaning. A later kmodpipe may add fields without that."""
    module: str = ""
    """The module under test."""
    cells: Mapping[str, CellCoverage] = field(default_factory=dict)
    """By the cell's id."""

    def of_variant(self, variant: str) -> Iterator[tuple[str, CellCoverage]]:
        """Yield the cells of one variant, with their ids."""
        for cell, one in self.cells.items():
            if one.variant == variant:
                yield cell, one


def to_json(coverage: Coverage) -> str:
    """Return the document's text."""
    return line(coverage) + "\n"


def from_json(text: str | bytes, *, where: str = "") -> Coverage:
    """Return the coverage in the text of a coverage.json. Raise UserError if it is none."""
    with document.given(FILE_NAME, where):
        found = document.parse(text)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise UserError("this is no coverage.json of kmodpipe", where=where)
    if found.get("version") != VERSION:
        raise UserError(
            f"coverage.json has version {str(found.get('version'))[:40]}, this kmodpipe reads {VERSION}",
            where=where,
        )
    return document.validated(Coverage, found, FILE_NAME, where)


def save(coverage: Coverage, folder: Path) -> Path:
    """Write coverage.json into a run's folder, and return its path."""
    path = folder / FILE_NAME
    write_atomically(path, to_json(coverage))
    return path


def load(folder: Path) -> Coverage:
    """Return the coverage in a run's folder. Raise UserError if it cannot be read."""
    path = folder / FILE_NAME
    with document.given(FILE_NAME, str(path), hint="invoke cover writes it"):
        raw = document.read(path, most=_MOST_BYTES)
    return from_json(raw, where=str(path))
