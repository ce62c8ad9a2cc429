"""Build the cells of a run: each stage is made once, a base is shared by cells, each cell has a module."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, assert_never

from kmodpipe import kconfig
from kmodpipe.build import loadable, module_order
from kmodpipe.build.configured import Buildable, Configured, RuledOut, Unconfigurable
from kmodpipe.build.runtime import Unready
from kmodpipe.build.sharing import BaseSpec, Subject
from kmodpipe.build.stage import Stage
from kmodpipe.build.stages import common_configuration
from kmodpipe.build.touched_files import configuring_files
from kmodpipe.cache.store import Artifact
from kmodpipe.kconfig import Cell, Flavour
from kmodpipe.pipeline import cell_choice, tools
from kmodpipe.pipeline.axis_values import Planned, require_possible
from kmodpipe.pipeline.families import Families
from kmodpipe.pipeline.series_kconfig import Found, look
from kmodpipe.pipeline.stage_maker import StageMaker
from kmodpipe.pipeline.tools import Handed
from kmodpipe.pipeline.workspace import GivenKernel, Kernel, TreeKernel, Workspace
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import Interrupted, KernelFailure, KmodpipeError, UserError
from kmodpipe.util.workers import gather
from kmodpipe.vm import guest_root
from kmodpipe.vm.guest_root import GuestRoot


@dataclass(frozen=True)
class BuiltCell:
    """A cell that was built and can be booted."""

    configured: Buildable
    base: Artifact
    module: Artifact

    @property
    def cell(self) -> Cell:
        return self.configured.cell


@dataclass(frozen=True)
class BuildFailed:
    """A cell that could not be configured or built: by a KernelFailure, or by a machine error."""

    cell: Cell
    failure: KmodpipeError


Built = BuiltCell | RuledOut | BuildFailed


@dataclass(frozen=True)
class GuestParts:
    """The artifacts that guests are made of."""

    guest: Artifact
    toolsets: Mapping[str, Artifact]  # by the name of the toolset or the package
    names: Mapping[str, tuple[str, ...]]  # of those that the guests of a flavour get, by the flavour's name
    versions: Mapping[str, str]  # of the packages among them, by name

    @property
    def rootfs(self) -> Path:
        """The archive of the root file system."""
        return self.guest.path / "guest.cpio"

    def tools(self, flavour: Flavour) -> Mapping[str, Artifact]:
        """Return the tools that a flavour's guests get, by name."""
        return {name: self.toolsets[name] for name in self.names[flavour.name]}

    def root(self, flavour: Flavour) -> GuestRoot:
        """Return what is in the root file system of a flavour's guests, be it in memory or on a disk."""
        return guest_root.read((self.rootfs, *map(tools.archive, self.tools(flavour).values())))


def expected_lines(workspace: Workspace) -> int | None:
    """Return how many lines an earlier base build printed, for the next one's progress; None if none did."""
    for path in (workspace.store.root / "base").glob("*/lines"):
        with suppress(OSError, ValueError):
            return int(path.read_text())
    return None


Row = tuple[Subject, Configured]
"""A cell with its source; that of the control for a series that does not apply."""


class CellBuilder:
    """Builds the cells of a run. Call `prepare` first, then `cell` for each of its rows, from any thread."""

    def __init__(self, workspace: Workspace, maker: StageMaker) -> None:
        self._workspace = workspace
        self._maker = maker
        # By `BaseSpec.key`.
        self._bases: dict[tuple[str, str], Future[Artifact]] = {}
        # The text of the common configuration, by kernel and flavour.
        self._common: dict[tuple[str, str], str] = {}
        # The pristine tree's host tools, by kernel.
        self._tools: dict[str, Path] = {}
        # By kernel, then by the variant's name; once it is looked for.
        self._found: dict[str, Mapping[str, Found]] = {}
        self._shares_configurations = False
        # What cells became, by all that their configurations depend on.
        self._configured_as: dict[str, Sequence[Configured]] = {}
        self._lock = threading.Lock()
        self._disk_lock = threading.Lock()
        self._guest: GuestParts | None = None
        self._guest_lock = threading.Lock()
        self._families = Families(workspace.store, maker.ensure)

    def prepare(
        self,
        pool: Executor,
        configured: Callable[[Sequence[Row]], None] = lambda rows: None,
        *,
        boots: bool = True,
    ) -> list[Row]:
        """Configure every cell, and build what cells share, the guest and each base, in parallel.

        A base is started as soon as its configuration is known, and cells are configured while it compiles.
        A base that does not compile raises no error here, but again in each cell that needs it. Call
        ``configured`` with the rows as they are known. Raise UserError for chosen cells that are ruled out,
        before anything is built.

        For a command that ``boots`` nothing no guest is made, and states of a series with the same Kconfig
        files share their configurations.
        """
        self._shares_configurations = not boots
        # Nothing is begun for a choice that may be refused.
        choice = self._workspace.spec.choice
        early = not choice.chosen
        if boots and tools.packages_of(self._workspace.spec, self._workspace.guest):
            # A name that is no package is refused before a kernel is built.
            self.guest()
        shared: list[Future[Any]] = [pool.submit(self.guest)] if early and boots else []
        rows: list[Row] = []
        for kernel in self._workspace.kernels:
            if isinstance(kernel, GivenKernel):
                continue
            for flavour in kernel.spec.flavours:
                if (spec := self._common_base(kernel, flavour)) and early:
                    shared.append(pool.submit(self.base, kernel, spec))
        for kernel in self._workspace.kernels:
            for more in self._configured(kernel):
                configured(more)
                shared += self._start_bases(pool, more) if early else []
                rows += more
        self._families.expect(one.cell for _, one in rows if isinstance(one, Buildable))
        # What is not there at all says nothing about the values of an axis.
        planned = [
            Planned(subject, one.cell, one.reason if isinstance(one, RuledOut) else "")
            for subject, one in rows
            if one.cell.variant.name not in self._workspace.kernel_of(one.cell).unapplied
        ]
        require_possible(self._workspace.spec, planned)
        if not early:
            ruled_out = {one.cell.id: one.reason for _, one in rows if isinstance(one, RuledOut)}
            run = self._workspace.spec
            # A job of a plan may have nothing but such cells.
            if not (run.skip_illegal and run.allow_empty):
                cell_choice.require_legal(choice, ruled_out, each=not run.skip_illegal)
            shared += [*([pool.submit(self.guest)] if boots else []), *self._start_bases(pool, rows)]
        gather(shared, ignore=(KernelFailure,))
        return rows

    def _common_base(self, kernel: TreeKernel, flavour: Flavour) -> BaseSpec | None:
        """Make a flavour's common configuration. Return its base if a cell needs it for certain."""
        control, stages = kernel.subjects[0], kernel.stages
        if control.variant.name in kernel.unapplied:
            return None
        artifact = self._maker.ensure(stages.common(flavour, self._tools.get(kernel.name)))
        self._tools.setdefault(kernel.name, artifact.path / "obj")
        text = self._common[kernel.name, flavour.name] = common_configuration(artifact)
        stages.require_common(control, flavour, text)
        return stages.common_spec(control, kernel.spec.cells_of(control.variant.name, flavour), text)

    def _configured(self, kernel: Kernel) -> Iterator[list[Row]]:
        """Yield the rows of a kernel: those of each variant in each flavour, then what cannot be had."""
        for subject in kernel.subjects:
            if subject.variant.name in kernel.unapplied:
                continue
            if isinstance(kernel, GivenKernel):
                cells = kernel.spec.cells_of(subject.variant.name)
                yield [(subject, one) for one in kernel.stages.configured(subject, cells)]
                continue
            for flavour in kernel.spec.flavours:
                yield self._configure(kernel, subject, flavour)
        yield [
            (kernel.subjects[0], RuledOut(cell, kernel.unapplied[cell.variant.name]))
            for cell in kernel.spec.cells
            if cell.variant.name in kernel.unapplied
        ]

    def _configure(self, kernel: TreeKernel, subject: Subject, flavour: Flavour) -> list[Row]:
        stages, cells = kernel.stages, kernel.spec.cells_of(subject.variant.name, flavour)
        if not cells:
            return []
        if failure := self._series_kconfig(kernel).get(subject.variant.name, Found()).failure:
            return [(subject, Unconfigurable(cell, failure)) for cell in cells]
        same = self._same(kernel, subject, cells) if self._shares_configurations else ""
        if same in self._configured_as:
            before = self._configured_as[same]
            return [(subject, replace(one, cell=cell)) for one, cell in zip(before, cells, strict=True)]
        try:
            known = kernel.spec.to_configure(subject.variant, flavour)
            kept = self._tools.get(kernel.name)
            artifact = self._maker.ensure(stages.configuration(subject, known, flavour, kept))
        except KernelFailure as e:
            # The series breaks Kconfig: that is the result of its cells, and does not stop the others.
            if subject.variant.is_control:
                raise
            return [(subject, Unconfigurable(cell, e)) for cell in cells]
        found = stages.configured(subject, cells, artifact)
        if same:
            self._configured_as[same] = found
        return [(subject, one) for one in found]

    @staticmethod
    def _same(kernel: TreeKernel, subject: Subject, cells: Sequence[Cell]) -> str:
        """Return what the configurations of cells depend on, but for the cells' names."""
        requests = [[dict(cell.choice), kconfig.render(cell.requested), cell.flavour.name] for cell in cells]
        return digest_of([kernel.name, configuring_files(subject), requests])

    def _series_kconfig(self, kernel: TreeKernel) -> Mapping[str, Found]:
        """Return what is wrong with the Kconfig files of each series; warn once of what is only odd."""
        if kernel.name not in self._found:
            found = self._found[kernel.name] = look(kernel.subjects, kernel.source.path)
            for note in (note for one in found.values() for note in one.notes):
                self._workspace.screen.warn(note)
        return self._found[kernel.name]

    def guest(self) -> GuestParts:
        """Return the archives that guests are made of, from the store or made once for the run."""
        with self._guest_lock:
            if self._guest is None:
                self._guest = self._make_guest()
            return self._guest

    def _make_guest(self) -> GuestParts:
        stages, spec = self._workspace.guest, self._workspace.spec
        guest = self._maker.ensure(stages.guest())
        names = {flavour.name: spec.tools(flavour) for flavour in spec.flavours}
        place = self._workspace
        known = tools.find(spec, stages, guest, place.store.cache, place.screen, self._maker.has, place.share)
        toolsets = {name: self._maker.ensure(stage) for name, stage in known.stages.items()}
        return GuestParts(guest, toolsets, names, known.versions)

    def tools(self, built: BuiltCell, guest: GuestParts) -> Handed:
        """Return how the guests of a cell get their tools; make the disk with large ones if there is one."""
        with self._disk_lock:
            return tools.handed(
                guest.tools(built.cell.flavour),
                guest.versions.keys(),
                built.configured.final,
                lambda packages, sets: self._maker.ensure(
                    self._workspace.guest.disk(packages, sets, guest.guest)
                ),
            )

    def _start_bases(self, pool: Executor, rows: Sequence[Row]) -> list[Future[object]]:
        found: dict[tuple[str, str], tuple[TreeKernel, BaseSpec]] = {}
        given: dict[str, GivenKernel] = {}
        for subject, one in rows:
            if not isinstance(one, Buildable):
                continue
            kernel = self._workspace.kernel_of(one.cell)
            if isinstance(kernel, GivenKernel):
                given[kernel.name] = kernel
            else:
                spec = self._base_spec(kernel, subject, one)
                found[spec.key] = kernel, spec
        shared: list[Future[object]] = [pool.submit(self._given_base, one) for one in given.values()]
        return shared + [pool.submit(self.base, kernel, spec) for kernel, spec in found.values()]

    def _base_spec(self, kernel: TreeKernel, subject: Subject, configured: Buildable) -> BaseSpec:
        common = self._common[kernel.name, configured.cell.flavour.name]
        return kernel.stages.base_spec(subject, configured, common)

    @property
    def bases(self) -> tuple[Artifact, ...]:
        """The bases that are ready so far."""
        done = [f for f in self._bases.values() if f.done() and not f.exception()]
        return tuple(f.result() for f in done)

    def base(self, kernel: TreeKernel, spec: BaseSpec) -> Artifact:
        """Return the base of a spec. The first caller makes it, the others wait for it."""
        kept = self._tools.get(kernel.name)
        return self._once(spec.key, kernel.stages.base(spec, kept, expected_lines(self._workspace)))

    def _given_base(self, kernel: GivenKernel) -> Artifact:
        return self._once((kernel.source.identity, ""), kernel.stages.base())

    def _once(self, key: tuple[str, str], stage: Stage) -> Artifact:
        with self._lock:
            future = self._bases.get(key)
            mine = future is None
            if future is None:
                future = self._bases[key] = Future()
        if mine:
            try:
                future.set_result(self._maker.ensure(stage))
            except BaseException as e:
                future.set_exception(e)
        return future.result()

    def cell(self, subject: Subject, configured: Configured) -> Built:
        """Build one cell. Its own failure is returned; Interrupted, Unready and UserError are raised."""
        match configured:
            case RuledOut():
                return configured
            case Unconfigurable(cell, failure):
                return BuildFailed(cell, failure)
            case Buildable():
                return self._build(subject, configured)
            case _:
                assert_never(configured)

    def base_of(self, kernel: TreeKernel, subject: Subject, configured: Buildable) -> Artifact:
        """Return the base that a cell's module is built against and runs on; make it if there is none."""
        spec = self._base_spec(kernel, subject, configured)
        base = self.base(kernel, spec)
        own = kernel.stages.own_base_spec(subject, configured, spec, base)
        return self.base(kernel, own) if own else base

    def _build(self, subject: Subject, configured: Buildable) -> BuiltCell | BuildFailed:
        kernel = self._workspace.kernel_of(configured.cell)
        try:
            if isinstance(kernel, GivenKernel):
                base = self._given_base(kernel)
                module = self._maker.ensure(kernel.stages.module_of(subject, configured))
            else:
                base = self.base_of(kernel, subject, configured)
                stage: Stage | None = kernel.stages.module_of(subject, configured, base)
                while stage:
                    module = self._families.ensure(stage, configured.cell)
                    stage = kernel.stages.fuller(subject, configured, base, module)
            # A name that is misspelt, before anything is booted.
            made, flavour = tuple((module.path / "out").glob("*.ko")), configured.cell.flavour
            module_order.parameters(flavour.parameters, made)
            where = f"kernel {kernel.source.name}"
            loadable.require_signed(made, configured.final, flavour.cmdline, where)
        except (Interrupted, Unready, UserError):
            raise
        except KmodpipeError as e:
            return BuildFailed(configured.cell, e)
        return BuiltCell(configured, base, module)
