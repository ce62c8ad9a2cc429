"""Keep the last verdict of each case in each cell, from whichever round it is. Pure.

A verdict holds for the inputs that it was made with. What has other inputs now is due; its last verdict stays
on the screen, and is marked as old. A cell that could not be tested (it does not compile, the machine failed)
keeps the verdicts that it had, and has its trouble beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from kmodpipe import results
from kmodpipe.report import compare
from kmodpipe.report.compare import Change, Difference
from kmodpipe.results import CaseInfo, CaseResult, CellResult, Run, State, Verdict
from kmodpipe.util.errors import ExitCode
from kmodpipe.watch.inputs import Inputs, Pair

RED = (Change.NEWLY_FAILING, Change.NEWLY_FLAKY, Change.LOST, Change.CHANGED, Change.NEWLY_SKIPPED)
"""What a developer has to look at."""
GREEN = (Change.NEWLY_PASSING, Change.REGAINED)
_SETTLED = (State.RAN, State.SKIPPED)


@dataclass(frozen=True)
class Entry:
    """The last verdict of one case in one cell."""

    result: CaseResult
    # What it was made with: `Inputs.of`.
    basis: str
    # The round, from 1.
    round: int


@dataclass(frozen=True)
class Trouble:
    """Why a cell could not be tested."""

    cell: CellResult
    # What was tried: `Inputs.of` of each case.
    basis: Mapping[str, str]
    round: int


@dataclass(frozen=True)
class Board:
    """The last verdicts of all cells and cases that are planned."""

    cases: tuple[CaseInfo, ...] = ()
    # Without their cases; from the round that tested the cell last.
    cells: Mapping[str, CellResult] = field(default_factory=dict)
    entries: Mapping[Pair, Entry] = field(default_factory=dict)
    # By cell.
    troubles: Mapping[str, Trouble] = field(default_factory=dict)

    def planned(self, inputs: Inputs) -> Board:
        """Return the board of these cells and cases: what is gone is left out, what is new has no verdict."""
        spec = inputs.spec
        cells = {
            cell.id: self.cells.get(cell.id)
            or CellResult(
                cell.id, cell.variant.name, cell.variant.design, dict(cell.choice),
                flavour=cell.flavour.name, kernel=cell.kernel,
            )
            for cell in spec.cells
        }  # fmt: skip
        have = {case.id: case for case in self.cases}
        infos = tuple(
            replace(have.get(case.id) or CaseInfo(case.id, "", ""), summary=case.summary, goal=case.goal)
            for case in spec.cases
        )
        pairs = set(inputs.pairs)
        return Board(
            infos,
            cells,
            {pair: entry for pair, entry in self.entries.items() if pair in pairs},
            {
                cell: trouble
                for cell, trouble in self.troubles.items()
                if cell in cells and not self._is_over(trouble, inputs)
            },
        )

    def _is_over(self, trouble: Trouble, inputs: Inputs) -> bool:
        """Whether all that a trouble kept from a verdict is as it was before, when there was one."""
        pairs = [pair for pair in inputs.pairs if pair[0] == trouble.cell.cell]
        return all(
            (entry := self.entries.get(pair)) is not None
            and entry.basis == inputs.of(pair) != trouble.basis.get(pair[1])
            for pair in pairs
        )

    def with_cell(self, found: CellResult, inputs: Inputs, number: int, ran: Iterable[str]) -> Board:
        """Return the board with what a round found in a cell, of the cases that it ``ran``."""
        if found.cell not in self.cells:
            return self
        cases = [case for case in ran if inputs.of((found.cell, case))]
        basis = {case: inputs.of((found.cell, case)) for case in cases}
        if found.state not in _SETTLED:
            trouble = Trouble(replace(found, cases=()), basis, number)
            return replace(self, troubles={**self.troubles, found.cell: trouble})
        if found.state is State.SKIPPED:
            # Its cases are not among its results yet.
            infos = tuple(CaseInfo(case, "", "") for case in cases)
            (found,) = results.planned(Run("", "", infos, (found,))).cells
        new = {
            (found.cell, case): Entry(result, basis[case], number)
            for case in cases
            if (result := found.case(case)) is not None
        }
        return replace(
            self,
            cells={**self.cells, found.cell: replace(found, cases=())},
            entries={**self.entries, **new},
            troubles={cell: one for cell, one in self.troubles.items() if cell != found.cell},
        )

    def due(self, inputs: Inputs) -> frozenset[Pair]:
        """Return what has no verdict of these inputs, and was not tried with them."""
        return frozenset(pair for pair in inputs.pairs if not self._is_settled(pair, inputs))

    def _is_settled(self, pair: Pair, inputs: Inputs) -> bool:
        wanted = inputs.of(pair)
        entry, trouble = self.entries.get(pair), self.troubles.get(pair[0])
        if trouble and trouble.basis.get(pair[1]) == wanted:
            # That the machine failed says nothing of the next time.
            return trouble.cell.state is State.BUILD_FAILED
        return entry is not None and entry.basis == wanted

    def is_old(self, pair: Pair, inputs: Inputs) -> bool:
        """Return whether the verdict that is shown was made with other inputs than these."""
        entry = self.entries.get(pair)
        return entry is not None and entry.basis != inputs.of(pair)

    @property
    def rounds(self) -> frozenset[int]:
        """The rounds that the verdicts, and what went wrong, are from."""
        found = {entry.round for entry in self.entries.values()}
        return frozenset(found | {trouble.round for trouble in self.troubles.values()})

    def failing(self) -> tuple[Pair, ...]:
        """Return what fails or has no verdict by its last run, in the order of the cells."""
        return tuple(
            (cell.cell, case.case)
            for cell in self.run.cells
            for case in cell.cases
            if (cell.cell, case.case) in self.entries and case.verdict in (Verdict.FAIL, Verdict.ERROR)
        )

    @cached_property
    def run(self) -> Run:
        """The last verdicts as one run, compared with the control; a case without one is "not run"."""
        cells = []
        for cell_id, cell in self.cells.items():
            pairs = [(cell_id, info.id) for info in self.cases]
            own = [self.entries[pair].result for pair in pairs if pair in self.entries]
            state = cell.state if own else State.NOT_RUN
            cells.append(replace(cell, state=state, cases=tuple(own)))
        made = results.planned(Run("watch", "", self.cases, tuple(cells)))
        return results.judged_against_control(made)

    def exit_code(self, inputs: Inputs) -> ExitCode:
        """Return what the verdicts mean: 1 if anything fails, 3 if anything has no verdict of these inputs,
        else 0."""
        states = {trouble.cell.state for trouble in self.troubles.values()}
        verdicts = {case.verdict for _, case in self.run.results()}
        if Verdict.FAIL in verdicts or State.BUILD_FAILED in states:
            return ExitCode.FAILURE
        if not verdicts or Verdict.ERROR in verdicts or states or self.due(inputs):
            return ExitCode.INFRA
        return ExitCode.OK


def turned(before: Board, after: Board) -> tuple[Difference, ...]:
    """Return what turned red or green, red first; what had no verdict before did not turn."""
    found = compare.runs(before.run, after.run)
    return tuple(
        one
        for one in found.of(*RED, *GREEN)
        if (one.cell, one.case) in before.entries and (one.cell, one.case) in after.entries
    )
