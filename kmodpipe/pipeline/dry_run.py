"""List the steps of a run as cached or to do, with the reason, and make nothing; for `invoke plan`.

It looks up the same stages as a run makes, in the same order. If a step is still to do, the steps that need
its result cannot be looked up: they are listed as waiting for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import assert_never

from kmodpipe import series
from kmodpipe.build import builder_image
from kmodpipe.build.configured import Buildable, Configured, RuledOut, Unconfigurable
from kmodpipe.build.guest_stages import GuestStages
from kmodpipe.build.recipes import Builder
from kmodpipe.build.runtime import DockerRuntime, HostRuntime, Runtime, docker_engine
from kmodpipe.build.sharing import OwnTree, Subject
from kmodpipe.build.stage import Stage
from kmodpipe.build.stages import Stages, common_configuration
from kmodpipe.cache.store import Artifact, Store
from kmodpipe.kconfig import Flavour
from kmodpipe.pipeline import tools
from kmodpipe.pipeline.module_folder import changes, require_module
from kmodpipe.pipeline.patched import control_subject, own_tree, subject_of
from kmodpipe.pipeline.plan_rows import CACHED, FAILS, SKIPPED, TODO, WAITS, Row
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.pipeline.sampling import not_applied, sampled
from kmodpipe.pipeline.series_kconfig import Found, look
from kmodpipe.pipeline.workspace import (
    GivenKernel,
    Kernel,
    TreeKernel,
    kernel_of,
    settled,
)
from kmodpipe.source import Tree, TreeSpec, kernels
from kmodpipe.source.kernels import KernelSource, KernelSpec
from kmodpipe.source.packaged import PackagedKernel, PackagedKernelSpec
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import InfraError, KmodpipeError


class _Planner:
    """Looks up the steps of a run, and collects their rows."""

    def __init__(self, spec: RunSpec, cache: Path) -> None:
        self._spec = spec
        self._cache = cache
        self._store = Store(cache)
        self.rows: list[Row] = []
        # The control's source of a module that is in no tree.
        self._module_tree: Tree | None = None
        # The keys of the bases, and of the disks with tools, that have a row.
        self._bases: set[str] = set()
        self._disks: set[str] = set()
        # What guests are made of, as far as it is cached.
        self._guest_stages: GuestStages | None = None
        self._guest_root: Artifact | None = None
        self._toolsets: dict[str, Artifact] = {}

    def add(self, step: str, state: str, why: str) -> None:
        """Add a row."""
        self.rows.append(Row(step, state, why))

    def look(self, stage: Stage, step: str = "") -> Artifact | None:
        """Add the row of a stage, named ``step`` or after the stage. Return its artifact if it is cached."""
        artifact = self._store.find(stage.kind, stage.inputs, stage.check)
        name = step or f"{stage.kind} {stage.label}"
        if artifact:
            self.add(name, CACHED, artifact.key[:12])
        else:
            self.add(name, TODO, self._store.why_missed(stage.kind, stage.inputs, stage.label))
        return artifact

    def walk(self) -> None:
        """Add the rows of all steps."""
        found = {kernel: self._tree(spec) for kernel, spec in self._spec.kernels}
        trees = {kernel: tree for kernel, tree in found.items() if tree}
        parts = settled(self._spec, trees) if trees else {}
        self._spec = self._spec.joined(parts)
        module = self._module_source()
        subjects = {kernel: self._subjects(part, trees[kernel], module) for kernel, part in parts.items()}
        parts = {
            kernel: self._sampled(part, tree, subjects[kernel]) if isinstance(tree, Tree) else part
            for kernel, part in parts.items()
            for tree in [trees[kernel]]
        }
        self._spec = self._spec.joined(parts)
        self._require_module(trees)
        runtime = self._runtime()
        lacks_module = self._spec.own is not None and module is None
        if runtime is None or not trees or lacks_module:
            step = "fetch" if lacks_module or not trees else "builder image"
            self._wait(self._spec, step, guest=True)
            return
        builder = Builder(runtime, self._spec.project.images, self._spec.jobs)
        self._guest(GuestStages(builder, dict(runtime.identity())))
        for name, part in parts.items():
            own = self._builder_for(trees[name], builder)
            if own is None:
                self._wait(part, f"the builder image for {trees[name].name}")
                continue
            self._kernel(kernel_of(name, part, trees[name], subjects[name], own, {}))
        for name, spec in self._spec.kernels:
            if name not in trees:
                self._wait(self._spec.on(name), f"fetch {spec.name}")
        self.add("boot and judge every cell", TODO, "verdicts are never taken from the cache")

    def _sampled(self, spec: RunSpec, tree: Tree, subjects: Sequence[Subject]) -> RunSpec:
        """Return the part of the run with its sample, and add a row of what it covers."""
        if not spec.sample:
            return spec
        if lacking := not_applied(spec, tree, subjects):
            self.add("sample", WAITS, f"for patch {', '.join(lacking)}")
            return spec
        made = sampled(spec, subjects)
        for line in made.sample_notes:
            self.add("sample", CACHED, line)
        return made

    def _wait(self, spec: RunSpec, step: str, *, guest: bool = False) -> None:
        """Add the rows of cells that wait for ``step``."""
        for name in ("config", "base", *(["guest"] if guest else [])):
            self.add(name, WAITS, f"for {step}")
        for cell in spec.cells:
            self.add(f"module {cell.id}", WAITS, f"for {step}")

    def _module_source(self) -> OwnTree | None:
        """Return the source of a module that is in no tree, and add its row."""
        own = self._spec.own
        if own is None:
            return None
        found = kernels.locate(own.spec, {}, self._cache)
        step = f"fetch {own.name}"
        if not isinstance(found, Tree):
            self.add(step, TODO, "changed, or not here yet")
            return None
        self._module_tree = found
        self.add(step, CACHED, f"{own.control}: {found.identity}")
        return own_tree(self._spec, found)

    def _builder_for(self, kernel: KernelSource, builder: Builder) -> Builder | None:
        """Return a builder for a kernel's kit, and add the row of its image; None if that has to be made."""
        if not isinstance(kernel, PackagedKernel) or self._spec.own is None:
            return builder
        if isinstance(builder.runtime, HostRuntime):
            return replace(builder, runtime=HostRuntime(kernel.compiler))
        release = kernel.suite or builder_image.RELEASE
        if release == builder_image.RELEASE:
            return builder
        client = docker_engine.connect()
        found = builder_image.find(client, self._spec.project.images, release=release)
        if found is None:
            self._require_release(kernel)
            self.add(f"builder image of {release}", TODO, "not built for this Dockerfile yet")
            return None
        self.add(f"builder image of {release}", CACHED, found.removeprefix("sha256:")[:12])
        return replace(builder, runtime=DockerRuntime(client, found))

    def _require_release(self, kernel: PackagedKernel) -> None:
        """Raise UserError if no builder image can be made for the release of a kernel."""
        for _, declared in self._spec.kernels:
            if isinstance(declared, PackagedKernelSpec) and declared.name == kernel.name:
                builder_image.require_known(kernel.suite, declared.apt_source)

    def _require_module(self, found: Mapping[str, KernelSource]) -> None:
        """Raise UserError if no tree has the module, and no series may bring it."""
        trees = {name: tree for name, tree in found.items() if isinstance(tree, Tree)}
        if self._spec.own or len(trees) < len(found):
            return
        if trees and not any(changes(one, self._spec.folder) for one in self._spec.series):
            names = ", ".join(tree.name for tree in trees.values())
            require_module(self._spec.module, [tree.path for tree in trees.values()], names)

    def _guest(self, stages: GuestStages) -> None:
        self._guest_stages = stages
        guest = self._guest_root = self.look(stages.guest(), "guest root file system")
        for name in tools.names(self._spec):
            if guest is None:
                self.add(f"guest tools {name}", WAITS, "for guest root file system")
                continue
            try:
                stage = tools.locate(name, stages, guest, self._cache)
            except InfraError as e:
                self.add(f"guest tools {name}", FAILS, e.what)
                continue
            if stage:
                if made := self.look(stage, f"guest tools {name}"):
                    self._toolsets[name] = made
            else:
                self.add(f"guest tools {name}", TODO, "not fetched yet")

    def _disk(self, one: Buildable) -> None:
        """Add the row of the disk with a cell's tools, if there is one and it has no row already."""
        stages, guest = self._guest_stages, self._guest_root
        names = self._spec.tools(one.cell.flavour)
        if stages is None or guest is None or not self._toolsets.keys() >= set(names):
            return

        def look(packages: Mapping[str, Artifact], sets: Mapping[str, Artifact]) -> Artifact | None:
            stage = stages.disk(packages, sets, guest)
            key = digest_of(stage.inputs)
            if key in self._disks:
                return None
            self._disks.add(key)
            return self.look(stage, f"guest tools on a disk: {', '.join(packages)}")

        packages = tools.packages_of(self._spec, stages)
        tools.handed({name: self._toolsets[name] for name in names}, packages, one.final, look)

    def _kernel(self, kernel: Kernel) -> None:
        """Add the rows of one kernel's cells."""
        if isinstance(kernel, GivenKernel):
            self._given(kernel)
            return
        found = look(kernel.subjects, kernel.source.path)
        for flavour in kernel.spec.flavours:
            common = self._common(kernel, flavour)
            for subject in kernel.subjects:
                if failure := found.get(subject.variant.name, Found()).failure:
                    for cell in kernel.spec.cells_of(subject.variant.name, flavour):
                        self.add(f"module {cell.id}", FAILS, failure.what)
                    continue
                self._variant(kernel, subject, flavour, common)

    def _given(self, kernel: GivenKernel) -> None:
        """Add the rows of the cells of a distribution's kernel."""
        base = self.look(kernel.stages.base())
        for subject in kernel.subjects:
            for one in kernel.stages.configured(subject, kernel.spec.cells_of(subject.variant.name)):
                step = f"module {one.cell.id}"
                if isinstance(one, RuledOut):
                    self.add(step, SKIPPED, one.reason)
                elif isinstance(one, Buildable) and base:
                    self.look(kernel.stages.module_of(subject, one), step)
                else:
                    self.add(step, WAITS, f"for base {kernel.source.release}")

    def _tree(self, spec: KernelSpec) -> KernelSource | None:
        if self._spec.head:
            self.add(f"fetch {spec.name}", TODO, "the moving head is always looked up")
            return None
        tree = kernels.locate(spec, self._spec.project.trees, self._cache)
        if tree is None:
            self.add(f"fetch {spec.name}", TODO, "not here yet")
        elif isinstance(spec, TreeSpec) and spec.moves:
            why = f"a branch or tag is looked up each time; below it is {tree.identity}, as fetched last"
            self.add(f"fetch {spec.name}", TODO, why)
        else:
            self.add(f"fetch {spec.name}", CACHED, tree.identity)
        return tree

    def _subjects(self, spec: RunSpec, tree: KernelSource, own: OwnTree | None) -> tuple[Subject, ...]:
        subjects = [control_subject(tree, own)]
        several = len(spec.trees) > 1
        patchable = self._module_tree if spec.own else tree
        for one, cells in spec.series_on(tree):
            step = f"patch {one.name}" + (f" on {tree.name}" if several else "")
            path = series.applied_path(one, patchable, self._cache) if isinstance(patchable, Tree) else None
            reason = spec.left_out(one, tree)
            if isinstance(patchable, PackagedKernel):
                reason = patchable.no_patches
            if reason:
                self.add(step, SKIPPED, reason)
                for cell in cells:
                    self.add(f"module {cell.id}", SKIPPED, reason)
            elif path:
                self.add(step, CACHED, one.digest[:12])
                subjects.append(subject_of(cells[0].variant, one, path, tree, own))
            else:
                self.add(step, TODO, "not applied to this tree yet")
                for cell in cells:
                    self.add(f"module {cell.id}", WAITS, f"for {step}")
        return tuple(subjects)

    def _runtime(self) -> Runtime | None:
        if self._spec.runtime == "host":
            return HostRuntime()
        try:
            client = docker_engine.connect()
        except InfraError as e:
            self.add("builder image", TODO, e.what)
            return None
        found = builder_image.find(client, self._spec.project.images)
        if found is None:
            self.add("builder image", TODO, "not built for this Dockerfile yet")
            return None
        self.add("builder image", CACHED, found.removeprefix("sha256:")[:12])
        return DockerRuntime(client, found)

    def _common(self, kernel: TreeKernel, flavour: Flavour) -> str | None:
        """Return the text of the flavour's common configuration, or None if it is not cached or not valid."""
        stage = kernel.stages.common(flavour)
        found = self.look(stage, f"configure {stage.label}")
        if found is None:
            return None
        text = common_configuration(found)
        try:
            kernel.stages.require_common(kernel.subjects[0], flavour, text)
        except KmodpipeError as e:
            self.add(f"verify {stage.label}", FAILS, e.what)
            return None
        return text

    def _variant(self, kernel: TreeKernel, subject: Subject, flavour: Flavour, common: str | None) -> None:
        """Add the rows of one variant in one flavour."""
        spec, stages = kernel.spec, kernel.stages
        cells = spec.cells_of(subject.variant.name, flavour)
        if not cells:
            return
        stage = stages.configuration(subject, spec.to_configure(subject.variant, flavour), flavour)
        name = stage.label
        config = self.look(stage, f"configure {name}")
        if config is None:
            for cell in cells:
                self.add(f"module {cell.id}", WAITS, f"for configure {name}")
            return
        for one in stages.configured(subject, cells, config):
            self._cell(stages, subject, one, common)

    def _cell(self, stages: Stages, subject: Subject, one: Configured, common: str | None) -> None:
        step = f"module {one.cell.id}"
        match one:
            case RuledOut(_, reason):
                self.add(step, SKIPPED, reason)
            case Unconfigurable(_, failure):
                self.add(step, FAILS, failure.what)
            case Buildable():
                if common is None:
                    self.add(step, WAITS, "for the common configuration")
                else:
                    self._module(stages, subject, one, common)
                self._disk(one)
            case _:
                assert_never(one)

    def _module(self, stages: Stages, subject: Subject, one: Buildable, common: str) -> None:
        """Add the rows of a cell's base, unless it has one already, and of the cell's module."""
        step = f"module {one.cell.id}"
        spec = stages.base_spec(subject, one, common)
        base = self._base(stages.base(spec), step)
        if base and (own := stages.own_base_spec(subject, one, spec, base)):
            base = self._base(stages.base(own), step)
        if base:
            stage: Stage | None = stages.module_of(subject, one, base)
            while stage:
                found, last = self._store.find(stage.kind, stage.inputs, stage.check), stage
                stage = stages.fuller(subject, one, base, found) if found else None
            self.look(last, step)

    def _base(self, stage: Stage, step: str) -> Artifact | None:
        """Add the row of a base, unless it has one already. If it is not cached, ``step`` waits for it."""
        key = digest_of(stage.inputs)
        found = key in self._bases
        base = self._store.find(stage.kind, stage.inputs, stage.check) if found else self.look(stage)
        self._bases.add(key)
        if base is None:
            self.add(step, WAITS, f"for base {stage.label}")
        return base


def rows(spec: RunSpec, cache: Path) -> tuple[Row, ...]:
    """Return the plan of a run, in the order of the steps."""
    planner = _Planner(spec, cache)
    planner.walk()
    return tuple(planner.rows)
