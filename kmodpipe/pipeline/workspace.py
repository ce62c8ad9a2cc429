"""Prepare what a command works with: the sources of each kernel, a runtime that works, the stages.

This fetches and builds what is missing (trees, patched trees, the builder image); `dry_run` only looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kmodpipe import series, source
from kmodpipe.build import builder_image, image_cleanup, shared_image
from kmodpipe.build.guest_stages import GuestStages
from kmodpipe.build.kbuild import split
from kmodpipe.build.recipes import Builder
from kmodpipe.build.runtime import DockerRuntime, HostRuntime, Runtime, docker_engine, memory_mib, same_files
from kmodpipe.build.sharing import Subject
from kmodpipe.build.stages import Stages
from kmodpipe.cache.share import Share, open_share
from kmodpipe.cache.store import Store
from kmodpipe.host import doctor
from kmodpipe.kconfig import Cell
from kmodpipe.kconfig.matrix import CONTROL_VARIANT
from kmodpipe.pipeline import cell_choice, requested_symbols, snapshot
from kmodpipe.pipeline.module_folder import require_module
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.pipeline.sampling import sampled
from kmodpipe.source import Tree, TreeSpec
from kmodpipe.util import os_errors
from kmodpipe.util.errors import InfraError, UserError
from kmodpipe.util.screen import Screen


@dataclass(frozen=True)
class Kernel:
    """One kernel of a run: its tree, and what is built from it."""

    # As cells have it: empty for the only one of a run.
    name: str
    # The run's part on this kernel.
    spec: RunSpec
    tree: Tree
    # The control, then each series that has a cell and applies.
    subjects: tuple[Subject, ...]
    stages: Stages
    # Why a variant cannot be had here, by its name: the series does not apply, the tree has no such module.
    unapplied: Mapping[str, str] = field(default_factory=dict)


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
    def trees(self) -> Mapping[str, Tree]:
        """The tree of each kernel, by the kernel's name in cells."""
        return {kernel.name: kernel.tree for kernel in self.kernels}

    @property
    def places(self) -> tuple[Path, ...]:
        """The folders that a run writes to."""
        return (self.store.cache, self.spec.out)


def fetch_trees(spec: RunSpec, cache: Path, screen: Screen, *, to_build: bool = False) -> Mapping[str, Tree]:
    """Return the trees of the kernels that have a cell, by name; fetch those that are not in the cache.

    Raise InfraError before anything is fetched if the cache cannot hold them, or with ``to_build``
    has no room for what is built of them.
    """
    os_errors.require_capable(cache)
    return {name: _fetch(one, spec, cache, screen, to_build=to_build) for name, one in spec.kernels}


def _fetch(one: TreeSpec, spec: RunSpec, cache: Path, screen: Screen, *, to_build: bool) -> Tree:
    declared = spec.project.trees
    tree = source.locate(one, declared, cache, head=spec.head, warn=screen.warn)
    if tree is None and to_build:
        require_room(cache)
    # A branch or a tag may have moved since the last run, so the server is asked.
    if tree is None or spec.head or one.moves:
        tree = source.fetch(one, declared, cache, screen, head=spec.head)
    elif wanted := tree.provenance.get("stand-in-for"):
        # `fetch` warns itself when it takes a stand-in; a later run that finds it has to warn as well.
        screen.warn(f"testing {tree.provenance.get('tree', tree.name)} as the stand-in for {wanted}")
    return tree


def require_room(cache: Path) -> None:
    """Raise InfraError if there is no room for a tree and its kernels."""
    found = doctor.disk(cache)
    if found.ok is False:
        raise InfraError(f"not enough disk for a tree and its kernels: {found.found}", hint=found.fix)


def require_engine(spec: RunSpec) -> None:
    """Raise InfraError if the run builds in Docker and no engine answers."""
    if spec.runtime == "host":
        return
    seen = docker_engine.look(3)
    if seen.state is not docker_engine.State.ANSWERS:
        raise with_way_out(docker_engine.unusable(seen))


def with_way_out(error: InfraError) -> InfraError:
    """Return an error of the engine with a hint at building without it, which is the user's decision."""
    hint = f"{error.hint}; or build without Docker: --runtime host"
    return InfraError(error.what, where=error.where, detail=error.detail, hint=hint)


def settled(spec: RunSpec, trees: Mapping[str, Tree]) -> Mapping[str, RunSpec]:
    """Return the part of *spec* on each kernel whose tree is known: with the requests that it is held to, and
    with the control's cells that its cells are compared with.

    Raise UserError for a symbol that no variant has.
    """
    parts = requested_symbols.settled(spec, trees)
    return {
        name: part.with_choice(cell_choice.settle(part.choice, part.matrix, CONTROL_VARIANT, trees[name]))
        for name, part in parts.items()
    }


def control_subject(tree: Tree) -> Subject:
    """Return the subject of the pristine tree, which every series is compared with."""
    return Subject(CONTROL_VARIANT, None, tree.path)


@dataclass(frozen=True)
class Patched:
    """The sources of one kernel: the control's, and those of each series that has a cell and applies."""

    subjects: tuple[Subject, ...]
    # By the variant's name.
    refused: Mapping[str, UserError] = field(default_factory=dict)

    @property
    def reasons(self) -> Mapping[str, str]:
        """Why a series does not apply, by the variant's name."""
        return {name: error.sentence for name, error in self.refused.items()}


def patch_trees(
    parts: Mapping[str, RunSpec], trees: Mapping[str, Tree], cache: Path, screen: Screen
) -> Mapping[str, Patched]:
    """Apply each series to each kernel's tree where it has a cell, unless that is in the cache.

    In a run with several kernels, a series that does not apply to one of them, or does not declare to
    (``applies-to``), is left out there. Raise UserError for one that applies to none.
    """
    found = {name: _patched(part, trees[name], cache, screen) for name, part in parts.items()}
    if not _is_whole(parts):
        return found
    applied = {subject.variant.name for one in found.values() for subject in one.subjects}
    for name, error in [(name, e) for one in found.values() for name, e in one.refused.items()]:
        if name not in applied:
            reasons = [one.reasons[name] for one in found.values() if name in one.refused]
            raise UserError(
                f"series {name} applies to none of the kernels: {', '.join(t.name for t in trees.values())}",
                detail="\n".join(reasons),
                hint=error.hint,
            )
    return found


def _is_whole(parts: Mapping[str, RunSpec]) -> bool:
    """Return whether these are all kernels of the run, and not those of a job."""
    return all(len(part.trees) == len(parts) for part in parts.values())


def _patched(spec: RunSpec, tree: Tree, cache: Path, screen: Screen) -> Patched:
    subjects, refused = [control_subject(tree)], dict[str, UserError]()
    for one, cells in spec.series_on(tree):
        if reason := spec.left_out(one, tree):
            refused[one.name] = UserError(reason, hint="applies-to of series.toml says so")
            continue
        if warning := series.mismatch(one, tree):
            screen.warn(warning)
        try:
            patched = series.apply(one, tree, cache, screen)
        except series.DoesNotApply as e:
            if len(spec.trees) == 1:
                raise
            refused[one.name] = e
        else:
            subjects.append(Subject(cells[0].variant, one, patched))
    for error in refused.values():
        screen.say(f"not tested on {tree.name}: {error.sentence}")
    return Patched(tuple(subjects), refused)


def _without_module(
    module: str, patched: Mapping[str, Patched], trees: Mapping[str, Tree], *, whole: bool
) -> Mapping[str, Mapping[str, str]]:
    """Return why no variant can be built on a kernel whose sources lack the module, by kernel.

    Raise UserError if no kernel of a ``whole`` run has it.
    """
    found: dict[str, UserError] = {}
    for name, one in patched.items():
        try:
            require_module(module, [subject.src for subject in one.subjects], trees[name].name)
        except UserError as e:
            found[name] = e
    if whole and len(found) == len(patched):
        raise next(iter(found.values()))
    reason = f"the tree has no module {module if split(module)[1] else f'in {module}'}"
    return {
        name: {**dict.fromkeys((s.variant.name for s in one.subjects), reason), **one.reasons}
        for name, one in patched.items()
        if name in found
    }


def open_runtime(
    name: str,
    images: Path,
    cache: Path,
    screen: Screen,
    share: Share | None = None,
    *,
    release: str = builder_image.RELEASE,
    compiler: str = "",
) -> Runtime:
    """Return the runtime of that name. For Docker, connect to the engine and get a builder image.

    ``release`` is whose image it is, and ``compiler`` what a module's kernel asks for, which the host has to
    have. The share's builder image is preferred to one of this machine. Raises InfraError if the engine does
    not answer or has no image, with a hint at --runtime host.
    """
    if name == "host":
        screen.warn(
            "--runtime host: builds run without isolation: commands in Makefiles of the tree and the series "
            "run as you, with your files and your network"
        )
        return HostRuntime(compiler)
    try:
        client = docker_engine.connect()
        image_id = share and shared_image.pull(client, images, share, Store(cache), screen, release)
        if not image_id:
            image_id = builder_image.ensure(client, images, cache, screen, release=release)
            if share:
                shared_image.push(client, images, image_id, share, Store(cache), screen, release)
    except InfraError as e:
        raise with_way_out(e) from e
    image_cleanup.note_use(cache, images, image_id, release)
    runtime = DockerRuntime(client, image_id, memory_mib=memory_mib(), warn=screen.warn)
    same_files.require(runtime, Store(cache))
    return runtime


def set_up(spec: RunSpec, cache: Path, screen: Screen) -> Workspace:
    """Fetch the trees, apply the series, open the runtime, and return the workspace.

    Raise UserError, before anything is built, if no tree has the module under test.
    """
    store = Store(cache)
    store.sweep()
    require_engine(spec)
    trees = fetch_trees(spec, cache, screen, to_build=True)
    parts = settled(spec, trees)
    patched = patch_trees(parts, trees, cache, screen)
    parts = {name: sampled(part, patched[name].subjects) for name, part in parts.items()}
    spec = spec.joined(parts)
    for line in spec.sample_notes:
        screen.say(line)
    if line := cell_choice.describe(spec.choice):
        screen.say(line)
    lacking = _without_module(spec.module, patched, trees, whole=_is_whole(parts))
    images = spec.project.images
    share = open_share(spec.share, store, screen, isolated=spec.runtime != "host")
    runtime = open_runtime(spec.runtime, images, cache, screen, share)
    if runtime.sweep():
        # A container that was left over may have written to its folder after the first sweep.
        store.sweep()
    identity = runtime.identity()
    builder = Builder(runtime, snapshot.recipes(images, store), spec.jobs)
    kernels = tuple(
        Kernel(
            name, part, trees[name], patched[name].subjects,
            Stages(trees[name], part.matrix, spec.module, builder, identity, kernel=name),
            lacking.get(name) or patched[name].reasons,
        )
        for name, part in parts.items()
    )  # fmt: skip
    guest = GuestStages(builder, identity)
    return Workspace(spec, kernels, guest, runtime, identity, store, screen, share)
