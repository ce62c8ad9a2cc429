"""The series as a diff with what is executed in its margin: one HTML file, like the report, without a script.

What is executed is told by a sign and a word as well as by a colour. Pure except for `save`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.analysis.cover.text import SIGNS, rows_of
from kmodpipe.report import html
from kmodpipe.results import Run
from kmodpipe.results.cover_answer import PAGE_NAME, Answer, HunkAnswer, LineAnswer, LineState
from kmodpipe.util.files import write_atomically

# Read at import, as the report's.
_TEMPLATE, _STYLE = ((Path(__file__).parent / f"page.{kind}").read_text("utf-8") for kind in ("html", "css"))
_WORDS = {
    LineState.EXECUTED: "executed",
    LineState.NEVER: "executed by no case",
    LineState.UNKNOWN: "not known",
    LineState.NO_CODE: "",
    LineState.REPLACED: "replaced by a later patch",
}
_CLASSES = {state: state.value.replace(" ", "-") for state in LineState}


@dataclass(frozen=True)
class _Row:
    # added, removed or context.
    kind: str
    number: int
    text: str
    state: LineState | None = None
    cases: tuple[str, ...] = ()
    # In which cells, where these are not all.
    where: str = ""
    ways: str = ""


@dataclass(frozen=True)
class _Hunk:
    anchor: str
    patch: str
    number: int
    path: str
    header: str
    counts: tuple[tuple[LineState, int], ...]
    rows: tuple[_Row, ...]
    open: bool


@dataclass(frozen=True)
class _Patch:
    name: str
    hunks: tuple[_Hunk, ...]


def save(answer: Answer, run: Run, folder: Path) -> None:
    """Write the page into a run's folder."""
    write_atomically(folder / PAGE_NAME, text(answer, run.id))


def text(answer: Answer, run: str) -> str:
    """Return the HTML of the page about a run."""
    hunks = [_hunk(at, one, len(answer.cells)) for at, one in enumerate(answer.hunks, 1)]
    return html.page(
        _TEMPLATE,
        _STYLE,
        answer=answer,
        run=run,
        sentence=answer.sentence,
        percent=f"{answer.percent:.1f} % are executed." if answer.percent is not None else "",
        patches=_by_patch(hunks),
        missed=_by_patch(one for one in hunks if one.open),
        signs=SIGNS,
        words=_WORDS,
        classes=_CLASSES,
    )


def _by_patch(hunks: Iterable[_Hunk]) -> tuple[_Patch, ...]:
    found: dict[str, list[_Hunk]] = {}
    for one in hunks:
        found.setdefault(one.patch, []).append(one)
    return tuple(_Patch(name, tuple(some)) for name, some in found.items())


def _hunk(at: int, hunk: HunkAnswer, cells: int) -> _Hunk:
    shown = (LineState.EXECUTED, LineState.NEVER, LineState.UNKNOWN)
    counts = tuple((state, len(hunk.of(state))) for state in shown if hunk.of(state))
    return _Hunk(
        anchor=f"h{at}",
        patch=hunk.patch,
        number=hunk.number,
        path=hunk.path,
        header=hunk.header,
        counts=counts,
        rows=tuple(_rows(hunk, cells)),
        open=bool(hunk.of(LineState.NEVER) or hunk.of(LineState.UNKNOWN)),
    )


def _rows(hunk: HunkAnswer, cells: int) -> Iterator[_Row]:
    for number, line, answer in rows_of(hunk):
        if answer is None:
            yield _Row("removed" if line[:1] == "-" else "context", number, line)
        else:
            where = _where(answer, cells)
            ways = f"{answer.ways_taken} of {answer.ways} branches" if answer.ways else ""
            yield _Row("added", number, line, answer.state, tuple(answer.cases), where, ways)


def _where(line: LineAnswer, cells: int) -> str:
    """Return in how many cells a line was executed, if that is not everywhere."""
    if not line.cells:
        return ""
    executed = {cell for where in line.cases.values() for cell in where}
    if executed and executed != {*line.cells}:
        return f", in {len(executed)} of the {len(line.cells)} cells that have it"
    return f", in {len(line.cells)} of {cells} cells" if len(line.cells) < cells else ""
