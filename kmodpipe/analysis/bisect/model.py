"""The records of an answer, as bisect.json has them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

from kmodpipe.results import plain
from kmodpipe.util.files import write_atomically

SCHEMA: Literal["kmodpipe-bisect"] = "kmodpipe-bisect"
VERSION: Literal[1] = 1


class Side(StrEnum):
    """Which end of the search a state behaves like."""

    GOOD = "good"
    BAD = "bad"
    # Like neither, or it cannot be tried.
    SKIPPED = "skipped"


class Kind(StrEnum):
    """What is searched."""

    PATCH = "patch"
    COMMIT = "commit"
    SYMBOLS = "symbols"


class Result(StrEnum):
    """How a search ended."""

    FOUND = "found"
    # It is one of several, between which nothing could be tried.
    SEVERAL = "several"
    # Both ends have the same outcome: there is nothing to find.
    SAME = "same"
    # Several cases differ, and none was chosen.
    CHOOSE = "choose"


@dataclass(frozen=True)
class Seen:
    """What a case showed in one state, over all its runs there."""

    name: str
    """The state: a series up to a patch (`NAME@3`), a commit, a configuration."""
    title: str
    """What is new in it: a patch, a commit's subject, symbols."""
    side: Side
    """Which end it behaves like."""
    outcomes: Mapping[str, int] = field(default_factory=dict)
    """How often each outcome was observed."""
    why: str = ""
    """Why it counts for neither side."""
    doubt: float = 0.0
    """The probability that the side is wrong; 0 where one run is taken for certain."""
    cell: str = ""
    """The cell that ran; empty if none could."""
    seconds: float = 0.0
    """How long it took."""
    run: str = ""
    """The run with the evidence, relative to the folder of the bisection."""
    command: str = ""
    """The command that shows it again."""

    @property
    def words(self) -> str:
        """The outcomes in words: ``mounted``, or ``died in 3 of 10 runs, mounted in 7``."""
        return in_words(self.outcomes) or self.why

    @property
    def told(self) -> str:
        """The outcomes in words, with why they count for neither side."""
        return f"{self.words} ({self.why})" if self.outcomes and self.why else self.words

    @property
    def runs(self) -> int:
        """How many runs had a verdict."""
        return sum(self.outcomes.values())


def in_words(outcomes: Mapping[str, int]) -> str:
    """Return outcomes with their numbers, the most frequent first; without numbers if there is one alone."""
    total = sum(outcomes.values())
    rows = sorted(outcomes.items(), key=lambda row: (-row[1], row[0]))
    if len(rows) == 1:
        return rows[0][0] if total == 1 else f"{rows[0][0]} in {total} of {total} runs"
    first = [f"{word} in {number} of {total} runs" for word, number in rows[:1]]
    return ", ".join((*first, *(f"{word} in {number}" for word, number in rows[1:])))


@dataclass(frozen=True)
class Suspect:
    """What was found, or may be it."""

    name: str
    """The patch's file, the commit's hash, or a symbol with its value at the bad end (`FOO=y`)."""
    title: str = ""
    """A commit's subject; what a symbol is at the good end."""


@dataclass(frozen=True)
class Difference:
    """A case whose outcomes at both ends differ."""

    case: str
    """The case."""
    cell: str
    """The cell at the bad end."""
    good: str
    """What it showed at the good end."""
    bad: str
    """What it showed at the bad end."""


@dataclass(frozen=True)
class Answer:
    """What a bisection found."""

    schema: Literal["kmodpipe-bisect"]
    """What this document is."""
    version: Literal[1]
    """It is raised when a field gets another meaning. A later kmodpipe may add fields without that."""
    kind: Kind
    """What was searched."""
    result: Result
    """How the search ended."""
    what: str
    """What was searched, in words: a series, a range of commits, two configurations."""
    case: str
    """The case; empty if none was chosen."""
    summary: str
    """The answer in a sentence."""
    good: Seen | None
    """The good end."""
    bad: Seen | None
    """The bad end."""
    found: tuple[Suspect, ...] = ()
    """The patch, the commit, or the symbols that together make the difference."""
    suspects: tuple[Suspect, ...] = ()
    """Of what cannot be told apart: those among which it is."""
    before: Seen | None = None
    """The state without it; null if that was not tried."""
    after: Seen | None = None
    """The state with it; null if that was not tried."""
    steps: tuple[Seen, ...] = ()
    """What was tried, in order, both ends first."""
    confidence: float | None = None
    """How probable the answer is, of a case that was repeated; null if one run was taken for certain."""
    differences: tuple[Difference, ...] = ()
    """The cases whose outcomes at both ends differ, of which one has to be chosen."""
    notes: tuple[str, ...] = ()
    """What else a reader should know: symbols that came along, another cause, what was left out."""
    seconds: float = 0.0
    """How long it took."""
    look: tuple[str, ...] = ()
    """The commands that show both sides."""


def to_json(answer: Answer) -> str:
    """Return the text of a bisect.json."""
    return plain.text(answer)


def save(answer: Answer, path: Path) -> None:
    """Write bisect.json."""
    write_atomically(path, to_json(answer))
