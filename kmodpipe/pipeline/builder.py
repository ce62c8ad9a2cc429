"""Build the cells of a run: each stage is made once, a base is shared by cells, each cell has a module."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, assert_never

from kmodpipe.build.configured import Buildable, Configured, RuledOut, Unconfigurable
from kmodpipe.build.recipes import WorkDir
from kmodpipe.build.sharing import BaseSpec, Subject
from kmodpipe.build.stages import Stage, common_configuration
from kmodpipe.cache.share import origin
from kmodpipe.cache.store import Artifact
from kmodpipe.kconfig import Cell, Flavour
from kmodpipe.pipeline import cell_choice
from kmodpipe.pipeline.axis_values import Planned, require_possible
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.series_kconfig import Found, look
from kmodpipe.pipeline.workspace import Workspace
from kmodpipe.util import os_errors
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


@dataclass
class Tally:
    """The names of the stages that a command made, found in the cache, or pulled from the share."""

    made: list[str] = field(default_factory=list)
    cached: list[str] = field(default_factory=list)
    pulled: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class GuestParts:
    """The archives that guests are made of."""

    rootfs: Path
    toolsets: Mapping[str, Path]  # by the toolset's name
    origin: str = ""  # where the root file system was pulled from; "" if it was made on this machine

    def tools(self, flavour: Flavour) -> tuple[Path, ...]:
        """Return the archives of a flavour's toolsets."""
        return tuple(self.toolsets[name] for name in flavour.tools)

    def root(self, flavour: Flavour) -> GuestRoot:
        """Return what is in the root file system of a flavour's guests."""
        return guest_root.read((self.rootfs, *self.tools(flavour)))


class StageMaker:
    """Finds stages in the store or makes them, with a step on the screen and a log."""

    def __init__(self, workspace: Workspace, folder: RunFolder) -> None:
        self._workspace = workspace
        self._folder = folder
        self.tally = Tally()
        self._lock = threading.Lock()

    def ensure(self, stage: Stage) -> Artifact:
        """Return a stage's artifact from the store or the share; make it if neither has it.

        Its log is in the run's folder. Raises what the stage's ``make`` raises.
        """
        store, screen = self._workspace.store, self._workspace.screen
        log = self._folder.log(stage)
        name = f"{stage.kind} {stage.label}"
        share = self._workspace.share
        artifact = store.find(stage.kind, stage.inputs, stage.check)
        if artifact is None:
            why = store.why_missed(stage.kind, stage.inputs, stage.label)
            with screen.step(name) as step:

                def make(folder: Path) -> None:
                    key = digest_of(stage.inputs)
                    if share and share.pull(stage.kind, key, folder, step, stage.check):
                        return
                    stage.make(WorkDir(folder, log, step))
                    if log.is_file():
                        shutil.copyfile(log, folder / "build.log")

                with os_errors.explained(*self._workspace.places):
                    artifact = store.make(
                        stage.kind, stage.inputs, stage.label, make,
                        check=stage.check, need_mib=stage.need_mib, waiting=screen.say,
                    )  # fmt: skip
                pulled = origin(artifact)
                step.finish(f"pulled from {pulled.partition('@')[0]}" if pulled else f"made ({why})")
            with self._lock:
                (self.tally.pulled if pulled else self.tally.made).append(name)
        else:
            with self._lock:
                self.tally.cached.append(name)
        if share and not origin(artifact):
            share.push(artifact, stage.label)
        if not log.exists() and (artifact.path / "build.log").is_file():
            shutil.copyfile(artifact.path / "build.log", log)
        return artifact


def expected_lines(workspace: Workspace) -> int | None:
    """Return how many lines an earlier base build printed, for the next one's progress; None if none did."""
    for path in (workspace.store.root / "base").glob("*/lines"):
        with suppress(OSError, ValueError):
            return int(path.read_text())
    return None


Row = tuple[Subject, Configured]


class CellBuilder:
    """Builds the cells of a run. Call `prepare` first, then `cell` for each of its rows, from any thread."""

    def __init__(self, workspace: Workspace, maker: StageMaker) -> None:
        self._workspace = workspace
        self._maker = maker
        # By `BaseSpec.key`.
        self._bases: dict[tuple[str, str], Future[Artifact]] = {}
        # The text of the common configuration, by the flavour's name.
        self._common: dict[str, str] = {}
        # The pristine tree's host tools.
        self._tools: Path | None = None
        # By the variant's name; None until it is looked for.
        self._found: Mapping[str, Found] | None = None
        self._lock = threading.Lock()

    def prepare(
        self, pool: Executor, configured: Callable[[Sequence[Row]], None] = lambda rows: None
    ) -> list[Row]:
        """Configure every cell, and build what cells share, the guest and each base, in parallel.

        A base is started as soon as its configuration is known, and cells are configured while it compiles.
        A base that does not compile raises no error here, but again in each cell that needs it. Call
        ``configured`` with the rows as they are known. Raise UserError for chosen cells that are ruled out,
        before anything is built.
        """
        # Nothing is begun for a choice that may be refused.
        choice = self._workspace.spec.choice
        early = not choice.chosen
        control = next(s for s in self._workspace.subjects if s.variant.is_control)
        shared: list[Future[Any]] = [pool.submit(self.guest)] if early else []
        rows: list[Row] = []
        for flavour in self._workspace.spec.flavours:
            if (spec := self._common_base(control, flavour)) and early:
                shared.append(pool.submit(self.base, spec))
        for subject in (control, *(s for s in self._workspace.subjects if s is not control)):
            for flavour in self._workspace.spec.flavours:
                more = self._configure(subject, flavour)
                configured(more)
                shared += self._start_bases(pool, more) if early else []
                rows += more
        planned = [
            Planned(subject, one.cell, one.reason if isinstance(one, RuledOut) else "")
            for subject, one in rows
        ]
        require_possible(self._workspace.spec, planned)
        if not early:
            ruled_out = {one.cell.id: one.reason for _, one in rows if isinstance(one, RuledOut)}
            cell_choice.require_legal(choice, ruled_out, each=not self._workspace.spec.skip_illegal)
            shared += [pool.submit(self.guest), *self._start_bases(pool, rows)]
        gather(shared, ignore=(KernelFailure,))
        return rows

    def _common_base(self, control: Subject, flavour: Flavour) -> BaseSpec | None:
        """Make a flavour's common configuration. Return its base if a cell needs it for certain."""
        stages, cells = self._workspace.stages, self._workspace.spec.cells_of(control.variant.name, flavour)
        artifact = self._maker.ensure(stages.common(flavour, self._tools))
        self._tools = self._tools or artifact.path / "obj"
        text = self._common[flavour.name] = common_configuration(artifact)
        stages.require_common(control, flavour, text)
        return stages.common_spec(control, cells, text)

    def _configure(self, subject: Subject, flavour: Flavour) -> list[Row]:
        stages, cells = self._workspace.stages, self._workspace.spec.cells_of(subject.variant.name, flavour)
        if not cells:
            return []
        if failure := self._series_kconfig().get(subject.variant.name, Found()).failure:
            return [(subject, Unconfigurable(cell, failure)) for cell in cells]
        try:
            known = self._workspace.spec.to_configure(subject.variant, flavour)
            artifact = self._maker.ensure(stages.configuration(subject, known, flavour, self._tools))
        except KernelFailure as e:
            # The series breaks Kconfig: that is the result of its cells, and does not stop the others.
            if subject.variant.is_control:
                raise
            return [(subject, Unconfigurable(cell, e)) for cell in cells]
        return [(subject, one) for one in stages.configured(subject, cells, artifact)]

    def _series_kconfig(self) -> Mapping[str, Found]:
        """Return what is wrong with the Kconfig files of each series; warn once of what is only odd."""
        if self._found is None:
            self._found = look(self._workspace.subjects, self._workspace.tree.path)
            for note in (note for one in self._found.values() for note in one.notes):
                self._workspace.screen.warn(note)
        return self._found

    def guest(self) -> GuestParts:
        """Return the archives that guests are made of, from the store or newly made."""
        guest = self._maker.ensure(self._workspace.stages.guest())
        names = dict.fromkeys(name for flavour in self._workspace.spec.flavours for name in flavour.tools)
        toolsets = {name: self._maker.ensure(self._workspace.stages.toolset(name, guest)) for name in names}
        return GuestParts(
            guest.path / "guest.cpio",
            {name: a.path / "toolset.cpio" for name, a in toolsets.items()},
            origin(guest),
        )

    def _start_bases(self, pool: Executor, rows: Sequence[Row]) -> list[Future[object]]:
        specs = [self._base_spec(subject, one) for subject, one in rows if isinstance(one, Buildable)]
        return [pool.submit(self.base, spec) for spec in {spec.key: spec for spec in specs}.values()]

    def _base_spec(self, subject: Subject, configured: Buildable) -> BaseSpec:
        common = self._common[configured.cell.flavour.name]
        return self._workspace.stages.base_spec(subject, configured, common)

    @property
    def bases(self) -> tuple[Artifact, ...]:
        """The bases that are ready so far."""
        done = [f for f in self._bases.values() if f.done() and not f.exception()]
        return tuple(f.result() for f in done)

    def base(self, spec: BaseSpec) -> Artifact:
        """Return the base of a spec. The first caller makes it, the others wait for it."""
        stage = self._workspace.stages.base(spec, self._tools, expected_lines(self._workspace))
        with self._lock:
            future = self._bases.get(spec.key)
            mine = future is None
            if future is None:
                future = self._bases[spec.key] = Future()
        if mine:
            try:
                future.set_result(self._maker.ensure(stage))
            except BaseException as e:
                future.set_exception(e)
        return future.result()

    def cell(self, subject: Subject, configured: Configured) -> Built:
        """Build one cell. Its own failure is returned; Interrupted and UserError are raised."""
        match configured:
            case RuledOut():
                return configured
            case Unconfigurable(cell, failure):
                return BuildFailed(cell, failure)
            case Buildable():
                return self._build(subject, configured)
            case _:
                assert_never(configured)

    def _build(self, subject: Subject, configured: Buildable) -> BuiltCell | BuildFailed:
        stages = self._workspace.stages
        try:
            spec = self._base_spec(subject, configured)
            base = self.base(spec)
            if own := stages.own_base_spec(subject, configured, spec, base):
                base = self.base(own)
            module = self._maker.ensure(stages.module_of(subject, configured, base))
        except (Interrupted, UserError):
            raise
        except KmodpipeError as e:
            return BuildFailed(configured.cell, e)
        return BuiltCell(configured, base, module)
