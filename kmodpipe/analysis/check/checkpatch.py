"""Read what checkpatch printed of each patch, with --terse --show-types --showfile. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from kmodpipe.analysis.check import sections
from kmodpipe.analysis.check.model import CHECKPATCH, Finding, Level, Outcome

_LINE = re.compile(
    r"^(?P<file>.*?):(?P<line>\d*):? ?(?P<level>ERROR|WARNING|CHECK):(?P<type>[A-Z0-9_]+): (?P<text>.*)$"
)
_TOTAL = re.compile(
    r"^total: (?P<errors>\d+) errors, (?P<warnings>\d+) warnings, (?:(?P<checks>\d+) checks, )?"
    r"\d+ lines checked$"
)
# Of a script that has no file of words or of structures, and goes on without.
_HARMLESS = re.compile(r"^No .* will be found - file ")
_TWICE = "checkpatch's output has it twice"
_LEVELS = {"ERROR": Level.ERROR, "WARNING": Level.WARNING, "CHECK": Level.NOTE}
# Of the patch as a whole; checkpatch names the last file of it.
_OF_THE_PATCH = ("MISSING_SIGN_OFF", "NO_AUTHOR_SIGN_OFF", "FROM_SIGN_OFF_MISMATCH", "COMMIT_MESSAGE")


def parse(text: str, count: int) -> Mapping[int, Outcome]:
    """Return the outcome of each of ``count`` patches, by number; ``text`` is the recipe's file.

    It says nothing of a patch that is clean. So the recipe lets it look at one that is wrong, too, which is
    number 0: only one that finds what is wrong there finds nothing elsewhere.
    """
    if text.strip() == sections.NONE:
        return _all(count, "the tree has no scripts/checkpatch.pl")
    found: dict[int, Outcome] = {}
    for part in sections.parse(text):
        if len(part.words) == 2 and all(word.isdigit() for word in part.words):
            number = int(part.words[0])
            found[number] = _one(part) if number not in found else Outcome(CHECKPATCH.id, not_checked=_TWICE)
    canary = found.get(0)
    if canary is None or canary.not_checked or not canary.findings:
        why = canary.not_checked if canary and canary.not_checked else "it finds nothing in a wrong patch"
        return _all(count, f"the tree's checkpatch does not work: {why}")
    nothing = Outcome(CHECKPATCH.id, not_checked="checkpatch was not run on it")
    return {number: found.get(number, nothing) for number in range(1, count + 1)}


def _all(count: int, why: str) -> Mapping[int, Outcome]:
    return {number: Outcome(CHECKPATCH.id, not_checked=why) for number in range(1, count + 1)}


def _one(part: sections.Section) -> Outcome:
    found: list[Finding] = []
    counts = dict.fromkeys(_LEVELS, 0)
    total: re.Match[str] | None = None
    odd = ""
    for line in part.lines:
        if match := _LINE.match(line):
            counts[match["level"]] += 1
            of_all = not match["file"] or match["type"] in _OF_THE_PATCH
            file, number = ("", 0) if of_all else (match["file"], int(match["line"] or 0))
            found.append(Finding(_LEVELS[match["level"]], match["text"], match["type"], file, number))
        elif match := _TOTAL.match(line):
            total = match
        elif not _HARMLESS.match(line):
            odd = odd or line
    status = int(part.words[1])
    quiet = status == 0 and not found and not odd
    order = list(Level)
    ordered = tuple(sorted(found, key=lambda one: order.index(one.level)))
    return Outcome(CHECKPATCH.id, ordered, not_checked="" if quiet else _why_not(status, total, counts, odd))


def _why_not(status: int, total: re.Match[str] | None, counts: Mapping[str, int], odd: str) -> str:
    """Return why the output is not to be trusted; empty if it is as checkpatch writes it."""
    if total is None:
        said = f": {sections.quoted(odd)}" if odd else ""
        return f"checkpatch ended with status {status} and no total{said}"
    stated = {
        "ERROR": int(total["errors"]),
        "WARNING": int(total["warnings"]),
        "CHECK": int(total["checks"] or 0),
    }
    if stated != counts:
        return f"checkpatch counts {sum(stated.values())} lines, and printed {sum(counts.values())}"
    return "" if status in (0, 1) else f"checkpatch ended with status {status}"
