"""Join what a series changes with what the cases of its cells executed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kmodpipe.analysis.cover.gcov_json import sum_of
from kmodpipe.results.cover_answer import (
    Answer,
    CellAnswer,
    FunctionAnswer,
    HunkAnswer,
    LineAnswer,
    LineState,
)
from kmodpipe.results.coverage import CellCoverage, Coverage, FileCounts
from kmodpipe.series.changes import FileChange, changed_lines, final_lines

Place = tuple[str, int]
"""A line after the whole series: the file, and its number."""


@dataclass(frozen=True)
class Question:
    """What is asked of a run's coverage."""

    series: str
    kernel: str
    # What the series does, with the line numbers of the tree.
    changes: tuple[FileChange, ...]
    # How many allocations were made to fail.
    injected: int = 0
    notices: tuple[str, ...] = ()


def join(question: Question, coverage: Coverage) -> Answer:
    """Return the answer, over all cells of the series."""
    cells = dict(coverage.of_variant(question.series))
    own = {(path, line) for path, lines in changed_lines(question.changes).items() for line in lines}
    found = {place: _line(place, cells) for place in own}
    states = [one.state for one in found.values()]
    executed = states.count(LineState.EXECUTED)
    code = len(states) - states.count(LineState.NO_CODE)
    return Answer(
        schema="kmodpipe-cover",
        version=1,
        series=question.series,
        kernel=question.kernel,
        module=coverage.module,
        injected=question.injected,
        changed=len(own),
        code=code,
        executed=executed,
        never=states.count(LineState.NEVER),
        unknown=states.count(LineState.UNKNOWN),
        percent=100 * executed / code if code else None,
        cells=tuple(_cell(name, one, own) for name, one in cells.items()),
        hunks=tuple(_hunks(question.changes, found)),
        functions=tuple(_functions(cells, found)),
        notices=question.notices,
    )


# -- lines ---------------------------------------------------------------------------------------------
def _line(place: Place, cells: Mapping[str, CellCoverage]) -> LineAnswer:
    path, line = place
    having = {name: one for name, one in cells.items() if one.has(path, line)}
    cases: dict[str, tuple[str, ...]] = {}
    for name, one in having.items():
        for case in one.executed_by(path, line):
            cases[case] = (*cases.get(case, ()), name)
    if cases:
        state = LineState.EXECUTED
    elif any(one.unknown_cases or one.unknown for one in having.values()):
        state = LineState.UNKNOWN
    else:
        state = LineState.NEVER if having else LineState.NO_CODE
    ways, taken = max((_ways(one, path, line) for one in having.values()), key=lambda w: w[1], default=(0, 0))
    return LineAnswer(line, "", state, cases, tuple(having), ways, taken)


def _ways(cell: CellCoverage, path: str, line: int) -> tuple[int, int]:
    """Return in how many ways a line can be left, and in how many of them the cases of a cell left it."""
    ways = cell.files[path].branches.get(line, 0)
    counts = [one.files[path].branches.get(line, ()) for one in cell.cases.values() if path in one.files]
    taken = [any(column) for column in zip(*filter(None, counts), strict=False)]
    return ways, min(sum(taken), ways)


def _cell(name: str, cell: CellCoverage, own: Iterable[Place]) -> CellAnswer:
    code = [place for place in own if cell.has(*place)]
    unknown = {case: one.unknown for case, one in cell.cases.items() if one.unknown}
    if cell.unknown:
        unknown = {"": cell.unknown, **unknown}
    return CellAnswer(name, len(code), sum(bool(cell.executed_by(*place)) for place in code), unknown)


def _hunks(changes: Sequence[FileChange], found: Mapping[Place, LineAnswer]) -> Iterable[HunkAnswer]:
    ends = final_lines(changes)
    for hunk in (hunk for change in changes for hunk in change.hunks):
        end = ends.get((hunk.patch, hunk.number), {})
        texts = [text[1:] for text in hunk.body if text[:1] == "+"]
        lines = []
        for number, text in zip(hunk.added, texts, strict=True):
            known = found.get(end[number]) if number in end else None
            if known is None:
                lines.append(LineAnswer(number, text, LineState.REPLACED))
            else:
                lines.append(
                    LineAnswer(
                        known.line, text, known.state, known.cases, known.cells, known.ways, known.ways_taken
                    )
                )
        yield HunkAnswer(hunk.patch, hunk.number, hunk.path, hunk.header, hunk.text, tuple(lines))


# -- functions -----------------------------------------------------------------------------------------
def _functions(
    cells: Mapping[str, CellCoverage], found: Mapping[Place, LineAnswer]
) -> Iterable[FunctionAnswer]:
    changed: dict[tuple[str, str], set[int]] = {}
    for (path, line), one in found.items():
        for name in {n for cell in one.cells for n in _around(cells[cell], path, line)}:
            changed.setdefault((path, name), set()).add(line)
    whole = {
        path: {name: _sum(one, path) for name, one in cells.items() if path in one.files}
        for path in {path for path, _ in changed}
    }
    for (path, name), lines in sorted(changed.items(), key=lambda item: (item[0][0], min(item[1]))):
        yield _function(path, name, lines, cells, whole[path], found)


def _around(cell: CellCoverage, path: str, line: int) -> list[str]:
    return [name for name, one in cell.files[path].functions.items() if one.first <= line <= one.last]


def _sum(cell: CellCoverage, path: str) -> FileCounts:
    return sum_of(one.files[path] for one in cell.cases.values() if path in one.files)


def _function(
    path: str,
    name: str,
    changed: set[int],
    cells: Mapping[str, CellCoverage],
    sums: Mapping[str, FileCounts],
    found: Mapping[Place, LineAnswer],
) -> FunctionAnswer:
    having = {cell: one for cell, one in cells.items() if cell in sums and name in one.files[path].functions}
    where = next(iter(having.values())).files[path].functions[name]
    code = {n for one in having.values() for n in one.files[path].lines if where.first <= n <= where.last}
    executed = {n for n in code if any(sums[cell].lines.get(n) for cell in having)}
    ways = {n: max(_ways(one, path, n) for one in having.values() if one.has(path, n)) for n in code}
    return FunctionAnswer(
        path=path,
        name=name,
        first=where.first,
        last=where.last,
        cases=tuple(
            dict.fromkeys(
                case
                for one in having.values()
                for case, made in one.cases.items()
                if path in made.files and made.files[path].functions.get(name)
            )
        ),
        lines=len(code),
        lines_executed=len(executed),
        ways=sum(w for w, _ in ways.values()),
        ways_taken=sum(t for _, t in ways.values()),
        changed=len(changed),
        changed_executed=sum(found[path, line].state is LineState.EXECUTED for line in changed),
    )
