"""The steps of a plan as rows: for the screen, and as a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from rich.table import Table
from rich.text import Text

CACHED, TODO, WAITS, SKIPPED, FAILS = "cached", "to do", "waits", "skipped", "fails"
_STYLE = {CACHED: "green", TODO: "bold yellow", WAITS: "dim", SKIPPED: "dim", FAILS: "bold red"}


# A plan with more rows is folded, where so many say the same.
_MOST_ROWS, _ALIKE = 150, 5


@dataclass(frozen=True)
class Row:
    """One step of the plan."""

    step: str
    state: str  # one of the words above
    why: str  # or the key of what is cached


def document(found: Sequence[Row]) -> dict[str, object]:
    """Return the plan as a JSON document."""
    counts = {state: sum(row.state == state for row in found) for state in _STYLE}
    steps = [asdict(row) for row in found]
    return {"schema": "kmodpipe-steps", "version": 1, "counts": counts, "steps": steps}


def _folded(found: Sequence[Row]) -> list[Row]:
    """Return the rows of a long plan with those that say the same of many cells as one; others stay."""
    if len(found) <= _MOST_ROWS:
        return list(found)
    alike: dict[tuple[str, str, str], list[Row]] = {}
    for row in found:
        # Of what is cached, each row has another key.
        why = "" if row.state == CACHED else row.why
        alike.setdefault((row.step.partition(" ")[0], row.state, why), []).append(row)
    rows: list[Row] = []
    for own in alike.values():
        if len(own) < _ALIKE:
            rows += own
            continue
        why = f"{own[0].why} and others" if own[0].state == CACHED else own[0].why
        rows.append(Row(f"{own[0].step} and {len(own) - 1:,} more", own[0].state, why))
    return rows


def table(found: Sequence[Row]) -> Table:
    """Return the plan as a table for the screen; the document of a long one has more rows."""
    shown = Table(box=None, pad_edge=False)
    for heading in ("step", "state", "why"):
        shown.add_column(heading, overflow="fold")
    for row in _folded(found):
        shown.add_row(Text(row.step), Text(row.state, style=_STYLE[row.state]), Text(row.why))
    shown.caption = _summary({state: sum(r.state == state for r in found) for state in _STYLE})
    shown.caption_justify = "left"
    return shown


def _summary(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {state}" for state, n in counts.items() if n)
