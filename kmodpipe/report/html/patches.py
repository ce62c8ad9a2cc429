"""The patches of a series on the page, with what each case executed of them, where that was counted. Pure.

`kmodpipe.results.cover_answer` has the lines; without it the patches are names and digests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kmodpipe.report.html.anchors import Links, Names
from kmodpipe.results import Run
from kmodpipe.results.cover_answer import Answer, HunkAnswer, LineAnswer, LineState
from kmodpipe.util.text import count

_MOST_LINES = 4000
# Hunks that a result names.
_MOST_LINKS = 12
_SIGNS = {
    LineState.EXECUTED: ("✓", "pass", "executed"),
    LineState.NEVER: ("✗", "fail", "executed by no case"),
    LineState.UNKNOWN: ("?", "flaky", "not known"),
}


@dataclass(frozen=True)
class PatchLine:
    """A line of a hunk."""

    # ``+``, ``-``, or a space.
    sign: str
    text: str
    # Its number in the patched tree, of a line that the patch adds.
    number: str
    # What is known of it: a sign, a style and a word; empty for all but added lines with code.
    state: tuple[str, str, str] | None
    # ``12 cases``, ``docker``
    by: str


@dataclass(frozen=True)
class HunkPart:
    """A hunk with what is executed of it."""

    anchor: str
    path: str
    number: int
    header: str
    # ``7 of 8 lines executed``; empty where none has code.
    told: str
    complete: bool
    lines: tuple[PatchLine, ...]


@dataclass(frozen=True)
class PatchPart:
    """A patch."""

    anchor: str
    name: str
    # The first digits of its SHA-256; empty where it is not known.
    digest: str
    hunks: tuple[HunkPart, ...] = ()
    # How many of its lines have code, and are executed.
    counted: int = 0
    executed: int = 0


@dataclass(frozen=True)
class Patches:
    """The patches of all series of a run."""

    parts: tuple[PatchPart, ...]
    # What the cases execute of the change, in a sentence; empty where that was not counted.
    sentence: str = ""
    # Links to hunks by cell and case, and by case in any cell.
    touched: Mapping[tuple[str, str], Links] = field(default_factory=dict)
    by_case: Mapping[str, Links] = field(default_factory=dict)


def of_run(run: Run, answer: Answer | None) -> Patches:
    """Return the patches of the run's series, with the lines that *answer* tells of."""
    names = Names("patch")
    digests = _digests(run)
    if answer is None or sum(len(h.text.splitlines()) for h in answer.hunks) > _MOST_LINES:
        told = answer.sentence if answer else ""
        return Patches(tuple(PatchPart(names.of(n), n, d) for n, d in digests.items()), told)
    hunks: dict[str, list[tuple[HunkAnswer, HunkPart]]] = {}
    for hunk in answer.hunks:
        part = _hunk(hunk, names.of(f"{hunk.patch}-hunk-{hunk.number}"))
        hunks.setdefault(hunk.patch, []).append((hunk, part))
    parts = tuple(
        _part(names.of(name), name, digest, hunks.get(name, ()))
        for name, digest in {**{name: "" for name in hunks}, **digests}.items()
    )
    touched, by_case = _touched([pair for own in hunks.values() for pair in own])
    return Patches(parts, answer.sentence, touched, by_case)


def _part(anchor: str, name: str, digest: str, hunks: Sequence[tuple[HunkAnswer, HunkPart]]) -> PatchPart:
    lines = [line for hunk, _ in hunks for line in hunk.lines if line.state in _SIGNS]
    executed = sum(line.state is LineState.EXECUTED for line in lines)
    return PatchPart(anchor, name, digest, tuple(part for _, part in hunks), len(lines), executed)


def _digests(run: Run) -> dict[str, str]:
    """Return the patches of all series by name, with the first digits of their digests, in order."""
    variants = dict.fromkeys(cell.variant for cell in run.cells)
    found = {}
    for name, value in run.properties.items():
        for variant in variants:
            patch = name.removeprefix(f"series.{variant}.")
            if patch != name and patch.endswith((".patch", ".diff", ".mbox", ".eml")):
                found[patch] = value[:12]
    return found


def _hunk(hunk: HunkAnswer, anchor: str) -> HunkPart:
    added = iter(hunk.lines)
    lines = []
    for text in hunk.text.splitlines():
        if text.startswith("@@"):
            continue
        answer = next(added, None) if text.startswith("+") else None
        lines.append(_line(text, answer))
    counted = [line for line in hunk.lines if line.state in _SIGNS]
    done = len(hunk.of(LineState.EXECUTED))
    told = f"{done} of {count(len(counted), 'line')} executed" if counted else "no code"
    return HunkPart(anchor, hunk.path, hunk.number, hunk.header, told, done == len(counted), tuple(lines))


def _line(text: str, answer: LineAnswer | None) -> PatchLine:
    if answer is None:
        return PatchLine(text[:1] or " ", text[1:], "", None, "")
    by = ""
    if answer.cases:
        names = list(answer.cases)
        by = names[0] if len(names) == 1 else count(len(names), "case")
    elif answer.state is LineState.NEVER:
        by = "no case"
    return PatchLine("+", text[1:], str(answer.line), _SIGNS.get(answer.state), by)


def _touched(
    hunks: Sequence[tuple[HunkAnswer, HunkPart]],
) -> tuple[Mapping[tuple[str, str], Links], Mapping[str, Links]]:
    """Return for each result, and each case, the hunks of which it executed lines."""
    lines: dict[tuple[str, str], dict[str, list[int]]] = {}
    cases: dict[str, dict[str, list[int]]] = {}
    paths = {part.anchor: hunk.path for hunk, part in hunks}
    for hunk, part in hunks:
        for line in hunk.lines:
            for case, cells in line.cases.items():
                cases.setdefault(case, {}).setdefault(part.anchor, []).append(line.line)
                for cell in cells:
                    lines.setdefault((cell, case), {}).setdefault(part.anchor, []).append(line.line)
    return (
        {key: _links(own, paths) for key, own in lines.items()},
        {case: _links(own, paths) for case, own in cases.items()},
    )


def _links(own: Mapping[str, Sequence[int]], paths: Mapping[str, str]) -> Links:
    made = []
    for anchor, numbers in list(own.items())[:_MOST_LINKS]:
        first, last = min(numbers), max(numbers)
        where = f"{first}" if first == last else f"{first}–{last}"
        made.append((f"{paths[anchor].rpartition('/')[2]}:{where}", f"#{anchor}"))
    return tuple(made)
