"""The cards on what went wrong: one for each distinct failure, with as much evidence as there is room for.

All evidence on a page shares `_EVIDENCE_BUDGET` characters. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from kmodpipe.report import alike, rerun
from kmodpipe.report.alike import Failure
from kmodpipe.report.history import Strip
from kmodpipe.report.html import console as console_lines
from kmodpipe.report.html.anchors import Links, Names
from kmodpipe.report.html.evidence_diff import diff
from kmodpipe.report.html.records import Card, CardCell, Unfinished
from kmodpipe.report.junit import Reported, files_of
from kmodpipe.report.wording import ERROR, FAIL, MARKS, PASS, SKIP, Mark, close, mark, sentence
from kmodpipe.results import CONTROL, CaseInfo, CellResult, Controls, Run, State, is_fixed
from kmodpipe.util.text import one_line

STATES = {
    State.RAN: PASS,
    State.SKIPPED: SKIP,
    State.BUILD_FAILED: FAIL,
    State.INFRA: ERROR,
    State.INTERRUPTED: ERROR,
    State.NOT_RUN: ERROR,
}
MOST_FAILURES, MOST_FAILURES_FOLDED = 1000, 250
"""How many have their evidence on the page; on that of a large run, which has much else to draw."""
_TAIL_BYTES = 4096
_EVIDENCE_BUDGET = 6 * 1024 * 1024
_MOST_TEXT, _LEAST_TEXT = 16 * 1024, 600
MOST_CARD_CELLS, MOST_CARD_CELLS_FOLDED = 60, 12
"""The most cells that a card names one by one; on the page of a large run."""
# The most that its filter knows by name.
_TEXT_CELLS = 400


def _nothing(path: str, offset: int, size: int) -> bytes:
    return b""


@dataclass(frozen=True)
class Files:
    """The files in the run's folder, as the page links and quotes them."""

    # The run's folder relative to the page.
    base: str = ""
    # Reads a part of a file in the run's folder.
    read: console_lines.Read = _nothing

    def tail(self, path: str) -> str:
        """Return the end of a file by its path in the run's folder, an empty string if it cannot be read."""
        data = self.read(path, -_TAIL_BYTES, _TAIL_BYTES) if path else b""
        return data.decode("utf-8", "replace").replace("\r\n", "\n")

    def href(self, path: str) -> str:
        """Return a relative link to *path*; what looks like a scheme or a host in it is quoted."""
        return "./" + quote(f"{self.base}/{path}".lstrip("/"), safe="/=@+,-._~", errors="replace")

    def links(self, cell: CellResult) -> Links:
        """Return links to a cell's files."""
        return tuple((name, self.href(path)) for name, path in sorted(cell.artifacts.items()))


@dataclass(frozen=True)
class Beside:
    """What stands beside the failures of a run."""

    # What the series did to a case, by cell and case, where that is a change.
    changes: Mapping[tuple[str, str], Mark]
    # Where the page tells of each cell.
    anchors: Mapping[str, str]
    # Finds the control's cell of a series' cell.
    controls: Controls
    # The most cells that a card names one by one.
    most_cells: int = MOST_CARD_CELLS
    # The part of an earlier run's page on the same case and cell.
    history: Callable[[str, str], Strip | None] = lambda cell, case: None
    # Where the lines of the patches stand that a case executed in a cell.
    touched: Callable[[str, str], Links] = lambda cell, case: ()


def cards(
    run: Run, infos: Mapping[str, CaseInfo], files: Files, beside: Beside, most: int = MOST_FAILURES
) -> tuple[tuple[Card, ...], int]:
    """Return a card for each distinct failure and error in cells that ran, and how many of more than *most*
    there is no room for."""
    order = {case: n for n, case in enumerate(infos)}
    rank = {m.key: n for n, m in enumerate(MARKS)}

    def place(found: Sequence[Failure]) -> tuple[bool, int, int]:
        _, result = found[0]
        broken = any((c.cell, r.case) in beside.changes for c, r in found)
        return not broken, rank[mark(result).key], order.get(result.case, len(order))

    ordered = sorted(alike.groups(run), key=place)
    room = max(_LEAST_TEXT, min(_MOST_TEXT, _EVIDENCE_BUDGET // max(3 * min(len(ordered), most), 1)))
    names = Names("failure")
    made = tuple(
        _card(run, found, infos.get(found[0][1].case), names, room, files, beside) for found in ordered[:most]
    )
    return made, len(ordered) - len(made)


def _card(
    run: Run,
    found: Sequence[Failure],
    info: CaseInfo | None,
    names: Names,
    room: int,
    files: Files,
    beside: Beside,
) -> Card:
    """Return the card of failures that are alike, with the evidence of the first, each block of it cut to
    *room* characters."""
    cell, result = found[0]
    one = Reported(run, cell, result, info)
    control = beside.controls.compared_with(cell) if cell.variant != CONTROL else None
    before = control.case(result.case) if control else None
    rows = (
        ("why", result.reason),
        ("a user wants", info.goal if info else ""),
        ("attempts", f"{result.attempts}, {result.failures} failed" if result.attempts > 1 else ""),
        ("took", close(result)),
    )
    evidence, _, trace = f"\n{result.evidence}".partition("\ncrash: ")
    own = one.files
    console = own.get("full console", "")
    guests = [result.guest, *(attempt.guest for attempt in result.tries)]
    paths = dict.fromkeys(
        path for guest in guests for path in files_of(cell, replace(result, guest=guest)).values()
    )
    excerpt = console_lines.at_fault(result, console, files.read)
    blocks = (
        ("What the kernel reported", "\n".join(re.sub(r"^\| ?", "", line) for line in trace.splitlines())),
        ("Evidence", evidence.strip("\n")),
        ("The last kernel messages of this case", _tail("\n".join(result.kmsg), room, console)),
        ("What the case printed", _tail(result.output_excerpt, room, own.get("whole output", ""))),
        # The guest died before it sent its messages, or had none from this case.
        ("The end of the console", "" if result.kmsg or excerpt else files.tail(console)),
    )
    first_line, its = sentence(result), mark(result)
    change = beside.changes.get((cell.cell, result.case))
    cells = [c.cell for c, _ in found]
    text = f"{result.case} {' '.join(cells[:_TEXT_CELLS])} {first_line} {result.word} {its.name} {its.word}"
    return Card(
        names.of(result.case),
        result.case,
        info.summary if info else "",
        its,
        change,
        first_line,
        f"{its.key} {change.key if change else ''}".strip(),
        one_line(text),
        tuple(
            CardCell(c.cell, beside.anchors[c.cell], Reported(run, c, r, info).command, files.links(c))
            for c, r in found[: beside.most_cells]
        ),
        len(found),
        result.expected,
        result.word,
        before.word if before else "",
        tuple(row for row in rows if row[1]),
        one.command,
        result.tries,
        tuple((name, _head(block, room)) for name, block in blocks if block.strip()),
        diff(before, result),
        excerpt,
        tuple((path, files.href(path)) for path in paths),
        beside.history(cell.cell, result.case),
        beside.touched(cell.cell, result.case),
        frozenset((c.cell, r.case) for c, r in found),
    )


def _head(text: str, room: int) -> str:
    """Return *text*, or its beginning and end if it is longer than *room* characters."""
    if len(text) <= room + 200:
        return text
    half = room // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"


def _tail(text: str, room: int, whole: str) -> str:
    """Return the end of *text* in whole lines; *whole* is the file that has all of it."""
    if len(text) <= room:
        return text
    end = text[-room:]
    end = end.partition("\n")[2] or end
    where = f", the whole is in {whole}" if whole else ""
    return f"[… {len(text) - len(end)} characters left out{where} …]\n{end}"


def unfinished(run: Run, anchors: Mapping[str, str], files: Files) -> tuple[Unfinished, ...]:
    """Return the cells that should have run and did not, those with the same reason together; *anchors* maps
    cells to ids on the page."""
    groups: dict[tuple[State, str], list[CellResult]] = {}
    for cell in run.cells:
        if cell.state not in (State.RAN, State.SKIPPED) and not is_fixed(cell):
            reason = cell.reason.strip() or "no reason was recorded"
            groups.setdefault((cell.state, reason), []).append(cell)
    names = Names("cells")
    made = []
    for (state, reason), cells in groups.items():
        first_line = reason.split("\n", 1)[0]
        if first_line != state.value:
            first_line = f"{state.value}: {first_line}"
        shown = tuple(
            CardCell(c.cell, anchors[c.cell], rerun.command(run, c), files.links(c))
            for c in cells[:MOST_CARD_CELLS]
        )
        made.append(
            Unfinished(
                names.of(f"{state.value}-{cells[0].cell}"),
                tuple(c.cell for c in cells),
                shown,
                STATES[state],
                one_line(first_line),
                _head(reason, _MOST_TEXT),
            )
        )
    return tuple(made)
