"""Get trees from Debian's ``linux-source-*`` packages, whose signatures apt verifies (`apt_root`)."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path
from typing import IO

from kmodpipe.cache import store
from kmodpipe.source import apt, apt_root, archive, connectivity, tree
from kmodpipe.source.apt_root import AptRoot
from kmodpipe.source.distribution import mirrors
from kmodpipe.source.origin import DebianOrigin
from kmodpipe.source.tree import Tree
from kmodpipe.util import document, process
from kmodpipe.util.digest import digest_file, digest_of
from kmodpipe.util.errors import InfraError, Interrupted, UserError
from kmodpipe.util.files import require_space, write_atomically
from kmodpipe.util.lock import lock
from kmodpipe.util.screen import Screen, Step

# A metapackage: it depends on the package of the newest kernel in its suite.
_NEWEST = "linux-source"
_MEMBER = re.compile(r"^(?:\./)?usr/src/linux-source-[^/]+\.tar\.(?:xz|bz2|gz)$")


# -- from the archive to a .deb ----------------------------------------------------------------------
def check(origin: DebianOrigin, *, bound_s: float = 5.0) -> tuple[bool, str]:
    """Return whether a mirror of this machine's apt has the suite, and a phrase about it."""
    problem = apt_root.lacking(origin.keyring)
    if problem:
        return False, problem
    phrase = "this machine's apt knows no Debian archive"
    found = apt.targets()
    for suite in origin.suites:
        for uri in mirrors(found, suite)[:1]:
            reached, why = connectivity.probe(f"{uri}/dists/{suite}/InRelease", bound_s=bound_s)
            phrase = f"{connectivity.host_of(uri)} {why}"
            if reached:
                return "status 200" in why, phrase
    return False, phrase


def _request(origin: DebianOrigin) -> dict[str, object]:
    keyring = str(origin.keyring)
    return {"kind": "deb", "package": origin.package, "version": origin.version, "keyring": keyring}


def locate(origin: DebianOrigin, cache: Path, warn: tree.Warn | None = None) -> Tree | None:
    """Return the unpacked package if it is in the cache, else None. Does not use the network."""
    answer = tree.recall(cache, _request(origin))
    return tree.known(cache, answer.get("identity", ""), warn) if answer else None


def fetch(origin: DebianOrigin, cache: Path, screen: Screen, *, head: bool = False) -> Tree:
    """Download, verify and unpack the package. Raise InfraError if apt cannot get or verify it.

    Without a version it is the newest one when it is fetched for the first time, and with ``head`` now.
    """
    request = _request(origin)
    lock_file = cache / "locks" / f"deb-{digest_of(request)[:16]}"
    with lock(lock_file, waiting=screen.say):
        if not head and (here := locate(origin, cache)):
            return here
        kept = _kept(origin, cache) if origin.version else None
        deb, facts = kept or _download(origin, cache, screen)
        identity = f"deb:{origin.package}={facts['version']}:{facts['sha256']}"
        made = tree.known(cache, identity)
        if made is None:
            provenance = {"source": "debian-package", **facts}
            made = _unpack(deb, cache, screen, identity, provenance)
        tree.remember(cache, request, {"identity": identity})
        return made


def _kept(origin: DebianOrigin, cache: Path) -> tuple[Path, dict[str, str]] | None:
    """Return a package that an earlier run downloaded and verified with the same key ring, or None."""
    for notes in (cache / "downloads").glob(f"{origin.package}_*.deb.json"):
        deb = notes.with_suffix("")
        try:
            facts = {str(k): str(v) for k, v in document.read_object(notes).items()}
        except (OSError, ValueError, AttributeError):
            continue
        wanted = {"version": origin.version, "verified-by": str(origin.keyring)}
        fits = all(facts.get(k) == v for k, v in wanted.items()) and deb.is_file()
        if fits and digest_file(deb) == facts.get("sha256"):
            return deb, facts
    return None


def _download(origin: DebianOrigin, cache: Path, screen: Screen) -> tuple[Path, dict[str, str]]:
    problem = apt_root.lacking(origin.keyring)
    hint = "take a tarball or a directory instead: --tree FILE.tar.xz, or --tree FOLDER"
    if problem:
        raise InfraError(
            f"Debian packages cannot be fetched here: {problem}", where=origin.describe(), hint=hint
        )
    found = apt.targets()
    candidates = [(suite, uri) for suite in origin.suites for uri in mirrors(found, suite)]
    if not candidates:
        what = "this machine's apt sources name no Debian archive over http(s)"
        hint = f"name a mirror of it: {apt.MIRROR}=http://HOST/debian; or {hint}"
        raise InfraError(what, where=origin.describe(), hint=hint)
    failures: list[str] = []
    name = f"{origin.package} {origin.version}".rstrip()
    with screen.step(f"fetch {name}") as step:
        for suite, uri in candidates:
            with store.Store(cache).scratch("apt-") as root:
                try:
                    deb = _apt(origin, suite, uri, root, step)
                except Interrupted:
                    raise
                except InfraError as e:
                    failures.append(f"{suite} from {connectivity.host_of(uri)}: {apt_root.complaint(e)}")
                    continue
                facts = {
                    "package": origin.package,
                    "version": origin.version or _version_of(deb),
                    "sha256": digest_file(deb),
                    "suite": suite,
                    "verified-by": str(origin.keyring),
                }
                kept = cache / "downloads" / deb.name
                kept.parent.mkdir(parents=True, exist_ok=True)
                deb.replace(kept)
                write_atomically(kept.with_name(kept.name + ".json"), json.dumps(facts, indent=1))
                step.finish(f"{facts['version']}, {kept.stat().st_size >> 20} MiB, signature verified")
                return kept, facts
        step.finish("failed")
    raise InfraError(
        f"apt could not fetch and verify {name}",
        where=origin.describe(), detail="\n".join(failures), hint=hint,
    )  # fmt: skip


def _newest(own: AptRoot) -> str:
    """Return the package that Debian's metapackage of kernel sources depends on."""
    shown = own.ask("--no-all-versions", "show", _NEWEST)
    if found := re.search(r"^Depends:.*?\b(linux-source-[0-9][\w.+-]*)", shown, re.MULTILINE):
        return found[1]
    raise InfraError(
        f"the metapackage {_NEWEST} names no package of sources",
        detail=shown[-500:],
        hint="name a package and its version in [tool.kmodpipe.trees]",
    )


def _version_of(deb: Path) -> str:
    return process.run(["dpkg-deb", "--field", deb, "Version"], timeout_s=60).text.strip()


def _apt(origin: DebianOrigin, suite: str, uri: str, folder: Path, step: Step) -> Path:
    """Download the package with a private state of apt in ``folder``; return it."""
    own = apt_root.make(folder, [f"deb [arch=amd64 signed-by={origin.keyring}] {uri} {suite} main"])
    step.update(f"apt-get update: {suite} from {connectivity.host_of(uri)}")
    own.update(step)
    package = _newest(own) if origin.package == _NEWEST else origin.package
    wanted = f"{package}={origin.version}" if origin.version else package
    (folder / "download").mkdir()
    own.get(["download", wanted], step, cwd=folder / "download")
    debs = list((folder / "download").glob("*.deb"))
    if len(debs) != 1:
        raise InfraError(
            f"apt-get download left {len(debs)} packages", where=wanted, hint="run the same command again"
        )
    return debs[0]


# -- from a .deb to a tree ---------------------------------------------------------------------------
def _unpack(deb: Path, cache: Path, screen: Screen, identity: str, provenance: dict[str, str]) -> Tree:
    require_space(cache, (deb.stat().st_size >> 20) * 12 + 64, f"unpacking {deb.name}")
    with screen.step(f"unpack {deb.name}") as step, store.Store(cache).scratch("tree-") as scratch:
        target = scratch / "tree"
        target.mkdir()
        child = process.spawn_piped(["dpkg-deb", "--fsys-tarfile", deb])
        try:
            _unpack_inner(child.stdout, target, deb.name, step)
        finally:
            process.kill_group(child)
            process.forget(child)
            child.stdout.close()
            child.stderr.close()
        made = tree.install(cache, target, identity, provenance, what=deb.name)
        step.finish(f"Linux {made.kernel_version}")
        return made


def _unpack_inner(stream: IO[bytes], target: Path, what: str, step: Step) -> None:
    """Unpack the source tarball inside the package's tar while reading the latter."""
    try:
        with tarfile.open(fileobj=stream, mode="r|") as outer:
            for member in outer:
                wanted = member.isreg() and _MEMBER.match(member.name)
                if wanted and (inner := outer.extractfile(member)):
                    name = f"{what}: {member.name.rpartition('/')[2]}"
                    archive.unpack(inner, target, what=name, on_count=lambda n: step.update(f"{n} files"))
                    return
    except tarfile.TarError as e:
        if process.stopping():
            raise Interrupted("interrupted while a package was unpacked", where=what) from e
        raise InfraError(
            f"the package cannot be read: {e}", where=what, hint="remove it, and run the same command again"
        ) from e
    raise UserError("the package holds no usr/src/linux-source-*.tar.xz", where=what)
