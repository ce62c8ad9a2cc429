"""The matrix of a run with more cells than a terminal has lines: cases by row, series by column.

A field has the most important result of a case in a series' cells, and in how many of them. Cases that are
as expected everywhere are named below, without a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from kmodpipe.report import wording
from kmodpipe.report.wording import Mark, count, mark, subject_of
from kmodpipe.results import CellResult, Run
from kmodpipe.util.text import one_line, some

MOST_CELLS = 100
"""The most cells that have a row each."""
STYLES = {
    "pass": "green",
    "unmet": "cyan",
    "defect": "yellow",
    "flaky": "bold red",
    "fail": "bold red",
    "error": "magenta",
    "skip": "dim",
}
"""How each kind of mark is drawn."""
_MOST_ROWS = 60
_NAMES = 12
# What comes first.
_ORDER = (
    wording.FAIL, wording.FLAKY, wording.ERROR, wording.DEFECT, wording.UNMET, wording.PASS, wording.SKIP,
)  # fmt: skip
_QUIET = {wording.PASS.key, wording.UNMET.key, wording.SKIP.key}

Counts = dict[str, dict[str, Counter[str]]]
"""How many results have each `Mark.key`, by case and subject."""


def matrix(
    run: Run, cells: Sequence[CellResult], letters: Sequence[str], width: int
) -> Iterator[RenderableType]:
    """Yield the folded matrix of these cells; *letters* name columns that are too wide for their names."""
    subjects = list(dict.fromkeys(subject_of(cell) for cell in cells))
    counts = _counts(run, cells)
    loud = [case for case, own in counts.items() if any(one.keys() - _QUIET for one in own.values())]
    names = [one_line(subject) for subject in subjects]
    lead = max((cell_len(one_line(case)) for case in loud[:_MOST_ROWS]), default=4) + 2
    fields = [_field(counts[case].get(one, Counter())) for case in loud[:_MOST_ROWS] for one in subjects]
    field = max((one.cell_len for one in fields), default=1) + 2
    headings = names if lead + sum(max(len(n) + 2, field) for n in names) <= width else letters[: len(names)]
    block = max(1, (width - min(lead, width // 2)) // max(field, *(len(h) + 2 for h in headings)))
    for at in range(0, len(subjects), block) if loud else ():
        if at:
            yield ""
        yield _table(loud[:_MOST_ROWS], subjects[at : at + block], headings[at : at + block], counts)
    if len(loud) > _MOST_ROWS:
        yield Text(f"… and {count(len(loud) - _MOST_ROWS, 'more case')}, all in report.html", style="dim")
    yield from _below(run, cells, counts, loud)
    if headings != names:
        for name, heading in zip(names, headings, strict=True):
            yield Text(f"{heading:>2}  {name}", style="dim", no_wrap=True, overflow="ellipsis")


def _counts(run: Run, cells: Iterable[CellResult]) -> Counts:
    counts: Counts = {info.id: {} for info in run.cases}
    for cell in cells:
        subject = subject_of(cell)
        for result in cell.cases:
            counts[result.case].setdefault(subject, Counter())[mark(result).key] += 1
    return counts


def _table(cases: Sequence[str], subjects: Sequence[str], headings: Sequence[str], counts: Counts) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("case", no_wrap=True, overflow="ellipsis", style="bold")
    for heading in headings:
        table.add_column(Text(heading), no_wrap=True)
    for case in cases:
        fields = (_field(counts[case].get(subject, Counter())) for subject in subjects)
        table.add_row(Text(one_line(case)), *fields)
    return table


def _field(counts: Counter[str]) -> Text:
    found: Mark | None = next((m for m in _ORDER if counts[m.key]), None)
    if found is None:
        return Text("")
    number, of = counts[found.key], counts.total()
    return Text(f"{found.sign} {number}" + (f"/{of}" if number < of else ""), style=STYLES[found.key])


def _below(
    run: Run, cells: Sequence[CellResult], counts: Counts, loud: Sequence[str]
) -> Iterator[RenderableType]:
    """Yield what the table leaves out: cases that are as expected, or skipped, in every cell."""
    quiet = [case for case in counts if case not in set(loud)]
    skipped = [c for c in quiet if all(one.keys() <= {wording.SKIP.key} for one in counts[c].values())]
    passed = [case for case in quiet if case not in set(skipped)]
    for names, what in ((passed, "as expected"), (skipped, "skipped")):
        if names:
            where = f"{what} in all {len(cells):,} cells"
            listed = some([one_line(name) for name in names], _NAMES)
            yield Text(f"{count(len(names), 'case')} {where}: {listed}", style="dim")
    yield Text(f"{count(len(cells) * len(run.cases), 'result')}, each in report.html", style="dim")
