"""Get the commits between two states of a repository, and what each changes.

    CACHE/git/ranges/<digest of the URL>.git    a bare repository a server, with as much history as was needed

Trees are fetched without their history, into another repository (`git`), so that nothing is cut here.
A commit is not trusted: nothing is checked out, and its difference to the range's good end is a patch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.source import connectivity, git
from kmodpipe.source.git_command import QUIET_ENV, SAFE, make_bare, raise_for, run_git, run_showing
from kmodpipe.source.origin import GitOrigin
from kmodpipe.source.tree import TreeSpec
from kmodpipe.util import process
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import UserError
from kmodpipe.util.lock import lock
from kmodpipe.util.screen import Screen, Step

# How many commits behind the bad end are fetched, one after the other, until the good end is among them.
_DEPTHS = (64, 1024, 16384)
_MOST_COMMITS = 20_000
_LOCAL_S = 900.0
_HASH = re.compile(r"[0-9a-f]{40}")
_ABBREVIATED = re.compile(r"[0-9a-f]{7,39}")
_DUMB = re.compile(r"dumb http transport does not support shallow", re.IGNORECASE)
_DIFF = ("-r", "-p", "--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv",
         "--no-color", "--src-prefix=a/", "--dst-prefix=b/")  # fmt: skip


@dataclass(frozen=True)
class CommitRange:
    """The commits that lead from one commit to another one, its descendant."""

    url: str
    good: str  # the full hash
    bad: str
    count: int  # how many commits the bad end has and the good one has not
    repository: Path

    def run(self, *args: str, check: bool = True, whole: bool = False) -> process.Completed:
        """Run git in the repository that has the history."""
        return run_in(self.repository, *args, check=check, whole=whole)

    def subject(self, commit: str) -> str:
        """Return the first line of a commit's message."""
        return self.run("show", "-s", "--no-show-signature", "--format=%s", commit).text.strip()[:200]

    def files_of(self, commit: str) -> str:
        """Return the hash of all files of a commit: commits with the same files have the same."""
        return self.run("rev-parse", "--verify", f"{commit}^{{tree}}").text.strip()

    def parents(self, commit: str) -> tuple[str, ...]:
        """Return the hashes of a commit's parents."""
        return tuple(self.run("rev-list", "--no-walk", "--parents", commit).text.split()[1:])

    def patch(self, commit: str) -> bytes:
        """Return what a commit has on top of the good end, as a patch.

        Raise `child_output.OutputTooLarge` if that is more than any patch.
        """
        return self.run("diff-tree", *_DIFF, self.good, commit, whole=True).stdout

    def lend(self, spec: TreeSpec, cache: Path, screen: Screen) -> None:
        """Let `git.fetch` find a commit of the range in the shared repository, without the network."""
        origin = spec.origin
        if not isinstance(origin, GitOrigin):
            return
        ref = git.kept_as(origin)
        with lock(cache / "locks" / "git", waiting=screen.say):
            git.prepare(cache)
            if run_git(cache, "rev-parse", "--verify", "--quiet", ref, check=False).returncode:
                self.run("update-ref", "refs/heads/lent", str(origin.commit))
                argv = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--depth=1")
                run_git(cache, *argv, self.repository.as_uri(), f"refs/heads/lent:{ref}")


def run_in(repository: Path, *args: str, check: bool = True, whole: bool = False) -> process.Completed:
    """Run git in a bare repository of ours, in plain English and without the user's configuration."""
    argv = ["git", f"--git-dir={repository}", *SAFE, *args]
    env = {**QUIET_ENV, "LC_ALL": "C"}
    return process.run(argv, timeout_s=_LOCAL_S, cwd=repository, env=env, check=check, whole=whole)


def fetch(url: str, good: str, bad: str, cache: Path, screen: Screen) -> CommitRange:
    """Get the history from ``bad`` back to ``good``: branches, tags, or hashes.

    Raise UserError for a ref that the server does not have (with near ones), for an empty range, and for a
    good end that is no ancestor of the bad one; Unreachable if the server does not answer.
    """
    repository = cache / "git" / "ranges" / f"{digest_of(url)[:24]}.git"
    with lock(cache / "locks" / repository.name, waiting=screen.say):
        make_bare(repository)
        for left in (*repository.glob("*.lock"), *repository.glob("objects/pack/tmp_*")):
            left.unlink(missing_ok=True)
        with screen.step(f"ask {connectivity.host_of(url)} for the commits from {good} to {bad}") as step:
            # An abbreviated hash is looked for in the history.
            old = (good, good) if _ABBREVIATED.fullmatch(good) else _looked_up(url, good)
            found = _history(repository, url, (old, _looked_up(url, bad)), (good, bad), step)
            step.finish(f"{found.count} commits")
    return found


def _looked_up(url: str, want: str) -> tuple[str, str]:
    """Return what to fetch for a ref or a hash, and the commit."""
    return (want, want) if _HASH.fullmatch(want) else git.looked_up(url, want)


def _history(
    repository: Path,
    url: str,
    ends: tuple[tuple[str, str], tuple[str, str]],
    names: tuple[str, str],
    step: Step,
) -> CommitRange:
    """Fetch as much history as the range needs; ``ends`` are what to fetch for the good and the bad one."""
    (old, start), (remote, wanted) = ends
    for depth in (0, *_DEPTHS):
        if depth:
            _deepen(repository, url, remote, depth, step)
        first = _commit(repository, start)
        if first and _commit(repository, wanted) and _complete(repository, first, wanted):
            return _checked(repository, url, first, wanted, names)
        if depth and not (repository / "shallow").is_file():
            break
    if not _commit(repository, start) and old != start:
        # To tell how it is related, if it is.
        _deepen(repository, url, old, _DEPTHS[0], step)
    return _checked(repository, url, _commit(repository, start) or start, wanted, names)


def _deepen(repository: Path, url: str, remote: str, depth: int, step: Step) -> None:
    step.update(f"{depth} commits of history")
    argv = ["git", f"--git-dir={repository}", *SAFE, "fetch", "--progress", "--no-tags", "--force"]
    argv += ["--no-write-fetch-head"]
    refspec = f"{remote}:refs/kmodpipe/{digest_of(remote)[:24]}"
    status, tail = run_showing([*argv, f"--depth={depth}", "--end-of-options", url, refspec], step)
    if status and _DUMB.search(tail):
        status, tail = run_showing([*argv, "--end-of-options", url, refspec], step)
    if status:
        raise_for(tail, url, remote)


def _commit(repository: Path, rev: str) -> str:
    argv = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}")
    done = run_in(repository, *argv, check=False)
    return done.text.strip() if done.returncode == 0 else ""


def _is_ancestor(repository: Path, old: str, new: str) -> bool:
    return run_in(repository, "merge-base", "--is-ancestor", old, new, check=False).returncode == 0


def _complete(repository: Path, good: str, bad: str) -> bool:
    """Whether the history between both is there: no commit of it is one at which a fetch was cut.

    Where the good end's own history is cut, commits that it has may seem to be new; these would reach back to
    the cut, or to the very first commit.
    """
    if not _is_ancestor(repository, good, bad):
        return False
    cut = repository / "shallow"
    if not cut.is_file():
        return True
    argv = ("rev-list", f"--max-count={_MOST_COMMITS + 1}", "--parents", f"{good}..{bad}", "--")
    rows = [line.split() for line in run_in(repository, *argv, whole=True).text.splitlines()]
    edge = set(cut.read_text().split())
    return all(len(row) > 1 and row[0] not in edge for row in rows)


def _checked(repository: Path, url: str, good: str, bad: str, names: tuple[str, str]) -> CommitRange:
    """Return the range. Raise UserError if there is none."""
    named = f"{names[0]}..{names[1]}"
    if good == bad:
        raise UserError(f"the range is empty: {names[0]} and {names[1]} are the same commit", where=url)
    if not _commit(repository, good) or not _is_ancestor(repository, good, bad):
        hint = "both have to be of one line of history: git merge-base GOOD BAD is a good end that is"
        what = f"{names[0]} is no ancestor of {names[1]}"
        if _commit(repository, good) and _is_ancestor(repository, bad, good):
            what, hint = f"{what}: it is the other way round", f"#{names[1]}..{names[0]}"
        elif (repository / "shallow").is_file():
            what = f"{what} within its last {_DEPTHS[-1]} commits"
        raise UserError(what, where=f"{url}#{named}", hint=hint)
    count = int(run_in(repository, "rev-list", "--count", f"{good}..{bad}", "--").text)
    if count > _MOST_COMMITS:
        raise UserError(f"{named} has {count} commits, and the limit is {_MOST_COMMITS}", where=url)
    return CommitRange(url, good, bad, count, repository)
