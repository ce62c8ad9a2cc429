"""Read what ``gcov --json-format`` prints. Pure; the text is untrusted.

The format is that of gcc 9 and later (gcov(1), "--json-format"): a document for each object file, in it the
source files that it was compiled from. A line that is in several functions comes several times.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kmodpipe.results.coverage import FileCounts, FileLines, Function
from kmodpipe.util import document

# The largest document that is read: a file with 100,000 lines has some 30 MB.
MOST_BYTES = 128 * document.MIB
_COUNT = 2**64 - 1
_LINES = 10**7


@dataclass
class _File:
    lines: dict[int, int] = field(default_factory=dict)
    branches: dict[int, list[int]] = field(default_factory=dict)
    functions: dict[str, tuple[Function, int]] = field(default_factory=dict)


def read(text: bytes, place: Callable[[str], str | None]) -> Mapping[str, tuple[FileLines, FileCounts]]:
    """Return the lines that have code, and those that were executed, by source file.

    ``place`` returns the name of a file relative to the tree's top, or None for one that is not wanted.
    Raise `document.Unreadable` if ``text`` is not what gcov prints.
    """
    found: dict[str, _File] = {}
    for row in text.splitlines():
        try:
            # The strict reader of documents takes five times as long, and a run prints 100 MB.
            whole = json.loads(row)
            here = str(whole["current_working_directory"])
            for one in whole["files"]:
                name = place(posixpath.normpath(posixpath.join(here, str(one["file"]))))
                if name is not None:
                    _take(found.setdefault(name, _File()), one)
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as e:
            raise document.Unreadable(f"it is not what gcov prints: {e!r}") from None
    return {name: _finished(one) for name, one in sorted(found.items())}


def _take(file: _File, found: Mapping[str, Any]) -> None:
    once: dict[int, list[int]] = {}
    for line in found["lines"]:
        number, count = _bounded(line["line_number"], _LINES), _bounded(line["count"], _COUNT)
        if not number:
            continue
        file.lines[number] = min(file.lines.get(number, 0) + count, _COUNT)
        if ways := [_bounded(way["count"], _COUNT) for way in line.get("branches", ())]:
            # The ways of the same line in two functions are different ones.
            once.setdefault(number, []).extend(ways)
    for number, ways in once.items():
        file.branches[number] = _added(file.branches.get(number), ways)
    for one in found["functions"]:
        first = _bounded(one["start_line"], _LINES) or 1
        last = max(_bounded(one.get("end_line", first), _LINES), first)
        _, calls = file.functions.get(str(one["name"]), (None, 0))
        calls = min(calls + _bounded(one["execution_count"], _COUNT), _COUNT)
        file.functions[str(one["name"])] = (Function(first, last), calls)


def _bounded(value: Any, most: int) -> int:
    """Return a number within its bounds: counters can have been damaged."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is no number")
    return min(max(int(value), 0), most)


def _added(known: list[int] | None, more: list[int]) -> list[int]:
    """Return the counts of a line's ways, in one object file and in another."""
    if known is None or len(known) != len(more):
        # Compiled in another way there: the file with more ways is taken.
        return max(known or [], more, key=len)
    return [min(a + b, _COUNT) for a, b in zip(known, more, strict=True)]


def _finished(file: _File) -> tuple[FileLines, FileCounts]:
    functions = dict(sorted(file.functions.items()))
    ways = dict(sorted(file.branches.items()))
    lines = FileLines(
        tuple(sorted(file.lines)),
        {name: place for name, (place, _) in functions.items()},
        {number: len(counts) for number, counts in ways.items() if len(counts) > 1},
    )
    counts = FileCounts(
        {number: count for number, count in sorted(file.lines.items()) if count},
        {name: calls for name, (_, calls) in functions.items() if calls},
        {number: tuple(counts) for number, counts in ways.items() if len(counts) > 1 and any(counts)},
    )
    return lines, counts


# -- together ------------------------------------------------------------------------------------------
def all_lines(some: Iterable[FileLines]) -> FileLines:
    """Return what several object files have of one source file."""
    lines: set[int] = set()
    functions: dict[str, Function] = {}
    branches: dict[int, int] = {}
    for one in some:
        lines |= {*one.lines}
        functions |= one.functions
        for number, ways in one.branches.items():
            branches[number] = max(ways, branches.get(number, 0))
    return FileLines(tuple(sorted(lines)), dict(sorted(functions.items())), dict(sorted(branches.items())))


def sum_of(some: Iterable[FileCounts]) -> FileCounts:
    """Return what was executed of one source file, in several object files or at several times."""
    lines: dict[int, int] = {}
    functions: dict[str, int] = {}
    branches: dict[int, list[int]] = {}
    for one in some:
        for number, count in one.lines.items():
            lines[number] = min(lines.get(number, 0) + count, _COUNT)
        for name, calls in one.functions.items():
            functions[name] = min(functions.get(name, 0) + calls, _COUNT)
        for number, ways in one.branches.items():
            branches[number] = _added(branches.get(number), list(ways))
    return FileCounts(
        dict(sorted(lines.items())),
        dict(sorted(functions.items())),
        {number: tuple(ways) for number, ways in sorted(branches.items())},
    )
