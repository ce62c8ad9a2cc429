"""The bench: everything one command works on, put together in order — tree, series, matrix, runtime.

What it takes time to get (a tree, a patched tree, the builder image) is got only where the command needs
it: `invoke plan` looks, the others fetch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kmodpipe import kconfig
from kmodpipe.build.recipes import Builder
from kmodpipe.kconfig import Cell, Flavour, Matrix, Variant
from kmodpipe.series import Series
from kmodpipe.source import Tree
from kmodpipe.util import paths
from kmodpipe.util.errors import InfraError, UserError

if TYPE_CHECKING:
    pass

import fnmatch

from kmodpipe import series, source
from kmodpipe.build import builder_image, image_cleanup
from kmodpipe.build import shared_image as shared_builder
from kmodpipe.build.runtime import DockerRuntime, HostRuntime, Runtime, docker_engine, memory_mib
from kmodpipe.build.stages import Stages, Subject
from kmodpipe.cache.share import Share, open_share
from kmodpipe.cache.store import Store
from kmodpipe.kconfig.matrix import CONTROL
from kmodpipe.pipeline import snapshot
from kmodpipe.pipeline.config import Project
from kmodpipe.util import os_errors
from kmodpipe.util.errors import unknown_name
from kmodpipe.util.screen import Screen

CONTROL_DESIGN = "none"


@dataclass(frozen=True)
class Asked:
    """The request with every name resolved; nothing fetched, nothing started."""

    project: Project
    request: Request
    matrix: Matrix
    module: str
    series: tuple[Series, ...]
    cells: tuple[Cell, ...]

    @property
    def flavours(self) -> tuple[Flavour, ...]:
        """The flavours that have a cell."""
        return tuple({cell.flavour.name: cell.flavour for cell in self.cells}.values())

    def cells_of(self, variant: str, flavour: Flavour | None = None) -> tuple[Cell, ...]:
        return tuple(
            cell for cell in self.cells if cell.variant.name == variant and flavour in (None, cell.flavour)
        )


def resolve(project: Project, request: Request) -> Asked:
    """Turn names into records. Raises UserError with the near names for one that is not there."""
    if request.runtime not in ("docker", "host"):
        raise unknown_name("runtime", request.runtime, ("docker", "host"))
    source.resolve(request.tree, project.trees)
    loaded = tuple(series.load(name, project.patches) for name in request.series if name != "none")
    if request.each_patch:
        loaded = tuple(one for whole in loaded for one in (*whole.prefixes(), whole))
    doubled = {s.name for s in loaded if [x.name for x in loaded].count(s.name) > 1} | (
        {CONTROL} & {s.name for s in loaded}
    )
    if doubled:
        raise UserError(f"two variants with one name: {', '.join(sorted(doubled))}")
    matrix = kconfig.load_matrix(request.matrix)
    module = only_module(loaded, matrix, request.module)
    variants = [
        Variant(CONTROL, CONTROL_DESIGN, {}),
        *(Variant(s.name, s.design, s.axes, s.partial) for s in loaded),
    ]
    chosen = cells(matrix, variants, request)
    return Asked(project, request, matrix, module, loaded, chosen)


def cells(matrix: Matrix, variants: Sequence[Variant], request: Request) -> tuple[Cell, ...]:
    """The cells of the flavours that are asked for, as far as ``request.cells`` names them."""
    known = kconfig.expand(matrix, variants, kconfig.flavours_of(matrix, request.flavours))
    if not request.cells:
        return known
    # A cell's id is enough to name it: where no flavour is asked for, what fits no plain cell may be one of
    # a flavour's.
    others = () if request.flavours else kconfig.expand(matrix, variants, tuple(matrix.flavours.values()))
    wanted: set[str] = set()
    for pattern in request.cells:
        hits = _hits(pattern, known) or _hits(pattern, others)
        if not hits:
            ids = [cell.id for cell in (*known, *others)]
            raise unknown_name("cell", pattern, ids, hint="patterns with * work; quote them in a shell")
        wanted.update(hits)
    return tuple(cell for cell in (*known, *others) if cell.id in wanted)


def _hits(pattern: str, cells: Sequence[Cell]) -> list[str]:
    ids = [cell.id for cell in cells]
    return [i for i in ids if i == pattern] or fnmatch.filter(ids, pattern)


@dataclass(frozen=True)
class Bench:
    """Everything in place: the source of each variant, a runtime that works, the stages."""

    asked: Asked
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
        return (self.store.cache, self.asked.request.out)


def fetch_tree(asked: Asked, cache: Path, screen: Screen) -> Tree:
    """The tree under test, fetched where it is not here yet."""
    request, declared = asked.request, asked.project.trees
    os_errors.require_capable(cache)
    spec = source.resolve(request.tree, declared)
    anew = request.head or (request.latest and spec.moves)
    tree = None if anew else source.locate(spec, declared, cache, tell=screen.warn)
    if tree is None:
        tree = source.fetch(spec, declared, cache, screen, head=request.head)
    elif told := tree.provenance.get("stand-in-for"):
        # `fetch` says so itself when it takes the stand-in; a later run that finds it must not keep silent.
        screen.warn(f"testing {tree.provenance.get('tree', tree.name)} as the stand-in for {told}")
    return tree


def control_subject(tree: Tree) -> Subject:
    """The pristine tree, which every series is compared with."""
    return Subject(Variant(CONTROL, CONTROL_DESIGN, {}), None, tree.path)


def patch_tree(asked: Asked, tree: Tree, cache: Path, screen: Screen) -> tuple[Subject, ...]:
    """The source of the control, and the patched one of each series that has a cell."""
    subjects = [control_subject(tree)]
    for one in asked.series:
        cells = asked.cells_of(one.name)
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


def set_up(asked: Asked, cache: Path, screen: Screen) -> Bench:
    """Fetch, patch, and open the runtime."""
    store = Store(cache)
    store.sweep()
    tree = fetch_tree(asked, cache, screen)
    subjects = patch_tree(asked, tree, cache, screen)
    name = asked.request.runtime
    share = open_share(asked.request.share, store, screen, isolated=name != "host")
    runtime = open_runtime(name, asked.project.images, cache, screen, share)
    if runtime.sweep():
        # A container that was left over may have written on after its folder was swept.
        store.sweep()
    identity = runtime.identity()
    builder = Builder(runtime, snapshot.recipes(asked.project.images, store), asked.request.jobs)
    stages = Stages(tree, asked.matrix, asked.module, builder, identity)
    return Bench(asked, tree, subjects, runtime, identity, stages, store, screen, share)


@dataclass(frozen=True)
class Request:
    """What one command was asked to do; names as the user gave them. ``shuffle`` is the seed of the cases'
    order, 0 for the declared one; ``share`` the repository that what is built comes from and goes to;
    ``latest``: a branch of git is what it is now, not what it was when it was fetched."""

    tree: str
    series: tuple[str, ...]
    matrix: Path
    out: Path
    jobs: int
    runtime: str = "docker"
    head: bool = False
    module: str | None = None
    flavours: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    case_files: tuple[Path, ...] = ()
    shuffle: int = 0
    each_patch: bool = False
    share: str = ""
    latest: bool = False


def only_module(series: Iterable[Series], matrix: Matrix, asked: str | None) -> str:
    """The one module folder of a run: asked for, or named by the series, or by the matrix.

    Raises UserError where they disagree or none says it.
    """
    if asked:
        return _module_folder(asked, "--module")
    named = {s.module.strip("/"): s.name for s in series if s.module}
    if len(named) > 1:
        raise UserError(
            "the series are for different modules: " + ", ".join(f"{s} for {m}" for m, s in named.items()),
            hint="run them one at a time, or name one with --module",
        )
    if named:
        folder, owner = next(iter(named.items()))
        return _module_folder(folder, f"series.toml of {owner}")
    if matrix.module:
        return _module_folder(matrix.module, str(matrix.path))
    raise UserError(
        "nothing says which module is under test",
        where=str(matrix.path),
        hint='--module FOLDER, or module = "…" in series.toml or the matrix file',
    )


def _module_folder(folder: str, where: str) -> str:
    """The folder as it is used. Raises UserError for one that cannot be below a tree."""
    name = folder.strip("/")
    # It stands in make's targets and in paths of the tree and of the object folder.
    if not re.fullmatch(r"[\w.+,-]+(?:/[\w.+,-]+)*", name, re.ASCII) or not paths.is_plain(name):
        raise UserError(
            f"not a module folder: {folder!r}",
            where=where,
            hint="a folder of the tree, from its top: fs/overlayfs",
        )
    if name.startswith("-"):
        raise UserError(f"a module folder cannot begin with a dash: {folder!r}", where=where)
    return name
