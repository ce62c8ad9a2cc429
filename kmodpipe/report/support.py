"""Answer on which kernels a module works: it builds, it loads, it passes; with a badge for a README. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

import rich.table
from rich.console import RenderableType
from rich.text import Text

from kmodpipe.report.markup import Block, Table
from kmodpipe.results import (
    CONTROL,
    OWN_MODULE,
    REFUSED,
    WOULD_REFUSE,
    CellResult,
    Run,
    State,
    Verdict,
    of_tree,
)

WARNINGS = "module.warnings"
"""The property of a cell with the compiler's warnings about the module, a line each."""

_CELL = re.compile(r"^the module of [^\s:]+(?::| (?=does not )) *")
_HEAD = ("kernel", "builds", "loads", "passes", "warnings", "why not")
_NOTE = 200
YES, NO, UNKNOWN = "yes", "no", "–"


@dataclass(frozen=True)
class Support:
    """What one kernel says of a module, in one flavour."""

    kernel: str
    builds: str
    loads: str
    passes: str
    # The compiler's warnings, and those that the control does not have.
    warnings: str
    # Why it is not supported: what the compiler, the kernel or a case said first; empty if it is.
    note: str

    @property
    def supported(self) -> bool:
        """Whether it builds, loads and passes."""
        return (self.builds, self.loads, self.passes) == (YES, YES, YES)


def rows(run: Run) -> tuple[Support, ...]:
    """Return a row for each kernel and flavour: of the change, or where there is none of the control."""
    variants = list(dict.fromkeys(cell.variant for cell in run.cells))
    tested = variants[-1] if variants else CONTROL
    groups: dict[tuple[str, str], list[CellResult]] = {}
    for cell in run.cells:
        if cell.variant == tested:
            groups.setdefault((cell.kernel, cell.flavour), []).append(cell)
    return tuple(_row(run, kernel, flavour, cells) for (kernel, flavour), cells in groups.items())


def _row(run: Run, kernel: str, flavour: str, cells: Sequence[CellResult]) -> Support:
    version = run.properties.get(of_tree("kernel-version", kernel), "")
    name = kernel or run.properties.get("tree", "")
    label = " ".join(filter(None, (name, flavour, f"({version})" if version else "")))
    built = [cell for cell in cells if cell.state is State.RAN]
    if not built:
        first = cells[0]
        if WOULD_REFUSE in first.reason:
            return Support(label, YES, NO, UNKNOWN, UNKNOWN, _first_line(first.reason))
        builds = NO if first.state is State.BUILD_FAILED else UNKNOWN
        return Support(label, builds, UNKNOWN, UNKNOWN, UNKNOWN, _first_line(first.reason))
    refusal = next((one.message for cell in built for one in cell.cases if REFUSED in one.message), "")
    bad = [one for cell in built for one in cell.cases if one.verdict in (Verdict.FAIL, Verdict.ERROR)]
    judged = [one for cell in built for one in cell.cases if one.verdict is not Verdict.SKIP]
    loads = NO if refusal else YES
    passes = UNKNOWN if refusal or not judged else NO if bad else YES
    note = refusal or (f"{bad[0].case}: {bad[0].message}" if bad else "")
    return Support(label, YES, loads, passes, _warnings(run, built), _first_line(note))


def _first_line(text: str) -> str:
    """Return what happened, without which cell it was in, which the row says."""
    return _CELL.sub("", text.partition("\n")[0])


def _warnings(run: Run, cells: Iterable[CellResult]) -> str:
    own = _lines(cells)
    first = next(iter(cells))
    control = [
        cell
        for cell in run.cells
        if cell.variant == CONTROL and (cell.kernel, cell.flavour) == (first.kernel, first.flavour)
    ]
    if first.variant == CONTROL or not control:
        return str(len(own))
    fresh = own - _lines(control)
    return f"{len(own)}, {len(fresh)} new" if fresh else str(len(own))


def _lines(cells: Iterable[CellResult]) -> set[str]:
    return {line for cell in cells for line in cell.properties.get(WARNINGS, "").splitlines()}


def blocks(run: Run) -> list[Block]:
    """Return the table, for the screen and for Markdown."""
    found = rows(run)
    made = tuple(
        ((one.kernel,), (one.builds,), (one.loads,), (one.passes,), (one.warnings,), (one.note[:_NOTE],))
        for one in found
    )
    return [Table(_HEAD, made)]


def lines(run: Run) -> list[RenderableType]:
    """Return the table for the end of a run; nothing for a module of the tree."""
    if OWN_MODULE not in run.properties:
        return []
    shown = rich.table.Table(box=None, pad_edge=False)
    for heading in _HEAD:
        shown.add_column(heading, overflow="fold")
    styles = {YES: "green", NO: "red"}
    for one in rows(run):
        answers = (Text(word, style=styles.get(word, "")) for word in (one.builds, one.loads, one.passes))
        shown.add_row(Text(one.kernel), *answers, Text(one.warnings), Text(one.note[:_NOTE]))
    return [shown]


def badge(run: Run) -> str:
    """Return an SVG picture for a README: on how many of the kernels the module works."""
    found = rows(run)
    good = sum(one.supported for one in found)
    words = f"{good} of {len(found)} kernels"
    colour = "#2e7d32" if found and good == len(found) else "#c62828"
    left, right = 66, 7 * len(words) + 12
    label = escape(words)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" '
        f'aria-label="kmodpipe: {label}"><title>kmodpipe: {label}</title>'
        f'<rect width="{left}" height="20" fill="#444"/>'
        f'<rect x="{left}" width="{right}" height="20" fill="{colour}"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">'
        f'<text x="{left / 2:g}" y="14">kmodpipe</text>'
        f'<text x="{left + right / 2:g}" y="14">{label}</text></g></svg>\n'
    )
