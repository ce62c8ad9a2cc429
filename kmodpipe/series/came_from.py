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
            file, line = change.old_path, _before(change.hunks, line) if line else 0
        return file, line

    return origin


def _before(hunks: Sequence[Hunk], line: int) -> int:
    """Return the number of a line before the hunks of a file; 0 if they add it."""
    above = bisect.bisect_right([hunk.new_first for hunk in hunks], line)
    if above == 0:
        return line
    last = hunks[above - 1]
    if line >= last.new_first + last.new_lines:
        return line - sum(hunk.delta for hunk in hunks[:above])
    old, new = last.old_first, last.new_first
    for text in last.body:
        sign = text[:1]
        if sign == "\\":
            continue
        if sign != "-":
            if new == line:
                return 0 if sign == "+" else old
            new += 1
        if sign != "+":
            old += 1
    return 0
