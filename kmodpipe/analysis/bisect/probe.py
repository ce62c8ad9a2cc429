"""Run cases in states of what is tested: each a source with a configuration, and a cell of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from kmodpipe import kconfig
from kmodpipe.build.configured import Buildable, RuledOut
from kmodpipe.build.sharing import Subject
from kmodpipe.cache.store import Artifact, Store
from kmodpipe.judge.cases import Case
from kmodpipe.judge.retries import RetryPolicy
from kmodpipe.kconfig import Cell, Variant
from kmodpipe.kconfig.matrix import CONTROL_VARIANT
from kmodpipe.pipeline import run, workspace
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.pipeline.stage_maker import StageMaker
from kmodpipe.pipeline.workspace import TreeKernel, Workspace
from kmodpipe.results import CaseResult, CellResult, State, Verdict
from kmodpipe.results.effects import UNBUILT
from kmodpipe.series import Series
from kmodpipe.source import TreeSpec
from kmodpipe.source.kernels import KernelSource
from kmodpipe.util.errors import InfraError, KernelFailure, UserError
from kmodpipe.util.screen import Screen
from kmodpipe.util.text import one_line
from kmodpipe.vm.accel import Accel


@dataclass(frozen=True)
class Choice:
    """What is the same in all states: the kernel, the flavour, and the value of each axis."""

    kernel: str
    flavour: str
    values: tuple[tuple[str, str], ...]

    @staticmethod
    def of(cell: Cell) -> Choice:
        """Return the choice that a cell is one of."""
        return Choice(cell.kernel, cell.flavour.name, tuple(cell.choice.items()))


@dataclass(frozen=True)
class Target:
    """A state of what is tested."""

    name: str
    title: str
    # The patches on the source; None for the source as it is.
    series: Series | None = None
    # The source, if it is another one than that of the run.
    tree: TreeSpec | None = None
    # Its cell, if it is none of the matrix.
    cell: Cell | None = None
    # Its cell has the values of a choice and no others: a symbol that is not there yet rules it out.
    exact: bool = False
    # States with the same key are the same; by default the name.
    key: str = ""

    @property
    def variant(self) -> Variant:
        """The variant that it is in a run."""
        one = self.series
        return Variant(one.name, one.design, one.axes, one.partial) if one else CONTROL_VARIANT


@dataclass(frozen=True)
class Shown:
    """What a case showed in a state."""

    outcomes: Mapping[str, int]
    # Why there is none.
    why: str
    cell: str
    run: str
    seconds: float


def cells_of(target: Target, choice: Choice, spec: RunSpec) -> tuple[Cell, ...]:
    """Return the cells that a state may have in a choice, the most alike first.

    A symbol that is not there yet has the value n.
    """
    if target.cell:
        return (target.cell,)
    flavours = [one for one in spec.flavours if one.name == choice.flavour]
    known = kconfig.expand(spec.matrix, [target.variant], flavours, [choice.kernel])
    wanted = dict(choice.values)
    other = "" if target.exact else "n"
    fitting = [cell for cell in known if all(cell.choice[a] in (v, other) for a, v in wanted.items())]
    return tuple(sorted(fitting, key=lambda cell: sum(cell.choice[a] != v for a, v in wanted.items())))


class Probe:
    """Runs cases in states, with the project, kernel and options of one run spec."""

    def __init__(self, spec: RunSpec, cache: Path, screen: Screen, accel: Accel, folder: RunFolder) -> None:
        """``folder`` is that of the bisection, which gets a run for each call of `show`."""
        self.spec = spec
        self.screen = screen
        self.folder = folder
        self._cache = cache
        self._accel = accel
        # The first that was set up: others differ in their series and cells.
        self._first: Workspace | None = None
        self._places: dict[str, tuple[Workspace, tuple[Cell, ...]]] = {}

    def show(
        self, targets: Sequence[Target], choice: Choice, cases: Sequence[Case], repeat: int = 1
    ) -> tuple[Mapping[str, Shown], ...]:
        """Run the cases in each state; return for each state what each case showed, by the case's id.

        The targets of one call have one tree. Raise InfraError if the machine failed.
        """
        began = time.monotonic()
        with self.screen.part():
            place, cells = self._place(targets, choice)
            spec = replace(place.spec, cases=tuple(cases), retries=RetryPolicy(repeat=repeat))
            with RunFolder(spec.out) as folder:
                done = run.test(replace(place, spec=spec), folder, self._accel)
        seconds = round(time.monotonic() - began, 1)
        where = str(folder.path.relative_to(self.folder.path))
        results = {one.cell: one for one in done.cells}
        return tuple(
            {case.id: _shown(results[cell.id], case.id, where, seconds) for case in cases} for cell in cells
        )

    def _place(self, targets: Sequence[Target], choice: Choice) -> tuple[Workspace, tuple[Cell, ...]]:
        """Return what the targets are run with, and the cell of each; prepare it at the first call."""
        key = repr([(one.name, one.key, one.cell) for one in targets]) + repr(choice)
        if key not in self._places:
            known = [cells_of(target, choice, self.spec) for target in targets]
            place = self._workspace(targets, tuple(cell for cells in known for cell in cells))
            chosen = tuple(self._allowed(place, cells) for cells in known)
            self._places[key] = _only(place, chosen), chosen
        return self._places[key]

    def _workspace(self, targets: Sequence[Target], cells: tuple[Cell, ...]) -> Workspace:
        spec = self._spec(targets, cells)
        if any(target.tree for target in targets):
            return workspace.set_up(spec, self._cache, self.screen)
        if self._first is None:
            self._first = workspace.set_up(spec, self._cache, self.screen)
            return self._first
        return workspace.with_cells(self._first, spec)

    def _spec(self, targets: Sequence[Target], cells: tuple[Cell, ...]) -> RunSpec:
        """Return the spec of a run of these cells alone."""
        tree = next((target.tree for target in targets if target.tree), None)
        own = any(target.cell for target in targets)
        return replace(
            self.spec,
            trees=(tree,) if tree else self.spec.trees,
            series=tuple(target.series for target in targets if target.series),
            cells=cells,
            # So that the configurations are those of a whole run, which may have been made.
            chosen={} if own else {cell.id: (cell.id,) for cell in cells},
            companions=(),
            sample=0,
            skip_illegal=True,
            allow_empty=True,
            out=self.folder.path / "runs",
        )

    def _allowed(self, place: Workspace, cells: Sequence[Cell]) -> Cell:
        """Return the first of the cells that the tree's Kconfig allows, else the first of all."""
        kernel = place.kernel_of(cells[0])
        variant = cells[0].variant
        subject = next((one for one in kernel.subjects if one.variant.name == variant.name), None)
        if len(cells) == 1 or subject is None or not isinstance(kernel, TreeKernel):
            return cells[0]
        try:
            made = self._configurations(place, kernel, subject, cells[0])
        except KernelFailure:
            # The run tells why.
            return cells[0]
        found = kernel.stages.configured(subject, cells, made)
        return next((one.cell for one in found if isinstance(one, Buildable)), cells[0])

    def _configurations(self, place: Workspace, kernel: TreeKernel, subject: Subject, cell: Cell) -> Artifact:
        """Return the final configurations of the cells of a state, as the run will have them."""
        maker = StageMaker(place, self.folder)
        tools = maker.ensure(kernel.stages.common(cell.flavour)).path / "obj"
        known = kernel.spec.to_configure(cell.variant, cell.flavour)
        return maker.ensure(kernel.stages.configuration(subject, known, cell.flavour, tools))

    def ruled_out(self, target: Target, choice: Choice) -> Shown | None:
        """Return what a state shows whose only cell the tree's Kconfig does not allow; None if it does."""
        if target.cell or not target.exact:
            return None
        with self.screen.part():
            place, (cell,) = self._place([target], choice)
            kernel = place.kernel_of(cell)
            if not isinstance(kernel, TreeKernel):
                return None
            subject = kernel.subjects[-1]
            made = self._configurations(place, kernel, subject, cell)
            (found,) = kernel.stages.configured(subject, [cell], made)
        if not isinstance(found, RuledOut):
            return None
        return Shown({}, f"the cell is ruled out: {found.reason}", cell.id, "", 0.0)

    def kernel(self, target: Target, cells: tuple[Cell, ...]) -> KernelSource:
        """Return the kernel of a state's cells."""
        return self._workspace([target], cells).kernel_of(cells[0]).source

    def scratch(self) -> AbstractContextManager[Path]:
        """Return a private folder in the cache, for as long as a block runs."""
        return Store(self._cache).scratch("bisect-")

    def configure(self, target: Target, choice: Choice) -> str:
        """Return the final .config of a state of one cell, as Kconfig makes it; empty if it is ruled out."""
        with self.screen.part():
            place, (cell,) = self._place([target], choice)
            kernel = place.kernel_of(cell)
            if not isinstance(kernel, TreeKernel):
                raise UserError(
                    f"{kernel.source.name} is a distribution's kernel, with one configuration",
                    hint="configurations are compared on a tree: --tree debian-6.12",
                )
            made = self._configurations(place, kernel, kernel.subjects[-1], cell)
        path = made.path / "out" / f"{cell.id}.config"
        return path.read_text("utf-8", "replace") if path.is_file() else ""


def _only(place: Workspace, cells: tuple[Cell, ...]) -> Workspace:
    """Return a workspace with these cells alone."""
    ids = {cell.id for cell in cells}

    def part(spec: RunSpec) -> RunSpec:
        return replace(spec, cells=tuple(cell for cell in spec.cells if cell.id in ids))

    kernels = tuple(replace(one, spec=part(one.spec)) for one in place.kernels)
    return replace(place, spec=part(place.spec), kernels=kernels)


def _shown(cell: CellResult, case: str, run: str, seconds: float) -> Shown:
    """Return what a case showed in a cell. Raise InfraError for a machine that failed."""
    result = cell.case(case)
    if cell.state in (State.INFRA, State.INTERRUPTED, State.NOT_RUN) or result is None:
        hint = "the same command goes on: what was built is kept"
        raise InfraError(f"{cell.cell} did not run: {one_line(cell.reason)}", where=run, hint=hint)
    outcomes: Mapping[str, int] = {}
    why = ""
    if cell.state is State.SKIPPED:
        why = f"the cell is ruled out: {cell.reason}"
    elif cell.state is State.BUILD_FAILED:
        outcomes, why = {UNBUILT: 1}, cell.reason
    elif result.verdict in (Verdict.SKIP, Verdict.ERROR) and not result.outcomes:
        why = f"{'not applicable' if result.verdict is Verdict.SKIP else 'no verdict'}: {result.message}"
    else:
        outcomes = _counted(result)
    return Shown(outcomes, one_line(why.partition("\n")[0]), cell.cell, run, seconds)


def _counted(result: CaseResult) -> Mapping[str, int]:
    return result.outcomes or {result.word: 1}
