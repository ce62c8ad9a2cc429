"""Keep every planned case in the results: fill in what has not run, put in what has. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from kmodpipe.results.model import (
    ENDED_EARLY,
    CaseInfo,
    CaseResult,
    CellResult,
    Run,
    State,
    Verdict,
    unique,
)
from kmodpipe.util.text import count, one_line


def planned(run: Run) -> Run:
    """Return *run* with every planned case in every cell.

    A case without a result gets one from the state of its cell ("not run", "the cell did not build" …);
    existing results stay.
    """
    return replace(run, cells=tuple(_filled(cell, run.cases) for cell in run.cells))


def with_cell(run: Run, cell: CellResult) -> Run:
    """Return *run* with the result of *cell* replaced, every planned case in it; raise as `with_cells`."""
    return with_cells(run, (cell,))


def with_cells(run: Run, cells: Iterable[CellResult]) -> Run:
    """Return *run* with the results of these cells replaced, every planned case in them.

    Of two results of one cell the last counts. Raise ValueError for a cell or a case that was not planned.
    """
    settled = {cell.cell: cell for cell in cells}
    if unplanned := settled.keys() - {c.cell for c in run.cells}:
        raise ValueError(f"cell {', '.join(sorted(unplanned))} was not planned")
    known = {info.id for info in run.cases}
    for cell in settled.values():
        if stray := {c.case for c in cell.cases} - known:
            raise ValueError(f"case {', '.join(sorted(stray))} was not planned")
        unique(f"case in {cell.cell}", (c.case for c in cell.cases))
    filled = {name: _filled(cell, run.cases) for name, cell in settled.items()}
    return replace(run, cells=tuple(filled.get(c.cell, c) for c in run.cells))


def interrupted(run: Run, reason: str = "interrupted", after: str = "") -> Run:
    """Return *run* marked as ended early, and every cell that has not run as interrupted.

    Existing verdicts stay. *reason*, and how far the run came (``after 12 of 144 results``), become the
    property `ENDED_EARLY`.
    """

    def mark(cell: CellResult) -> CellResult:
        if cell.state is not State.NOT_RUN:
            return cell
        settled = tuple(c for c in cell.cases if c.attempts or c.verdict is not Verdict.ERROR)
        return replace(cell, state=State.INTERRUPTED, reason=cell.reason or reason, cases=settled)

    properties = {**run.properties, ENDED_EARLY: one_line(f"{reason} {after}".rstrip())}
    return planned(replace(run, cells=tuple(mark(cell) for cell in run.cells), properties=properties))


def progress(run: Run) -> str:
    """Return how many of the results that can be had are there: ``12 of 144 results``.

    Those of skipped cells do not count.
    """
    cells = [cell for cell in run.cells if cell.state is not State.SKIPPED]
    done = sum(
        c.verdict is not Verdict.ERROR or cell.state is State.RAN for cell in cells for c in cell.cases
    )
    return f"{done:,} of {count(len(cells) * len(run.cases), 'result')}"


def _filled(cell: CellResult, cases: Iterable[CaseInfo]) -> CellResult:
    known = {c.case: c for c in cell.cases}
    return replace(cell, cases=tuple(known.get(info.id) or _unreached(cell, info) for info in cases))


def _unreached(cell: CellResult, info: CaseInfo) -> CaseResult:
    """Return the result of a case that has not run, from the state of its cell."""
    verdict, text = {
        State.SKIPPED: (Verdict.SKIP, "the cell is skipped"),
        State.BUILD_FAILED: (Verdict.FAIL, "not run: the cell did not build"),
        State.INFRA: (Verdict.ERROR, "not run: infrastructure"),
        State.INTERRUPTED: (Verdict.ERROR, "not run: interrupted"),
        State.NOT_RUN: (Verdict.ERROR, "not run"),
        State.RAN: (Verdict.ERROR, "not run: the cell ran and left no verdict of this case"),
    }[cell.state]
    reason = "" if cell.reason in text else f": {cell.reason}"
    return CaseResult(info.id, verdict, message=text + reason)
