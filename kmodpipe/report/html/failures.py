"""The report's section on failures, with as much evidence as there is room for. Pure.

All evidence on a page shares `_EVIDENCE_BUDGET` characters. If there are more than `MOST_FAILURES`, each
case keeps an equal number of its own.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote

from kmodpipe.report import rerun
from kmodpipe.report.html.records import FailedCase, Item, Links, Unfinished
from kmodpipe.report.junit import Reported, files_of
from kmodpipe.report.wording import ERROR, FAIL, PASS, SKIP, close, mark, sentence, wrong
from kmodpipe.results import CaseInfo, CaseResult, CellResult, Run, State
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
_EVIDENCE_BUDGET = 6 * 1024 * 1024
_MOST_TEXT, _LEAST_TEXT = 16 * 1024, 600


def _no_tail(path: str) -> str:
    return ""


@dataclass(frozen=True)
class Files:
    """The files in the run's folder, as the page links and quotes them."""

    # The run's folder relative to the page.
    base: str = ""
    # Returns the end of a file by its path in the run's folder, an empty string if it cannot be read.
    tail: Callable[[str], str] = _no_tail

    def href(self, path: str) -> str:
        """Return a relative link to *path*; what looks like a scheme or a host in it is quoted."""
        return "./" + quote(f"{self.base}/{path}".lstrip("/"), safe="/=@+,-._~", errors="replace")

    def links(self, cell: CellResult) -> Links:
        """Return links to a cell's files."""
        return tuple((name, self.href(path)) for name, path in sorted(cell.artifacts.items()))


def failures(
    run: Run, infos: Mapping[str, CaseInfo], files: Files, most: int = MOST_FAILURES
) -> tuple[tuple[FailedCase, ...], int]:
    """Return the failures and errors in cells that ran, by case; and how many of more than *most* there is
    no room for."""
    by_case: dict[str, list[tuple[CellResult, CaseResult]]] = {}
    for cell, result in wrong(run):
        by_case.setdefault(result.case, []).append((cell, result))
    number = sum(map(len, by_case.values()))
    share = max(most // max(len(by_case), 1), 1)
    kept = {case: own if number <= most else own[:share] for case, own in by_case.items()}
    shown = sum(map(len, kept.values()))
    room = max(_LEAST_TEXT, min(_MOST_TEXT, _EVIDENCE_BUDGET // max(3 * shown, 1)))
    order = {case: n for n, case in enumerate(infos)}
    numbers = itertools.count()
    cases = []
    for case in sorted(kept, key=lambda c: order.get(c, len(order))):
        info = infos.get(case)
        items = tuple(
            _item(Reported(run, cell, result, info), f"result-{next(numbers)}", room, files)
            for cell, result in kept[case]
        )
        cases.append(FailedCase(case, info.summary if info else "", items))
    return tuple(cases), number - shown


def _item(one: Reported, anchor: str, room: int, files: Files) -> Item:
    """Return one failure, each block of its evidence cut to *room* characters."""
    cell, result, info = one.cell, one.result, one.info
    rows = (
        ("observed", result.outcome),
        ("expected", result.expected),
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
    blocks = (
        ("What the kernel reported", "\n".join(re.sub(r"^\| ?", "", line) for line in trace.splitlines())),
        ("Evidence", evidence.strip("\n")),
        ("The last kernel messages of this case", _tail("\n".join(result.kmsg), room, console)),
        ("What the case printed", _tail(result.output_excerpt, room, own.get("whole output", ""))),
        # The guest died before it sent its messages, or had none from this case.
        ("The end of the console", "" if result.kmsg else files.tail(console)),
    )
    first_line = sentence(result)
    its = mark(result)
    text = f"{result.case} {cell.cell} {first_line} {result.word} {its.word}"
    return Item(
        anchor, result.case, cell.cell, its, first_line, one_line(text),
        tuple(row for row in rows if row[1]),
        one.command,
        result.tries,
        tuple((name, _head(block, room)) for name, block in blocks if block.strip()),
        tuple((path, files.href(path)) for path in paths),
    )  # fmt: skip


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
    """Return the cells that should have run and did not; *anchors* maps cells to ids on the page."""
    found = []
    for cell in run.cells:
        if cell.state in (State.RAN, State.SKIPPED):
            continue
        reason = cell.reason.strip() or "no reason was recorded"
        first_line = one_line(f"{cell.state.value}: {reason.split(chr(10), 1)[0]}")
        found.append(
            Unfinished(
                anchors[cell.cell], cell.cell, STATES[cell.state], first_line, _head(reason, _MOST_TEXT),
                rerun.command(run, cell), files.links(cell),
            )
        )  # fmt: skip
    return tuple(found)
