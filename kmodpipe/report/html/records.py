"""The parts of the page, as the template gets them. An ``anchor`` is an id on the page, or empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kmodpipe.report import timeline, wording
from kmodpipe.report.difference import Difference
from kmodpipe.report.history import Strip
from kmodpipe.report.html.anchors import Links, Pairs
from kmodpipe.report.html.console import Excerpt
from kmodpipe.report.html.evidence_diff import DiffLine
from kmodpipe.report.html.patches import Patches
from kmodpipe.report.html.provenance import Group as ProvenanceGroup
from kmodpipe.report.support import Support
from kmodpipe.report.wording import Mark, SeriesVerdict
from kmodpipe.results import Attempt, DeadAxis, EffectKind


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
    # The style of what the series did to it; empty where that is no change.
    change: str = ""

    @property
    def keys(self) -> str:
        """The words that the filter knows it by."""
        return f"{self.key} {self.change}".strip()


@dataclass(frozen=True)
class Row:
    """A row of the matrix: one case."""

    case: str
    anchor: str
    # What the filter searches.
    text: str
    results: tuple[Field, ...]


@dataclass(frozen=True)
class CardCell:
    """One of the cells that show a failure."""

    cell: str
    # Where the page tells of the cell.
    anchor: str
    # The command that runs it again there.
    command: str
    files: Links


@dataclass(frozen=True)
class Card:
    """One distinct failure with its evidence, and all cells that show it."""

    anchor: str
    case: str
    summary: str
    mark: Mark
    # What the series did to the case; None where that is no change.
    change: Mark | None
    # The first line of the message.
    sentence: str
    # The words that the filter knows it by, and the text that it searches.
    keys: str
    text: str
    # The first ones; `number` is how many there are.
    cells: tuple[CardCell, ...]
    number: int
    expected: str
    observed: str
    # What the control showed; empty where nothing was compared.
    before: str
    # Why, and the like.
    rows: Pairs
    # The command that runs it again.
    command: str
    tries: tuple[Attempt, ...]
    # Titles and texts of the evidence.
    blocks: Pairs
    diff: tuple[DiffLine, ...]
    console: Excerpt | None
    files: Links
    history: Strip | None
    # The lines of the patches that the case executed.
    touched: Links
    # Cell and case of each failure.
    results: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Tile:
    """A number of the first screen; it filters the page."""

    key: str
    number: int
    # ``FIXED``
    name: str
    # ``cases that did not work without the series``
    words: str
    sign: str
    # Where it leads without a script.
    anchor: str


@dataclass(frozen=True)
class Trouble:
    """A cell with something that is not as expected."""

    cell: str
    kernel: str
    # ``2 FAIL, 1 ERROR``
    told: str
    mark: Mark
    # Its first card, or why it did not run.
    anchor: str


@dataclass(frozen=True)
class Unfinished:
    """Cells that should have run and did not, for one reason."""

    anchor: str
    ids: tuple[str, ...]
    # The first ones.
    cells: tuple[CardCell, ...]
    mark: Mark
    sentence: str
    reason: str


@dataclass(frozen=True)
class Defect:
    """A known defect, and the cells that show it."""

    case: str
    summary: str
    goal: str
    outcome: str
    reason: str
    where: str
    # How many cells show it.
    number: int


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
    # The lines of the patches that it executed in some cell.
    touched: Links = ()


@dataclass(frozen=True)
class CellPart:
    """The section about one cell."""

    cell: str
    anchor: str
    mark: Mark
    properties: Pairs
    files: Links


@dataclass(frozen=True)
class Share:
    """One field of the summary: the results of a case in the cells of one series on one kernel."""

    # The most important mark among them.
    mark: Mark
    # How many have it.
    number: int
    # How many there are.
    of: int


@dataclass(frozen=True)
class FoldedRow:
    """A row of the summary: one case."""

    case: str
    anchor: str
    shares: tuple[Share, ...]


@dataclass(frozen=True)
class Folded:
    """The summary, and the data behind it."""

    groups: tuple[str, ...]
    rows: tuple[FoldedRow, ...]
    # How many results.
    results: int
    # JSON: cases, cells, and every result.
    data: str
    # JSON: properties and files of each cell, as far as they differ.
    cells: str
    # Properties that every cell has.
    common: Pairs


@dataclass(frozen=True)
class Unsteady:
    """A result that differs from run to run with the same inputs."""

    case: str
    cell: str
    strip: Strip


@dataclass(frozen=True)
class Past:
    """What earlier runs tell."""

    # Whole runs; a run's page by its id.
    runs: Strip
    pages: Mapping[str, str]
    unsteady: tuple[Unsteady, ...]
    hidden: int


@dataclass(frozen=True)
class Page:
    """The whole page, from top to bottom."""

    title: str
    # The answer in a sentence: what makes it less than whole, the rest.
    caveat: str
    sentence: str
    subtitle: str
    # The run ended early: nothing on the page is green then.
    early: bool
    state: Mark
    icon: str
    total: str
    tiles: tuple[Tile, ...]
    troubles: tuple[Trouble, ...]
    # Anchors and names of the sections, for the navigation.
    parts: Pairs
    verdicts: tuple[SeriesVerdict, ...]
    differences: tuple[Difference, ...]
    # Failures of the control.
    control: tuple[str, ...]
    # What cells and cases are called: patches and checks in a run of `check`.
    cell: str
    cell_names: str
    case: str
    case_names: str
    axes: tuple[DeadAxis, ...]
    # How many warnings of the compiler the series bring, and the warnings, each with its cells.
    new_warnings: str
    warnings: Pairs
    # The run or each series without a judged case, in a sentence.
    empty: tuple[str, ...]
    groups: tuple[Group, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    # The matrix is large and shows signs without outcomes at first.
    dense: bool
    # Nothing else shows the results: the matrix is open from the start.
    matrix_open: bool
    # The number of results by `Mark.key`.
    counts: Mapping[str, int]
    cards: tuple[Card, ...]
    hidden_cards: int
    # The card of a failure by cell and case.
    evidence: Mapping[tuple[str, str], str]
    unfinished: tuple[Unfinished, ...]
    defects: tuple[Defect, ...]
    # Reasons, and the cells skipped for them.
    skipped: Pairs
    close: tuple[Close, ...]
    hidden_close: int
    picture: timeline.Picture | None
    past: Past | None
    patches: Patches
    cases: tuple[CasePart, ...]
    cells: tuple[CellPart, ...]
    provenance: tuple[ProvenanceGroup, ...]
    files: Links
    footer: str
    # On which kernels a module of its own source works; empty for one of the tree.
    support: tuple[Support, ...] = ()
    # The page on what the cases execute of the series; empty if the run did not count that.
    cover: str = ""
    # Instead of columns, rows and cells, where there are too many of them.
    folded: Folded | None = None
    hidden_unfinished: int = 0
    marks: tuple[Mark, ...] = wording.MARKS
    changes: tuple[Mark, ...] = tuple(wording.CHANGES[kind] for kind in wording.CHANGED)
    defect_mark: Mark = field(default=wording.DEFECT)
    # What is said of the kinds of effects that are only counted.
    quiet: Mapping[EffectKind, str] = field(default_factory=lambda: wording.QUIET)
