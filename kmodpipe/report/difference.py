"""A run as a difference: what each case showed without a series, and what it shows with it. Pure.

A row stands for all cells of a series, on all kernels, that show the same change of a case.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kmodpipe.report import places, wording
from kmodpipe.report.wording import CHANGED, Mark, mark
from kmodpipe.results import CONTROL, CaseResult, CellResult, Controls, Effect, EffectKind, Run, effects

_ORDER = {kind: n for n, kind in enumerate((*CHANGED, *(k for k in EffectKind if k not in CHANGED)))}
# The most telling first.
_QUIET = (
    EffectKind.STILL_FAILING,
    EffectKind.UNCHANGED,
    EffectKind.NOT_COMPARED,
    EffectKind.NOT_APPLICABLE,
)


@dataclass(frozen=True)
class Side:
    """What a case showed on one side."""

    mark: Mark
    # The outcome.
    word: str


@dataclass(frozen=True)
class Row:
    """One change of one case."""

    case: str
    kind: EffectKind
    # None where nothing was compared.
    before: Side | None
    after: Side
    cells: tuple[str, ...]
    # ``all 3 cells``
    where: str
    # The series' result is a failure.
    unexpected: bool
    summary: str
    # Why the outcome with the series is expected.
    reason: str

    @property
    def change(self) -> Mark:
        """How the change is shown: as a failure if it is one, and nothing that worked before is broken."""
        if self.unexpected and self.kind is not EffectKind.REGRESSED:
            return wording.FAIL
        return wording.CHANGES[self.kind]


@dataclass(frozen=True)
class Difference:
    """What one series does."""

    variant: str
    # How many of its cells ran.
    ran: int
    # No cell of the control ran beside it.
    alone: bool
    # What changed or is not as expected, the most important first.
    changed: tuple[Row, ...]
    # All else.
    rest: tuple[Row, ...]
    # How many cases have rows in `rest` alone, by the most telling kind of their rows.
    quiet: Mapping[EffectKind, int]

    @property
    def unchanged(self) -> int:
        """How many cases have rows in `rest` alone."""
        return sum(self.quiet.values())


def of_run(run: Run) -> tuple[Difference, ...]:
    """Return what each series does, in the run's order; nothing for a run without one."""
    found: dict[str, list[Effect]] = {}
    for effect in effects(run):
        found.setdefault(effect.variant, []).append(effect)
    known, by_id = Controls(run), {cell.cell: cell for cell in run.cells}
    order = {info.id: n for n, info in enumerate(run.cases)}
    return tuple(_of_series(run, v, found[v], known, by_id, order) for v in found)


def _of_series(
    run: Run,
    variant: str,
    own: Sequence[Effect],
    known: Controls,
    by_id: Mapping[str, CellResult],
    order: Mapping[str, int],
) -> Difference:
    ran = wording.ran_cells(run, variant)
    cells = [cell for cell in run.cells if cell.cell in ran]
    merged: dict[tuple[object, ...], list[Effect]] = {}
    for effect in own:
        key = (effect.case, effect.kind, effect.before, effect.after, effect.unexpected)
        merged.setdefault(key, []).append(effect)
    rows = []
    for group in merged.values():
        ids = tuple(c for effect in group for c in effect.cells if c in ran)
        if ids:
            rows.append(_row(group[0], ids, known, by_id, cells))
    rows.sort(key=lambda row: (not row.unexpected, _ORDER[row.kind], order.get(row.case, len(order))))
    changed = tuple(row for row in rows if _is_shown(row))
    rest = tuple(row for row in rows if not _is_shown(row))
    loud, kinds = {row.case for row in changed}, dict[str, EffectKind]()
    for row in sorted(rest, key=lambda row: _QUIET.index(row.kind)):
        if row.case not in loud:
            kinds.setdefault(row.case, row.kind)
    alone = [row for row in rows if row.kind not in (EffectKind.NOT_APPLICABLE, EffectKind.KNOWN_DEFECT)]
    return Difference(
        variant,
        len(ran),
        bool(alone) and all(row.kind is EffectKind.NOT_COMPARED for row in alone),
        changed,
        rest,
        Counter(kinds.values()),
    )


def _is_shown(row: Row) -> bool:
    return row.kind in CHANGED or row.unexpected


def _row(
    effect: Effect,
    ids: tuple[str, ...],
    known: Controls,
    by_id: Mapping[str, CellResult],
    cells: Sequence[CellResult],
) -> Row:
    first = by_id[ids[0]]
    control, after = known.of(first), first.case(effect.case)
    before = control.case(effect.case) if control and control.variant == CONTROL else None
    own = [by_id[cell] for cell in ids]
    return Row(
        effect.case,
        effect.kind,
        _side(before, effect.before) if before and effect.before else None,
        _side(after, effect.after),
        ids,
        places.some_of(own, cells),
        effect.unexpected,
        effect.summary,
        effect.reason,
    )


def _side(result: CaseResult | None, word: str) -> Side:
    return Side(mark(result) if result else wording.ERROR, word)
