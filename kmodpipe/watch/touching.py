"""Say which cases executed what changed, by the last coverage there is.

It decides in which order cases run, and no verdict: line numbers are those of the files as `invoke cover` saw
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from kmodpipe.results import coverage
from kmodpipe.results.coverage import CellCoverage, Coverage
from kmodpipe.series import Series
from kmodpipe.series.changes import Hunk, changes, final_lines
from kmodpipe.util import kept
from kmodpipe.util.errors import UserError
from kmodpipe.watch.inputs import Inputs

Lines = Mapping[str, frozenset[int]]
"""Lines, by the path of their file."""

# What a case that entered a function counts for, where no case executed a line itself.
_ENTERED = 0.5


def cases(out: Path, before: Inputs, after: Inputs) -> Mapping[str, float]:
    """Return the cases that executed what changed between two inputs, each with how many lines of it.

    Empty where `invoke cover` has left no coverage below ``out``.
    """
    known = {one.name: one for one in before.spec.series}
    edited = {
        one.name: lines
        for one in after.spec.series
        if one.name in known and (lines := edited_lines(known[one.name], one))
    }
    found: dict[str, float] = {}
    if edited and (measured := _last(out)):
        for name, lines in edited.items():
            for _, cell in measured.of_variant(name):
                for case, much in executed(cell, lines).items():
                    found[case] = max(found.get(case, 0.0), much)
    return found


def _last(out: Path) -> Coverage | None:
    """Return the newest coverage below a folder for results, None if there is none."""
    stamped: list[tuple[int, Path]] = []
    for path in out.glob(f"*/{coverage.FILE_NAME}"):
        with suppress(OSError):
            stamped.append((path.stat().st_mtime_ns, path))
    if stamped:
        at, path = max(stamped)
        with suppress(UserError):
            return kept.once("coverage", (path, at), lambda: coverage.load(path.parent))
    return None


def edited_lines(before: Series, after: Series) -> Lines:
    """Return where the hunks are that only one of two versions of a series has, after the whole series."""
    old, new = dict(_hunks(before)), dict(_hunks(after))
    found: dict[str, set[int]] = {}
    for mine, others in ((old, new), (new, old)):
        for key in mine.keys() - others.keys():
            for path, line in mine[key]:
                found.setdefault(path, set()).add(line)
    return {path: frozenset(lines) for path, lines in found.items()}


def _hunks(series: Series) -> Iterator[tuple[tuple[str, tuple[str, ...]], tuple[tuple[str, int], ...]]]:
    """Yield each hunk, by what it does, with the lines that it leaves after the whole series."""
    made = changes(series)
    final = final_lines(made)
    for change in made:
        for hunk in change.hunks:
            yield (hunk.path, hunk.body), _lines_of(hunk, final.get((hunk.patch, hunk.number), {}))


def _lines_of(hunk: Hunk, left: Mapping[int, tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    # Of a hunk that only removes lines, or whose lines a later patch replaces, the place alone is known.
    return tuple(left.values()) or ((hunk.path, max(hunk.new_start, 1)),)


def executed(cell: CellCoverage, lines: Lines) -> Mapping[str, float]:
    """Return the cases of a cell that executed some of the lines, each with how many.

    Where none did, those that entered a function with one of the lines in it.
    """
    found = {
        case: float(
            sum(
                bool((counts := one.files.get(path)) and counts.lines.get(line))
                for path, own in lines.items()
                for line in own
            )
        )
        for case, one in cell.cases.items()
        if case != coverage.LOAD
    }
    if any(found.values()):
        return {case: much for case, much in found.items() if much}
    around = [
        (path, name)
        for path, own in lines.items()
        if path in cell.files
        for name, place in cell.files[path].functions.items()
        if any(place.first <= line <= place.last for line in own)
    ]
    return {
        case: _ENTERED
        for case in found
        if any(
            (counts := cell.cases[case].files.get(path)) and counts.functions.get(name)
            for path, name in around
        )
    }
