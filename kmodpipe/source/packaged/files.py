"""Get a kernel from files: a bzImage, its configuration, the folder of its modules, and headers."""

from __future__ import annotations

import shutil
from pathlib import Path

from kmodpipe.cache import integrity, store
from kmodpipe.source import tree
from kmodpipe.source.packaged import bzimage, kit, record
from kmodpipe.source.packaged.record import PackagedKernel, PackagedKernelSpec
from kmodpipe.util import os_errors, paths
from kmodpipe.util.digest import digest_file, digest_of, digest_tree
from kmodpipe.util.errors import UserError
from kmodpipe.util.files import require_space, size_mib
from kmodpipe.util.lock import lock
from kmodpipe.util.screen import Screen

# Links to the headers, which have a place of their own.
_NOT_MODULES = frozenset({"build", "source"})


def locate(spec: PackagedKernelSpec, cache: Path, warn: tree.Warn | None = None) -> PackagedKernel | None:
    """Return the kernel if it was copied as its files are now, else None."""
    answer = tree.recall(cache, _request(spec))
    return record.known(cache, answer.get("identity", ""), warn) if answer else None


def fetch(spec: PackagedKernelSpec, cache: Path, screen: Screen) -> PackagedKernel:
    """Copy the files into the cache. Raise UserError if one is missing, or not of the same kernel."""
    vmlinuz, config, modules, headers = _given(spec)
    release = bzimage.release_of(vmlinuz)
    request = _request(spec)
    with lock(cache / "locks" / f"kernel-{digest_of(request)[:16]}", waiting=screen.say):
        if here := locate(spec, cache, screen.warn):
            return here
        require_space(cache, size_mib(modules) + size_mib(headers) + 256, f"copying {spec.name}")
        with screen.step(f"copy kernel {spec.name}") as step, store.Store(cache).scratch("kernel-") as work:
            made = work / "kernel"
            try:
                made.mkdir()
                shutil.copy2(vmlinuz, made / record.VMLINUZ)
                shutil.copy2(config, made / record.CONFIG)
                shutil.copytree(modules, made / record.MODULES, symlinks=True, ignore=_links_to_headers)
                kit.from_folder(headers, made / record.KIT)
            except (OSError, shutil.Error) as e:
                raise os_errors.failed("the kernel's files cannot be copied", _first(e), spec.name) from e
            if leading := paths.escaping_link(paths.links_below(made / record.MODULES)):
                raise UserError(f"a link leads out of the modules: {' → '.join(leading)}", where=str(modules))
            facts = {"source": "kernel-files", "suite": spec.suite}
            facts |= {name: str(getattr(spec, name)) for name in ("vmlinuz", "config", "modules", "headers")}
            identity = f"files-kernel:{release}:{digest_tree(made)}"
            found = record.install(cache, made, identity, release.partition("-")[0], facts, what=spec.name)
            tree.remember(cache, request, {"identity": identity})
            step.finish(f"Linux {release} for {found.compiler or 'an unknown compiler'}")
    return found


def check(spec: PackagedKernelSpec) -> tuple[bool, str]:
    """Return whether its files are there, and a phrase about it."""
    try:
        vmlinuz, *_ = _given(spec)
    except UserError as e:
        return False, e.what
    return True, f"{vmlinuz} is there"


def _links_to_headers(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name in _NOT_MODULES and Path(folder, name).is_symlink()}


def _first(error: OSError | shutil.Error) -> OSError:
    """Return the first error of a copied folder."""
    if isinstance(error, shutil.Error) and error.args and error.args[0]:
        return OSError(error.args[0][0][2])
    return error


def _given(spec: PackagedKernelSpec) -> tuple[Path, Path, Path, Path]:
    files = {
        name: paths.expanded(str(getattr(spec, name))) for name in ("vmlinuz", "config", "modules", "headers")
    }
    for name, path in files.items():
        folder = name in ("modules", "headers")
        if not (paths.is_dir(path) if folder else paths.is_file(path)):
            kind = "folder" if folder else "file"
            state = f"is no {kind}" if paths.exists(path) else "does not exist"
            raise UserError(f"{name} {path} {state}", where=f"kernel {spec.name}")
    return files["vmlinuz"], files["config"], files["modules"], files["headers"]


def _request(spec: PackagedKernelSpec) -> dict[str, object]:
    """Describe the files as they are now: where they are, their sizes and times."""
    vmlinuz, config, modules, headers = _given(spec)
    return {
        "kind": "files-kernel",
        "suite": spec.suite,
        "files": [[str(path), digest_file(path)] for path in (vmlinuz, config)],
        "folders": [
            [str(path), digest_of(integrity.listing(path).decode("utf-8", "surrogateescape").split("\0"))]
            for path in (modules, headers)
        ],
    }
