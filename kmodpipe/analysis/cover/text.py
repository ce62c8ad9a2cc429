"""The answer on the screen: the sentence, and the hunks with the lines that no case executes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kmodpipe.results.cover_answer import Answer, FunctionAnswer, HunkAnswer, LineAnswer, LineState
from kmodpipe.util.text import count, one_line, some

SIGNS = {
    LineState.EXECUTED: "✓",
    LineState.NEVER: "✗",
    LineState.UNKNOWN: "?",
    LineState.NO_CODE: " ",
    LineState.REPLACED: "·",
}
"""What stands in the margin."""
# Lines of a hunk around one that is not executed.
_AROUND = 2
_NAMES = 4


def lines(answer: Answer) -> Iterator[str]:
    """Yield the lines for the screen; the first is the answer."""
    percent = f" ({answer.percent:.1f} % executed)" if answer.percent is not None else ""
    yield f"{answer.sentence}{percent}"
    if no_code := answer.changed - answer.code:
        compiles = "compiles" if no_code == 1 else "compile"
        yield (
            f"  {count(no_code, 'further changed line')} {compiles} to no code in any cell: comments, "
            "declarations, the rest of a statement, documentation, or an #ifdef that no cell has"
        )
    for notice in answer.notices:
        yield f"  {notice}"
    yield from _cells(answer)
    for hunk in answer.hunks:
        if hunk.of(LineState.NEVER) or hunk.of(LineState.UNKNOWN):
            yield ""
            yield from _hunk(hunk)
    yield from _branches(answer)
    if missed := [one for one in answer.functions if one.changed_executed < one.changed]:
        yield ""
        yield "functions around them:"
        yield from (f"  {_function(one)}" for one in missed)


def _branches(answer: Answer) -> Iterator[str]:
    """Yield the executed lines that some case leaves in one way only, and none in another.

    What stands behind such a line may have no code of its own, as ``return -EINVAL`` in an optimised kernel.
    """
    partly = [
        f"  {one_line(hunk.path)}:{line.line} {one_line(line.text.expandtabs().strip())}: "
        f"{line.ways_taken} of {line.ways} branches taken"
        for hunk in answer.hunks
        for line in hunk.of(LineState.EXECUTED)
        if line.ways_taken < line.ways
    ]
    if partly:
        yield ""
        yield "executed, with a branch that no case takes:"
        yield from partly


def _cells(answer: Answer) -> Iterator[str]:
    for cell in answer.cells:
        yield f"  {cell.cell}: {cell.executed} of {cell.code} executed"
        reasons: dict[str, list[str]] = {}
        for case, why in cell.unknown.items():
            reasons.setdefault(one_line(why), []).append(case)
        for why, cases in reasons.items():
            who = f"not known of {some([*filter(None, cases)], _NAMES)}" if any(cases) else "nothing is known"
            yield f"    {who}: {why}"


def _hunk(hunk: HunkAnswer) -> Iterator[str]:
    where = f" ({one_line(hunk.header)})" if hunk.header else ""
    yield f"{one_line(hunk.path)}, {one_line(hunk.patch)}, hunk {hunk.number}{where}"
    rows = rows_of(hunk)
    wanted = {
        near
        for at, (_, _, line) in enumerate(rows)
        if line and line.state in (LineState.NEVER, LineState.UNKNOWN)
        for near in range(at - _AROUND, at + _AROUND + 1)
    }
    last = -1
    for at, (number, text, line) in enumerate(rows):
        if at not in wanted:
            continue
        if last >= 0 and at != last + 1:
            yield "        …"
        last = at
        sign = SIGNS[line.state] if line else " "
        shown = f"{number:>6}" if number else " " * 6
        # As in the file: the sign of the diff moves no tab stop.
        yield f"  {sign}{shown} {one_line(text[:1] + text[1:].expandtabs())}"


def rows_of(hunk: HunkAnswer) -> Sequence[tuple[int, str, LineAnswer | None]]:
    """Return the rows of a hunk: the line's number after its patch, 0 for a removed one; its text with the
    sign of the diff; and what is known of an added one."""
    head, *body = hunk.text.split("\n")
    added = iter(hunk.lines)
    number = _first(head)
    rows: list[tuple[int, str, LineAnswer | None]] = []
    for text in body:
        sign = text[:1]
        if sign == "-" or sign == "\\":
            rows.append((0, text, None))
            continue
        rows.append((number, text, next(added) if sign == "+" else None))
        number += 1
    return rows


def _first(head: str) -> int:
    start, _, lines = head.split("+", 1)[1].split(" ", 1)[0].partition(",")
    return int(start) + (lines == "0")


def _function(one: FunctionAnswer) -> str:
    called = "" if one.cases else ", which no case calls"
    ways = f", {one.ways_taken} of {one.ways} branches taken" if one.ways else ""
    return (
        f"{one_line(one.name)} ({one_line(one.path)}:{one.first}){called}: "
        f"{one.lines_executed} of {one.lines} lines executed{ways}"
    )
