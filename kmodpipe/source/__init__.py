"""Get a kernel tree from git, a Debian package, a tarball or a directory.

In: the value of ``--tree``, and the declared trees.
Out: a verified, read-only tree below CACHE/trees (see tree.py).
`resolve` turns the value into a TreeSpec, `locate` finds its tree in the cache, `fetch` gets it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from kmodpipe.source import connectivity, debian, directory, git, kept, tarball, tree
from kmodpipe.source.history import commits_between
from kmodpipe.source.origin import DebianOrigin, FolderOrigin, GitOrigin, KeptOrigin, TarballOrigin
from kmodpipe.source.tree import Tree, TreeSpec, Unreachable, known
from kmodpipe.util import paths
from kmodpipe.util.cell_id import KERNEL_NAME
from kmodpipe.util.errors import UserError, unknown_name
from kmodpipe.util.lock import lock
from kmodpipe.util.screen import Screen

_TARBALL = re.compile(r"\.(tar|tar\.(gz|xz|bz2)|tgz|txz|tbz2?)$")
_NAMED = re.compile(rf"({KERNEL_NAME.pattern})=(.+)", re.DOTALL)
_GIT_SCHEME = re.compile(r"^(git|ssh|file|https?)://")
# git://host/-x and host:-x: the server's git would take the path for an option.
_BARE_URL_PATH = re.compile(r"^(?:(?:git|ssh)://[^/]*/|(?:[^@/:]+@)?[^/:]+:(?!//))-")
_OTHER_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:(//|:)")


def resolve(arg: str, declared: Mapping[str, TreeSpec]) -> TreeSpec:
    """Return the tree that ``--tree ARG`` names: a declared name, a directory, a git URL or a tarball.

    A git URL takes ``#REF``, a branch, tag or full commit hash; a tarball takes ``#sha256=HEX``. ``NAME=ARG``
    gives it another name. Raise UserError for anything else, with similar names.
    """
    if (named := _NAMED.fullmatch(arg)) and not paths.exists(paths.expanded(arg)):
        return _resolve(named[2], declared).model_copy(update={"name": named[1]})
    return _resolve(arg, declared)


def _resolve(arg: str, declared: Mapping[str, TreeSpec]) -> TreeSpec:
    if arg in declared:
        spec = declared[arg]
        for url in (spec.git, spec.tarball):
            _refuse_secret(url or "", f"tree {arg}")
        return spec if spec.name else spec.model_copy(update={"name": arg})
    location, _, fragment = arg.partition("#")
    _refuse_secret(location, "--tree")
    if paths.has_controls(arg) and not paths.exists(paths.expanded(arg)):
        raise UserError(
            f"no tree has a name with a newline or other control character: {arg!r}", where="--tree"
        )
    if "://" in location and (fault := connectivity.fault_of(location)):
        raise UserError(f"not an address: {fault}", where=arg)
    if _is_tarball(location):
        return _tarball_spec(arg, location, fragment)
    if _OTHER_SCHEME.match(location) and not _GIT_SCHEME.match(location):
        hint = "use https, http, git, ssh or file"
        raise UserError(f"trees cannot be fetched over {location.partition(':')[0]}", where=arg, hint=hint)
    if _GIT_SCHEME.match(location) or connectivity.is_ssh(location):
        return _git_spec(arg, location, fragment)
    path = paths.expanded(arg)
    if paths.is_dir(path):
        return TreeSpec(name=arg, path=path)
    if fragment and paths.is_dir(paths.expanded(location)):
        return _git_spec(arg, paths.expanded(location).resolve().as_uri(), fragment)
    if paths.exists(path) or arg.startswith((".", "/", "~")):
        what = "neither a folder nor a .tar file" if paths.exists(path) else "no such folder or file"
        raise UserError(f"{what}: {arg}", where="--tree")
    raise unknown_name("tree", arg, declared, hint="or give a directory, a git URL with #ref, or a tarball")


def _refuse_secret(url: str, where: str) -> None:
    """Raise UserError for a URL with a password or token in it: results contain their tree's URL."""
    scheme, found, rest = url.partition("://")
    user, at, _ = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")
    if found and at and (":" in user or scheme.lower() in ("http", "https")):
        raise UserError(
            "the tree's URL holds a user name or a password, and would be written into every result",
            where=where,
            hint="keep it in git's credential helper, in ~/.netrc (tarballs), or use ssh",
        )


def _is_tarball(location: str) -> bool:
    name = location.partition("?")[0] if tarball.is_url(location) else location
    if not _TARBALL.search(name):
        return False
    return tarball.is_url(location) or paths.is_file(paths.expanded(location))


def _tarball_spec(arg: str, location: str, fragment: str) -> TreeSpec:
    match = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", fragment)
    if fragment and not match:
        raise UserError(
            f"not a digest: #{fragment}", where=arg, hint="a tarball takes #sha256= and 64 hex digits"
        )
    return TreeSpec(name=arg, tarball=location, sha256=match[1].lower() if match else None)


def _git_spec(arg: str, url: str, ref: str) -> TreeSpec:
    if connectivity.host_of(url).startswith("-") or _BARE_URL_PATH.match(url):
        raise UserError(
            f"a host or path that begins with a dash would be taken for an option: {url!r}", where=arg
        )
    if re.fullmatch(r"[0-9a-fA-F]{40}", ref):
        return TreeSpec(name=arg, git=url, commit=ref.lower())
    # The rules of git-check-ref-format(1) that keep a name from being read as an option or a revision.
    if ref.startswith("-") or re.search(r"[\s~^:?*\[\\\x00-\x1f\x7f]|\.\.|@\{", ref):
        raise UserError(f"not a branch, tag or commit: {ref!r}", where=arg)
    return TreeSpec(name=arg, git=url, ref=ref or None)


# -- locate and fetch --------------------------------------------------------------------------------
def locate(
    spec: TreeSpec,
    declared: Mapping[str, TreeSpec],
    cache: Path,
    *,
    head: bool = False,
    warn: tree.Warn | None = None,
) -> Tree | None:
    """Return the tree if it is in the cache, else None. Does not use the network.

    A branch or a tag gives the commit of the last `fetch`. The stand-in is returned only if a `fetch` used it
    because the tree could not be reached. ``warn`` is called for a tree that was changed in the cache, which
    is not returned.
    """
    found = _locate_own(spec, cache, head=head, warn=warn)
    if found:
        return found.named(spec.name)
    taken = None if head else tree.recall(cache, _stand_in_request(spec))
    if taken and spec.stand_in and taken.get("stand-in") == spec.stand_in and spec.stand_in in declared:
        found = _locate_own(resolve(spec.stand_in, declared), cache, warn=warn)
        if found:
            return _standing_in(found, spec, taken["reason"])
    return None


def _locate_own(
    spec: TreeSpec, cache: Path, *, head: bool = False, warn: tree.Warn | None = None
) -> Tree | None:
    match spec.origin:
        case GitOrigin() as origin:
            return git.locate(origin, cache, head=head, warn=warn)
        case DebianOrigin() as origin:
            return debian.locate(origin, cache, warn)
        case TarballOrigin() as origin:
            return tarball.locate(origin, cache, warn)
        case FolderOrigin() as origin:
            return directory.locate(origin, cache, warn)
        case KeptOrigin() as origin:
            return kept.locate(origin, cache, warn)


def fetch(
    spec: TreeSpec, declared: Mapping[str, TreeSpec], cache: Path, screen: Screen, *, head: bool = False
) -> Tree:
    """Return the tree; get it if it is not in the cache. With ``head``, take the tip of its declared head.

    If its server cannot be reached, use the declared stand-in with a warning; the provenance then names both.
    A missing commit or a wrong digest is an error even so, and so is an unreachable server with ``head``.
    Raise UserError for a request that cannot be met, InfraError for failures of network, apt and disk.
    """
    _require_head(spec, head)
    try:
        return _fetch_own(spec, cache, screen, head=head).named(spec.name)
    except Unreachable as e:
        if head or not spec.stand_in:
            raise
        other = resolve(spec.stand_in, declared)
        screen.warn(f"testing {other.name}, the fallback for {spec.name}: {e.what}")
        made = _fetch_own(other, cache, screen)
        tree.remember(cache, _stand_in_request(spec), {"stand-in": spec.stand_in, "reason": e.what})
        return _standing_in(made, spec, e.what)


def _fetch_own(spec: TreeSpec, cache: Path, screen: Screen, *, head: bool = False) -> Tree:
    match spec.origin:
        case GitOrigin() as origin:
            return git.fetch(origin, cache, screen, head=head)
        case DebianOrigin() as origin:
            return debian.fetch(origin, cache, screen, head=head)
        case TarballOrigin() as origin:
            return tarball.fetch(origin, cache, screen)
        case FolderOrigin() as origin:
            return directory.fetch(origin, cache, screen)
        case KeptOrigin() as origin:
            return kept.fetch(origin, cache)


def _require_head(spec: TreeSpec, head: bool) -> None:
    """Raise UserError if the head of a tree is wanted that has none: a pinned one, a file or a folder."""
    if head and not (spec.kind == "git" or (spec.kind == "debian" and not spec.version)):
        raise UserError(f"tree {spec.name} has no moving head: it is pinned", where="--head")


def tip(spec: TreeSpec, *, head: bool = False) -> str:
    """Return the commit of a branch or tag on its server now; '' for a tree that is pinned or not from git.

    Raise Unreachable if the server does not answer, UserError for a ref that it does not have.
    """
    _require_head(spec, head)
    match spec.origin:
        case GitOrigin() as origin:
            return git.tip(origin, head=head)
        case _:
            return ""


def content(spec: TreeSpec) -> str:
    """Return which source a request is for, as it is now and without the cache or the network.

    A commit, a branch's name, or a digest of the files in a folder. Raise UserError for a folder that is not
    there.
    """
    if isinstance(spec.origin, FolderOrigin):
        return directory.content(spec.origin)
    return spec.describe()


def _stand_in_request(spec: TreeSpec) -> dict[str, object]:
    return {"kind": "stand-in", "for": spec.describe()}


def _standing_in(found: Tree, spec: TreeSpec, reason: str) -> Tree:
    return found.named(
        spec.name,
        tree=str(spec.stand_in),
        stand_in_for=f"{spec.name} ({spec.describe()})",
        stand_in_reason=reason,
    )


def check_reach(spec: TreeSpec) -> tuple[bool, str]:
    """Return whether the tree's source can be reached now, and a phrase about it. Takes 5 s at most."""
    match spec.origin:
        case DebianOrigin() as origin:
            return debian.check(origin, bound_s=2.5)
        case GitOrigin(url=url) if connectivity.is_ssh(url):
            return True, f"{connectivity.host_of(url)}: over ssh, not tried"
        case GitOrigin(url=url):
            return _probe(url)
        case TarballOrigin(location=location):
            return _probe(location) if tarball.is_url(location) else _look_for(Path(location))
        case FolderOrigin(path=path):
            return _look_for(path)
        case KeptOrigin(identity=identity):
            return True, identity


def _probe(url: str) -> tuple[bool, str]:
    reached, why = connectivity.probe(url)
    return reached, f"{connectivity.host_of(url)}: {why}"


def _look_for(path: Path) -> tuple[bool, str]:
    path = path.expanduser()
    return path.exists(), f"{path} {'is there' if path.exists() else 'does not exist'}"


def remove_trees(cache: Path) -> int:
    """Remove all trees, patched ones too, and their records; return how many. Downloads are kept."""
    folder = cache / "trees"
    if not folder.is_dir():
        return 0
    removed = 0
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name != "pins":
            with lock(cache / "locks" / path.name):
                tree.discard(path)
            removed += 1
    for path in [
        *folder.glob("*.json"),
        *folder.glob("*.manifest"),
        *folder.glob("*.linked"),
        *(folder / "pins").glob("*"),
    ]:
        path.unlink(missing_ok=True)
    git.prune(cache)
    return removed


__all__ = [
    "Tree", "TreeSpec", "Unreachable", "check_reach", "commits_between", "content", "fetch", "known",
    "locate", "remove_trees", "resolve", "tip",
]  # fmt: skip
