"""What a command line names, as it travels to the jobs of a cluster.

Its files are in the bundle. A series, which may be commits or a working tree, and the source of a module that
is in no tree are put there as this machine has read them.
"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from kmodpipe import series
from kmodpipe.cli.options import BuildOptions
from kmodpipe.cli.resolve import tree_arguments
from kmodpipe.cluster.bundle import Bundle, Staging
from kmodpipe.pipeline import packed_module
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.pipeline.workspace import fetch_module
from kmodpipe.series import packed as packed_series
from kmodpipe.source import TreeSpec
from kmodpipe.source.kernels import KernelSpec
from kmodpipe.util.cell_id import KERNEL_NAME
from kmodpipe.util.files import temporary
from kmodpipe.util.screen import Screen

# The options whose values may be files of this machine.
_PATHS = ("matrix", "config", "case")


def pack(
    options: BuildOptions, spec: RunSpec, cache: Path, screen: Screen
) -> tuple[BuildOptions, RunSpec, Bundle]:
    """Return the options as a job on a worker has them, the run that they are, and the bundle.

    Fetch the module's own source. Raise UserError for what is too large to travel.
    """
    with temporary("bundle-") as folder:
        (folder / "bundle").mkdir()
        staging = Staging(spec.project.root, folder / "bundle")
        changed: dict[str, Any] = {}
        for name in (f.name for f in fields(options) if f.name in _PATHS):
            value = getattr(options, name)
            many = isinstance(value, tuple)
            changed[name] = tuple(map(staging.word, value)) if many else staging.word(value)
        changed["series"] = _series(options, spec, staging)
        changed["module"], spec = _module(options, spec, staging, cache, screen)
        changed["tree"], changed["kernel"] = _trees(options, spec, screen), ()
        return replace(options, **changed), spec, staging.pack()


def _series(options: BuildOptions, spec: RunSpec, staging: Staging) -> tuple[str, ...]:
    """Return the series for --series: those of the project by name, the others packed as they were read."""
    whole = [one for one in spec.series if not one.partial]
    if not options.series and not spec.own:
        # Those of the project's file.
        return ()
    if "none" in options.series or not whole:
        return options.series
    of_project = series.available(spec.project.patches)
    names = options.series or tuple(one.name for one in whole)
    return tuple(
        name if options.series and name in of_project else _packed(one, staging)
        for name, one in zip(names, whole, strict=True)
    )


def _packed(one: series.Series, staging: Staging) -> str:
    return staging.file(f"{one.name}{packed_series.SUFFIX}", packed_series.pack(one))


def _module(
    options: BuildOptions, spec: RunSpec, staging: Staging, cache: Path, screen: Screen
) -> tuple[str, RunSpec]:
    """Return the module for --module, and the run with it. What is on a server, workers fetch themselves."""
    if spec.own is None or _is_remote(spec.own.declared.source):
        return options.module, spec
    found = fetch_module(spec, cache, screen)
    assert found is not None  # noqa: S101
    module = packed_module.of_tree(spec.own, found)
    staging.tree(found)
    word = staging.file(f"{module.name}{packed_module.SUFFIX}", packed_module.pack(module))
    return word, replace(spec, own=module)


def _is_remote(url: str) -> bool:
    return "://" in url and not url.startswith("file://")


def _trees(options: BuildOptions, spec: RunSpec, screen: Screen) -> tuple[str, ...]:
    """Return the kernels for --tree, those of this machine by their full paths; empty if no job needs it.

    Say which of them workers of other machines need at the same place.
    """
    given = tree_arguments(options.kernels, spec.matrix, spec.project)
    words = [_tree(word, tree, screen) for word, tree in zip(given, spec.trees, strict=True)]
    return tuple(words) if tuple(words) != tuple(given) else options.kernels


def _tree(word: str, tree: KernelSpec, screen: Screen) -> str:
    place = ""
    if isinstance(tree, TreeSpec):
        if tree.path:
            place = str(tree.path.expanduser().resolve())
        elif tree.tarball and "://" not in tree.tarball:
            digest = f"#sha256={tree.sha256}" if tree.sha256 else ""
            place = f"{Path(tree.tarball).expanduser().resolve()}{digest}"
        elif tree.git and tree.git.startswith("file://") and tree.commit and not tree.first_parent:
            place = f"{tree.git}#{tree.commit}"
    if not place:
        return word
    screen.say(f"tree {tree.name} is on this machine: workers of other machines need it as well, at {place}")
    return f"{tree.name}={place}" if KERNEL_NAME.fullmatch(tree.name) else place
