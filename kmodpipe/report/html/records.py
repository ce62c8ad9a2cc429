"""The parts of the page, as the template gets them. An ``anchor`` is an id on the page, or empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kmodpipe.report import timeline, wording
from kmodpipe.report.support import Support
from kmodpipe.report.wording import Mark, SeriesVerdict
from kmodpipe.results import Attempt, DeadAxis

Links = tuple[tuple[str, str], ...]
"""Names and their relative URLs."""
Pairs = tuple[tuple[str, str], ...]
"""Names and values."""


@dataclass(frozen=True)
class Column:
    """A column of the matrix: one cell."""

    cell: str
    variant: str
    # The heading: what distinguishes the cell from others of its variant.
    label: str
    anchor: str


@dataclass(frozen=True)
class Group:
    """The heading above the columns of one variant."""

    variant: str
    # How many columns.
    size: int


@dataclass(frozen=True)
class Field:
    """One result in the matrix."""

    # `Mark.key`, the style.
    key: str
    sign: str
    # The outcome.
    word: str
    # `Mark.word`, for screen readers.
    meaning: str
    # Where its evidence is.
    anchor: str


@dataclass(frozen=True)
class Row:
    """A row of the matrix: one case."""

    case: str
    anchor: str
    # What the filter searches.
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
    # What the filter searches.
    text: str
    # Observed, expected and the like.
    rows: Pairs
    # The command that runs it again.
    command: str
    tries: tuple[Attempt, ...]
    # Titles and texts of the evidence.
    blocks: Pairs
    files: Links


@dataclass(frozen=True)
class FailedCase:
    """All failures of one case."""

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
    """A known defect, and the cells that show it."""

    case: str
    summary: str
    goal: str
    outcome: str
    reason: str
    where: str


@dataclass(frozen=True)
class Close:
    """A case as expected that was close to its time limit."""

    case: str
    case_anchor: str
    cell: str
    cell_anchor: str
    # ``8.2 s``
    seconds: str
    # ``82%`` of its limit.
    used: str


@dataclass(frozen=True)
class Seen:
    """One outcome of a case, and the cells that show it."""

    mark: Mark
    word: str
    where: str
    reason: str


@dataclass(frozen=True)
class CasePart:
    """The section about one case."""

    case: str
    anchor: str
    summary: str
    goal: str
    digest: str
    groups: tuple[Seen, ...]


@dataclass(frozen=True)
class CellPart:
    """The section about one cell."""

    cell: str
    anchor: str
    mark: Mark
    properties: Pairs
    files: Links


@dataclass(frozen=True)
class Page:
    """The whole page, from top to bottom."""

    title: str
    subtitle: str
    # The run ended early: nothing on the page is green then.
    early: bool
    state: Mark
    total: str
    # Anchors and names of the sections, for the navigation.
    parts: Pairs
    verdicts: tuple[SeriesVerdict, ...]
    # Failures of the control.
    control: tuple[str, ...]
    axes: tuple[DeadAxis, ...]
    # The run or each series without a judged case, in a sentence.
    empty: tuple[str, ...]
    groups: tuple[Group, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    # The matrix is large and shows signs without outcomes at first.
    dense: bool
    # The number of results by `Mark.key`.
    counts: Mapping[str, int]
    failures: tuple[FailedCase, ...]
    hidden_failures: int
    unfinished: tuple[Unfinished, ...]
    defects: tuple[Defect, ...]
    # Reasons, and the cells skipped for them.
    skipped: Pairs
    close: tuple[Close, ...]
    hidden_close: int
    picture: timeline.Picture | None
    cases: tuple[CasePart, ...]
    cells: tuple[CellPart, ...]
    properties: Pairs
    files: Links
    footer: str
    # On which kernels a module of its own source works; empty for one of the tree.
    support: tuple[Support, ...] = ()
    # The page on what the cases execute of the series; empty if the run did not count that.
    cover: str = ""
    marks: tuple[Mark, ...] = wording.MARKS
    defect_mark: Mark = field(default=wording.DEFECT)
