"""The lines above and below the matrix on the terminal: the answer, what changed, what went wrong. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from heapq import nlargest

from rich.console import RenderableType
from rich.text import Text

from kmodpipe.build.compile_log import FIX_IT
from kmodpipe.report import alike, answer, difference, new_warnings, wording
from kmodpipe.report.difference import Row
from kmodpipe.report.terminal_fold import MOST_CELLS, STYLES
from kmodpipe.report.wording import close, count, empty, mark, sentence, total
from kmodpipe.results import (
    CONTROL,
    CaseResult,
    CellResult,
    EffectKind,
    Run,
    State,
    Verdict,
    exit_code,
    is_fixed,
    may_be_empty,
)  # fmt: skip
from kmodpipe.util.errors import ExitCode
from kmodpipe.util.text import one_line, some

_SLOWEST = 5
_FAILURES = 40
# Cells that a failure names.
_CELLS = 4
# Lines about the changes of one series, where the run has a few cells and where it has many.
_EFFECTS, _FEW_EFFECTS = 40, 6
# Kernel lines below a failure.
_KERNEL_LINES = 3
_SLOW_S = 1.0
# As errors have it, below where it was.
_HINT = re.compile(r"^  hint: (.+)", re.MULTILINE)
# So many guests for one reason are worth a line.
_MANY_GUESTS = 5
# As `pipeline.provenance` has the end of a guest that another case must not have.
_GIVEN_UP = re.compile(r"retired: after case [^:]+: (.+)")
# How the changes are drawn.
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


def answer_line(run: Run) -> Text:
    """Return the answer in one sentence, with the sign of the run."""
    code = exit_code(run)
    its = {ExitCode.OK: wording.PASS, ExitCode.FAILURE: wording.FAIL}.get(code, wording.ERROR)
    style = STYLES[its.key] if its is wording.FAIL else f"bold {STYLES[its.key]}"
    return Text.assemble((f"{its.sign} {its.name}  ", style), (answer.of_run(run).text(), "bold"))


def series_lines(run: Run) -> list[RenderableType]:
    """Return for each series what it broke, fixed and left, one line per case and change."""
    lines: list[RenderableType] = []
    for one in difference.of_run(run):
        if not one.ran:
            # Cells that did not run have lines of their own, with the reason.
            continue
        name = one_line(one.variant)
        if one.alone:
            lines.append(Text(f"{name}: {wording.NOT_COMPARED}", style="bold yellow"))
        else:
            lines.append(Text(f"{name} against {CONTROL}:", style="bold"))
        most = _EFFECTS if len(run.cells) <= MOST_CELLS else _FEW_EFFECTS
        lines += [_change_line(row) for row in one.changed[:most]]
        if len(one.changed) > most:
            text = f"  … and {len(one.changed) - most} more, all in report.html"
            lines.append(Text(text, style="dim"))
        quiet = ", ".join(f"{number} {wording.QUIET[kind]}" for kind, number in one.quiet.items())
        if quiet:
            lines.append(Text(f"  {count(one.unchanged, 'case')} unchanged: {quiet}", style="dim"))
        elif not one.changed:
            lines.append(Text("  nothing was judged", style="dim"))
    return lines


def _change_line(row: Row) -> Text:
    before = f"{one_line(row.before.word)} → " if row.before and row.before.word != row.after.word else ""
    line = Text("  ")
    line.append(f"{row.change.name:<12} ", style=STYLES.get(row.change.key) or _KINDS.get(row.kind, "yellow"))
    line.append(f"{one_line(row.case)}: {before}{one_line(row.after.word)} ")
    line.append(f"({one_line(row.where)})", style="dim")
    if row.unexpected:
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
    return _by_reason("ruled out", "–", "dim", wording.ruled_out(run))


def unfinished_lines(run: Run) -> list[RenderableType]:
    """Return the cells that should have run and did not, grouped by reason."""
    unbuilt = [c for c in run.cells if c.state is State.BUILD_FAILED and not is_fixed(c)]
    bad = [c for c in run.cells if c.state not in (State.RAN, State.SKIPPED, State.BUILD_FAILED)]
    fixed = [c for c in run.cells if is_fixed(c)]
    return [
        *_by_reason("does not build, which the series fix:", "○", "dim", fixed),
        *_by_reason("", "✗", "bold red", unbuilt, hinted=True),
        *_by_reason("", "!", "magenta", bad, hinted=True),
    ]


def empty_lines(run: Run) -> list[RenderableType]:
    """Return a line for the run or each series of which no case was judged."""
    mark, style = ("·", "dim") if may_be_empty(run) else ("!", "magenta")
    return [Text.assemble((f"{mark} ", style), one_line(text)) for text in empty(run)]


def _by_reason(
    word: str, mark: str, style: str, cells: Sequence[CellResult], *, hinted: bool = False
) -> list[RenderableType]:
    """Return a line for each reason; with ``hinted`` what to do about it as well, where that is known."""
    groups: dict[tuple[str, str], list[CellResult]] = {}
    for cell in cells:
        reason = cell.reason.strip() or "no reason was recorded"
        groups.setdefault((word or cell.state.value, reason.split("\n", 1)[0]), []).append(cell)
    lines: list[RenderableType] = []
    for (state, reason), own in groups.items():
        names = one_line(some([cell.cell for cell in own]))
        lines.append(Text.assemble((f"{mark} {state} ", style), names, (f": {one_line(reason)}", "dim")))
        hint = _HINT.search(own[0].reason) if hinted else None
        # Of an error of the compiler that is plain.
        if hint and hint[1] != FIX_IT:
            lines.append(Text(f"    hint: {one_line(hint[1])}", "dim"))
    return lines


def failed_lines(run: Run) -> list[RenderableType]:
    """Return a line for each distinct failure and error in cells that ran, with the kernel's last lines of
    the case in the first of its cells.

    A report of the kernel is in the first line already.
    """
    lines: list[RenderableType] = []
    found = alike.groups(run)
    for group in found[:_FAILURES]:
        result, names = group[0][1], [one_line(cell.cell) for cell, _ in group]
        its, (_, style) = mark(result), sign(result)
        told = f"{one_line(result.case)}: {sentence(result)}"
        where = (f" ({some(names, _CELLS)})", "dim")
        lines.append(Text.assemble((f"{its.sign} {its.name} ", style), told, where))
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


def given_up_lines(run: Run) -> list[RenderableType]:
    """Return for which reason many guests were given up: each time, the next case waited for another boot."""
    given_up: dict[str, list[str]] = {}
    for cell in run.cells:
        for name, end in cell.properties.items():
            found = _GIVEN_UP.match(end) if name.startswith("boot.") else None
            if found:
                given_up.setdefault(found[1], []).append(one_line(cell.cell))
    lines: list[RenderableType] = [
        Text(
            f"  {len(cells)} times, in {some(list(dict.fromkeys(cells)), _CELLS)}: {one_line(why)}",
            style="dim",
        )
        for why, cells in given_up.items()
        if len(cells) >= _MANY_GUESTS
    ]
    return [Text("guests given up after a case:", style="dim"), *lines] if lines else []


def _limit(result: CaseResult) -> str:
    text = close(result)
    return f", {text}" if text else ""


def total_line(run: Run) -> Text:
    """Return the last line: the totals and the exit code."""
    return Text(total(run), style="bold green" if exit_code(run) == 0 else "bold red")
