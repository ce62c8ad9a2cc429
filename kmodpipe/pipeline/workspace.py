"""The workspace of a command: the source of each variant, a runtime that works, the stages.

What takes time to get (a tree, a patched tree, the builder image) is got only where the command needs it:
`invoke plan` looks, the others fetch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kmodpipe.build.recipes import Builder
from kmodpipe.source import Tree
from kmodpipe.util.errors import InfraError

if TYPE_CHECKING:
    pass


from kmodpipe import series, source
from kmodpipe.build import builder_image, image_cleanup
from kmodpipe.build import shared_image as shared_builder
from kmodpipe.build.runtime import DockerRuntime, HostRuntime, Runtime, docker_engine, memory_mib
from kmodpipe.build.stages import Stages, Subject
from kmodpipe.cache.share import Share, open_share
from kmodpipe.cache.store import Store
from kmodpipe.kconfig.matrix import CONTROL_VARIANT
from kmodpipe.pipeline import snapshot
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.util import os_errors
from kmodpipe.util.screen import Screen


@dataclass(frozen=True)
class Workspace:
    """Everything in place: the source of each variant, a runtime that works, the stages."""

    spec: RunSpec
    tree: Tree
    subjects: tuple[Subject, ...]
    runtime: Runtime
    identity: Mapping[str, str]
    stages: Stages
    store: Store
    screen: Screen
    share: Share | None = None

    @property
    def places(self) -> tuple[Path, ...]:
        """Where a run writes."""
        return (self.store.cache, self.spec.out)


def fetch_tree(spec: RunSpec, cache: Path, screen: Screen) -> Tree:
    """Return the tree under test, fetched where it is not here yet."""
    declared = spec.project.trees
    os_errors.require_capable(cache)
    anew = spec.head or (spec.latest and spec.tree.moves)
    tree = None if anew else source.locate(spec.tree, declared, cache, warn=screen.warn)
    if tree is None:
        tree = source.fetch(spec.tree, declared, cache, screen, head=spec.head)
    elif told := tree.provenance.get("stand-in-for"):
        # `fetch` says so itself when it takes the stand-in; a later run that finds it must not keep silent.
        screen.warn(f"testing {tree.provenance.get('tree', tree.name)} as the stand-in for {told}")
    return tree


def control_subject(tree: Tree) -> Subject:
    """Return the pristine tree, which every series is compared with."""
    return Subject(CONTROL_VARIANT, None, tree.path)


def patch_tree(spec: RunSpec, tree: Tree, cache: Path, screen: Screen) -> tuple[Subject, ...]:
    """Return the source of the control, and the patched one of each series that has a cell."""
    subjects = [control_subject(tree)]
    for one in spec.series:
        cells = spec.cells_of(one.name)
        if cells:
            if told := series.mismatch(one, tree):
                screen.warn(told)
            patched = series.apply(one, tree, cache, screen)
            subjects.append(Subject(cells[0].variant, one, patched))
    return tuple(subjects)


def open_runtime(name: str, images: Path, cache: Path, screen: Screen, share: Share | None = None) -> Runtime:
    """The runtime by name, ready: for Docker the engine answers and the builder image is there, the
    shared one before one of this machine's own.

    Raises InfraError with the way out where it cannot be had.
    """
    if name == "host":
        screen.warn(
            "--runtime host: builds run without isolation: what the tree and the series have in their "
            "Makefiles runs as you, with your files and your network"
        )
        return HostRuntime()
    try:
        client = docker_engine.connect()
        image_id = share and shared_builder.pull(client, images, share, Store(cache), screen)
        if not image_id:
            image_id = builder_image.ensure(client, images, cache, screen)
            if share:
                shared_builder.push(client, images, image_id, share, Store(cache), screen)
    except InfraError as e:
        # Offered by name, never taken silently: a build without isolation is the user's decision.
        raise InfraError(
            e.what, where=e.where, detail=e.detail, hint=f"{e.hint}; or build without Docker: --runtime host"
        ) from e
    image_cleanup.note_use(cache, images, image_id)
    return DockerRuntime(client, image_id, memory_mib=memory_mib(), warn=screen.warn)


def set_up(spec: RunSpec, cache: Path, screen: Screen) -> Workspace:
    """Fetch, patch, and open the runtime."""
    store = Store(cache)
    store.sweep()
    tree = fetch_tree(spec, cache, screen)
    subjects = patch_tree(spec, tree, cache, screen)
    images = spec.project.images
    share = open_share(spec.share, store, screen, isolated=spec.runtime != "host")
    runtime = open_runtime(spec.runtime, images, cache, screen, share)
    if runtime.sweep():
        # A container that was left over may have written on after its folder was swept.
        store.sweep()
    identity = runtime.identity()
    builder = Builder(runtime, snapshot.recipes(images, store), spec.jobs)
    stages = Stages(tree, spec.matrix, spec.module, builder, identity)
    return Workspace(spec, tree, subjects, runtime, identity, stages, store, screen, share)
