"""Read what kernel-doc printed of each source before and after each patch. Pure."""

from __future__ import annotations

import re

from kmodpipe.analysis.check import sections
from kmodpipe.analysis.check.sparse import Said
from kmodpipe.build.compile_warnings import CompileWarning, in_order

_LINE = re.compile(
    r"^(?P<kind>[Ww]arning|[Ee]rror): (?P<file>[^\s:]+):(?P<line>\d+)(?::\d+)? (?P<text>.*)$"
    r"|^(?P<file2>[^\s:]+):(?P<line2>\d+): (?P<kind2>[Ww]arning|[Ee]rror): (?P<text2>.*)$"
)
# What it counts at the end.
_COUNT = re.compile(r"^(?:\d+ (?:warnings?|errors?)(?: .*)?|.*: warning: no structured comments found)$")
# More of the line before, of later versions: quoted source.
_MORE = re.compile(r"^\s")
CANARY = "canary.h"
"""A source of the recipe's own, with a comment that is wrong: kernel-doc says so, or it did not run."""


def parse(text: str, states: int) -> tuple[Said, ...]:
    """Return what kernel-doc says of the source before a series and after each of its patches.

    ``text`` is the recipe's file.
    """
    if text.strip() == sections.NONE:
        return (Said(failed="the tree has no scripts/kernel-doc"),) * states
    found: dict[int, list[CompileWarning]] = {number: [] for number in range(states)}
    failed: dict[int, str] = {}
    proved = False
    for part in sections.parse(text):
        if len(part.words) < 3 or not part.words[0].isdigit():
            continue
        number, file = int(part.words[0]), " ".join(part.words[2:])
        own, odd = _lines(part, file)
        if file == CANARY:
            proved = bool(own)
        elif number in found:
            found[number] += own
            # Its status is how many errors it found, of which each has a line.
            crashed = int(part.words[1]) not in (0, 1) and not own
            if odd or crashed:
                said = f": {sections.quoted(odd)}" if odd else ""
                failed.setdefault(number, f"kernel-doc ended with status {part.words[1]} on {file}{said}")
    if not proved:
        return (Said(failed="the tree's kernel-doc finds nothing in a comment that is wrong"),) * states
    return tuple(Said(in_order(found[number]), failed.get(number, "")) for number in range(states))


def _lines(part: sections.Section, file: str) -> tuple[list[CompileWarning], str]:
    """Return the warnings about one file, and the first line that is none of kernel-doc's."""
    found: list[CompileWarning] = []
    odd = ""
    for line in part.lines:
        if match := _LINE.match(line):
            at = {name.rstrip("2"): value for name, value in match.groupdict().items() if value}
            found.append(CompileWarning(file, int(at["line"]), at["text"], "kernel-doc"))
        elif not _COUNT.match(line) and not (found and _MORE.match(line)):
            odd = odd or line
    return found, odd
