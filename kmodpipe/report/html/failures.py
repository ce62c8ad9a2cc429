"""What went wrong, with as much evidence as there is room for. Pure.

All the evidence of a page shares `_EVIDENCE_BUDGET`; where there are more failures than the page takes, each
case keeps some of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote

from kmodpipe.report import rerun
from kmodpipe.report.html.records import FailedCase, Item, Links, Unfinished
from kmodpipe.report.junit import files_of
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
_MOST_FAILURES = 1000
_EVIDENCE_BUDGET = 6 * 1024 * 1024
_MOST_TEXT, _LEAST_TEXT = 16 * 1024, 600


def _no_tail(path: str) -> str:
    return ""


@dataclass(frozen=True)
class Files:
    """The run's own files: ``base`` is its folder as seen from where the page is going to be, ``tail`` gives
    the end of one by its path within it, and nothing where it cannot be had."""

    base: str = ""
    tail: Callable[[str], str] = _no_tail

    def href(self, path: str) -> str:
        """A relative link, whatever ``path`` says: a scheme or a host in it is part of a file's name."""
        return "./" + quote(f"{self.base}/{path}".lstrip("/"), safe="/=@+,-._~", errors="replace")

    def links(self, cell: CellResult) -> Links:
        return tuple((name, self.href(path)) for name, path in sorted(cell.artifacts.items()))


def failures(run: Run, infos: Mapping[str, CaseInfo], files: Files) -> tuple[tuple[FailedCase, ...], int]:
    """What went wrong in cells that ran, by case; and how many there is no room for."""
    by_case: dict[str, list[tuple[CellResult, CaseResult]]] = {}
    for cell, result in wrong(run):
        by_case.setdefault(result.case, []).append((cell, result))
    number = sum(map(len, by_case.values()))
    # Each case keeps some of its failures where there is no room for all of them.
    share = max(_MOST_FAILURES // max(len(by_case), 1), 1)
    kept = {case: own if number <= _MOST_FAILURES else own[:share] for case, own in by_case.items()}
    shown = sum(map(len, kept.values()))
    room = max(_LEAST_TEXT, min(_MOST_TEXT, _EVIDENCE_BUDGET // max(3 * shown, 1)))
    order = {case: n for n, case in enumerate(infos)}
    cases, at = [], 0
    for case in sorted(kept, key=lambda c: order.get(c, len(order))):
        info = infos.get(case)
        items = []
        for cell, result in kept[case]:
            items.append(_item(run, cell, result, info, f"result-{at}", room, files))
            at += 1
        cases.append(FailedCase(case, info.summary if info else "", tuple(items)))
    return tuple(cases), number - shown


def _item(
    run: Run,
    cell: CellResult,
    result: CaseResult,
    info: CaseInfo | None,
    anchor: str,
    room: int,
    files: Files,
) -> Item:
    rows = (
        ("observed", result.outcome),
        ("expected", result.expected),
        ("why", result.reason),
        ("a user wants", info.goal if info else ""),
        ("attempts", f"{result.attempts}, {result.failures} failed" if result.attempts > 1 else ""),
        ("took", close(result)),
    )
    evidence, _, trace = f"\n{result.evidence}".partition("\ncrash: ")
    own = files_of(cell, result)
    console = own.get("full console", "")
    guests = [result.guest, *(attempt.guest for attempt in result.tries)]
    paths = dict.fromkeys(
        path for guest in guests for path in files_of(cell, replace(result, guest=guest)).values()
    )
    blocks = (
        ("What the kernel reported", "\n".join(re.sub(r"^\| ?", "", line) for line in trace.splitlines())),
        ("Evidence", evidence.strip("\n")),
        ("The last kernel messages of this case", _tail("\n".join(result.kmsg), room, console)),
        ("What the case printed", _tail(result.output_excerpt, room, own.get("verdict stream", ""))),
        # A guest that could not tell its messages any more, or none of this case.
        ("The end of the console", "" if result.kmsg else files.tail(console)),
    )
    told = sentence(result)
    its = mark(result)
    text = f"{result.case} {cell.cell} {told} {result.word} {its.word}"
    return Item(
        anchor, result.case, cell.cell, its, told, one_line(text),
        tuple(row for row in rows if row[1]),
        rerun.command(run, cell, info),
        result.tries,
        tuple((name, _head(block, room)) for name, block in blocks if block.strip()),
        tuple((path, files.href(path)) for path in paths),
    )  # fmt: skip


def _head(text: str, room: int) -> str:
    """``text``, or its beginning and end where it is longer than ``room``."""
    if len(text) <= room + 200:
        return text
    half = room // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"


def _tail(text: str, room: int, whole: str) -> str:
    """The end of ``text``, whole lines, with the file that has all of it."""
    if len(text) <= room:
        return text
    end = text[-room:]
    end = end.partition("\n")[2] or end
    where = f", the whole is in {whole}" if whole else ""
    return f"[… {len(text) - len(end)} characters left out{where} …]\n{end}"


def unfinished(run: Run, anchors: Mapping[str, str], files: Files) -> tuple[Unfinished, ...]:
    found = []
    for cell in run.cells:
        if cell.state in (State.RAN, State.SKIPPED):
            continue
        reason = cell.reason.strip() or "no reason was recorded"
        told = one_line(f"{cell.state.value}: {reason.split(chr(10), 1)[0]}")
        found.append(
            Unfinished(
                anchors[cell.cell], cell.cell, STATES[cell.state], told, _head(reason, _MOST_TEXT),
                rerun.command(run, cell), files.links(cell),
            )
        )  # fmt: skip
    return tuple(found)
