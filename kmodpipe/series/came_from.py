"""Follow a line back through patches: where it was before them. Pure.

What a tool says of a line is old if it said so of the same line before the patches, wherever that was.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence

from kmodpipe.series.changes import FileChange, Hunk

Place = tuple[str, int]
"""A file, and a line's number in it; 0 for a line that the file did not have."""
Origin = Callable[[str, int], Place]
"""Returns where a line was before some patches."""


def stays(file: str, line: int) -> Place:
    """Return the same place: what is compared is without patches between."""
    return file, line


def through(changes: Sequence[FileChange]) -> Origin:
    """Return the origin of lines, back through the ``changes`` of patches in their order."""

    def origin(file: str, line: int) -> Place:
        for change in reversed(changes):
            if change.path != file or not file:
                continue
            if not change.old_path:
                return file, 0
            file, line = change.old_path, _moved(change.hunks, line, "-") if line else 0
        return file, line

    return origin


def onward(changes: Sequence[FileChange]) -> Origin:
    """Return a function that follows a line on through later ``changes``: line 0 where one removes it."""

    def place(file: str, line: int) -> Place:
        for change in changes:
            if change.old_path != file or not file or change.is_copy:
                continue
            if not change.path:
                return file, 0
            file, line = change.path, _moved(change.hunks, line, "+") if line else 0
        return file, line

    return place


def _moved(hunks: Sequence[Hunk], line: int, to: str) -> int:
    """Return the number of a line on the other side of the hunks of a file, ``+`` for after them.

    0 if that side does not have it.
    """
    sides = [
        ((hunk.old_first, hunk.old_lines), (hunk.new_first, hunk.new_lines))[:: 1 if to == "+" else -1]
        for hunk in hunks
    ]
    above = bisect.bisect_right([here[0] for here, _ in sides], line)
    if above == 0:
        return line
    here, there = sides[above - 1]
    if line >= here[0] + here[1]:
        return line + sum(theirs[1] - ours[1] for ours, theirs in sides[:above])
    mine, other = here[0], there[0]
    for text in hunks[above - 1].body:
        sign = text[:1]
        if sign == "\\":
            continue
        if sign != to:
            if mine == line:
                return other if sign not in ("+", "-") else 0
            mine += 1
        if sign in (to, " ", ""):
            other += 1
    return 0
