"""Check every patch of the series: run the stages, judge them, and write the report in all its forms.

OUT/<run>/check.json results.json junit.xml report.html check.sarif code-quality.json events.jsonl
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.analysis.check import checkpatch, cocci, commits, compiled, kernel_doc, mails, sections, tools
from kmodpipe.analysis.check.compiled import Compiled
from kmodpipe.analysis.check.judge import Broken, Built, Choice, Given, State, judge, label
from kmodpipe.analysis.check.model import Report, SeriesReport
from kmodpipe.build import check_recipes, module_warnings
from kmodpipe.build.check_stages import CheckStages, source_of
from kmodpipe.build.configured import Buildable, Configured, RuledOut, Unconfigurable
from kmodpipe.build.kbuild import make_flags
from kmodpipe.build.sharing import Subject
from kmodpipe.cache.store import Artifact
from kmodpipe.kconfig import Cell
from kmodpipe.pipeline.builder import BuildFailed, BuiltCell, CellBuilder, Row
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.stage_maker import StageMaker, Tally
from kmodpipe.pipeline.workspace import GivenKernel, Kernel, TreeKernel, Workspace
from kmodpipe.series import Series
from kmodpipe.util import paths
from kmodpipe.util.errors import Interrupted, KernelFailure, KmodpipeError, UserError
from kmodpipe.util.workers import gather, workers

_OWN_SOURCE = "a module of its own source is compiled as its own Makefile says"
_TEXT_BYTES = 8 << 20


@dataclass(frozen=True)
class _Group:
    """A series on one kernel: the source before it, and after each of its patches."""

    kernel: TreeKernel
    series: Series
    states: tuple[Subject, ...]
    rows: tuple[tuple[Row, ...], ...]

    @property
    def name(self) -> str:
        return self.states[-1].variant.name


def check(workspace: Workspace, folder: RunFolder, *, semantic: bool = False) -> tuple[Report, Tally]:
    """Return what all checks say of each patch of each series; ``semantic`` adds the semantic patches.

    Raise UserError if there is no series that can be checked on a kernel.
    """
    maker = StageMaker(workspace, folder)
    builder = CellBuilder(workspace, maker)
    left_out = dict(_left_out(workspace))
    checker, identity = tools.checker(workspace)
    found = []
    with workers(workspace.spec.jobs) as pool:
        groups = _groups(workspace, builder.prepare(pool, boots=False))
        if not groups:
            why = next(iter(left_out.values()), "no series is given")
            raise UserError(
                f"there is no patch to check: {why}", hint="invoke check --series NAME --tree TREE"
            )
        for group in groups:
            stages = CheckStages(group.kernel.source, workspace.spec.folder, checker, dict(identity))
            one = _GroupRun(group, stages, builder, maker)
            found.append(one.judged(*one.submit(pool, semantic=semantic)))
    trees = ", ".join(kernel.source.name for kernel in workspace.kernels)
    return Report(folder.id, trees, tuple(found), left_out), maker.tally


def _left_out(workspace: Workspace) -> Mapping[str, str]:
    """Return why series are not checked on a kernel, by ``SERIES on KERNEL``."""
    found = {}
    for kernel in workspace.kernels:
        where = kernel.source.name
        names = dict.fromkeys(one.name.partition("@")[0] for one in workspace.spec.series)
        for name in names:
            if isinstance(kernel, GivenKernel):
                found[f"{name} on {where}"] = "a distribution's kernel has no source to compile or patch"
            elif reason := kernel.unapplied.get(name):
                found[f"{name} on {where}"] = reason
    return found


def _groups(workspace: Workspace, rows: Sequence[Row]) -> list[_Group]:
    made = []
    for kernel in workspace.kernels:
        if not isinstance(kernel, TreeKernel):
            continue
        control, *others = kernel.subjects
        for whole in others:
            if whole.series is None or whole.series.partial or whole.variant.name in kernel.unapplied:
                continue
            first = [one for one in others if one.variant.name.startswith(f"{whole.variant.name}@")]
            states = (control, *first, whole)
            own = tuple(
                tuple(row for row in rows if row[0] is one and _kernel_of(workspace, row[1]) is kernel)
                for one in states
            )
            made.append(_Group(kernel, whole.series, states, own))
    return made


def _kernel_of(workspace: Workspace, one: Configured) -> Kernel:
    return workspace.kernel_of(one.cell)


def choice_of(cell: Cell) -> Choice:
    """Return what tells a cell from others of its variant."""
    flavour = (("flavour", cell.flavour.name),) if cell.flavour.name else ()
    return (*cell.choice.items(), *flavour)


Submitted = tuple[list[dict[Choice, Future[Built]]], Future[Artifact], list[Future[Artifact]] | None]


class _GroupRun:
    """Runs the stages of one series on one kernel."""

    def __init__(self, group: _Group, stages: CheckStages, builder: CellBuilder, maker: StageMaker) -> None:
        self._group = group
        self._series = group.series
        self._stages = stages
        self._builder = builder
        self._maker = maker

    def submit(self, pool: Executor, *, semantic: bool) -> Submitted:
        """Start all stages."""
        patches = self._series.patches
        sent = [mails.mail(patch, n, len(patches)) for n, patch in enumerate(patches, 1)]
        text = pool.submit(self._maker.ensure, self._stages.text(self._group.states, sent))
        cells = [
            {
                choice_of(one.cell): pool.submit(self._built, subject, one)
                for subject, one in own
                if not isinstance(one, RuledOut)
            }
            for own in self._group.rows
        ]
        semantic = semantic and not self._group.states[0].own
        scripts = (
            [pool.submit(self._maker.ensure, self._stages.cocci(one)) for one in self._group.states]
            if semantic
            else None
        )
        gather([text, *(future for own in cells for future in own.values()), *(scripts or ())])
        return cells, text, scripts

    def _built(self, subject: Subject, one: Buildable | Unconfigurable) -> Built:
        """Compile one state for one cell. What is wrong with it is returned; Interrupted is raised."""
        if not isinstance(one, Buildable):
            return _broken(one.failure)
        kernel = self._group.kernel
        if subject.own:
            return self._own(subject, one)
        try:
            base = self._builder.base_of(kernel, subject, one)
            targets = kernel.stages.targets(subject, one, base)
            kit = self._maker.ensure(self._stages.kit(base, make_flags(one.final)))
            artifact = self._maker.ensure(self._stages.compiled(subject, one, kit, targets))
            return compiled.read(artifact, subject.src)
        except Interrupted:
            raise
        except KmodpipeError as e:
            return _broken(e)

    def _own(self, subject: Subject, one: Buildable) -> Built:
        """Build a module of its own source as its own Makefile does, which may not know of W=1 or C=2."""
        built = self._builder.cell(subject, one)
        if isinstance(built, BuildFailed):
            return _broken(built.failure)
        if not isinstance(built, BuiltCell):
            return Broken("the cell cannot be built", infra=True)
        return Compiled(warnings=module_warnings.of(built.module, subject.src), left_out=_OWN_SOURCE)

    def judged(
        self,
        cells: Sequence[Mapping[Choice, Future[Built]]],
        text: Future[Artifact],
        scripts: Sequence[Future[Artifact]] | None,
    ) -> SeriesReport:
        """Return the report, once all stages have ended."""
        out = text.result().path / "out"
        count = len(self._series.patches)
        comments = kernel_doc.parse(sections.read(out / check_recipes.KERNEL_DOC), count + 1)
        reports = [
            cocci.parse(sections.read(one.result().path / "out" / check_recipes.COCCICHECK))
            for one in scripts or ()
        ]
        states = [
            State(
                number,
                {choice: future.result() for choice, future in own.items()},
                comments[number],
                reports[number] if reports else None,
            )
            for number, own in enumerate(cells)
        ]
        given = Given(
            self._series.patches,
            states,
            checkpatch.parse(sections.read(out / check_recipes.CHECKPATCH), count),
            commits.of(self._series, self._group.kernel.source),
            _texts([source_of(one) for one in self._group.states]),
            _frame_bound(self._group.rows[-1]),
        )
        labels = tuple(label(choice) for choice in states[-1].cells)
        return SeriesReport(self._group.name, self._group.kernel.name, judge(given), labels)


def _broken(error: KmodpipeError) -> Broken:
    """Return a state that could not be compiled, with the place that the compiler names first."""
    infra = not isinstance(error, KernelFailure)
    first = error.detail.splitlines()[0] if error.detail and "does not compile" in error.what else ""
    file, line, said = (*first.split(":", 2), "", "")[:3] if first else ("", "", "")
    if not infra and line.isdigit():
        return Broken(said.strip(), file, int(line))
    return Broken(error.sentence if infra else error.what.partition(" (log:")[0], infra=infra)


def _texts(sources: Sequence[Path]) -> Callable[[int, str], str]:
    """Return a function that reads a file of a state; empty for one that is no file of the tree."""

    # By the file's inode: a state shares with the others what its patch does not change.
    known: dict[int, str] = {}

    def text_of(number: int, name: str) -> str:
        path = sources[number] / name
        if not name or not paths.is_plain(name) or path.is_symlink() or not paths.is_file(path):
            return ""
        inode = path.stat().st_ino
        if inode not in known:
            with path.open("rb") as f:
                known[inode] = f.read(_TEXT_BYTES).decode("utf-8", "replace")
        return known[inode]

    return text_of


def _frame_bound(rows: Sequence[Row]) -> int:
    final = next((one.final for _, one in rows if isinstance(one, Buildable)), {})
    bound = final.get("FRAME_WARN", "")
    return int(bound) if bound.isdigit() else 0
