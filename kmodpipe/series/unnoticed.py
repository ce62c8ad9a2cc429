"""Find the hunks that the entries ``[[unnoticed]]`` of a series.toml are about. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from kmodpipe.series.changes import Hunk
from kmodpipe.series.model import Unnoticed


def is_about(entry: Unnoticed, hunk: Hunk) -> bool:
    """Return whether a hunk adds or removes the line that an entry names."""
    wanted = _bare(entry.line)
    return hunk.path == entry.file and any(
        line[:1] in ("+", "-") and _bare(line[1:]) == wanted for line in hunk.body
    )


def unmatched(entries: Iterable[Unnoticed], hunks: Iterable[Hunk]) -> tuple[tuple[int, str], ...]:
    """Return the entries that are about nothing in the series: the number of each, from 0, and why."""
    known = tuple(hunks)
    files = {hunk.path for hunk in known}
    found = []
    for number, entry in enumerate(entries):
        if entry.file not in files:
            found.append((number, f"the series changes no file {entry.file}"))
        elif not any(is_about(entry, hunk) for hunk in known):
            found.append((number, f"no hunk in {entry.file} adds or removes the line {entry.line!r}"))
    return tuple(found)


def same_line(entry: Unnoticed, line: str) -> bool:
    """Return whether an entry names this line of the source."""
    return _bare(entry.line) == _bare(line)


def _bare(line: str) -> str:
    return " ".join(line.split())
