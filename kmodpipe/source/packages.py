"""Get Debian packages for the guest, with what they depend on. apt verifies their signatures (`apt_root`).

CACHE/downloads/<name>_<version>_<arch>.deb   the packages
CACHE/trees/pins/<digest>.json                what a name was resolved to, which is kept from then on
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from kmodpipe.cache import store
from kmodpipe.source import apt, apt_root, connectivity, tree
from kmodpipe.source.apt_root import AptRoot
from kmodpipe.util.digest import digest_file, digest_of
from kmodpipe.util.errors import InfraError, Interrupted, UserError, nearest
from kmodpipe.util.files import require_space
from kmodpipe.util.lock import lock
from kmodpipe.util.screen import Screen, Step
from kmodpipe.util.text import count

_NEED_MIB = 512
_OFFLINE = "packages are fetched once: run it where a Debian mirror can be reached, or leave out the tools"
_NO_CANDIDATE = "has no installation candidate"
_NO_PACKAGE = "a tool is a set of images/guest/toolset.sh or the name of a Debian package"


@dataclass(frozen=True)
class Deb:
    """One package file."""

    name: str
    version: str
    sha256: str
    # The name of its file below CACHE/downloads.
    file: str


@dataclass(frozen=True)
class Package:
    """A package, pinned with all that it depends on."""

    name: str
    # By name, itself included.
    debs: tuple[Deb, ...]

    @property
    def pins(self) -> Mapping[str, str]:
        """The version and the SHA-256 of each file, by the package's name."""
        return {deb.name: f"{deb.version} {deb.sha256}" for deb in self.debs}

    @property
    def version(self) -> str:
        """The version of the package itself."""
        return next(deb.version for deb in self.debs if deb.name == self.name)


def recall(name: str, suite: str, cache: Path, keyring: Path = apt.KEYRING) -> Package | None:
    """Return what a package was resolved to, or None. Does not use the network."""
    answer = tree.recall(cache, _request(name, suite, keyring)) or {}
    rows = [(own, *value.split(" ")) for own, value in answer.items()]
    if not any(own == name for own, *_ in rows) or any(len(row) != 4 for row in rows):
        return None
    return Package(name, tuple(Deb(*row) for row in rows))


def files(package: Package, cache: Path) -> tuple[Path, ...] | None:
    """Return the package's files, that of the package itself last; None if one is missing or damaged."""
    debs = sorted(package.debs, key=lambda deb: (deb.name == package.name, deb.name))
    found = [(cache / "downloads" / deb.file, deb.sha256) for deb in debs]
    whole = all(path.is_file() and digest_file(path) == sha256 for path, sha256 in found)
    return tuple(path for path, _ in found) if whole else None


def resolve(
    names: Sequence[str],
    suite: str,
    cache: Path,
    screen: Screen,
    *,
    have: Callable[[Package], bool] = lambda package: False,
    where: Callable[[str], str] = lambda name: "",
    keyring: Path = apt.KEYRING,
) -> tuple[Package, ...]:
    """Return the packages of these names in a Debian suite, and fetch those that are not in the cache.

    A package of which ``have`` is true needs no files any more; ``where`` says where a name is, for errors.
    Packages that were pinned with different
    versions of a third one are pinned anew, together. Raise UserError, with similar names, for a name that
    is no package, and InfraError if apt cannot get or verify one.
    """
    known = {name: recall(name, suite, cache, keyring) for name in names}
    if _whole(known, cache, have):
        return tuple(one for one in known.values() if one)
    with lock(cache / "locks" / f"packages-{digest_of([suite])[:16]}", waiting=screen.say):
        known = {name: recall(name, suite, cache, keyring) for name in names}
        lacking = [n for n, one in known.items() if not one or not (have(one) or files(one, cache))]
        for name in lacking:
            if known[name]:
                screen.warn(f"packages of the tool {name} are gone from the cache or damaged: fetched again")
        if lacking:
            known |= _fetch(lacking, suite, cache, screen, keyring, where)
        if not _agree(one for one in known.values() if one):
            known |= _fetch(names, suite, cache, screen, keyring, where)
    return tuple(one for one in known.values() if one)


def _whole(known: Mapping[str, Package | None], cache: Path, have: Callable[[Package], bool]) -> bool:
    found = [one for one in known.values() if one]
    return len(found) == len(known) and _agree(found) and all(have(one) or files(one, cache) for one in found)


def _agree(packages: Iterable[Package]) -> bool:
    """Return whether they have the same version of each package that several of them depend on."""
    debs = {deb for one in packages for deb in one.debs}
    return len({deb.name for deb in debs}) == len(debs)


def _request(name: str, suite: str, keyring: Path) -> dict[str, object]:
    return {"kind": "package", "package": name, "suite": suite, "keyring": str(keyring)}


def _fetch(
    names: Sequence[str], suite: str, cache: Path, screen: Screen, keyring: Path, where: Callable[[str], str]
) -> dict[str, Package]:
    """Resolve and download packages, and remember what they were resolved to."""
    shown = ", ".join(names)
    sources: Sequence[str] = ()
    problem = apt_root.lacking(keyring)
    if not problem:
        sources = apt.debian_sources(apt.targets(), suite, keyring=keyring)
        problem = "" if sources else f"this machine's apt sources name no Debian archive for {suite}"
    if problem:
        raise InfraError(f"the guest's tools cannot be fetched: {problem}", where=shown, hint=_OFFLINE)
    require_space(cache, _NEED_MIB, f"fetching {shown}")
    with screen.step(f"fetch tools {shown}") as step, store.Store(cache).scratch("apt-") as folder:
        try:
            own = apt_root.make(folder, sources)
            step.update(f"apt-get update: {suite}")
            own.update(step)
            _require_known(names, own, where)
            made = {name: _download(name, own, cache, step, where) for name in names}
        except Interrupted:
            raise
        except InfraError as e:
            step.finish("failed")
            hosts = ", ".join(dict.fromkeys(connectivity.host_of(line.split()[2]) for line in sources))
            raise InfraError(
                f"the guest's tools cannot be fetched: {apt_root.complaint(e)}",
                where=f"{shown} of {suite} from {hosts}",
                detail=e.detail,
                hint=_OFFLINE,
            ) from e
        for name, one in made.items():
            rows = {deb.name: f"{deb.version} {deb.sha256} {deb.file}" for deb in one.debs}
            tree.remember(cache, _request(name, suite, keyring), rows)
        number = len({deb.file for one in made.values() for deb in one.debs})
        step.finish(f"{count(number, 'package')} of {suite}, signatures verified")
    return made


def _require_known(names: Sequence[str], own: AptRoot, where: Callable[[str], str]) -> None:
    """Raise UserError for a name that is no package of the suite, with similar names."""
    known = frozenset(own.ask("pkgnames").split())
    for name in names:
        if name not in known:
            # Beginning alike: a comparison with all of 60,000 names takes long.
            near = nearest(name, (one for one in known if one[:2] == name[:2]))[:3]
            text = f"; did you mean {' or '.join(near)}?" if near else ""
            raise UserError(
                f"no Debian package is called {name!r}{text}", where=where(name), hint=_NO_PACKAGE
            )


def _download(name: str, own: AptRoot, cache: Path, step: Step, where: Callable[[str], str]) -> Package:
    """Download a package and what it depends on, without what it only recommends."""
    step.update(name)
    # In a state without any installed package: that is all it takes.
    try:
        own.get(["--yes", "--no-install-recommends", "--download-only", "install", name], step)
    except InfraError as e:
        if _NO_CANDIDATE not in e.detail:
            raise
        what = f"{name!r} is the name of no package that could be installed, but of what others provide"
        raise UserError(what, where=where(name), detail=apt_root.complaint(e), hint=_NO_PACKAGE) from None
    debs = []
    for path in sorted(own.archives.glob("*.deb")):
        # apt names a file after what it checked: NAME_VERSION_ARCHITECTURE.deb, a colon as %3a.
        package, version, _ = path.name.split("_", 2)
        debs.append(Deb(package, unquote(version), digest_file(path), path.name))
    kept = cache / "downloads"
    kept.mkdir(parents=True, exist_ok=True)
    for deb in debs:
        (own.archives / deb.file).replace(kept / deb.file)
    return Package(name, tuple(sorted(debs, key=lambda deb: deb.name)))
