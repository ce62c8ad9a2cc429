"""Get trees from git: shallow fetches into one shared bare repository, and a worktree for each commit.

A commit is not trusted: its files are checked before it is checked out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from kmodpipe.cache import store
from kmodpipe.source import checkout, connectivity, submodules, tree
from kmodpipe.source.git_command import (
    NETWORK_ENV,
    SAFE,
    make_bare,
    raise_for,
    remove_stale_locks,
    repository,
    run_git,
    run_showing,
)
from kmodpipe.source.origin import GitOrigin
from kmodpipe.source.submodules import Submodules
from kmodpipe.source.tree import Tree, Unreachable
from kmodpipe.util import process
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import InfraError, Interrupted, UserError, unknown_name
from kmodpipe.util.lock import lock
from kmodpipe.util.screen import Screen, Step

_ANOTHER = "name another URL of the same repository: this server is behind, or out of order"
_HASH = re.compile(r"^[0-9a-f]{40}$")
_HASH_REFUSED = re.compile(r"unadvertised object|does not allow request", re.IGNORECASE)
# git's remote-curl.c, of a server without git-http-backend.
_NOT_SHALLOW = re.compile(r"dumb http transport does not support shallow", re.IGNORECASE)
_WHOLE_S = 2 * 3600.0
_DAMAGED = re.compile(
    r"object \S+ .*is corrupt|inflate: (?:data stream error|needs dictionary)|unable to unpack \S+ header"
    r"|object file \S+ is empty|unable to read (?:tree|sha1 file|blob|object)|missing (?:blob|tree|commit) "
    r"|bad (?:object|tree object|pack)|packfile \S+ (?:cannot be mapped|does not match|claims|is)|index file",
    re.IGNORECASE,
)


def _request(origin: GitOrigin, *, head: bool) -> dict[str, object]:
    want = (origin.head if head else None) or origin.commit or origin.ref or "HEAD"
    return {"kind": "git", "url": origin.url, "want": want, "first-parent": origin.first_parent and not head}


def _kept_as(request: Mapping[str, object]) -> str:
    return f"refs/kmodpipe/{digest_of(request)[:24]}"


def kept_as(origin: GitOrigin) -> str:
    """Return the ref of the shared repository that a pinned commit is fetched into."""
    return _kept_as(_request(origin, head=False))


def locate(
    origin: GitOrigin, cache: Path, *, head: bool = False, warn: tree.Warn | None = None
) -> Tree | None:
    """Return the tree of this origin if it is in the cache, else None.

    Of a branch or a tag it is the commit of the last `fetch`.
    """
    request = _request(origin, head=head)
    if answer := tree.recall(cache, request):
        found = tree.known(cache, answer.get("identity", ""), warn)
        # What was left out may be there by now.
        if found is None or submodules.are_left_out(found.provenance):
            return None
        return _as_requested(found, origin, request)
    if _HASH.match(str(request["want"])) and not request["first-parent"]:
        # Fetched under another name, or from another server, which its provenance names.
        return tree.known(cache, f"git:{request['want']}", warn)
    return None


def fetch(origin: GitOrigin, cache: Path, screen: Screen, *, head: bool = False) -> Tree:
    """Fetch the pinned commit, the branch or tag, or with ``head`` the declared moving head.

    A branch or a tag is looked up on the server each time. Raise Unreachable if the server does not answer,
    UserError for a ref or commit that it does not have.
    """
    if head and not origin.head:
        raise UserError(
            f"tree {origin.name} declares no moving head", hint='add head = "BRANCH" to its table'
        )
    request = _request(origin, head=head)
    pinned = bool(_HASH.match(str(request["want"])))
    with lock(cache / "locks" / "git", waiting=screen.say):
        if pinned and (here := locate(origin, cache, head=head)):
            return here
        with screen.step(f"fetch {origin.name or origin.url}") as step:
            try:
                result = _get(origin, cache, screen, step, request)
            except Unreachable as e:
                last = None if pinned else locate(origin, cache, head=head)
                if last is not None:
                    commit = commit_of(last.identity)
                    e.hint = f"as it was fetched last, without the network: --tree {origin.url}#{commit}"
                raise
            except InfraError as e:
                damage = _DAMAGED.search(f"{e.what}\n{e.detail}")
                # The data from the server may be damaged instead, so check the repository itself.
                if damage is None or isinstance(e, Interrupted) or _is_sound(cache):
                    raise
                # Trees that are checked out already do not need it.
                screen.warn(
                    f"the cache's git repository is damaged ({damage[0]}): what is needed is fetched anew"
                )
                store.remove(repository(cache))
                result = _get(origin, cache, screen, step, request)
            step.finish(result.describe())
        tree.remember(cache, request, {"identity": result.identity})
        return result


def _is_sound(cache: Path) -> bool:
    return run_git(cache, "fsck", "--no-progress", "--no-dangling", check=False).returncode == 0


def _get(origin: GitOrigin, cache: Path, screen: Screen, step: Step, request: Mapping[str, object]) -> Tree:
    prepare(cache)
    commit = _commit_of(origin, cache, screen, step, request)
    found = Submodules() if origin.of_kernel else _submodules(origin, cache, screen, step, commit)
    if here := tree.known(cache, _identity(commit, found)):
        return _as_requested(here, origin, request)
    return _check_out(origin, cache, step, commit, request, found)


def _submodules(origin: GitOrigin, cache: Path, screen: Screen, step: Step, commit: str) -> Submodules:
    def fetch_commit(url: str, wanted: str) -> None:
        part = GitOrigin(origin.name, url, wanted, of_kernel=False)
        _commit_of(part, cache, screen, step, _request(part, head=False))

    found = submodules.find(cache, origin.url, commit, fetch_commit)
    if found.left_out:
        screen.warn(found.warning())
    return found


def _identity(commit: str, found: Submodules) -> str:
    return f"git:{commit}{found.suffix()}"


def _as_requested(found: Tree, origin: GitOrigin, request: Mapping[str, object]) -> Tree:
    """Return a tree that may have been fetched by another name, with the provenance of this request."""
    commit = commit_of(found.identity)
    kept = ("commit-date", "commit-subject", *submodules.PROVENANCE)
    same = {k: v for k, v in found.provenance.items() if k in kept}
    return replace(found, provenance={**_provenance(origin, commit, request), **same})


def commit_of(identity: str) -> str:
    """Return the commit of a tree of git by its identity, with or without submodules."""
    return identity.removeprefix("git:").partition("+")[0]


def _provenance(origin: GitOrigin, commit: str, request: Mapping[str, object]) -> dict[str, str]:
    facts = {"source": "git", "url": origin.url, "commit": commit}
    if request["first-parent"]:
        facts["first-parent-of"] = str(request["want"])
    elif request["want"] != commit:
        facts["ref"] = str(request["want"])
    return facts


def tip(origin: GitOrigin, *, head: bool = False) -> str:
    """Return the commit of the branch or tag on the server now; '' for a pinned commit.

    Raise Unreachable if the server does not answer, UserError for a ref that it does not have.
    """
    if head and not origin.head:
        raise UserError(
            f"tree {origin.name} declares no moving head", hint='add head = "BRANCH" to its table'
        )
    want = str(_request(origin, head=head)["want"])
    if _HASH.match(want):
        return ""
    url = origin.url
    reached, why = (True, "") if connectivity.is_ssh(url) else connectivity.probe(url)
    if not reached:
        raise Unreachable(f"{connectivity.host_of(url)} cannot be reached: {why}", where=url)
    return looked_up(url, want)[1]


def prepare(cache: Path) -> None:
    """Make the shared repository if there is none; the caller holds the lock "git"."""
    make_bare(repository(cache))
    remove_stale_locks(cache)


def _has(cache: Path, rev: str) -> str | None:
    """Return the full hash of a commit if the shared repository has it, else None."""
    done = run_git(
        cache, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}", check=False
    )
    return done.text.strip() if done.returncode == 0 else None


def _commit_of(
    origin: GitOrigin, cache: Path, screen: Screen, step: Step, request: Mapping[str, object]
) -> str:
    """Fetch the wanted commit into the shared repository, and return its hash."""
    want, first_parent = str(request["want"]), bool(request["first-parent"])
    pinned = bool(_HASH.match(want))
    keep = _kept_as(request)
    kept = f"{keep}-tree" if first_parent else keep
    # A ref is written once all its objects are there, so it proves that an earlier fetch was complete.
    if pinned and (got := _has(cache, kept)):
        return got
    # An ssh host may be an alias in ssh's configuration, and ssh has a connect timeout of its own.
    reached, why = (True, "") if connectivity.is_ssh(origin.url) else connectivity.probe(origin.url)
    if not reached:
        step.finish(f"no answer: {why}")
        raise Unreachable(
            f"{connectivity.host_of(origin.url)} cannot be reached: {why}",
            where=origin.url,
            hint=connectivity.HINT,
        )
    step.update(f"asking {connectivity.host_of(origin.url)} for {want}")
    remote = want
    if not pinned:
        remote, tip_now = looked_up(origin.url, want)
        if origin.of_kernel and tree.known(cache, f"git:{tip_now}"):
            return tip_now
    _fetch(origin, cache, screen, step, remote, keep, 2 if first_parent else 1)
    got = _has(cache, keep)
    if got is None or (pinned and got != want):
        raise InfraError(
            f"git fetched {got or 'nothing'} where {want} was requested", where=origin.url, hint=_ANOTHER
        )
    if first_parent:
        got = _first_parent(cache, got, origin.url)
        run_git(cache, "update-ref", kept, got)
    return got


def _first_parent(cache: Path, commit: str, url: str) -> str:
    """Return the first parent that a commit names, though a shallow fetch may have cut its history there."""
    # Not COMMIT^1: of a commit at which some fetch was cut, git shows no parents.
    head = run_git(cache, "cat-file", "commit", commit).text.partition("\n\n")[0]
    named = re.search(r"(?m)^parent ([0-9a-f]{40})$", head)
    if named is None:
        raise UserError(f"commit {commit} has no parent", where=url)
    if _has(cache, named[1]) is None:
        raise InfraError(
            f"the server did not send {named[1]}, the parent of {commit}", where=url, hint=_ANOTHER
        )
    return named[1]


def looked_up(url: str, want: str) -> tuple[str, str]:
    """Return the full name of a branch or tag on the server, as gitrevisions(7) finds it, and its commit."""
    refs = _advertised(url, want)
    name = _full_name(url, want, refs)
    # An annotated tag is an object of its own; the server lists the commit it points to as NAME^{}.
    return name, refs.get(f"{name}^{{}}", refs[name])


def _advertised(url: str, want: str) -> dict[str, str]:
    """Return the server's refs: hash by name."""
    argv = ["git", *SAFE, "ls-remote", "--quiet", "--end-of-options", url]
    done = process.run(argv, timeout_s=60, env=NETWORK_ENV, check=False)
    if done.returncode != 0:
        raise_for(done.tail, url, want)
    rows = (line.partition("\t") for line in done.text.splitlines())
    return {name: commit for commit, _, name in rows}


def _full_name(url: str, want: str, names: Collection[str]) -> str:
    candidates = [n for n in (want, f"refs/{want}", f"refs/tags/{want}", f"refs/heads/{want}") if n in names]
    short = [n for n in candidates if n.startswith(("refs/tags/", "refs/heads/"))]
    if len(short) > 1:
        raise UserError(
            f"{want} is both a branch and a tag", where=url, hint=f"give #{short[0]} or #{short[1]}"
        )
    if not candidates:
        if re.fullmatch(r"[0-9a-f]{7,39}|[0-9a-f]{64}", want):
            hint = "servers accept a commit's full hash only: give all 40 digits"
            if len(want) == 64:
                hint = "a commit by SHA-256: clone the repository, and name the clone's folder"
            raise UserError(f"no branch or tag {want}", where=url, hint=hint)
        known = (
            n.removeprefix("refs/heads/").removeprefix("refs/tags/") for n in names if n.startswith("refs/")
        )
        raise unknown_name("branch or tag", want, (n for n in known if not n.endswith("^{}")), where=url)
    return candidates[0]


def _fetch(
    origin: GitOrigin, cache: Path, screen: Screen, step: Step, remote: str, keep: str, depth: int
) -> None:
    base = ["git", f"--git-dir={repository(cache)}", *SAFE, "fetch", "--progress", "--no-tags"]
    base += ["--no-write-fetch-head", "--force"]
    argv = [*base, f"--depth={depth}", "--end-of-options", origin.url, f"{remote}:{keep}"]
    status, tail = run_showing(argv, step)
    silence_s = 0.0
    if status != 0 and _NOT_SHALLOW.search(tail):
        screen.warn(
            f"{connectivity.host_of(origin.url)} serves git as plain files, which cannot be fetched in part: "
            "fetching the whole history"
        )
        # No progress is shown within a pack; git's own limit on slow transfers holds.
        silence_s = _WHOLE_S
        argv = [*base, "--end-of-options", origin.url, f"{remote}:{keep}"]
        status, tail = run_showing(argv, step, silence_s=silence_s)
    if status != 0 and _HASH_REFUSED.search(tail) and _HASH.match(remote):
        screen.warn(
            f"{connectivity.host_of(origin.url)} does not serve single commits: "
            "fetching all its branches and tags"
        )
        every = f"refs/kmodpipe-all/{digest_of(origin.url)[:24]}"
        refspecs = [f"refs/heads/*:{every}/heads/*", f"refs/tags/*:{every}/tags/*"]
        status, tail = run_showing(
            [*base, "--end-of-options", origin.url, *refspecs], step, silence_s=silence_s
        )
        if status == 0:
            if not _has(cache, remote):
                tail = "not our ref"
                status = 1
            else:
                run_git(cache, "update-ref", keep, remote)
    if status != 0:
        # git's http-walker.c: a plain web server has no such object.
        missing = f"cannot obtain needed object {remote}" in tail.lower()
        raise_for("not our ref" if missing else tail, origin.url, remote)


def _check_out(
    origin: GitOrigin,
    cache: Path,
    step: Step,
    commit: str,
    request: Mapping[str, object],
    found: Submodules,
) -> Tree:
    """Make a worktree of ``commit``, and of each submodule that was found."""
    identity = _identity(commit, found)
    folder = tree.slot(cache, identity)
    tree.discard(folder)
    run_git(cache, "worktree", "prune")
    folder.parent.mkdir(parents=True, exist_ok=True)
    step.update(f"checking out {commit[:12]}")
    try:
        checkout.check_out(cache, folder, commit, f"{origin.url} at {commit}")
        submodules.fill(cache, folder, found)
        version = tree.version_of(folder, what=f"{origin.url} at {commit}", of_kernel=origin.of_kernel)
        provenance = {**_provenance(origin, commit, request), **_about(cache, commit), **found.provenance()}
        tree.seal(folder, identity, version, provenance)
    except BaseException:
        tree.discard(folder)
        raise
    return Tree("", folder, identity, version, provenance)


def _about(cache: Path, commit: str) -> dict[str, str]:
    date, _, subject = run_git(cache, "show", "-s", "--format=%cI%n%s", commit).text.strip().partition("\n")
    return {"commit-date": date, "commit-subject": subject[:200]}


def prune(cache: Path) -> None:
    """Remove the records of deleted worktrees from the shared repository."""
    if (repository(cache) / "HEAD").is_file():
        run_git(cache, "worktree", "prune")
