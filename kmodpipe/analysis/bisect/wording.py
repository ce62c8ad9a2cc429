"""The answer in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from kmodpipe.analysis.bisect.model import Answer, Kind, Result, Seen, Side, Suspect
from kmodpipe.util.text import count, one_line, some

if TYPE_CHECKING:
    from kmodpipe.analysis.bisect.ends import EndSeen, Premise

_MOST_ROWS = 40


def named(number: str, suspects: Sequence[Suspect], *, of: str) -> str:
    """Return the subject of a sentence about patches: ``patch 3 of 6 of posted (0003-x.patch)``."""
    if len(suspects) == 1:
        return f"{number} of {of} ({suspects[0].name})"
    return f"one of {count(len(suspects), 'patch', 'patches')} of {of}"


def summary(subject: str, case: str, pair: tuple[Seen, Seen]) -> str:
    """Return the answer in a sentence."""
    before, after = pair
    return one_line(f"{subject} changes {case}: {before.words} before, {after.words} with it")


def ends(good: str, bad: str, seen: EndSeen) -> str:
    """Return what both ends showed."""
    found = seen.difference
    return one_line(f"{found.case}: {found.good} at {good}, {found.bad} at {bad}, in {found.cell}")


def premise(good: str, bad: str, found: Premise) -> str:
    """Return why there is nothing to search."""
    if found.differing:
        cases = some([one.case.id for one in found.differing], 6)
        return f"{count(len(found.differing), 'case')} differ between {good} and {bad}: {cases}; choose one"
    if len(found.same) == 1:
        only = found.same[0].difference
        if not found.same[0].bad.outcomes or not found.same[0].good.outcomes:
            what = f"{only.good} at {good}, {only.bad} at {bad}"
            return one_line(f"an end has no outcome to compare: {only.case} is {what}")
        if only.good == only.bad:
            return one_line(f"both ends are the same: {only.case} is {only.good} at {good} and at {bad}")
        return one_line(
            f"both ends cannot be told apart: {only.case} is {only.good} at {good}, {only.bad} at {bad}"
        )
    return f"both ends are the same: no case has another outcome at {bad} than at {good}"


def lines(answer: Answer) -> Iterator[str]:
    """Yield the answer, line by line: the sentence first."""
    yield answer.summary
    yield from _suspects(answer)
    if answer.confidence is not None:
        runs = sum(one.runs for one in answer.steps)
        # Rounded down: 100 % is said of no rate.
        sure = Decimal(str(answer.confidence)).quantize(Decimal("0.0001"), ROUND_DOWN)
        yield f"  confidence {sure:.2%}, from {count(runs, 'run')}"
    for note in answer.notes:
        yield f"  note: {one_line(note)}"
    for command in answer.look:
        yield f"  see it: {command}"


def _suspects(answer: Answer) -> Iterator[str]:
    for one in answer.suspects or (answer.found if answer.kind is not Kind.PATCH else ()):
        yield f"  {one_line(' '.join(filter(None, (one.name, one.title))))}"


def heading(answer: Answer) -> str:
    """Return what stands above the table: a line of its own, which no width of a column breaks."""
    case = "" if answer.result in (Result.SAME, Result.CHOOSE) else f": {answer.case}"
    return f"  {one_line(answer.what)}{case}"


def table(answer: Answer) -> Table | None:
    """Return what was tried, or the cases at both ends, as a table; None if there is nothing."""
    if answer.result in (Result.SAME, Result.CHOOSE):
        return _differences(answer) if answer.differences else None
    made = Table("state", "", "outcome", "side", "runs", "s")
    for one in answer.steps:
        side = {Side.GOOD: "good", Side.BAD: "bad", Side.SKIPPED: "skipped"}[one.side]
        row = (one.name, one.title, one.told, side, str(one.runs), f"{one.seconds:.0f}")
        made.add_row(*(Text(one_line(cell)) for cell in row))
    return made


def _differences(answer: Answer) -> Table:
    good = answer.good.name if answer.good else "good end"
    bad = answer.bad.name if answer.bad else "bad end"
    made = Table("case", "cell", good, bad)
    for one in answer.differences[:_MOST_ROWS]:
        made.add_row(*(Text(one_line(cell)) for cell in (one.case, one.cell, one.good, one.bad)))
    return made
