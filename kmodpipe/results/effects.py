"""What a series did: each of its results against the control's cell with the same choice. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from kmodpipe.kconfig.matrix import CONTROL
from kmodpipe.results.model import CaseResult, CellResult, Run, State, Verdict


class EffectKind(StrEnum):
    """What a series did to a case, against the control's cell with the same choice, measured by the case's
    goal. In the order in which a maintainer wants to read them."""

    REGRESSED = "regressed"
    KNOWN_DEFECT = "known defect"
    FIXED = "fixed"
    STILL_FAILING = "still failing"
    UNCHANGED = "unchanged"
    UNKNOWN = "no verdict"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class Effect:
    """One kind of change of one case under one series, with all the ``cells`` that show it. ``before`` and
    ``after`` are outcomes; ``unexpected`` marks that the series' verdict is a failure."""

    case: str
    variant: str
    kind: EffectKind
    before: str
    after: str
    cells: tuple[str, ...]
    summary: str = ""
    reason: str = ""
    unexpected: bool = False


def effects(run: Run) -> tuple[Effect, ...]:
    """Every case of every series cell against the control, equal ones merged: by variant, then kind, then
    case. Nothing is left out; what cannot be compared is `UNKNOWN` or `NOT_APPLICABLE`."""
    summaries = {info.id: info.summary for info in run.cases}
    merged: dict[tuple[object, ...], Effect] = {}
    for cell in run.cells:
        if cell.variant == CONTROL:
            continue
        control = control_of(run, cell)
        controls = {c.case: c for c in control.cases} if control else {}
        for after in cell.cases:
            effect = _effect(cell, controls.get(after.case), after, summaries.get(after.case, ""))
            key = (effect.variant, effect.case, effect.kind, effect.before, effect.after, effect.unexpected)
            old = merged.get(key)
            merged[key] = replace(old, cells=(*old.cells, cell.cell)) if old else effect
    variants, kinds, order = [c.variant for c in run.cells], list(EffectKind), [*summaries, *_strays(run)]
    return tuple(
        sorted(
            merged.values(),
            key=lambda e: (variants.index(e.variant), kinds.index(e.kind), order.index(e.case)),
        )
    )


def _effect(cell: CellResult, before: CaseResult | None, after: CaseResult, summary: str) -> Effect:
    return Effect(
        after.case, cell.variant, _kind(before, after), before.word if before else "", after.word,
        (cell.cell,), summary, after.reason, after.verdict is Verdict.FAIL,
    )  # fmt: skip


def _strays(run: Run) -> list[str]:
    """Cases with a result that the run does not describe."""
    return sorted({case.case for _, case in run.results()} - {info.id for info in run.cases})


def control_of(run: Run, cell: CellResult) -> CellResult | None:
    """The control's cell with the same choice and flavour. An axis that the control lacks counts as ``n``:
    one for which every control cell that is not skipped has ``n``, as for a symbol that the series itself
    adds."""
    there = [
        c
        for c in run.cells
        if c.variant == CONTROL and c.flavour == cell.flavour and c.state is not State.SKIPPED
    ]
    axes = {axis for c in there for axis, value in c.choice.items() if value != "n"}

    def known_to_control(choice: Mapping[str, str]) -> set[tuple[str, str]]:
        return {(axis, value) for axis, value in choice.items() if axis in axes and value != "n"}

    wanted = known_to_control(cell.choice)
    return next((c for c in there if known_to_control(c.choice) == wanted), None)


def _kind(before: CaseResult | None, after: CaseResult) -> EffectKind:
    if after.known_defect:
        return EffectKind.KNOWN_DEFECT  # first: it is named whatever the control did
    if before is None or after.lacking or Verdict.SKIP in (before.verdict, after.verdict):
        return EffectKind.NOT_APPLICABLE
    if before.goal_met is None or after.goal_met is None:
        return EffectKind.UNKNOWN
    if before.goal_met:
        return EffectKind.UNCHANGED if after.goal_met else EffectKind.REGRESSED
    return EffectKind.FIXED if after.goal_met else EffectKind.STILL_FAILING
