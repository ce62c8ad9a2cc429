"""Run git safely: in the shared bare repository, or talking to a server.

A repository is not trusted: git runs no hooks, filters or file system monitor for it, follows no submodules,
and does not use the ``ext::`` transport.
"""

from __future__ import annotations

import os
import re
import selectors
import time
from collections.abc import Sequence
from pathlib import Path

from kmodpipe.source import connectivity
from kmodpipe.source.tree import Unreachable
from kmodpipe.util import os_errors, process
from kmodpipe.util.errors import InfraError, Interrupted, UserError
from kmodpipe.util.lines import LineSplitter, Tail
from kmodpipe.util.screen import Step

_FETCH_LIMIT_S = 2 * 3600.0
_SILENCE_LIMIT_S = 180.0
_LOCAL_LIMIT_S = 900.0
_NO_NETWORK = re.compile(
    r"could not resolve host|name or service not known|connection refused|connection timed out"
    r"|failed to connect|couldn't connect|network is unreachable|no route to host|unable to look up",
    re.IGNORECASE,
)
_NO_SUCH_COMMIT = re.compile(r"not our ref|couldn't find remote ref|no such remote ref", re.IGNORECASE)
INCOMPLETE = (
    r"from promisor remote|lazy fetching disabled|alternate object path|repository corruption on the"
    r"|fatal: unable to read [0-9a-f]{40}",
    "the repository lacks objects: it is a partial clone, borrows from one that is gone, or is damaged",
    "complete it (git fetch --refetch --no-filter, git repack -a -d), or clone it without --filter",
)
"""What git says of a repository that lacks objects, what it means for the user, and what to do."""
# Likewise of others; the first that is found counts.
_REFUSALS = (
    (
        r"mismatched algorithms|unknown repository extension found:\s*objectformat|object format 'sha256'",
        "the repository names its objects by SHA-256, which trees are not fetched from",
        "clone it, and name the clone's folder: --tree FOLDER",
    ),
    (
        r"dubious ownership",
        "the repository belongs to another user, and git does not read it",
        "if you trust it: git config --global --add safe.directory FOLDER",
    ),
    (
        r"authentication failed|could not read (?:username|password)|permission denied \("
        r"|returned error: 40[13]",
        "the server wants a login, or refuses this one",
        "git has to reach it without questions: a credential helper, ~/.netrc, or an ssh agent",
    ),
    (
        r"repository '?.*not found|does not appear to be a git repository|not a git repository"
        r"|repository not exported|returned error: 404",
        "there is no git repository at this address",
        "check the address; where it is served as plain files, git update-server-info has to be run there",
    ),
    INCOMPLETE,
)
_PROGRESS = re.compile(r"^(?:remote: )?([A-Z][a-z]+ [a-z]+):\s+(\d+)% ")

SAFE = (
    "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "protocol.ext.allow=never",
    "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "submodule.recurse=false",
    "-c", "fetch.recurseSubmodules=false", "-c", "advice.detachedHead=false",
    "-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60",
)  # fmt: skip

# Only for fetches: with the user's own git configuration, for its proxies and credentials.
NETWORK_ENV = {
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
    """Return the path of the shared bare repository; it may not exist yet."""
    return cache / "git" / "trees.git"


def run_git(
    cache: Path, *args: str, check: bool = True, stdin: bytes | None = None, whole: bool = False
) -> process.Completed:
    """Run a local git command in the shared repository."""
    argv = ["git", f"--git-dir={repository(cache)}", *SAFE, *args]
    return process.run(argv, timeout_s=_LOCAL_LIMIT_S, env=QUIET_ENV, stdin=stdin, check=check, whole=whole)


def make_bare(repo: Path) -> None:
    """Make a bare repository, without hooks or any setting, where there is none."""
    if not (repo / "HEAD").is_file():
        repo.parent.mkdir(parents=True, exist_ok=True)
        argv = ["git", *SAFE, "init", "--quiet", "--bare", f"--template={os.devnull}", str(repo)]
        process.run(argv, timeout_s=60, env=QUIET_ENV)


def remove_stale_locks(cache: Path) -> None:
    """Remove what a killed git left in the shared repository; the caller holds the lock "git".

    With a left ``shallow.lock`` every fetch fails, and unfinished packs are never removed.
    """
    repo = repository(cache)
    for pattern in ("*.lock", "refs/**/*.lock", "objects/pack/tmp_*", "objects/??/tmp_obj_*"):
        for left in repo.glob(pattern):
            left.unlink(missing_ok=True)


def run_showing(
    argv: Sequence[str], step: Step, limit_s: float = _FETCH_LIMIT_S, *, silence_s: float = 0.0
) -> tuple[int, str]:
    """Run git with its progress on the step's line; return its status and last lines of output.

    Raise InfraError if it takes longer than ``limit_s``, or the server sends nothing for ``silence_s`` (0 for
    the usual limit): git itself has no such limit for a ``git://`` server. Its progress lines end with
    carriage returns.
    """
    silence_s = silence_s or _SILENCE_LIMIT_S
    child = process.spawn_piped(argv, env=NETWORK_ENV)
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
                if now - heard > silence_s or now - started > limit_s:
                    raise InfraError(
                        f"git heard nothing from the server for {now - heard:.0f} s"
                        if now - heard > silence_s
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


def raise_for(tail: str, url: str, want: str) -> None:
    """Raise the error that fits the last lines of git's output, after a failed fetch of ``want``."""
    if _NO_NETWORK.search(tail):
        raise Unreachable(
            f"{connectivity.host_of(url)} cannot be reached", where=url, detail=tail, hint=connectivity.HINT
        )
    if os_errors.says_full(tail):
        raise os_errors.full("git fetched", where=url, detail=tail)
    for pattern, what, hint in _REFUSALS:
        if re.search(pattern, tail, re.IGNORECASE):
            raise UserError(what, where=url, detail=tail, hint=hint)
    if _NO_SUCH_COMMIT.search(tail):
        raise UserError(f"the repository has no commit {want}", where=url, detail=tail)
    raise InfraError(
        f"git could not fetch {want}",
        where=url,
        detail=tail,
        hint="nothing half fetched is kept: run the same command again",
    )
