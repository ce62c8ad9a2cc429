"""The report at the end of a run, for the terminal: the matrix of results, and what each series changed.

The matrix takes the first of these forms that fits the terminal's width:

    cells by row, cases by column, with the cases' names as headings
    the same with letters as headings, and a legend
    cases by row, cells by column, if there are more cases than cells; outcomes with words, then signs alone
    cells by row, signs alone
    the same cut into blocks of columns

Of more cells than `MOST_CELLS` it has a row a case and a column a series (`kmodpipe.report.terminal_fold`).
Control characters in text from a guest are made visible.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import nlargest

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from kmodpipe.report import new_warnings, support, terminal_fold
from kmodpipe.report.terminal_fold import MOST_CELLS, STYLES
from kmodpipe.report.wording import (
    NOT_COMPARED,
    close,
    count,
    empty,
    mark,
    ran_cells,
    sentence,
    subject_of,
    total,
    wrong,
)
from kmodpipe.results import (
    CONTROL,
    ENDED_EARLY,
    CaseResult,
    CellResult,
    Effect,
    EffectKind,
    Run,
    State,
    Verdict,
    effects,
    exit_code,
    may_be_empty,
    uncompared,
)  # fmt: skip
from kmodpipe.util.text import one_line, some

_WORD_LIMIT = 20
_SLOWEST = 5
_FAILURES = 40
# Lines about the effects of one series, where the run has a few cells and where it has many.
_EFFECTS, _FEW_EFFECTS = 40, 6
# Kernel lines below a failure.
_KERNEL_LINES = 3
_SLOW_S = 1.0
# The effects that get a line each, with their style.
_KINDS = {
    EffectKind.REGRESSED: "bold red",
    EffectKind.KNOWN_DEFECT: "yellow",
    EffectKind.FIXED: "bold green",
    EffectKind.UNKNOWN: "magenta",
}


def sign(result: CaseResult) -> tuple[str, str]:
    """Return the sign of a result and its style; the sign is clear without colour."""
    found = mark(result)
    # The outcome usually stands beside it, and the legend has one sign for all that was expected.
    return ("✓" if found.key == "unmet" else found.sign), STYLES[found.key]


def report(run: Run) -> RenderableType:
    """Return the whole report, for `Screen.show`."""
    parts: list[RenderableType] = [Matrix(run)]
    for part in (
        support.lines(run),
        series_lines(run),
        axis_lines(run),
        warning_lines(run),
        skipped_lines(run),
        unfinished_lines(run),
        empty_lines(run),
        failed_lines(run),
        rate_lines(run),
        slow_lines(run),
    ):
        if part:
            parts += ["", Group(*part)]
    whole = Group(*parts, "", total_line(run))
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
        ("✓", "green"), " as expected  ", ("✗", "bold red"), " not as expected  ", ("~", "bold red"),
        " flaky  ", ("⚠", "yellow"), " known defect  ", ("!", "magenta"), " no verdict  ", ("–", "dim"),
        " skipped", style="dim",
    )  # fmt: skip


# -- below the matrix ---------------------------------------------------------------------------------
def series_lines(run: Run) -> list[RenderableType]:
    """Return for each series what it broke, fixed and left, one line per case and change."""
    lines: list[RenderableType] = []
    found = effects(run)
    alone = {variant: frozenset(cells) for variant, cells in uncompared(run).items()}
    for title, variant in dict.fromkeys((subject_of(e), e.variant) for e in found):
        own = [e for e in found if subject_of(e) == title]
        if all(e.kind is EffectKind.NOT_APPLICABLE for e in own) and own[0].kernel:
            # Skipped cells have a section of their own, with the reason.
            continue
        if ran_cells(run, variant) and alone.get(variant, frozenset()) == ran_cells(run, variant):
            lines.append(Text(f"{one_line(title)}: {NOT_COMPARED}", style="bold yellow"))
        else:
            lines.append(Text(f"{one_line(title)} against {CONTROL}:", style="bold"))
        told = [_effect_line(e) for e in own if e.kind in _KINDS]
        most = _EFFECTS if len(run.cells) <= MOST_CELLS else _FEW_EFFECTS
        lines += told[:most]
        if len(told) > most:
            lines.append(Text(f"  … and {len(told) - most} more, all in report.html", style="dim"))
        lines += _unhelped(own)
        quiet: Counter[EffectKind] = Counter()
        for effect in own:
            if effect.kind not in _KINDS and effect.kind is not EffectKind.STILL_FAILING:
                quiet[effect.kind] += len(effect.cells)
        for kind, number in quiet.items():
            cases = len({e.case for e in own if e.kind is kind})
            lines.append(
                Text(f"  {kind.value:<14} {count(cases, 'case')}, {count(number, 'result')}", style="dim")
            )
    return lines


def _unhelped(effects: Sequence[Effect]) -> list[RenderableType]:
    """Return the cases that fail with and without the series, in one line, since there may be many.

    An unexpected failure has a line of its own.
    """
    kind = EffectKind.STILL_FAILING
    own = [e for e in effects if e.kind is kind]
    lines: list[RenderableType] = [_effect_line(e) for e in own if e.unexpected]
    names = list(dict.fromkeys(one_line(e.case) for e in own if not e.unexpected))
    if names:
        lines.append(Text.assemble("  ", (f"{kind.value:<14} ", "yellow"), some(names)))
    return lines


def _effect_line(effect: Effect) -> Text:
    before = f"{one_line(effect.before)} → " if effect.before and effect.before != effect.after else ""
    line = Text("  ")
    line.append(f"{effect.kind.value:<14} ", style=_KINDS.get(effect.kind, "yellow"))
    line.append(
        f"{one_line(effect.case)}: {before}{one_line(effect.after)} ({count(len(effect.cells), 'cell')})"
    )
    if effect.unexpected:
        line.append(" not as expected", style="red")
    return line


def axis_lines(run: Run) -> list[RenderableType]:
    """Return the dead axes with places in the source, and the axes that make no difference in some cells."""
    lines: list[RenderableType] = []
    for dead in run.dead_axes:
        mark, style = ("✗", "bold red") if dead.failure else ("·", "dim")
        lines.append(Text.assemble((f"{mark} ", style), one_line(dead.message)))
        lines += [Text(f"    {one_line(clue)}", style="dim") for clue in dead.clues]
    return lines


def warning_lines(run: Run) -> list[RenderableType]:
    """Return the compiler's warnings that a series brings, with the number of its cells that have each."""
    found = new_warnings.of_run(run)
    if not found:
        return []
    lines: list[RenderableType] = [Text(f"{new_warnings.sentence(found)}:", style="yellow")]
    for one in found[:_FAILURES]:
        where = f" ({one_line(one.variant)}, {count(len(one.cells), 'cell')})"
        lines.append(Text.assemble(f"  {one_line(str(one.warning))}", (where, "dim")))
    if len(found) > _FAILURES:
        lines.append(Text(f"  … and {len(found) - _FAILURES} more, all in results.json", style="dim"))
    return lines


def skipped_lines(run: Run) -> list[RenderableType]:
    """Return the skipped cells, grouped by reason."""
    return _by_reason("skipped", "–", "dim", [c for c in run.cells if c.state is State.SKIPPED])


def unfinished_lines(run: Run) -> list[RenderableType]:
    """Return the cells that should have run and did not, grouped by reason."""
    unbuilt = [c for c in run.cells if c.state is State.BUILD_FAILED]
    bad = [c for c in run.cells if c.state not in (State.RAN, State.SKIPPED, State.BUILD_FAILED)]
    return _by_reason("", "✗", "bold red", unbuilt) + _by_reason("", "!", "magenta", bad)


def empty_lines(run: Run) -> list[RenderableType]:
    """Return a line for the run or each series of which no case was judged."""
    mark, style = ("·", "dim") if may_be_empty(run) else ("!", "magenta")
    return [Text.assemble((f"{mark} ", style), one_line(text)) for text in empty(run)]


def _by_reason(word: str, mark: str, style: str, cells: Sequence[CellResult]) -> list[RenderableType]:
    groups: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        reason = cell.reason.strip() or "no reason was recorded"
        groups.setdefault((word or cell.state.value, reason.split("\n", 1)[0]), []).append(cell.cell)
    return [
        Text.assemble((f"{mark} {state} ", style), one_line(some(names)), (f": {one_line(reason)}", "dim"))
        for (state, reason), names in groups.items()
    ]


def failed_lines(run: Run) -> list[RenderableType]:
    """Return a line for each failure and error in cells that ran, with the kernel's last lines of the case.

    A report of the kernel is in the first line already.
    """
    lines: list[RenderableType] = []
    found = list(wrong(run))
    for cell, result in found[:_FAILURES]:
        mark, style = sign(result)
        where = f"{one_line(cell.cell)} {one_line(result.case)}: "
        lines.append(Text.assemble((f"{mark} ", style), where, sentence(result)))
        if not result.reports:
            lines += [
                Text(f"    kernel: {one_line(line)}", style="dim") for line in result.kmsg[-_KERNEL_LINES:]
            ]
    if len(found) > _FAILURES:
        lines.append(Text(f"… and {len(found) - _FAILURES} more, all in junit.xml", style="dim"))
    return lines


def rate_lines(run: Run) -> list[RenderableType]:
    """Return, for a run with ``--repeat``, the bound on the failure rate of each case that never failed.

    A case that failed has a line in `failed_lines`.
    """
    if run.properties.get("repeat", "1") == "1":
        return []
    lines: list[RenderableType] = []
    for cell, result in run.results():
        if result.verdict is Verdict.PASS:
            rate = one_line(result.message.split(";", 1)[0])
            lines.append(Text(f"  {one_line(cell.cell)} {one_line(result.case)}: {rate}", style="dim"))
    if len(lines) > _FAILURES:
        lines[_FAILURES:] = [Text(f"  … and {len(lines) - _FAILURES} more, all in junit.xml", style="dim")]
    return [Text("soak:", style="dim"), *lines] if lines else []


def slow_lines(run: Run) -> list[RenderableType]:
    """Return the slowest cases that took a second or more."""
    timed = nlargest(_SLOWEST, run.results(), key=lambda pair: pair[1].duration_s)
    lines: list[RenderableType] = [
        Text(f"  {r.duration_s:6.1f} s  {one_line(c.cell)} {one_line(r.case)}{_limit(r)}", style="dim")
        for c, r in timed
        if r.duration_s >= _SLOW_S
    ]
    return [Text("slowest:", style="dim"), *lines] if lines else []


def _limit(result: CaseResult) -> str:
    text = close(result)
    return f", {text}" if text else ""


def total_line(run: Run) -> Text:
    """Return the last line: the totals and the exit code."""
    return Text(total(run), style="bold green" if exit_code(run) == 0 else "bold red")
