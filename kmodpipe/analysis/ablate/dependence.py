"""Which hunks a build misses when one is left out: read from what the compiler says. Pure.

The compiler names the line that it cannot compile, and in notes the line that declares what is meant there.
If one of these was added by another hunk, that hunk is part of the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kmodpipe.analysis.ablate.weave import Weave
from kmodpipe.series.changes import Origin

_PLACE = re.compile(
    r"^(?P<file>[^\s:]+):(?P<line>\d+):(?:\d+:)? (?P<kind>(?:fatal )?error|note|warning): (?P<text>.*)$"
)


@dataclass(frozen=True)
class Said:
    """What the compiler said of a place."""

    file: str
    line: int
    kind: str
    text: str


def errors(log: Iterable[str], named: Callable[[str], str]) -> tuple[Said, ...]:
    """Return the compiler's errors, and its notes on them; ``named`` makes a file's name that of the tree.

    A warning and the notes on it are left out.
    """
    found: list[Said] = []
    about_error = False
    for line in log:
        if match := _PLACE.match(line):
            if match["kind"] != "note":
                about_error = match["kind"] != "warning"
            if about_error:
                kind = "note" if match["kind"] == "note" else "error"
                found.append(Said(named(match["file"]), int(match["line"]), kind, match["text"]))
    return tuple(found)


def missed(said: Iterable[Said], weave: Weave, without: frozenset[Origin]) -> frozenset[Origin]:
    """Return the hunks that added a line which the compiler names, where ``without`` are left out."""
    found: set[Origin] = set()
    for one in said:
        lines = weave.origins(one.file, without)
        if 1 <= one.line <= len(lines) and (origin := lines[one.line - 1]) is not None:
            found.add(origin)
    return frozenset(found - without)
