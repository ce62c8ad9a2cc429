"""Work out what a series changed: compare its results with those of the control's matching cells. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from kmodpipe.kconfig.matrix import CONTROL
from kmodpipe.results.model import CHECKED, CaseResult, CellResult, Run, State, Verdict

UNBUILT = "does not build"
"""The outcome of the cases of a cell that does not build."""


class EffectKind(StrEnum):
    """What a series did to a case, compared with the control's cell with the same choice.

    Measured by the case's goal. Listed in the order in which a maintainer wants to read them.
    """

    REGRESSED = "regressed"
    KNOWN_DEFECT = "known defect"
    FIXED = "fixed"
    STILL_FAILING = "still failing"
    UNCHANGED = "unchanged"
    UNKNOWN = "no verdict"
    # No cell of the control ran beside it.
    NOT_COMPARED = "not compared"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class Effect:
    """One change of one case under one series on one kernel, with all the cells that show it."""

    case: str
    """The case's id."""
    variant: str
    """The series."""
    kind: EffectKind
    """What the series did."""
    before: str
    """The control's outcome; empty where no cell of the control matches."""
    after: str
    """The outcome with the series."""
    cells: tuple[str, ...]
    """The ids of the cells that show it."""
    summary: str = ""
    """The case's summary."""
    reason: str = ""
    """Why this outcome was expected."""
    unexpected: bool = False
    """The verdict on the series' result is a failure."""
    kernel: str = ""
    """The kernel of all the cells; empty where the run has one."""


def effects(run: Run) -> tuple[Effect, ...]:
    """Compare every case of every series cell with the control; return the effects, equal ones merged.

    Sorted by kernel and variant, then kind, then case. No case is left out: one that cannot be compared is
    `UNKNOWN` or `NOT_APPLICABLE`.
    """
    if CHECKED in run.properties:
        # Each result is a comparison itself.
        return ()
    summaries = {info.id: info.summary for info in run.cases}
    merged: dict[tuple[object, ...], Effect] = {}
    cells: dict[tuple[object, ...], list[str]] = {}
    known = Controls(run)
    for cell in run.cells:
        if cell.variant == CONTROL:
            continue
        control = known.of(cell)
        controls = {c.case: c for c in control.cases} if control else {}
        for after in cell.cases:
            before = controls.get(after.case)
            kind = _kind_of(cell, control, before, after)
            words = _word(control, before), _word(cell, after)
            unexpected = after.verdict is Verdict.FAIL
            key = (cell.kernel, cell.variant, after.case, kind, *words, unexpected)
            if key not in merged:
                merged[key] = Effect(
                    after.case, cell.variant, kind, *words,
                    (), summaries.get(after.case, ""), after.reason, unexpected, cell.kernel,
                )  # fmt: skip
            cells.setdefault(key, []).append(cell.cell)
    variants = {one: n for n, one in enumerate(dict.fromkeys((c.kernel, c.variant) for c in run.cells))}
    kinds = list(EffectKind)
    order = {case: n for n, case in enumerate([*summaries, *_undescribed(run)])}
    return tuple(
        sorted(
            (replace(effect, cells=tuple(cells[key])) for key, effect in merged.items()),
            key=lambda e: (variants[e.kernel, e.variant], kinds.index(e.kind), order[e.case]),
        )
    )


def _kind_of(
    cell: CellResult, control: CellResult | None, before: CaseResult | None, after: CaseResult
) -> EffectKind:
    if before and control and control.state is State.BUILD_FAILED:
        # It did not run, whatever the verdict on that is (`judged_against_control`).
        before = replace(before, verdict=Verdict.ERROR)
    kind = _kind(before, after)
    if kind is EffectKind.UNKNOWN and before and control:
        kind = _kind_unbuilt(control, before, cell, after)
    return kind


def _word(cell: CellResult | None, result: CaseResult | None) -> str:
    if cell and cell.state is State.BUILD_FAILED:
        return UNBUILT
    return result.word if result else ""


def _kind_unbuilt(control: CellResult, before: CaseResult, cell: CellResult, after: CaseResult) -> EffectKind:
    """Return the kind where one of the two does not build: that breaks each case which works in the other."""
    if cell.state is State.BUILD_FAILED and before.goal_met:
        return EffectKind.REGRESSED
    if control.state is State.BUILD_FAILED and after.goal_met:
        return EffectKind.FIXED
    if State.BUILD_FAILED in (cell.state, control.state) and not (before.goal_met or after.goal_met):
        return EffectKind.STILL_FAILING
    return EffectKind.UNKNOWN


def _undescribed(run: Run) -> list[str]:
    """Return the cases that have a result but no `CaseInfo` in the run."""
    return sorted({case.case for _, case in run.results()} - {info.id for info in run.cases})


class Controls:
    """Finds the control's cell beside each cell of a run."""

    def __init__(self, run: Run) -> None:
        """Look at the control's cells once; skipped ones do not count."""
        self._axes: dict[tuple[str, str], set[str]] = {}
        self._found: dict[tuple[str, str, frozenset[tuple[str, str]]], CellResult] = {}
        controls = [c for c in run.cells if c.variant == CONTROL and c.state is not State.SKIPPED]
        for cell in controls:
            axes = self._axes.setdefault((cell.kernel, cell.flavour), set())
            axes |= {axis for axis, value in cell.choice.items() if value != "n"}
        for cell in controls:
            self._found.setdefault(self._key(cell), cell)

    def _key(self, cell: CellResult) -> tuple[str, str, frozenset[tuple[str, str]]]:
        axes = self._axes.get((cell.kernel, cell.flavour), set())
        chosen = frozenset((axis, v) for axis, v in cell.choice.items() if axis in axes and v != "n")
        return cell.kernel, cell.flavour, chosen

    def of(self, cell: CellResult) -> CellResult | None:
        """Return the control's cell on the same kernel with the same choice and flavour as *cell*, None if
        there is none.

        An axis that is ``n`` in all others is not compared: the series itself may have added its symbol.
        """
        return self._found.get(self._key(cell))

    def compared_with(self, cell: CellResult) -> CellResult | None:
        """Return the control's cell if anything is known about it: it ran, or does not build, or the run was
        interrupted after some of its cases."""
        control = self.of(cell)
        if control is None or control.state in (State.RAN, State.BUILD_FAILED):
            return control
        return control if any(case.verdict is not Verdict.ERROR for case in control.cases) else None


def control_of(run: Run, cell: CellResult) -> CellResult | None:
    """Return the control's cell beside one cell; for many cells, `Controls` looks only once."""
    return Controls(run).of(cell)


def compared_with(run: Run, cell: CellResult) -> CellResult | None:
    """Return what one cell is compared with; for many cells, `Controls` looks only once."""
    return Controls(run).compared_with(cell)


def uncompared(run: Run) -> Mapping[str, tuple[str, ...]]:
    """Return the cells of each series that ran and have no cell of the control to compare with, by variant.

    A series whose cells all have one is left out.
    """
    known = Controls(run)
    found: dict[str, list[str]] = {}
    for cell in () if CHECKED in run.properties else run.cells:
        if cell.variant == CONTROL or cell.state is not State.RAN:
            continue
        if known.compared_with(cell) is None:
            found.setdefault(cell.variant, []).append(cell.cell)
    return {variant: tuple(cells) for variant, cells in found.items()}


def _kind(before: CaseResult | None, after: CaseResult) -> EffectKind:
    if after.known_defect:
        return EffectKind.KNOWN_DEFECT  # checked first: reported whatever the control did
    if after.lacking or after.verdict is Verdict.SKIP:
        return EffectKind.NOT_APPLICABLE
    if before is None:
        return EffectKind.NOT_COMPARED
    if before.verdict is Verdict.SKIP:
        return EffectKind.NOT_APPLICABLE
    if before.goal_met is None or after.goal_met is None:
        return EffectKind.UNKNOWN
    if before.goal_met:
        return EffectKind.UNCHANGED if after.goal_met else EffectKind.REGRESSED
    return EffectKind.FIXED if after.goal_met else EffectKind.STILL_FAILING
