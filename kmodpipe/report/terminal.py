"""The report at the end of a run, for the terminal: the answer in a sentence, what each series changed, what
went wrong, and the matrix of results.

The matrix takes the first of these forms that fits the terminal's width:

    cells by row, cases by column, with the cases' names as headings
    the same with letters as headings, and a legend
    cases by row, cells by column, if there are more cases than cells; outcomes with words, then signs alone
    cells by row, signs alone
    the same cut into blocks of columns

Of more cells than `MOST_CELLS` it has a row a case and a column a series (`kmodpipe.report.terminal_fold`).
The lines above and below it are made by `kmodpipe.report.terminal_lines`. Control characters in text from a
guest are made visible.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from kmodpipe.report import support, terminal_fold, terminal_lines
from kmodpipe.report.terminal_fold import MOST_CELLS
from kmodpipe.report.terminal_lines import sign as sign
from kmodpipe.report.wording import subject_of
from kmodpipe.results import ENDED_EARLY, CaseResult, CellResult, Run, State
from kmodpipe.util.text import one_line

_WORD_LIMIT = 20


def report(run: Run) -> RenderableType:
    """Return the whole report, for `Screen.show`: the answer, what changed, what went wrong, all results."""
    parts: list[RenderableType] = [terminal_lines.answer_line(run)]
    for part in (
        support.lines(run),
        terminal_lines.series_lines(run),
        terminal_lines.axis_lines(run),
        terminal_lines.warning_lines(run),
        terminal_lines.unfinished_lines(run),
        terminal_lines.empty_lines(run),
        terminal_lines.failed_lines(run),
        [Matrix(run)],
        terminal_lines.skipped_lines(run),
        terminal_lines.rate_lines(run),
        terminal_lines.slow_lines(run),
        terminal_lines.given_up_lines(run),
    ):
        if part:
            parts += ["", Group(*part)]
    whole = Group(*parts, "", terminal_lines.total_line(run))
    return _WithoutGreen(whole) if ENDED_EARLY in run.properties else whole


@dataclass(frozen=True)
class _WithoutGreen:
    """A report of a run that ended early: what looks like success at a glance is not drawn."""

    report: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.report, options):
            style = segment.style
            if style and style.color and "green" in style.color.name:
                segment = Segment(segment.text, style.without_color, segment.control)
            yield segment


# -- the matrix ---------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Matrix:
    """The matrix of cases and cells that were not skipped, laid out for the width it is printed at."""

    run: Run

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        cells = [cell for cell in self.run.cells if cell.state is not State.SKIPPED]
        cases = [info.id for info in self.run.cases]
        if not cells or not cases:
            yield Text("no cell ran" if cases else "no case was planned", style="magenta")
            return
        width = options.max_width
        if len(cells) > MOST_CELLS:
            yield from terminal_fold.matrix(self.run, cells, [_letters(i) for i in range(len(cells))], width)
            yield from _legend((), ())
            return
        letters = [_letters(i) for i in range(len(cases))]
        for headings in (cases, letters):
            if _width(cells, cases, headings, True) <= width:
                yield _table(cells, cases, headings, True)
                yield from _legend(cases, headings)
                return
        ids = [cell.cell for cell in cells]
        columns = [_letters(i) for i in range(len(cells))]
        for words in (True, False):
            if len(cases) > len(cells) and _width_across(cells, cases, columns, words) <= width:
                yield _table_across(cells, cases, columns, words)
                yield from _legend(ids, columns)
                return
        if _width(cells, cases, letters, False) <= width:
            yield _table(cells, cases, letters, False)
            yield from _legend(cases, letters)
            return
        names = min(max(len(one_line(c.cell)) for c in cells), width // 2)
        block = max(1, (width - names - 4) // (len(letters[-1]) + 2))
        for i in range(0, len(cases), block):
            if i:
                yield ""
            yield _table(cells, cases[i : i + block], letters[i : i + block], False)
        yield from _legend(cases, letters)


def _letters(index: int) -> str:
    """Return the column's name: A, B … Z, AA, AB …"""
    text = ""
    while index >= 0:
        text = chr(ord("A") + index % 26) + text
        index = index // 26 - 1
    return text


def _table(cells: Sequence[CellResult], cases: Sequence[str], headings: Sequence[str], words: bool) -> Table:
    """Return the table with cells by row and cases by column; *words* adds the outcomes to the signs."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("cell", no_wrap=True, overflow="ellipsis", style="bold")
    for heading in headings:
        table.add_column(Text(one_line(heading)), no_wrap=True)
    previous = subject_of(cells[0])
    for cell in cells:
        if subject_of(cell) != previous:
            table.add_row()
            previous = subject_of(cell)
        found = {result.case: result for result in cell.cases}
        table.add_row(Text(one_line(cell.cell)), *(_mark(found.get(case), words) for case in cases))
    return table


def _table_across(
    cells: Sequence[CellResult], cases: Sequence[str], headings: Sequence[str], words: bool
) -> Table:
    """Return the table with cases by row and cells by column."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("case", no_wrap=True, overflow="ellipsis", style="bold")
    for heading in headings:
        table.add_column(Text(heading), no_wrap=True)
    found = [{result.case: result for result in cell.cases} for cell in cells]
    for case in cases:
        table.add_row(Text(one_line(case)), *(_mark(own.get(case), words) for own in found))
    return table


def _width_across(
    cells: Sequence[CellResult], cases: Sequence[str], headings: Sequence[str], words: bool
) -> int:
    """Return how many columns of the terminal `_table_across` needs."""
    names = max(cell_len(one_line(case)) for case in cases) + 2
    return names + sum(
        2 + max(cell_len(heading), *(_mark(result, words).cell_len for result in cell.cases), 1)
        for heading, cell in zip(headings, cells, strict=True)
    )


def _mark(result: CaseResult | None, words: bool) -> Text:
    if result is None:
        return Text("?", style="magenta")
    mark, style = sign(result)
    if not words:
        return Text(mark, style=style)
    word = one_line(result.word)
    return Text(f"{mark} {word if len(word) <= _WORD_LIMIT else word[: _WORD_LIMIT - 1] + '…'}", style=style)


def _width(cells: Sequence[CellResult], cases: Sequence[str], headings: Sequence[str], words: bool) -> int:
    """Return how many columns of the terminal `_table` needs; rich takes seconds to measure 100 × 100."""
    widest = {case: cell_len(one_line(heading)) for case, heading in zip(cases, headings, strict=True)}
    for cell in cells:
        for result in cell.cases:
            wanted = _mark(result, words).cell_len
            widest[result.case] = max(widest.get(result.case, 0), wanted)
    names = max(cell_len(one_line(cell.cell)) for cell in cells)
    return max(names, len("cell")) + sum(widest[case] + 2 for case in cases)


def _legend(cases: Sequence[str], headings: Sequence[str]) -> Iterable[RenderableType]:
    yield ""
    if list(cases) != list(headings):
        for case, heading in zip(cases, headings, strict=True):
            yield Text(f"{heading:>2}  {one_line(case)}", style="dim", no_wrap=True, overflow="ellipsis")
    yield Text.assemble(
        ("✓", "green"), " PASS, as expected  ", ("✗", "bold red"), " FAIL, not as expected  ",
        ("~", "bold red"), " flaky  ", ("⚠", "yellow"), " known issue  ", ("!", "magenta"), " no verdict  ",
        ("–", "dim"), " skipped", style="dim",
    )  # fmt: skip
