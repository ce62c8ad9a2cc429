"""What a case showed without the series and with it, as a diff of its evidence. Pure."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from kmodpipe.results import CaseResult

_MOST_LINES = 400
_SHOWN = 60
# What differs each time: durations, and UUIDs that were made for the case.
_CHANCE = re.compile(
    r"\b(?:\d+(?:\.\d+)? ?(?:ms|s)|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})\b", re.IGNORECASE
)


@dataclass(frozen=True)
class DiffLine:
    """One line: ``-`` without the series, ``+`` with it, a space in both."""

    sign: str
    text: str


def diff(before: CaseResult | None, after: CaseResult) -> tuple[DiffLine, ...]:
    """Return the lines in which the evidence differs, with one line around them; nothing if it is the same.

    The kernel's report is left out, which stands beside it as a whole.
    """
    if before is None or not before.evidence:
        return ()
    old, new = _lines(before), _lines(after)
    plain = [[_CHANCE.sub("", line) for line in side] for side in (old, new)]
    if plain[0] == plain[1]:
        return ()
    made: list[DiffLine] = []
    matcher = difflib.SequenceMatcher(None, plain[0], plain[1], autojunk=False)
    for group in matcher.get_grouped_opcodes(1):
        if made:
            made.append(DiffLine("…", ""))
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                made += [DiffLine(" ", line) for line in new[j1:j2]]
            else:
                made += [DiffLine("-", line) for line in old[i1:i2]]
                made += [DiffLine("+", line) for line in new[j1:j2]]
    return tuple(made[:_SHOWN])


def _lines(result: CaseResult) -> list[str]:
    own = f"\n{result.evidence}".partition("\ncrash: ")[0]
    return [line for line in own.splitlines()[:_MOST_LINES] if line.strip()]
