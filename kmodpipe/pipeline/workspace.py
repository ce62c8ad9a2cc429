"""Prepare what a command works with: the sources of each kernel, a runtime that works, the stages.

This fetches and builds what is missing (trees, patched trees, the builder image); `dry_run` only looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kmodpipe import source
from kmodpipe.build import builder_image
from kmodpipe.build.guest_stages import GuestStages
from kmodpipe.build.packaged_stages import PackagedStages
from kmodpipe.build.recipes import Builder
from kmodpipe.build.runtime import DockerRuntime, Runtime
from kmodpipe.build.sharing import Subject
from kmodpipe.build.stages import Stages
from kmodpipe.cache import look_ahead
from kmodpipe.cache.share import Share, open_share
from kmodpipe.cache.store import Store
from kmodpipe.host import doctor
from kmodpipe.kconfig import Cell
from kmodpipe.kconfig.matrix import CONTROL_VARIANT
from kmodpipe.pipeline import cell_choice, requested_symbols, runtimes, snapshot
from kmodpipe.pipeline.patched import is_whole, patch_trees, without_module
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.pipeline.sampling import sampled
from kmodpipe.source import Tree, TreeSpec, kernels
from kmodpipe.source.kernels import KernelSource, KernelSpec
from kmodpipe.source.packaged import PackagedKernel, PackagedKernelSpec
from kmodpipe.util import costs, os_errors
from kmodpipe.util.errors import InfraError
from kmodpipe.util.screen import Screen
from kmodpipe.util.workers import Pool, workers


@dataclass(frozen=True)
class _KernelPart:
    # As cells have it: empty for the only one of a run.
    name: str
    # The run's part on this kernel.
    spec: RunSpec
    # The control, then each series that has a cell and applies.
    subjects: tuple[Subject, ...]
    # Why a variant cannot be had here, by its name: the series does not apply, the tree has no such module.
    unapplied: Mapping[str, str]


@dataclass(frozen=True)
class TreeKernel(_KernelPart):
    """One kernel of a run that is built from a tree."""

    source: Tree
    stages: Stages


@dataclass(frozen=True)
class GivenKernel(_KernelPart):
    """One kernel of a run as a distribution built it."""

    source: PackagedKernel
    stages: PackagedStages


Kernel = TreeKernel | GivenKernel


@dataclass(frozen=True)
class Workspace:
    """What a command works with."""

    spec: RunSpec
    kernels: tuple[Kernel, ...]
    # Of the guests, which are the same for every kernel.
    guest: GuestStages
    runtime: Runtime
    # The runtime's identity.
    identity: Mapping[str, str]
    store: Store
    screen: Screen
    share: Share | None = None

    def kernel_of(self, cell: Cell) -> Kernel:
        """Return the kernel that a cell boots."""
        return next(kernel for kernel in self.kernels if kernel.name == cell.kernel)

    @property
    def sources(self) -> Mapping[str, KernelSource]:
        """Where each kernel comes from, by the kernel's name in cells."""
        return {kernel.name: kernel.source for kernel in self.kernels}

    @property
    def own_identity(self) -> str:
        """The identity of the control's source, of a module that is in no tree; else empty."""
        found = (one.own.identity for kernel in self.kernels for one in kernel.subjects if one.own)
        return next(found, "")

    @property
    def places(self) -> tuple[Path, ...]:
        """The folders that a run writes to."""
        return (self.store.cache, self.spec.out)


@costs.step(costs.Part.TREE)
def fetch_module(spec: RunSpec, cache: Path, screen: Screen) -> Tree | None:
    """Return the source of a module that is in no tree, the control's; None for a folder of the tree."""
    if spec.own is None:
        return None
    found = source.locate(spec.own.spec, {}, cache, warn=screen.warn)
    if found is None or spec.own.spec.moves:
        found = source.fetch(spec.own.spec, {}, cache, screen)
    return found


@costs.step(costs.Part.TREE)
def fetch_kernels(
    spec: RunSpec, cache: Path, screen: Screen, *, to_build: bool = False
) -> Mapping[str, KernelSource]:
    """Return the kernels that have a cell, by name; fetch those that are not in the cache.

    Raise InfraError before anything is fetched if the cache cannot hold them, or with ``to_build``
    has no room for what is built of them.
    """
    os_errors.require_capable(cache)
    # Each is compared with its list of files, which takes a program of its own: all at once.
    with Pool(max(len(spec.kernels), 1)) as pool:
        found = list(pool.map(lambda one: _locate(one[1], spec, cache, screen), spec.kernels))
    kernels_found = {
        name: _fetch(one, here, spec, cache, screen, to_build=to_build)
        for (name, one), here in zip(spec.kernels, found, strict=True)
    }
    trees = (one.path for one in kernels_found.values() if isinstance(one, Tree))
    look_ahead.note(cache, spec.project.root, trees)
    return kernels_found


def _locate(one: KernelSpec, spec: RunSpec, cache: Path, screen: Screen) -> KernelSource | None:
    return kernels.locate(one, spec.project.trees, cache, head=spec.head, warn=screen.warn)


def _fetch(
    one: KernelSpec,
    tree: KernelSource | None,
    spec: RunSpec,
    cache: Path,
    screen: Screen,
    *,
    to_build: bool,
) -> KernelSource:
    declared = spec.project.trees
    if tree is None and to_build and isinstance(one, TreeSpec):
        require_room(cache)
    # A branch or a tag may have moved since the last run, so the server is asked.
    if tree is None or spec.head or (isinstance(one, TreeSpec) and one.moves):
        tree = kernels.fetch(one, declared, cache, screen, head=spec.head)
    elif wanted := tree.provenance.get("stand-in-for"):
        # `fetch` warns itself when it takes a stand-in; a later run that finds it has to warn as well.
        name = tree.provenance.get("tree", tree.name)
        screen.warn(f"testing {name}, the fallback for {wanted.partition(' ')[0]}")
    return tree


def require_room(cache: Path) -> None:
    """Raise InfraError if there is no room for a tree and its kernels."""
    found = doctor.disk(cache)
    if found.ok is False:
        raise InfraError(f"not enough disk for a tree and its kernels: {found.found}", hint=found.fix)


def settled(spec: RunSpec, found: Mapping[str, KernelSource]) -> Mapping[str, RunSpec]:
    """Return the part of *spec* on each kernel that was ``found``.

    Of a tree, with the requests that it is held to, and the control's cells that its cells are compared with.
    Raise UserError for a symbol that no variant has.
    """
    trees = {name: one for name, one in found.items() if isinstance(one, Tree)}
    parts = requested_symbols.settled(spec, trees)
    parts = {
        name: part.with_choice(cell_choice.settle(part.choice, part.matrix, CONTROL_VARIANT, trees[name]))
        for name, part in parts.items()
    }
    return {name: parts[name] if name in parts else spec.on(name) for name in found}


def set_up(spec: RunSpec, cache: Path, screen: Screen, *, engine_late: bool = False) -> Workspace:
    """Fetch the trees, apply the series, open the runtime, and return the workspace.

    With ``engine_late`` the engine may be asked when the first job runs (`runtimes.late`).

    Raise UserError, before anything is built, if no tree has the module under test.
    """
    store = Store(cache)
    store.sweep()
    images = spec.project.images
    # A share may have an image that is preferred to this machine's.
    may_be_late = engine_late and spec.runtime != "host" and not spec.share
    late = runtimes.late(images, cache, screen) if may_be_late else None
    client = None if late else runtimes.require_engine(spec)
    # A tree is looked at by a program: meanwhile there is time for the engine.
    with workers(1) as aside:
        fetching = aside.submit(fetch_kernels, spec, cache, screen, to_build=True)
        share = open_share(spec.share, store, screen, isolated=spec.runtime != "host")
        runtime = late or runtimes.open_runtime(spec.runtime, images, cache, screen, share, client=client)
        with costs.step(costs.Part.ENGINE):
            left_over = runtime.sweep()
        trees = fetching.result()
    parts = settled(spec, trees)
    module = fetch_module(spec, cache, screen)
    patched = patch_trees(parts, trees, module, cache, screen)
    parts = {
        name: sampled(part, patched[name].subjects) if isinstance(trees[name], Tree) else part
        for name, part in parts.items()
    }
    spec = spec.joined(parts)
    for line in spec.sample_notes:
        screen.say(line)
    if line := cell_choice.describe(spec.choice):
        screen.say(line)
    lacking = {} if module else without_module(spec.module, patched, trees, whole=is_whole(parts))
    if left_over:
        # A container that was left over may have written to its folder after the first sweep.
        store.sweep()
    identity = runtime.identity()
    builder = Builder(runtime, snapshot.recipes(images, store), spec.jobs)
    made = tuple(
        kernel_of(
            name, part, trees[name], patched[name].subjects,
            _builder_for(name, trees[name], spec, builder, store, screen, share),
            lacking.get(name) or patched[name].reasons,
        )
        for name, part in parts.items()
    )  # fmt: skip
    guest = GuestStages(builder, identity)
    return Workspace(spec, made, guest, runtime, identity, store, screen, share)


def with_cells(workspace: Workspace, spec: RunSpec) -> Workspace:
    """Return the workspace of another run on the same kernels, of other series and cells.

    Series are applied that are not yet; nothing is fetched, looked for on the machine, or verified again.
    """
    place, screen = workspace.store.cache, workspace.screen
    parts = {one.name: requested_symbols.as_settled(spec.on(one.name), one.spec) for one in workspace.kernels}
    sources = workspace.sources
    patched = patch_trees(parts, sources, fetch_module(spec, place, screen), place, screen)
    kernels = tuple(
        replace(
            one,
            spec=parts[one.name],
            subjects=patched[one.name].subjects,
            unapplied=patched[one.name].reasons,
        )
        for one in workspace.kernels
        if parts[one.name].cells
    )
    return replace(workspace, spec=spec.joined(parts), kernels=kernels)


def kernel_of(
    name: str,
    spec: RunSpec,
    found: KernelSource,
    subjects: tuple[Subject, ...],
    builder: Builder,
    unapplied: Mapping[str, str],
) -> Kernel:
    """Return one kernel of a run with the stages of what is built for it."""
    own, identity = spec.own.declared if spec.own else None, dict(builder.runtime.identity())
    if isinstance(found, PackagedKernel):
        packaged = PackagedStages(found, spec.module, builder, identity, own)
        return GivenKernel(name, spec, subjects, unapplied, found, packaged)
    stages = Stages(found, spec.matrix, spec.module, builder, identity, name, own)
    return TreeKernel(name, spec, subjects, unapplied, found, stages)


def _builder_for(
    name: str,
    kernel: KernelSource,
    spec: RunSpec,
    builder: Builder,
    store: Store,
    screen: Screen,
    share: Share | None,
) -> Builder:
    """Return a builder with the compiler and libc of a kernel's kit; ``builder`` where none is needed."""
    if not isinstance(kernel, PackagedKernel) or spec.own is None:
        return builder
    release, declared = kernel.suite or builder_image.RELEASE, dict(spec.kernels)[name]
    runtime = runtimes.open_runtime(
        spec.runtime, spec.project.images, store.cache, screen, share,
        release=release, compiler=kernel.compiler,
        packages=declared.apt_source if isinstance(declared, PackagedKernelSpec) else None,
        client=builder.runtime.client if isinstance(builder.runtime, DockerRuntime) else None,
    )  # fmt: skip
    return replace(builder, runtime=runtime)
