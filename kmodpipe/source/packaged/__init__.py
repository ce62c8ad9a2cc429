"""Get a distribution's own kernel: image, modules, configuration, and the kit that modules are built with.

In: a declaration (`PackagedKernelSpec`). Out: a verified `PackagedKernel` below CACHE/kernels.
`locate` finds it in the cache, `fetch` gets it.
"""

from __future__ import annotations

from pathlib import Path

from kmodpipe.source import tree
from kmodpipe.source.packaged import deb, files
from kmodpipe.source.packaged.record import PackagedKernel, PackagedKernelSpec, remove_all
from kmodpipe.util.errors import UserError
from kmodpipe.util.screen import Screen


def locate(spec: PackagedKernelSpec, cache: Path, warn: tree.Warn | None = None) -> PackagedKernel | None:
    """Return the kernel if an earlier `fetch` left it in the cache, else None. Does not use the network.

    ``warn`` is called for one that was changed in the cache, which `fetch` replaces.
    """
    if spec.package:
        return _named(deb.locate(spec, cache, warn), spec)
    return _named(files.locate(spec, cache, warn), spec)


def fetch(spec: PackagedKernelSpec, cache: Path, screen: Screen, *, head: bool = False) -> PackagedKernel:
    """Return the kernel, fetching it first if it is not in the cache.

    The newest of a suite is the newest when it is fetched for the first time, and with ``head`` now. Raise
    UserError for a package, version or suite that the archive does not have (any more), and for files that
    are no whole kernel; InfraError if apt cannot get or verify a package.
    """
    if head and not spec.moves:
        raise UserError(f"kernel {spec.name} has no newer one: it is pinned", where="--head")
    if spec.package:
        return deb.fetch(spec, cache, screen, head=head).named(spec.name)
    return files.fetch(spec, cache, screen).named(spec.name)


def check(spec: PackagedKernelSpec, *, bound_s: float = 2.5) -> tuple[bool, str]:
    """Return whether the kernel can be had now, and a phrase about it; each suite has ``bound_s`` seconds."""
    return deb.check(spec, bound_s=bound_s) if spec.package else files.check(spec)


def _named(found: PackagedKernel | None, spec: PackagedKernelSpec) -> PackagedKernel | None:
    return found.named(spec.name) if found else None


__all__ = ["PackagedKernel", "PackagedKernelSpec", "check", "fetch", "locate", "remove_all"]
