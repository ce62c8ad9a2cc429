"""What the template gets: the parts of the page as records. Anchors are ids within the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kmodpipe.report import timeline, wording
from kmodpipe.report.wording import Mark, SeriesVerdict
from kmodpipe.results import Attempt, DeadAxis

Links = tuple[tuple[str, str], ...]
"""Names, and where they lead."""
Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Column:
    cell: str
    variant: str
    label: str
    anchor: str


@dataclass(frozen=True)
class Group:
    variant: str
    size: int


@dataclass(frozen=True)
class Field:
    """One result in the matrix."""

    key: str
    sign: str
    word: str
    told: str
    anchor: str


@dataclass(frozen=True)
class Row:
    case: str
    anchor: str
    text: str
    results: tuple[Field, ...]


@dataclass(frozen=True)
class Item:
    """One failure with its evidence."""

    anchor: str
    case: str
    cell: str
    mark: Mark
    sentence: str
    text: str
    rows: Pairs
    command: str
    tries: tuple[Attempt, ...]
    blocks: Pairs
    files: Links


@dataclass(frozen=True)
class FailedCase:
    case: str
    summary: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Unfinished:
    """A cell that should have run and did not."""

    anchor: str
    cell: str
    mark: Mark
    sentence: str
    reason: str
    command: str
    files: Links


@dataclass(frozen=True)
class Defect:
    case: str
    summary: str
    goal: str
    outcome: str
    reason: str
    where: str


@dataclass(frozen=True)
class Close:
    """A case that was nearly too slow. The anchors are those of its case and of its cell."""

    case: str
    case_anchor: str
    cell: str
    cell_anchor: str
    seconds: str
    told: str


@dataclass(frozen=True)
class Seen:
    """What a case showed, and where."""

    mark: Mark
    word: str
    where: str
    reason: str


@dataclass(frozen=True)
class CasePart:
    case: str
    anchor: str
    summary: str
    goal: str
    digest: str
    groups: tuple[Seen, ...]


@dataclass(frozen=True)
class CellPart:
    cell: str
    anchor: str
    mark: Mark
    properties: Pairs
    files: Links


@dataclass(frozen=True)
class Page:
    title: str
    subtitle: str
    state: Mark
    total: str
    parts: Pairs
    verdicts: tuple[SeriesVerdict, ...]
    control: tuple[str, ...]
    axes: tuple[DeadAxis, ...]
    groups: tuple[Group, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    dense: bool
    counts: Mapping[str, int]
    failures: tuple[FailedCase, ...]
    hidden_failures: int
    unfinished: tuple[Unfinished, ...]
    defects: tuple[Defect, ...]
    skipped: Pairs
    close: tuple[Close, ...]
    hidden_close: int
    picture: timeline.Picture | None
    cases: tuple[CasePart, ...]
    cells: tuple[CellPart, ...]
    properties: Pairs
    files: Links
    footer: str
    marks: tuple[Mark, ...] = wording.MARKS
    defect_mark: Mark = field(default=wording.DEFECT)
