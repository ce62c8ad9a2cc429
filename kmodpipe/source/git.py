"""Trees from git: shallow fetches into one shared bare repository, a worktree a commit.

What a repository holds is untrusted: no hooks, no submodules, no file system monitor, no filters, no
``ext::`` transport, and no symbolic link that points out of the tree.
"""

from __future__ import annotations

import os
import re
import selectors
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.cache import store
from kmodpipe.source import archive, connectivity, tree
from kmodpipe.source.origin import GitOrigin
from kmodpipe.source.tree import Tree, Unreachable
from kmodpipe.util import os_errors, paths, process
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import InfraError, Interrupted, UserError, unknown_name
from kmodpipe.util.files import require_space
from kmodpipe.util.lines import LineSplitter, Tail
from kmodpipe.util.lock import lock
from kmodpipe.util.screen import Screen, Step

_FETCH_LIMIT_S = 2 * 3600.0
_SILENCE_LIMIT_S = 180.0
_LOCAL_LIMIT_S = 900.0
_LINK = b"120000"
_LINK_BYTES = 4096
_HASH = re.compile(r"^[0-9a-f]{40}$")
_NO_NETWORK = re.compile(
    r"could not resolve host|name or service not known|connection refused|connection timed out"
    r"|failed to connect|couldn't connect|network is unreachable|no route to host|unable to look up",
    re.IGNORECASE,
)
_NO_SUCH_COMMIT = re.compile(r"not our ref|couldn't find remote ref|no such remote ref", re.IGNORECASE)
_HASH_REFUSED = re.compile(r"unadvertised object|does not allow request", re.IGNORECASE)
_DAMAGED = re.compile(
    r"object \S+ .*is corrupt|inflate: (?:data stream error|needs dictionary)|unable to unpack \S+ header"
    r"|object file \S+ is empty|unable to read (?:tree|sha1 file|blob|object)|missing (?:blob|tree|commit) "
    r"|bad (?:object|tree object|pack)|packfile \S+ (?:cannot be mapped|does not match|claims|is)|index file",
    re.IGNORECASE,
)
_PROGRESS = re.compile(r"^(?:remote: )?([A-Z][a-z]+ [a-z]+):\s+(\d+)% ")

SAFE = (
    "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "protocol.ext.allow=never",
    "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "submodule.recurse=false",
    "-c", "fetch.recurseSubmodules=false", "-c", "advice.detachedHead=false",
    "-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60",
)  # fmt: skip

# The user's own git configuration (proxies, credentials) is for talking to servers only.
_NETWORK_ENV = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/false",
    "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oConnectTimeout=5",
    "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
}
QUIET_ENV = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}


def repository(cache: Path) -> Path:
    """The shared bare repository; it may not exist yet."""
    return cache / "git" / "trees.git"


def run_git(
    cache: Path, *args: str, check: bool = True, stdin: bytes | None = None, whole: bool = False
) -> process.Completed:
    """A local git command in the shared repository."""
    argv = ["git", f"--git-dir={repository(cache)}", *SAFE, *args]
    return process.run(argv, timeout_s=_LOCAL_LIMIT_S, env=QUIET_ENV, stdin=stdin, check=check, whole=whole)


def _request(origin: GitOrigin, *, head: bool) -> dict[str, object]:
    want = (origin.head if head else None) or origin.commit or origin.ref or "HEAD"
    return {"kind": "git", "url": origin.url, "want": want, "first-parent": origin.first_parent and not head}


def locate(
    origin: GitOrigin, cache: Path, *, head: bool = False, warn: tree.Warn | None = None
) -> Tree | None:
    """The tree that this request came out as last time, if it is still here. No network."""
    answer = tree.recall(cache, _request(origin, head=head))
    return tree.known(cache, answer.get("identity", ""), warn) if answer else None


def fetch(origin: GitOrigin, cache: Path, screen: Screen, *, head: bool = False) -> Tree:
    """Fetch the pinned commit, the branch or tag, or with ``head`` the declared moving head.

    Raises Unreachable where the server does not answer, UserError for a ref or commit it does not have.
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
            except InfraError as e:
                told = _DAMAGED.search(f"{e.what}\n{e.detail}")
                # What arrives may be damaged as well: only what is found here counts.
                if told is None or isinstance(e, Interrupted) or _is_sound(cache):
                    raise
                # The trees that were checked out of it stand without it.
                screen.warn(
                    f"the cache's git repository is damaged ({told[0]}): what is needed is fetched anew"
                )
                store.remove(repository(cache))
                result = _get(origin, cache, screen, step, request)
            step.finish(f"{result.identity}, Linux {result.kernel_version}")
        tree.remember(cache, request, {"identity": result.identity})
        return result


def _is_sound(cache: Path) -> bool:
    return run_git(cache, "fsck", "--no-progress", "--no-dangling", check=False).returncode == 0


def _get(origin: GitOrigin, cache: Path, screen: Screen, step: Step, request: dict[str, object]) -> Tree:
    _prepare(cache)
    commit = _commit_of(origin, cache, screen, step, request)
    return tree.known(cache, f"git:{commit}") or _check_out(origin, cache, step, commit, request)


def tip(origin: GitOrigin, *, head: bool = False) -> str:
    """The commit that the branch or tag is at now, asked of the server; '' for a pinned commit.

    Raises Unreachable where the server does not answer, UserError for a ref that it does not have."""
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
    refs = _advertised(url, want)
    name = _full_name(url, want, refs)
    # A tag with a message is an object of its own, which says what commit it is about.
    return refs.get(f"{name}^{{}}", refs[name])


def _prepare(cache: Path) -> None:
    repo = repository(cache)
    if not (repo / "HEAD").is_file():
        repo.parent.mkdir(parents=True, exist_ok=True)
        argv = ["git", *SAFE, "init", "--quiet", "--bare", f"--template={os.devnull}", str(repo)]
        process.run(argv, timeout_s=60, env=QUIET_ENV)


def _has(cache: Path, rev: str) -> str | None:
    """The full hash of a commit that is in the shared repository, or None."""
    done = run_git(
        cache, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}", check=False
    )
    return done.text.strip() if done.returncode == 0 else None


def _commit_of(origin: GitOrigin, cache: Path, screen: Screen, step: Step, request: dict[str, object]) -> str:
    """Bring the wanted commit into the shared repository; returns its hash."""
    want = str(request["want"])
    keep = f"refs/kmodpipe/{digest_of(request)[:24]}"
    # The ref is written once all objects are there: it alone says that an earlier fetch was whole.
    got = _has(cache, keep) if _HASH.match(want) else None
    if got is None:
        # An ssh host may be an alias that only ssh knows, and ssh has a connect limit of its own.
        reached, why = (True, "") if connectivity.is_ssh(origin.url) else connectivity.probe(origin.url)
        if not reached:
            step.finish(f"no answer: {why}")
            raise Unreachable(
                f"{connectivity.host_of(origin.url)} cannot be reached: {why}",
                where=origin.url,
                hint=connectivity.HINT,
            )
        remote = want if _HASH.match(want) else _remote_ref(origin.url, want)
        depth = 2 if request["first-parent"] else 1
        step.update(f"asking {connectivity.host_of(origin.url)} for {want}")
        _fetch(origin, cache, screen, step, remote, keep, depth)
        got = _has(cache, keep)
    if got is None or (_HASH.match(want) and got != want):
        raise InfraError(f"git fetched {got or 'nothing'} where {want} was asked for", where=origin.url)
    if request["first-parent"]:
        parent = _has(cache, f"{got}^1")
        if parent is None:
            raise UserError(f"commit {got} has no parent to stand on", where=origin.url)
        return parent
    return got


def _remote_ref(url: str, want: str) -> str:
    """The full name of a branch or tag on the server, as git itself would look it up."""
    return _full_name(url, want, _advertised(url, want))


def _advertised(url: str, want: str) -> dict[str, str]:
    """What the server has, name → hash."""
    argv = ["git", *SAFE, "ls-remote", "--quiet", "--end-of-options", url]
    done = process.run(argv, timeout_s=60, env=_NETWORK_ENV, check=False)
    if done.returncode != 0:
        raise_for(done.tail, url, want)
    rows = (line.partition("\t") for line in done.text.splitlines())
    return {name: commit for commit, _, name in rows}


def _full_name(url: str, want: str, names: Collection[str]) -> str:
    candidates = [n for n in (want, f"refs/{want}", f"refs/tags/{want}", f"refs/heads/{want}") if n in names]
    short = [n for n in candidates if n.startswith(("refs/tags/", "refs/heads/"))]
    if len(short) > 1:
        raise UserError(
            f"{want} is both a branch and a tag", where=url, hint=f"say #{short[0]} or #{short[1]}"
        )
    if not candidates:
        if re.fullmatch(r"[0-9a-f]{7,39}", want):
            hint = "servers know commits by their full hash only: give all 40 digits"
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
    if status != 0 and _HASH_REFUSED.search(tail) and _HASH.match(remote):
        screen.warn(
            f"{connectivity.host_of(origin.url)} does not serve single commits: "
            "fetching all its branches and tags"
        )
        every = f"refs/kmodpipe-all/{digest_of(origin.url)[:24]}"
        refspecs = [f"refs/heads/*:{every}/heads/*", f"refs/tags/*:{every}/tags/*"]
        status, tail = run_showing([*base, "--end-of-options", origin.url, *refspecs], step)
        if status == 0:
            if not _has(cache, remote):
                tail = "not our ref"
                status = 1
            else:
                run_git(cache, "update-ref", keep, remote)
    if status != 0:
        raise_for(tail, origin.url, remote)


def raise_for(tail: str, url: str, want: str) -> None:
    """Turn git's last words into the error of the right kind."""
    if _NO_NETWORK.search(tail):
        raise Unreachable(
            f"{connectivity.host_of(url)} cannot be reached", where=url, detail=tail, hint=connectivity.HINT
        )
    if os_errors.says_full(tail):
        raise os_errors.full("git fetched", where=url, detail=tail)
    if _NO_SUCH_COMMIT.search(tail):
        raise UserError(f"the repository has no commit {want}", where=url, detail=tail)
    raise InfraError(
        f"git could not fetch {want}",
        where=url,
        detail=tail,
        hint="nothing half fetched is kept: run the same command again",
    )


def run_showing(argv: Sequence[str], step: Step, limit_s: float = _FETCH_LIMIT_S) -> tuple[int, str]:
    """Run git with its progress on the step's line; returns its status and last lines.

    git redraws its line with carriage returns, and has no limit for a ``git://`` server that falls
    silent: hence a reader of our own, with a limit for the whole and one for silence.
    """
    child = process.spawn_piped(argv, env=_NETWORK_ENV)
    lines, tail = LineSplitter(), Tail(20)
    started = heard = time.monotonic()
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(child.stderr, selectors.EVENT_READ)
            while True:
                if selector.select(0.5):
                    data = os.read(child.stderr.fileno(), 65536)
                    if not data:
                        break
                    heard = time.monotonic()
                    for line in lines.feed(data.replace(b"\r", b"\n")):
                        _show(line.strip(), step, tail)
                elif child.poll() is not None:
                    break
                now = time.monotonic()
                if now - heard > _SILENCE_LIMIT_S or now - started > limit_s:
                    raise InfraError(
                        f"git heard nothing from the server for {now - heard:.0f} s"
                        if now - heard > _SILENCE_LIMIT_S
                        else f"git fetch did not end within {limit_s:.0f} s",
                        where=process.pasteable(argv),
                        hint="nothing half fetched is kept: run the same command again",
                    )
        child.wait(30)
    finally:
        process.end(child)
    if process.stopping():
        raise Interrupted("interrupted while git fetched", where=process.pasteable(argv))
    if lines.rest:
        tail.add(lines.rest)
    return child.returncode, tail.text


def _show(line: str, step: Step, tail: Tail) -> None:
    shown = _PROGRESS.match(line)
    if shown:
        step.update(line, done=int(shown[2]), total=100)
    elif line:
        tail.add(line)


def _check_out(origin: GitOrigin, cache: Path, step: Step, commit: str, request: dict[str, object]) -> Tree:
    """A worktree of ``commit``, checked before anything is written."""
    identity = f"git:{commit}"
    what = f"{origin.url} at {commit}"
    listing = _listing(cache, commit, what)
    _refuse_what_no_tree_holds(listing, what)
    _refuse_escaping_links(cache, listing, what)
    # The file system rounds every file up.
    need_mib = (sum(entry.size for entry in listing) + len(listing) * 4096 >> 20) + 64
    require_space(cache, need_mib, f"a worktree of {commit[:12]}")
    folder = tree.slot(cache, identity)
    tree.discard(folder)
    run_git(cache, "worktree", "prune")
    folder.parent.mkdir(parents=True, exist_ok=True)
    step.update(f"checking out {commit[:12]}")
    try:
        run_git(
            cache, "-c", "checkout.workers=2", "worktree", "add", "--force", "--detach", str(folder), commit
        )
        version = tree.kernel_version(folder, what=what)
        provenance = {"source": "git", "url": origin.url, "commit": commit, **_about(cache, commit)}
        if request["first-parent"]:
            provenance["first-parent-of"] = str(request["want"])
        elif request["want"] != commit:
            provenance["ref"] = str(request["want"])
        tree.seal(folder, identity, version, provenance)
    except BaseException:
        tree.discard(folder)
        raise
    return Tree("", folder, identity, version, provenance)


def _about(cache: Path, commit: str) -> dict[str, str]:
    date, _, subject = run_git(cache, "show", "-s", "--format=%cI%n%s", commit).text.strip().partition("\n")
    return {"commit-date": date, "commit-subject": subject[:200]}


@dataclass(frozen=True)
class _Entry:
    """One file of a commit, before it is checked out."""

    name: str
    mode: bytes
    blob: bytes
    size: int


def _listing(cache: Path, commit: str, what: str) -> list[_Entry]:
    """Every file of a commit. UserError for none, and for more than any kernel has."""
    try:
        done = run_git(cache, "ls-tree", "-r", "-l", "-z", "--full-tree", commit, whole=True)
    except process.TooMuch as e:
        raise UserError("the commit holds far more files than a kernel", where=what) from e
    entries = []
    for row in done.stdout.split(b"\0")[:-1]:
        meta, _, raw = row.partition(b"\t")
        mode, _, blob, size = meta.split()
        entries.append(_Entry(os.fsdecode(raw), mode, blob, int(size) if size.isdigit() else 0))
    if not entries:
        raise UserError("the commit holds no files", where=what)
    return entries


def _refuse_what_no_tree_holds(listing: list[_Entry], what: str) -> None:
    limits = archive.Limits()
    for entry in listing:
        if not paths.is_plain(entry.name):
            raise UserError(f"it holds a file that cannot be checked out: {entry.name!r}", where=what)
        if entry.size > limits.file_bytes or (entry.mode == _LINK and entry.size > _LINK_BYTES):
            raise UserError(
                f"{entry.name!r} has {entry.size} bytes: no kernel source is so large", where=what
            )
    if sum(entry.size for entry in listing) > limits.total_bytes or len(listing) > limits.members:
        raise UserError("the commit holds far more than a kernel", where=what)


def _refuse_escaping_links(cache: Path, listing: list[_Entry], what: str) -> None:
    links = [entry for entry in listing if entry.mode == _LINK]
    if not links:
        return
    asked = b"".join(entry.blob + b"\n" for entry in links)
    told = run_git(cache, "cat-file", "--batch", stdin=asked, whole=True).stdout
    targets: dict[str, str] = {}
    for entry in links:
        # "<blob> blob <size>", a newline, the content, a newline
        begin = told.index(b"\n") + 1
        targets[entry.name] = os.fsdecode(told[begin : begin + entry.size])
        told = told[begin + entry.size + 1 :]
    if found := paths.escaping_link(targets):
        raise UserError(f"its symbolic link {found[0]} points out of the tree, to {found[1]}", where=what)


def prune(cache: Path) -> None:
    """Let the shared repository forget worktrees that are gone."""
    if (repository(cache) / "HEAD").is_file():
        run_git(cache, "worktree", "prune")
