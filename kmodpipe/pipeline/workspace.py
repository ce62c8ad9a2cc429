"""Prepare what a command works with: the source of each variant, a runtime that works, the stages.

This fetches and builds what is missing (the tree, patched trees, the builder image); `dry_run` only looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kmodpipe import series, source
from kmodpipe.build import builder_image, image_cleanup, shared_image
from kmodpipe.build.recipes import Builder
from kmodpipe.build.runtime import DockerRuntime, HostRuntime, Runtime, docker_engine, memory_mib, same_files
from kmodpipe.build.sharing import Subject
from kmodpipe.build.stages import Stages
from kmodpipe.cache.share import Share, open_share
from kmodpipe.cache.store import Store
from kmodpipe.host import doctor
from kmodpipe.kconfig.matrix import CONTROL_VARIANT
from kmodpipe.pipeline import cell_choice, requested_symbols, snapshot
from kmodpipe.pipeline.module_folder import require_folder
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.source import Tree
from kmodpipe.util import os_errors
from kmodpipe.util.errors import InfraError
from kmodpipe.util.screen import Screen


@dataclass(frozen=True)
class Workspace:
    """What a command works with."""

    spec: RunSpec
    tree: Tree
    # The control, then each series that has a cell.
    subjects: tuple[Subject, ...]
    runtime: Runtime
    # The runtime's identity.
    identity: Mapping[str, str]
    stages: Stages
    store: Store
    screen: Screen
    share: Share | None = None

    @property
    def places(self) -> tuple[Path, ...]:
        """The folders that a run writes to."""
        return (self.store.cache, self.spec.out)


def fetch_tree(spec: RunSpec, cache: Path, screen: Screen, *, to_build: bool = False) -> Tree:
    """Return the tree under test; fetch it if it is not in the cache.

    Raise InfraError before anything is fetched if the cache cannot hold it, or with ``to_build``
    has no room for what is built of it.
    """
    declared = spec.project.trees
    os_errors.require_capable(cache)
    tree = source.locate(spec.tree, declared, cache, head=spec.head, warn=screen.warn)
    if tree is None and to_build:
        require_room(cache)
    # A branch or a tag may have moved since the last run, so the server is asked.
    if tree is None or spec.head or spec.tree.moves:
        tree = source.fetch(spec.tree, declared, cache, screen, head=spec.head)
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


def settled(spec: RunSpec, tree: Tree) -> RunSpec:
    """Return *spec* for this tree: with the requests that it is held to, and with the control's cells that
    its cells are compared with.

    Raise UserError for a symbol that no variant has.
    """
    spec = requested_symbols.settled(spec, tree)
    choice = cell_choice.settle(spec.choice, spec.matrix, CONTROL_VARIANT, tree)
    return spec.with_choice(choice)


def control_subject(tree: Tree) -> Subject:
    """Return the subject of the pristine tree, which every series is compared with."""
    return Subject(CONTROL_VARIANT, None, tree.path)


def patch_tree(spec: RunSpec, tree: Tree, cache: Path, screen: Screen) -> tuple[Subject, ...]:
    """Return the control and each series that has a cell, after applying those that are not in the cache."""
    subjects = [control_subject(tree)]
    for one in spec.series:
        cells = spec.cells_of(one.name)
        if cells:
            if warning := series.mismatch(one, tree):
                screen.warn(warning)
            patched = series.apply(one, tree, cache, screen)
            subjects.append(Subject(cells[0].variant, one, patched))
    return tuple(subjects)


def open_runtime(name: str, images: Path, cache: Path, screen: Screen, share: Share | None = None) -> Runtime:
    """Return the runtime of that name. For Docker, connect to the engine and get the builder image.

    The share's builder image is preferred to one of this machine. Raises InfraError if the engine does not
    answer or has no image, with a hint at --runtime host.
    """
    if name == "host":
        screen.warn(
            "--runtime host: builds run without isolation: commands in Makefiles of the tree and the series "
            "run as you, with your files and your network"
        )
        return HostRuntime()
    try:
        client = docker_engine.connect()
        image_id = share and shared_image.pull(client, images, share, Store(cache), screen)
        if not image_id:
            image_id = builder_image.ensure(client, images, cache, screen)
            if share:
                shared_image.push(client, images, image_id, share, Store(cache), screen)
    except InfraError as e:
        raise with_way_out(e) from e
    image_cleanup.note_use(cache, images, image_id)
    runtime = DockerRuntime(client, image_id, memory_mib=memory_mib(), warn=screen.warn)
    same_files.require(runtime, Store(cache))
    return runtime


def set_up(spec: RunSpec, cache: Path, screen: Screen) -> Workspace:
    """Fetch the tree, apply the series, open the runtime, and return the workspace.

    Raise UserError, before anything is built, if the tree has no folder of the module under test.
    """
    store = Store(cache)
    store.sweep()
    require_engine(spec)
    tree = fetch_tree(spec, cache, screen, to_build=True)
    spec = settled(spec, tree)
    if line := cell_choice.describe(spec.choice):
        screen.say(line)
    subjects = patch_tree(spec, tree, cache, screen)
    require_folder(spec.module, [subject.src for subject in subjects], tree.name)
    images = spec.project.images
    share = open_share(spec.share, store, screen, isolated=spec.runtime != "host")
    runtime = open_runtime(spec.runtime, images, cache, screen, share)
    if runtime.sweep():
        # A container that was left over may have written to its folder after the first sweep.
        store.sweep()
    identity = runtime.identity()
    builder = Builder(runtime, snapshot.recipes(images, store), spec.jobs)
    stages = Stages(tree, spec.matrix, spec.module, builder, identity)
    return Workspace(spec, tree, subjects, runtime, identity, stages, store, screen, share)
