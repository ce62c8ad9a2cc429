"""Read one result of KTAP: its name, and what its directive makes of ``ok`` or ``not ok``. Pure.

The directives are those of Documentation/dev-tools/ktap.rst, and kselftest's XPASS. SKIP holds for both; an
expected failure (XFAIL, TODO) is none; TIMEOUT and ERROR are failures even behind ``ok``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kmodpipe.logs.ktap_lines import Line

_WORDS = ("SKIP", "TODO", "XFAIL", "XPASS", "TIMEOUT", "ERROR")
_HASH = re.compile(r"(?<!\S)#(\s*)(\w*)(?=([\s:(,]|$)?)")
_SKIPS = re.compile(r"(?<!\S)#\s*(?:(?i:skip)|SKIPPED)(?=[\s:(,]|$)[\s:]*(.*)$")
NAME_CHARS = 200
NOTE_CHARS = 500


@dataclass(frozen=True)
class Subtest:
    """One leaf of a report."""

    name: str
    """The path from the outermost test: `outer / inner`."""
    verdict: str
    """`pass`, `fail` or `skip`; an expected failure is a pass."""
    note: str = ""
    """The directive with its text."""


def read_result(line: Line, number: int) -> Subtest:
    """Return the subtest that a result line is, by ``number`` if it has no description."""
    name, word, note = _parts(line)
    verdict = "pass" if line.ok else "fail"
    if word == "SKIP":
        verdict = "skip"
    elif word in ("TODO", "XFAIL"):
        verdict = "pass"
    elif word in ("TIMEOUT", "ERROR"):
        verdict = "fail"
    return Subtest(name[:NAME_CHARS] or f"test {number}", verdict, note[:NOTE_CHARS])


def _parts(line: Line) -> tuple[str, str, str]:
    """Return a result's description, its directive, and the text behind the description.

    A name may hold a ``#`` that no space follows. A directive is written as the kernel writes it; in any case
    of letters if it makes less of an ``ok``.
    """
    for match in _HASH.finditer(line.rest):
        space, word, ends = match.groups()
        known = word in _WORDS and ends is not None
        if not space and not known and word:
            continue
        name = line.rest[: match.start()].strip()
        if known:
            return name, word, f"{word} {line.rest[match.end() :].lstrip(' :')}".strip()
        note = line.rest[match.start() + 1 :].strip()
        break
    else:
        name, note = line.rest.strip(), ""
    if line.ok and (skips := _SKIPS.search(line.rest)):
        return line.rest[: skips.start()].strip(), "SKIP", f"SKIP {skips.group(1)}".strip()
    return name, "", note
