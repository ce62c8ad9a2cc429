"""Get a kernel from a distribution's archive: image, modules, headers, kbuild, verified by apt (`apt_root`).

CACHE/downloads/<package>_<version>_<arch>.deb   the packages
CACHE/trees/pins/<digest>.json                   which packages a declaration was resolved to
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from kmodpipe.cache import store
from kmodpipe.source import apt_root, connectivity, packages, tree
from kmodpipe.source.apt_root import AptRoot
from kmodpipe.source.distribution import AptSource
from kmodpipe.source.packaged import contents, record, resolve
from kmodpipe.source.packaged.record import PackagedKernel, PackagedKernelSpec
from kmodpipe.source.packaged.resolve import Pins
from kmodpipe.source.packages import Deb, Package
from kmodpipe.util.digest import digest_file, digest_of
from kmodpipe.util.errors import InfraError, Interrupted, UserError
from kmodpipe.util.files import require_space
from kmodpipe.util.lock import lock
from kmodpipe.util.screen import Screen, Step
from kmodpipe.util.text import count

_NEED_MIB = 1024
_NEED_DEBUG_MIB = 4096
_OFFLINE = (
    "kernels are fetched once: run it where a mirror of the archive can be reached, "
    "or declare one by its files"
)
_DROPPED = "does not have a Release file"


def _request(spec: PackagedKernelSpec) -> dict[str, object]:
    found = _apt_source(spec)
    elsewhere = {"archive": found.archive, "components": list(found.components)} if found.archive else {}
    return {
        "kind": "ubuntu-kernel" if spec.ubuntu_kernel else "deb-kernel",
        "package": spec.package,
        "version": spec.version,
        "suites": list(spec.suites),
        "keyring": str(found.keys),
        "debug": spec.debug,
        **elsewhere,
    }


def _apt_source(spec: PackagedKernelSpec) -> AptSource:
    # A package is declared with suites.
    return cast(AptSource, spec.apt_source)


def locate(spec: PackagedKernelSpec, cache: Path, warn: tree.Warn | None = None) -> PackagedKernel | None:
    """Return the kernel if it is in the cache, else None. Does not use the network."""
    pinned = _recall(spec, cache)
    return record.known(cache, _identity(pinned), warn) if pinned else None


def fetch(spec: PackagedKernelSpec, cache: Path, screen: Screen, *, head: bool = False) -> PackagedKernel:
    """Download, verify and unpack the kernel's packages; see `packaged.fetch`."""
    with lock(cache / "locks" / f"kernel-{digest_of(_request(spec))[:16]}", waiting=screen.say):
        pinned = None if head else _recall(spec, cache)
        if pinned and (here := record.known(cache, _identity(pinned), screen.warn)):
            return here
        if not pinned or not packages.files(pinned, cache):
            pinned = _download(spec, cache, screen)
            rows = {deb.name: f"{deb.version} {deb.sha256} {deb.file}" for deb in pinned.debs}
            tree.remember(cache, _request(spec), {"image": pinned.name, **rows})
        return record.known(cache, _identity(pinned)) or _unpack(spec, pinned, cache, screen)


def _recall(spec: PackagedKernelSpec, cache: Path) -> Package | None:
    answer = tree.recall(cache, _request(spec)) or {}
    rows = [(name, *value.split(" ")) for name, value in answer.items() if name != "image"]
    image = answer.get("image", "")
    if image not in answer or any(len(row) != 4 for row in rows):
        return None
    return Package(image, tuple(Deb(*row) for row in rows))


def _identity(pinned: Package) -> str:
    return f"deb-kernel:{pinned.name}={pinned.version}:{digest_of(dict(pinned.pins))}"


# -- from the archive to packages --------------------------------------------------------------------
def _download(spec: PackagedKernelSpec, cache: Path, screen: Screen) -> Package:
    where = _apt_source(spec)
    problem, hint = apt_root.lacking(where.keys), _OFFLINE
    whose, sources = where.distribution, {} if problem else where.mirrors()
    if problem and not where.keys.is_file():
        hint = f'install the package {whose.keys}, or name the file of its keys: keyring = "FILE.gpg"'
    if not problem and not sources:
        hint = (
            f"name a mirror of {whose.name}'s archive: {whose.mirror}=http://HOST/{whose.name.lower()}, or "
            "archive in the kernel's table"
        )
        problem = f"this machine's apt sources name no {whose.name} archive for {spec.suite} over http(s)"
    if problem:
        what = f"the kernel {spec.name} cannot be fetched: {problem}"
        raise InfraError(what, where=spec.describe(), hint=hint)
    require_space(cache, _NEED_DEBUG_MIB if spec.debug else _NEED_MIB, f"fetching {spec.name}")
    with screen.step(f"fetch kernel {spec.name}") as step, store.Store(cache).scratch("apt-") as folder:
        try:
            own = _updated(spec, sources, folder, screen, step)
            step.update("which packages it is made of")
            pins = resolve.resolve(spec, _archive(own, debug=spec.debug))
            found = _get(pins, own, cache, step)
        except (Interrupted, UserError):
            raise
        except InfraError as e:
            hosts = ", ".join(dict.fromkeys(connectivity.host_of(uris[0]) for uris in sources.values()))
            raise InfraError(
                f"the kernel {spec.name} cannot be fetched: {apt_root.complaint(e)}",
                where=f"{spec.describe()}, at {hosts}",
                detail=e.detail,
                hint=_OFFLINE,
            ) from e
        size_mib = sum((cache / "downloads" / deb.file).stat().st_size for deb in found.debs) >> 20
        number = count(len(found.debs), "package")
        step.finish(f"{found.version}, {number}, {size_mib} MiB, signatures verified")
    return found


def _updated(
    spec: PackagedKernelSpec, sources: dict[str, list[str]], folder: Path, screen: Screen, step: Step
) -> AptRoot:
    """Return a private apt with the lists of those suites that can be had.

    Raise UserError if the archive has none of them (any more), InfraError if none can be reached.
    """
    step.update(f"apt-get update: {', '.join(sources)}")
    try:
        return _update(spec, folder / "all", {suite: uris[0] for suite, uris in sources.items()}, step)
    except Interrupted:
        raise
    except InfraError:
        pass
    # Which of them is it, and does another mirror have it?
    reached: dict[str, str] = {}
    failed: dict[str, InfraError] = {}
    for suite, uris in sources.items():
        for number, uri in enumerate(uris):
            try:
                _update(spec, folder / f"{suite}-{number}", {suite: uri}, step)
            except Interrupted:
                raise
            except InfraError as e:
                failed[suite] = e
            else:
                reached[suite] = uri
                break
    for suite in sources.keys() - reached.keys():
        screen.warn(f"suite {suite} is left out: {apt_root.complaint(failed[suite])}")
    if reached:
        return _update(spec, folder / "reached", reached, step)
    dropped = [suite for suite, e in failed.items() if _DROPPED in e.detail]
    if len(dropped) < len(failed):
        raise next(e for suite, e in failed.items() if suite not in dropped)
    found = _apt_source(spec)
    name = found.distribution.name
    has = ", ".join(dict.fromkeys(one.release for one in found.configured if one.origin == name))
    more = "" if found.archive else f"; this machine's apt has {has}"
    raise UserError(
        f"the archive has no suite {' or '.join(dropped)} (any more){more}",
        where=f"kernel {spec.name}",
        hint=found.distribution.dropped,
    )


def _update(spec: PackagedKernelSpec, folder: Path, sources: dict[str, str], step: Step) -> AptRoot:
    folder.mkdir()
    own = apt_root.make(folder, _apt_source(spec).sources(sources.items()))
    own.update(step)
    return own


def _archive(own: AptRoot, *, debug: bool) -> resolve.Archive:
    """Return the kernel packages that a private apt knows."""
    names = resolve.wanted(own.ask("pkgnames", resolve.PREFIX).split(), debug=debug)
    return resolve.parse(own.ask("show", *names) if names else "")


def _get(pins: Pins, own: AptRoot, cache: Path, step: Step) -> Package:
    """Download packages; apt verifies them."""
    folder = own.path / "download"
    folder.mkdir()
    own.get(["download", *(f"{name}={version}" for name, version in pins.packages.items())], step, cwd=folder)
    kept = cache / "downloads"
    kept.mkdir(parents=True, exist_ok=True)
    debs = []
    for name, version in pins.packages.items():
        match sorted(folder.glob(f"{name}_*.deb")):
            case [path]:
                debs.append(Deb(name, version, digest_file(path), path.name))
            case other:
                what = f"apt-get download left {len(other)} files of {name}"
                raise InfraError(what, where=str(folder), hint="run the same command again")
        path.replace(kept / path.name)
    return Package(pins.image, tuple(sorted(debs, key=lambda deb: deb.name)))


def check(spec: PackagedKernelSpec, *, bound_s: float) -> tuple[bool, str]:
    """Return whether an archive has one of the kernel's suites, and a phrase about it."""
    where = _apt_source(spec)
    if problem := apt_root.lacking(where.keys):
        return False, problem
    phrase = f"this machine's apt knows no {where.distribution.name} archive"
    for suite, uris in where.mirrors().items():
        reached, why = connectivity.probe(f"{uris[0]}/dists/{suite}/InRelease", bound_s=bound_s)
        phrase = f"{connectivity.host_of(uris[0])} {why}"
        if reached:
            return "status 200" in why, phrase
    return False, phrase


# -- from packages to a kernel -----------------------------------------------------------------------
def _unpack(spec: PackagedKernelSpec, pinned: Package, cache: Path, screen: Screen) -> PackagedKernel:
    apt_source, release = _apt_source(spec), resolve.release_of(pinned.name)
    facts = {
        "source": f"{apt_source.distribution.name.lower()}-kernel",
        "package": pinned.name,
        "version": pinned.version,
        "suite": spec.suite,
        "verified-by": str(apt_source.keys),
        **{f"package {name}": pin for name, pin in pinned.pins.items()},
    }
    debs: Sequence[Path] = packages.files(pinned, cache) or ()
    require_space(cache, _NEED_DEBUG_MIB if spec.debug else _NEED_MIB, f"unpacking {spec.name}")
    with screen.step(f"unpack kernel {spec.name}") as step, store.Store(cache).scratch("kernel-") as work:
        made = contents.lay_out(debs, release, work, on_count=step.update)
        found = record.install(
            cache, made, _identity(pinned), _linux_version(pinned.version), facts, what=pinned.name
        )
        step.finish(f"Linux {release} for {found.compiler or 'an unknown compiler'}")
    return found


def _linux_version(version: str) -> str:
    """Return the version of Linux in that of a package: ``6.1.192-3`` is 6.1.192, ``7.3~rc2-1`` 7.3-rc2."""
    upstream = version.partition(":")[2] or version
    return re.sub(r"~(rc\d)", r"-\1", upstream.rpartition("-")[0] or upstream)
