"""Which hunks a build misses when one is left out: read from what the compiler says. Pure.

The compiler names the line that it cannot compile, and in notes the line that declares what is meant there.
If one of these was added by another hunk, that hunk is part of the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from kmodpipe.analysis.ablate.weave import Weave
from kmodpipe.series.changes import Hunk, Origin

_PLACE = re.compile(
    r"^(?P<file>[^\s:]+):(?P<line>\d+):(?:\d+:)? (?P<kind>(?:fatal )?error|note|warning): (?P<text>.*)$"
)


# As gcc writes names, in the C locale or in another one.
_QUOTED = re.compile(r"['‘]([A-Za-z_]\w*)['’]")
_CONSTANT = re.compile(r"[A-Z][A-Z0-9_]+")


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


def missed(said: Sequence[Said], weave: Weave, without: frozenset[Origin]) -> frozenset[Origin]:
    """Return the hunks that a build misses, where ``without`` are left out.

    They added a line that the compiler names; or they use a function or a constant that it names and that
    the left out ones change: it stops at the first file, and would come to the others later.
    """
    found: set[Origin] = set()
    for one in said:
        lines = weave.origins(one.file, without)
        if 1 <= one.line <= len(lines) and (origin := lines[one.line - 1]) is not None:
            found.add(origin)
    changed = "\n".join(line[1:] for origin in without for line in _changed(weave.hunk(origin), "+-"))
    for name in {name for one in said if one.kind == "error" for name in _QUOTED.findall(one.text)}:
        word = re.compile(rf"\b{name}\b" if _CONSTANT.fullmatch(name) else rf"\b{name}\(")
        if word.search(changed):
            found |= {
                (hunk.patch, hunk.number)
                for hunk in weave.hunks
                if any(word.search(line) for line in _changed(hunk, "+"))
            }
    return frozenset(found - without)


def _changed(hunk: Hunk, signs: str) -> list[str]:
    """Return the lines of a hunk that are added or removed, with their signs."""
    return [line for line in hunk.body if line[:1] and line[:1] in signs]
