"""The records of cover.json: which of the lines that a series changes are executed, and by which cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from kmodpipe.results import plain
from kmodpipe.util import document
from kmodpipe.util.errors import UserError

SCHEMA: Literal["kmodpipe-cover"] = "kmodpipe-cover"
FILE_NAME = "cover.json"
PAGE_NAME = "cover.html"


class LineState(StrEnum):
    """What is known of a changed line."""

    EXECUTED = "executed"
    # Compiled in some cell, and no case came there in any.
    NEVER = "never"
    # No case is known to have come there, and the counters of one are not known.
    UNKNOWN = "unknown"
    # It compiles to no code in any cell: a comment, a declaration, the rest of a statement, an #ifdef.
    NO_CODE = "no code"
    # A later patch of the series removes or replaces it.
    REPLACED = "replaced"


@dataclass(frozen=True)
class LineAnswer:
    """A line that a patch adds."""

    line: int
    """Its number after the whole series; after its patch, if a later one removes or replaces it."""
    text: str
    """The line."""
    state: LineState
    """`executed`, `never`, `unknown`; `no code` in any cell; `replaced` by a later patch."""
    cases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The cells in which each case executed it, by case; `(load)` is loading the module."""
    cells: tuple[str, ...] = ()
    """The cells that have code for it."""
    ways: int = 0
    """In how many ways it can be left; 0 if there is only one."""
    ways_taken: int = 0
    """In how many of them it was left, by all cases of the cell in which these are most."""


@dataclass(frozen=True)
class HunkAnswer:
    """A hunk of a patch."""

    patch: str
    """The patch's name."""
    number: int
    """Its number in the patch, from 1."""
    path: str
    """The file."""
    header: str
    """The text behind the second `@@`: the function, mostly."""
    text: str
    """The hunk as a diff, the line of `@@` included; its line numbers are those of the tree."""
    lines: tuple[LineAnswer, ...]
    """The lines that it adds, in order."""

    def of(self, state: LineState) -> tuple[LineAnswer, ...]:
        """Return the lines of one state."""
        return tuple(line for line in self.lines if line.state is state)


@dataclass(frozen=True)
class FunctionAnswer:
    """A function that has changed lines."""

    path: str
    """Its file."""
    name: str
    """Its name."""
    first: int
    """Its first line."""
    last: int
    """Its last line."""
    cases: tuple[str, ...]
    """The cases that called it, in some cell; none if none did."""
    lines: int
    """How many of its lines have code, changed or not."""
    lines_executed: int
    """How many of them some case executed."""
    ways: int
    """In how many ways its lines can be left, where there is more than one."""
    ways_taken: int
    """In how many of them they were left."""
    changed: int
    """How many of its lines the series changes, and have code."""
    changed_executed: int
    """How many of those some case executed."""


@dataclass(frozen=True)
class CellAnswer:
    """A cell of the run."""

    cell: str
    """Its id."""
    code: int
    """How many of the changed lines have code in it."""
    executed: int
    """How many of those were executed in it."""
    unknown: Mapping[str, str] = field(default_factory=dict)
    """Cases of which the counters are not known, with the reason; that of the whole cell has no name."""


@dataclass(frozen=True)
class Answer:
    """What the cases of a run execute of a series."""

    schema: Literal["kmodpipe-cover"]
    """What this document is."""
    version: Literal[1]
    """It is raised when a field gets another meaning. A later kmodpipe may add fields without that."""
    series: str
    """The series."""
    kernel: str
    """The kernel that it was tested on."""
    module: str
    """The module under test."""
    injected: int
    """How many allocations were made to fail (`--inject`)."""
    changed: int
    """How many lines the series adds or changes, after all of its patches."""
    code: int
    """How many of them compile to code in some cell; the next three are its parts."""
    executed: int
    """How many of those some case executes in some cell."""
    never: int
    """How many of those no case executes."""
    unknown: int
    """How many of those no case is known to execute, while the counters of one are not known."""
    percent: float | None
    """Which part of the changed lines with code is executed, in percent; null if there is none."""
    cells: tuple[CellAnswer, ...]
    """The cells of the series."""
    hunks: tuple[HunkAnswer, ...]
    """Its hunks, in order."""
    functions: tuple[FunctionAnswer, ...]
    """The functions that have changed lines."""
    notices: tuple[str, ...] = ()
    """Sentences on what the numbers do not say."""

    @property
    def sentence(self) -> str:
        """The answer in one sentence."""
        if not self.code:
            return f"none of the {self.changed} changed lines of {self.series} compiles to code"
        if not self.never and not self.unknown:
            return f"all {self.code} changed lines are executed by some case"
        if not self.never:
            return (
                f"of {self.unknown} of {self.code} changed lines it is not known whether a case executes them"
            )
        verb = "is" if self.never == 1 else "are"
        unknown = f"; of {self.unknown} it is not known" if self.unknown else ""
        return f"{self.never} of {self.code} changed lines {verb} executed by no case{unknown}"


def to_json(answer: Answer) -> str:
    """Return the document's text; a name that is no Unicode has its bytes written out."""
    return plain.text(answer)


def from_json(text: str | bytes, *, where: str = "") -> Answer:
    """Return the answer in the text of a cover.json. Raise UserError if it is none."""
    with document.given(FILE_NAME, where):
        found = document.parse(text)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise UserError("this is no cover.json of kmodpipe", where=where)
    return document.validated(Answer, found, FILE_NAME, where)
