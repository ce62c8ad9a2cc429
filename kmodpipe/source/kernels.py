"""Find or fetch a kernel of either kind: a tree that is built, or a distribution's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kmodpipe import source
from kmodpipe.source import packaged, tree
from kmodpipe.source.packaged import PackagedKernel, PackagedKernelSpec
from kmodpipe.source.tree import Tree, TreeSpec
from kmodpipe.util.errors import UserError, unknown_name
from kmodpipe.util.screen import Screen

KernelSpec = TreeSpec | PackagedKernelSpec
"""A declared kernel."""

KernelSource = Tree | PackagedKernel
"""A kernel in the cache."""


def resolve(arg: str, declared: Mapping[str, KernelSpec]) -> KernelSpec:
    """Return the kernel that ``--kernel ARG`` names: a declared name, or a tree as `source.resolve` knows it.

    ``NAME=ARG`` gives it another name. Raise UserError for anything else, with similar names.
    """
    name, named, rest = arg.partition("=")
    found = declared.get(rest if named and rest in declared else arg)
    if isinstance(found, PackagedKernelSpec):
        return found.model_copy(update={"name": name if named and rest in declared else arg})
    trees = {key: spec for key, spec in declared.items() if isinstance(spec, TreeSpec)}
    try:
        return source.resolve(arg, trees)
    except UserError as e:
        if e.what.startswith("unknown tree"):
            hint = "or give a directory, a git URL with #ref, or a tarball"
            raise unknown_name("kernel", arg, declared, hint=hint) from None
        raise


def locate(
    spec: KernelSpec,
    declared: Mapping[str, TreeSpec],
    cache: Path,
    *,
    head: bool = False,
    warn: tree.Warn | None = None,
) -> KernelSource | None:
    """Return the kernel if it is in the cache, else None. Does not use the network."""
    if isinstance(spec, PackagedKernelSpec):
        return packaged.locate(spec, cache, warn)
    return source.locate(spec, declared, cache, head=head, warn=warn)


def fetch(
    spec: KernelSpec, declared: Mapping[str, TreeSpec], cache: Path, screen: Screen, *, head: bool = False
) -> KernelSource:
    """Return the kernel; get it if it is not in the cache. Raises as `source.fetch` does."""
    if isinstance(spec, PackagedKernelSpec):
        return packaged.fetch(spec, cache, screen, head=head)
    return source.fetch(spec, declared, cache, screen, head=head)


def tip(spec: KernelSpec, *, head: bool = False) -> str:
    """Return the commit of a branch or tag on its server now; '' for what does not come from git."""
    return source.tip(spec, head=head) if isinstance(spec, TreeSpec) else ""


def check(spec: KernelSpec) -> tuple[bool, str]:
    """Return whether a kernel can be reached now, and a phrase about it. Takes some seconds at most."""
    return source.check_reach(spec) if isinstance(spec, TreeSpec) else packaged.check(spec)
