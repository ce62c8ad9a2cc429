"""Read what a series changes: the hunks of its patches, and the lines that are its own in the end. Pure.

Line numbers are those of the patches, or, through `placed`, those of a tree that they apply to elsewhere.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from kmodpipe.series.diff import FileDiff, file_diffs
from kmodpipe.series.model import Patch, Series

Origin = tuple[str, int]
"""The name of a patch, and the number of its hunk, from 1."""


@dataclass(frozen=True)
class Hunk:
    """A hunk of a patch. A line that is not UTF-8 has surrogates (``surrogateescape``)."""

    # The patch's name.
    patch: str
    # The file after the patch; of one that the patch removes, before it.
    path: str
    # Of the patch, from 1.
    number: int
    old_start: int
    old_lines: int
    new_start: int
    new_lines: int
    # The text behind the second @@: the function, mostly.
    header: str
    # As a diff, with the line of @@.
    text: str
    # The numbers of the added lines, in the file after this patch.
    added: tuple[int, ...]

    @property
    def body(self) -> tuple[str, ...]:
        """The lines below @@, each with its sign."""
        return tuple(self.text.split("\n")[1:])

    @property
    def old_first(self) -> int:
        """The number of the first line before the patch; the line behind, of a hunk that has none."""
        return self.old_start if self.old_lines else self.old_start + 1

    @property
    def new_first(self) -> int:
        """The number of the first line after the patch; the line behind, of a hunk that has none."""
        return self.new_start if self.new_lines else self.new_start + 1

    @property
    def delta(self) -> int:
        """How many lines the file gains."""
        return self.new_lines - self.old_lines


@dataclass(frozen=True)
class FileChange:
    """What one patch does to one file."""

    patch: str
    # The file before the patch, and after it; empty for a file that it makes, or removes.
    old_path: str
    path: str
    hunks: tuple[Hunk, ...] = ()
    # The file of the old name stays.
    is_copy: bool = False


def changes(series: Series) -> tuple[FileChange, ...]:
    """Return what each patch of a series does to each file, in order.

    Files of which only the mode changes, and binary ones, have no hunks.
    """
    return tuple(change for patch in series.patches for change in of_patch(patch))


def hunks(series: Series) -> tuple[Hunk, ...]:
    """Return the hunks of a series, in order, with the line numbers that they state."""
    return tuple(hunk for change in changes(series) for hunk in change.hunks)


def of_patch(patch: Patch) -> tuple[FileChange, ...]:
    """Return what a patch does to each file; its hunks are numbered through all of them."""
    found: list[FileChange] = []
    number = 0
    for one in file_diffs(patch.data, patch.strip):
        own = []
        for lines in one.hunks:
            number += 1
            own.append(_hunk(patch.name, one, number, lines))
        found.append(FileChange(patch.name, one.old_path, one.path, tuple(own), one.is_copy))
    return tuple(found)


def _hunk(patch: str, file: FileDiff, number: int, raw: Sequence[bytes]) -> Hunk:
    lines = [line.decode("utf-8", "surrogateescape") for line in raw]
    _, numbers, *rest = lines[0].split("@@", 2)
    old, new = numbers.split()
    old_start, _, old_lines = old[1:].partition(",")
    new_start, _, new_lines = new[1:].partition(",")
    made = Hunk(
        patch=patch,
        path=file.path or file.old_path,
        number=number,
        old_start=int(old_start),
        old_lines=int(old_lines or 1),
        new_start=int(new_start),
        new_lines=int(new_lines or 1),
        header=rest[0].strip() if rest else "",
        text="\n".join(lines),
        added=(),
    )
    return replace(made, added=_added(made))


def _added(hunk: Hunk) -> tuple[int, ...]:
    number, found = hunk.new_first, []
    for line in hunk.body:
        if line[:1] == "+":
            found.append(number)
        if line[:1] not in ("-", "\\"):
            number += 1
    return tuple(found)


# -- where they are in a tree --------------------------------------------------------------------------
def placed(
    found: Iterable[FileChange], before: Callable[[str], bytes | None]
) -> tuple[tuple[FileChange, ...], Mapping[str, bytes]]:
    """Return the changes of a series with the line numbers that they have in a tree, and the files after
    them.

    ``before`` gives the content of a file of the tree, None if there is none. `git apply` takes a hunk
    nearest to where it says to be (apply.c, find_pos); so does this. A hunk with no place keeps its numbers.
    """
    files: dict[str, list[bytes]] = {}
    result = []

    def lines_of(path: str) -> list[bytes]:
        if path not in files:
            files[path] = (before(path) or b"").splitlines(keepends=True)
        return files[path]

    for change in found:
        lines = list(lines_of(change.old_path)) if change.old_path else []
        done, moved = _place(change.hunks, lines)
        if change.old_path and not change.is_copy:
            files[change.old_path] = []
        if change.path:
            files[change.path] = moved
        result.append(replace(change, hunks=done))
    return tuple(result), {path: b"".join(lines) for path, lines in files.items()}


def _place(some: Sequence[Hunk], lines: list[bytes]) -> tuple[tuple[Hunk, ...], list[bytes]]:
    # Lines that a hunk has changed are no place for another one.
    free, done, gained = [True] * len(lines), [], 0
    for hunk in some:
        old, new = _image(hunk, "+"), _image(hunk, "-")
        at = _find(hunk, old, lines, free)
        if at is None:
            done.append(hunk)
            continue
        lines[at : at + len(old)] = new
        free[at : at + len(old)] = [False] * len(new)
        # Both starts are one less where the side has no line.
        at_old, at_new = at + 1 - gained - (not hunk.old_lines), at + 1 - (not hunk.new_lines)
        gained += hunk.delta
        done.append(_moved(hunk, at_old, at_new))
    return tuple(done), lines


def _image(hunk: Hunk, without: str) -> list[bytes]:
    """Return the lines of a hunk on one side: all but those with the sign ``without``."""
    found: list[bytes] = []
    last = ""
    for line in hunk.body:
        if line[:1] == "\\":
            if last != without and found:
                found[-1] = found[-1].removesuffix(b"\n")
            continue
        last = line[:1]
        if last != without:
            found.append(line[1:].encode("utf-8", "surrogateescape") + b"\n")
    return found


def _find(hunk: Hunk, old: list[bytes], lines: list[bytes], free: list[bool]) -> int | None:
    """Return the index of the line where a hunk applies, as git finds it."""
    signs = [line[:1] for line in hunk.body if line[:1] != "\\"]
    at_start, at_end = hunk.old_start <= 1, bool(signs) and signs[-1] in ("+", "-")
    last = len(lines) - len(old)

    def fits(at: int) -> bool:
        return 0 <= at <= last and lines[at : at + len(old)] == old and all(free[at : at + len(old)])

    if at_start or at_end:
        at = 0 if at_start else last
        if fits(at) and (not at_end or at == last):
            return at
    wanted = min(max(hunk.new_first - 1, 0), len(lines))
    for distance in range(len(lines) + 1):
        for at in (wanted + distance, wanted - distance):
            if fits(at):
                return at
    return None


def _moved(hunk: Hunk, old_start: int, new_start: int) -> Hunk:
    if (old_start, new_start) == (hunk.old_start, hunk.new_start):
        return hunk
    behind = hunk.text.split("\n", 1)[0].split("@@", 2)[2]
    counts = f"@@ -{old_start},{hunk.old_lines} +{new_start},{hunk.new_lines} @@{behind}"
    text = "\n".join((counts, *hunk.body))
    by = new_start - hunk.new_start
    return replace(
        hunk,
        old_start=old_start,
        new_start=new_start,
        text=text,
        added=tuple(line + by for line in hunk.added),
    )


# -- which lines are the series' own -------------------------------------------------------------------
def changed_lines(found: Iterable[FileChange]) -> Mapping[str, Mapping[int, Origin]]:
    """Return the lines that a series adds or changes, by file and line number after the whole series.

    Later patches move lines, replace them, remove them, and rename the file.
    """
    files: dict[str, dict[int, Origin]] = {}
    for change in found:
        old = files.get(change.old_path, {}) if change.old_path else {}
        new = {_followed(change.hunks, line): origin for line, origin in old.items()}
        new.pop(0, None)
        for hunk in change.hunks:
            new |= dict.fromkeys(hunk.added, (hunk.patch, hunk.number))
        if change.old_path and not change.is_copy:
            files.pop(change.old_path, None)
        if change.path and new:
            files[change.path] = dict(sorted(new.items()))
    return files


def final_lines(found: Sequence[FileChange]) -> Mapping[tuple[str, int], Mapping[int, tuple[str, int]]]:
    """Return where the lines that each hunk adds are after the whole series.

    By patch and number of the hunk: the line after its patch, to the file and the line after all of them;
    lines that a later patch removes or replaces are left out.
    """
    result: dict[tuple[str, int], dict[int, tuple[str, int]]] = {}
    # By file: line now, to the hunk and the line that it was.
    files: dict[str, dict[int, tuple[Origin, int]]] = {}
    for change in found:
        old = files.get(change.old_path, {}) if change.old_path else {}
        new = {_followed(change.hunks, line): origin for line, origin in old.items()}
        new.pop(0, None)
        for hunk in change.hunks:
            new |= {line: ((hunk.patch, hunk.number), line) for line in hunk.added}
        if change.old_path and not change.is_copy:
            files.pop(change.old_path, None)
        if change.path:
            files[change.path] = new
    for path, lines in files.items():
        for now, (origin, was) in lines.items():
            result.setdefault(origin, {})[was] = (path, now)
    return result


def _followed(some: Sequence[Hunk], line: int) -> int:
    """Return the number of a line after the hunks of a file; 0 if they remove it."""
    before = bisect.bisect_right([hunk.old_first for hunk in some], line)
    if before == 0:
        return line
    last = some[before - 1]
    if line >= last.old_first + last.old_lines:
        return line + sum(hunk.delta for hunk in some[:before])
    old, new = last.old_first, last.new_first
    for text in last.body:
        sign = text[:1]
        if sign == "\\":
            continue
        if sign != "+":
            if old == line:
                return 0 if sign == "-" else new
            old += 1
        if sign != "-":
            new += 1
    return 0
