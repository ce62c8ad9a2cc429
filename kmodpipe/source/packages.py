"""Get Debian packages for the guest, with what they depend on. apt verifies their signatures (`apt_root`).

CACHE/downloads/<name>_<version>_<arch>.deb   the packages
CACHE/trees/pins/<digest>.json                what a name was resolved to, which is kept from then on

All machines with one share keep the same: what it has goes before what is known here, and the first of them
to resolve a name puts it there. A file comes from the mirror, verified by apt, in any case, and has to have
the digest that the pin says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from kmodpipe.cache import store
from kmodpipe.cache.share import PINS, Share
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
# A row of a pin: a package's name, its version, the SHA-256 of its file, and the file's name.
_ROW = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9.+-]*) (?P<version>[0-9A-Za-z.+:~-]+) (?P<sha256>[0-9a-f]{64}) "
    r"(?P<file>[\w.+~%-]+\.deb)",
    re.ASCII,
)
_NO_CANDIDATE = "has no installation candidate"
# "E: Version '1.0' for 'x' was not found"; also where what a pinned version takes is another one now.
_NO_VERSION = re.compile(r"E: (?:Version .* was not found|Unable to (?:locate package|correct problems))")
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
    return _pinned(name, tree.recall(cache, _request(name, suite, keyring)) or {})


def _pinned(name: str, answer: Mapping[str, object]) -> Package | None:
    """Return the package of a pin, which may come from elsewhere; None if it is none."""
    rows = [_ROW.fullmatch(f"{own} {value}") for own, value in answer.items()]
    debs = tuple(Deb(**row.groupdict()) for row in rows if row)
    if len(debs) != len(rows) or not any(deb.name == name for deb in debs):
        return None
    return Package(name, debs)


def _rows(package: Package) -> dict[str, str]:
    return {deb.name: f"{deb.version} {deb.sha256} {deb.file}" for deb in package.debs}


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
    share: Share | None = None,
    renew: bool = False,
    keyring: Path = apt.KEYRING,
) -> tuple[Package, ...]:
    """Return the packages of these names in a Debian suite, and fetch those that are not in the cache.

    A package of which ``have`` is true needs no files any more; ``where`` says where a name is, for errors.
    With ``renew`` all are resolved anew. Packages that were pinned with different versions of a third one
    are pinned anew, together. Raise UserError, with similar names, for a name that is no package, and
    InfraError if apt cannot get or verify one.
    """
    shared = _shared(names, suite, cache, share, keyring) if share and not renew else {}
    known = {name: recall(name, suite, cache, keyring) for name in names}
    made: Mapping[str, Package] = {}
    if renew or not _whole(known, cache, have):
        with lock(cache / "locks" / f"packages-{digest_of([suite])[:16]}", waiting=screen.say):
            known = {name: recall(name, suite, cache, keyring) for name in names}
            lacking = [n for n, one in known.items() if not one or not (have(one) or files(one, cache))]
            for name in lacking:
                if known[name] and not shared.get(name):
                    screen.warn(
                        f"packages of the tool {name} are gone from the cache or damaged: fetched again"
                    )
            if renew and (made := _renewed(names, lacking, suite, cache, screen, keyring, where)):
                known |= made
            elif lacking:
                pins = {name: known[name] for name in lacking}
                known |= _fetch(pins, suite, cache, screen, keyring, where)
            if not _agree(one for one in known.values() if one):
                known |= _fetch(dict.fromkeys(names), suite, cache, screen, keyring, where)
    found = tuple(one for one in known.values() if one)
    for one in found:
        # What could not be read is not written over, unless it was renewed.
        if share and (one.name in made or one.name in shared) and shared.get(one.name) != one:
            share.push_document(PINS, digest_of(_request(one.name, suite, keyring)), _rows(one))
    return found


def _shared(
    names: Sequence[str], suite: str, cache: Path, share: Share, keyring: Path
) -> dict[str, Package | None]:
    """Return what the share has for each name, and remember it; without those that it does not answer."""
    found: dict[str, Package | None] = {}
    for name in names:
        request = _request(name, suite, keyring)
        answer = share.pull_document(PINS, digest_of(request))
        if answer is not None:
            one = found[name] = _pinned(name, answer)
            if one and one != recall(name, suite, cache, keyring):
                tree.remember(cache, request, _rows(one))
    return found


def _renewed(
    names: Sequence[str],
    lacking: Sequence[str],
    suite: str,
    cache: Path,
    screen: Screen,
    keyring: Path,
    where: Callable[[str], str],
) -> Mapping[str, Package]:
    """Return all packages resolved anew; none where no mirror answers and no package is ``lacking``."""
    try:
        return _fetch(dict.fromkeys(names), suite, cache, screen, keyring, where)
    except Interrupted:
        raise
    except InfraError as e:
        if lacking:
            raise
        screen.warn(f"{e.what}: the packages of tools stay as they were")
        return {}


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
    pins: Mapping[str, Package | None],
    suite: str,
    cache: Path,
    screen: Screen,
    keyring: Path,
    where: Callable[[str], str],
) -> dict[str, Package]:
    """Download the packages of ``pins``, and remember what they were resolved to.

    One without a pin is resolved, and so is one whose versions the mirror does not have any more.
    """
    shown = ", ".join(pins)
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
            _require_known(pins, own, where)
            made = {}
            for name, pinned in pins.items():
                again = _download_again(pinned, own, cache, step) if pinned else None
                if pinned and not again:
                    screen.warn(
                        f"the mirror has other packages of the tool {name} than were pinned: pinned anew"
                    )
                made[name] = again or _download(name, own, cache, step, where)
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
            tree.remember(cache, _request(name, suite, keyring), _rows(one))
        number = len({deb.file for one in made.values() for deb in one.debs})
        step.finish(f"{count(number, 'package')} of {suite}, signatures verified")
    return made


def _require_known(names: Iterable[str], own: AptRoot, where: Callable[[str], str]) -> None:
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
    return _keep(name, own, cache)


def _download_again(pinned: Package, own: AptRoot, cache: Path, step: Step) -> Package | None:
    """Download the very files of a pin; None if the mirror does not have them."""
    step.update(pinned.name)
    exact = [f"{deb.name}={deb.version}" for deb in pinned.debs]
    try:
        own.get(["--yes", "--no-install-recommends", "--download-only", "install", *exact], step)
    except InfraError as e:
        if _NO_VERSION.search(e.detail):
            return None
        raise
    found = _keep(pinned.name, own, cache)
    return found if {*found.debs} == {*pinned.debs} else None


def _keep(name: str, own: AptRoot, cache: Path) -> Package:
    """Move what apt downloaded and verified to the cache, and return it as a package."""
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
