"""Build the module of a cell with an edit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from kmodpipe.analysis.ablate import dependence
from kmodpipe.analysis.ablate.bench import Bench
from kmodpipe.analysis.ablate.edits import Edit, Edits
from kmodpipe.analysis.ablate.memory import Built
from kmodpipe.build.compile_log import CompileWatch
from kmodpipe.build.configured import Buildable, Configured, RuledOut, Unconfigurable
from kmodpipe.build.sharing import OwnTree, Subject
from kmodpipe.build.touched_files import configuring_files
from kmodpipe.judge import dead_axes
from kmodpipe.kconfig import Cell, Variant
from kmodpipe.pipeline.builder import BuildFailed, BuiltCell, CellBuilder
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.stage_maker import StageMaker
from kmodpipe.pipeline.workspace import TreeKernel, Workspace
from kmodpipe.series import Patch, Series
from kmodpipe.series.changes import Origin
from kmodpipe.util.cell_id import cell_id
from kmodpipe.util.errors import KernelFailure
from kmodpipe.util.text import one_line


@dataclass(frozen=True)
class Compiled:
    """What came of building an edit in a cell."""

    kind: Built
    reason: str = ""
    # Another module than the whole series', to boot; None if there is none.
    cell: BuiltCell | None = None
    # The hunks that the compiler names.
    missed: frozenset[Origin] = frozenset()


class Modules:
    """Builds edits of one series."""

    def __init__(
        self,
        workspace: Workspace,
        folder: RunFolder,
        builder: CellBuilder,
        maker: StageMaker,
        subject: Subject,
        edits: Edits,
        bench: Bench,
    ) -> None:
        """``subject`` is the whole series, and ``bench`` lends copies of its source."""
        self._workspace = workspace
        self._folder = folder
        self._builder = builder
        self._maker = maker
        self._subject = subject
        self._edits = edits
        self._bench = bench

    @contextmanager
    def built(self, edit: Edit, whole: BuiltCell) -> Iterator[Compiled]:
        """Build a cell with an edit; its source is there as long as the block runs."""
        with self._bench.edited(edit) as tree:
            subject = self._subject_of(edit, tree)
            cell = _cell_of(whole.cell, subject.variant)
            try:
                configured = self._configured(subject, cell, whole)
            except KernelFailure as e:
                configured = Unconfigurable(cell, e)
            match configured:
                case Buildable():
                    yield self._compiled(edit, subject, configured, whole)
                case RuledOut(_, reason):
                    yield Compiled(Built.KCONFIG, one_line(reason))
                case Unconfigurable(_, failure):
                    yield Compiled(Built.KCONFIG, one_line(failure.what))

    def _subject_of(self, edit: Edit, tree: Path) -> Subject:
        whole, series = self._subject, self._subject.series
        if series is None:
            raise AssertionError("the control has no hunks")
        changed = with_edit(series, edit, self._edits)
        variant = replace(whole.variant, name=changed.name)
        if whole.own is None:
            return Subject(variant, changed, tree)
        own = OwnTree(tree, f"{whole.own.identity} with {edit.digest}", whole.own.folder)
        return Subject(variant, changed, whole.src, own)

    def _configured(self, subject: Subject, cell: Cell, whole: BuiltCell) -> Configured:
        """Return the configuration of a cell with an edit: the whole series', unless Kconfig reads it."""
        kernel = self._workspace.kernel_of(whole.cell)
        if not isinstance(kernel, TreeKernel) or configuring_files(subject) == configuring_files(
            self._subject
        ):
            return Buildable(cell, whole.configured.text)
        artifact = self._maker.ensure(kernel.stages.configuration(subject, [cell], cell.flavour))
        return kernel.stages.configured(subject, [cell], artifact)[0]

    def _compiled(self, edit: Edit, subject: Subject, configured: Buildable, whole: BuiltCell) -> Compiled:
        made = self._builder.cell(subject, configured)
        if isinstance(made, BuildFailed):
            if not isinstance(made.failure, KernelFailure):
                raise made.failure
            return Compiled(
                Built.COMPILER,
                one_line(_first_line(made.failure)),
                missed=self._missed(edit, subject, made.cell),
            )
        if isinstance(made, RuledOut):
            return Compiled(Built.KCONFIG, made.reason)
        same = content(made) == content(whole)
        return Compiled(Built.SAME if same else Built.DIFFERS, cell=made)

    def _missed(self, edit: Edit, subject: Subject, cell: Cell) -> frozenset[Origin]:
        log = self._folder.cell(cell.id) / "build.log"
        if not log.is_file():
            return frozenset()
        watch = CompileWatch(subject.own.path if subject.own else subject.src, log.parent, None)
        said = dependence.errors(log.read_text("utf-8", "replace").splitlines(), watch.named)
        return dependence.missed(said, self._edits.weave, frozenset(edit.hunks))


def content(built: BuiltCell) -> str:
    """Return a digest of what a cell runs, without line numbers."""
    return dead_axes.content(built.base, built.module)


def with_edit(series: Series, edit: Edit, edits: Edits) -> Series:
    """Return the series with an edit as its last patch."""
    data = edits.diff(edit)
    patch = Patch(f"{edit.slug}.patch", Path(), sha256(data).hexdigest(), tuple(sorted(edit.files)), data)
    return replace(series, name=f"{series.name}-{edit.slug}", patches=(*series.patches, patch))


def _cell_of(cell: Cell, variant: Variant) -> Cell:
    return replace(
        cell, id=cell_id(variant.name, cell.choice, cell.flavour.name, cell.kernel), variant=variant
    )


def _first_line(failure: KernelFailure) -> str:
    """Return the compiler's first error, without what it was building."""
    return failure.detail.split("\n", 1)[0] if failure.detail else failure.what
