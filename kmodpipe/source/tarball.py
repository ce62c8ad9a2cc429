"""Get trees from tarballs, by path or http(s) URL."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kmodpipe.cache import store
from kmodpipe.source import archive, connectivity, download, tree
from kmodpipe.source.origin import TarballOrigin
from kmodpipe.source.tree import Tree, Unreachable
from kmodpipe.util import os_errors
from kmodpipe.util.digest import digest_file, digest_of
from kmodpipe.util.errors import InfraError, UserError
from kmodpipe.util.files import require_space
from kmodpipe.util.lock import lock
from kmodpipe.util.screen import Screen


def is_url(location: str) -> bool:
    return location.startswith(("http://", "https://"))


def _file_request(path: Path) -> dict[str, object]:
    try:
        s = path.stat()
    except OSError as e:
        raise UserError(f"no such tarball: {path}", where=str(path), hint=e.strerror or "") from e
    return {
        "kind": "tar-file",
        "path": str(path.resolve()),
        "stat": [s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino],
    }


def _digest(path: Path, cache: Path) -> str:
    """Return the SHA-256 (hex) of the file: the recorded one if its stats have not changed."""
    request = _file_request(path)
    answer = tree.recall(cache, request)
    if answer and "sha256" in answer:
        return answer["sha256"]
    sha256 = digest_file(path)
    tree.remember(cache, request, {"sha256": sha256})
    return sha256


def locate(origin: TarballOrigin, cache: Path, warn: tree.Warn | None = None) -> Tree | None:
    """Return the unpacked tarball if it is in the cache, else None. Does not use the network.

    For a URL without a digest that is the version of the last `fetch`.
    """
    if not is_url(origin.location):
        path = Path(origin.location).expanduser()
        found = tree.known(cache, f"tar:{_checked(origin, path, cache)}", warn)
        return _with_provenance(found, origin) if found else None
    answer = {"sha256": origin.sha256} if origin.sha256 else tree.recall(cache, _url_request(origin))
    found = tree.known(cache, f"tar:{answer.get('sha256')}", warn) if answer else None
    return _with_provenance(found, origin) if found else None


def _url_request(origin: TarballOrigin) -> dict[str, object]:
    return {"kind": "tar-url", "url": origin.location}


def _checked(origin: TarballOrigin, path: Path, cache: Path) -> str:
    sha256 = _digest(path, cache)
    if origin.sha256 not in (None, sha256):
        raise UserError(f"the tarball has sha256 {sha256}, expected {origin.sha256}", where=str(path))
    return sha256


def _with_provenance(found: Tree, origin: TarballOrigin) -> Tree:
    location = origin.location
    where = {"url": location} if is_url(location) else {"file": str(Path(location).expanduser().resolve())}
    facts = {"source": "tarball", **where, "sha256": found.identity.partition(":")[2]}
    facts["verified-by"] = "the sha256 that was given" if origin.sha256 else "nothing: no sha256 was given"
    return Tree(found.name, found.path, found.identity, found.kernel_version, facts)


def fetch(origin: TarballOrigin, cache: Path, screen: Screen) -> Tree:
    """Return the tree in the tarball; get it if it is not in the cache.

    For a URL without a digest, the server is asked each time whether the file changed.
    """
    location = origin.location
    name = f"tar-{digest_of(location)[:16]}"
    with lock(cache / "locks" / name, waiting=screen.say):
        here = locate(origin, cache)
        if here and (origin.sha256 or not is_url(location)):
            return here
        if not is_url(location):
            path = Path(location).expanduser()
            return _with_provenance(_unpack(path, _checked(origin, path, cache), cache, screen), origin)
        return _with_provenance(_from_url(origin, cache, screen, here), origin)


def _from_url(origin: TarballOrigin, cache: Path, screen: Screen, here: Tree | None) -> Tree:
    url = origin.location
    base = re.sub(r"[^A-Za-z0-9._+-]", "_", unquote(urlsplit(url).path).rpartition("/")[2])[-80:]
    kept = cache / "downloads" / f"{digest_of(url)[:16]}-{base}"
    earlier = tree.recall(cache, _url_request(origin)) or {}
    if kept.is_file() and origin.sha256 and _digest(kept, cache) == origin.sha256:
        return _unpack(kept, origin.sha256, cache, screen)
    with screen.step(f"download {connectivity.host_of(url)}: {base}") as step:
        reached, why = connectivity.probe(url)
        if not reached:
            raise Unreachable(
                f"{connectivity.host_of(url)} cannot be reached: {why}", where=url, hint=connectivity.HINT
            )
        got = download.download(url, kept, step, sha256=origin.sha256, fresh_if=earlier if here else None)
        if got is None:
            if here is None:
                raise InfraError(
                    "the server calls a file unchanged that was never downloaded",
                    where=url,
                    hint="look at what answers there: a proxy may; or name another server",
                )
            step.finish("unchanged")
            return here
        step.finish(f"{got.path.stat().st_size >> 20} MiB, sha256 {got.sha256[:12]}…")
    made = _unpack(got.path, got.sha256, cache, screen)
    tree.remember(cache, _url_request(origin), {"sha256": got.sha256, **got.validators})
    return made


def _unpack(path: Path, sha256: str, cache: Path, screen: Screen) -> Tree:
    identity = f"tar:{sha256}"
    if here := tree.known(cache, identity):
        return here
    size = path.stat().st_size
    require_space(cache, (size >> 20) * (12 if path.suffix != ".tar" else 2) + 64, f"unpacking {path.name}")
    with screen.step(f"unpack {path.name}") as step, store.Store(cache).scratch("tree-") as scratch:
        target = scratch / "tree"
        target.mkdir()
        try:
            with path.open("rb") as f:
                archive.unpack(
                    f, target, what=str(path), packed=size,
                    on_count=lambda n: step.update(f"{n} files", done=f.tell(), total=size),
                )  # fmt: skip
        except OSError as e:
            if full := os_errors.explain(e, (cache,)):
                raise full from e
            raise os_errors.failed("could not read the tarball", e, str(path)) from e
        made = tree.install(cache, target, identity, {"source": "tarball"}, what=str(path))
        step.finish(f"Linux {made.kernel_version}")
        return made
