"""List the commits between two states of a branch.

Trees are fetched without their history, so the part between the two is fetched here, bounded in depth and
time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kmodpipe.source import connectivity, git_command
from kmodpipe.util.lock import lock
from kmodpipe.util.screen import Screen

# The depths to fetch, one after the other, until the older commit is found.
_DEPTHS = (16, 128, 512)
_HISTORY_LIMIT_S = 300.0


@dataclass(frozen=True)
class NewCommits:
    """The commits between an old and a new state of a branch."""

    # Whether the old commit was found among the new one's ancestors. If not, the branch was rewound, or has
    # more new commits than were fetched, and the other fields are about the newest commits that were.
    whole: bool
    # The number of commits.
    count: int
    # Hash, subject and author of the newest commits, newest first; fewer than ``count`` if there are many.
    lines: tuple[str, ...]
    # Number of commits and name of each author; empty unless ``whole``.
    authors: tuple[str, ...] = ()


def commits_between(
    url: str, cache: Path, old: str, new: str, screen: Screen, *, most: int = 20
) -> NewCommits:
    """Return the commits from ``old`` to ``new``, fetching from ``url`` as much history as that needs.

    ``new`` is in the shared repository already. At most ``most`` commits are listed. Raise InfraError if git
    or the server fails.
    """
    with lock(cache / "locks" / "git", waiting=screen.say):
        whole = _is_ancestor(cache, old, new)
        for depth in _DEPTHS:
            if whole:
                break
            with screen.step(f"ask {connectivity.host_of(url)} for the last {depth} commits") as step:
                argv = [
                    "git",
                    f"--git-dir={git_command.repository(cache)}",
                    *git_command.SAFE,
                    "fetch",
                    "--progress",
                    "--no-tags",
                ]
                argv += ["--no-write-fetch-head", f"--depth={depth}", "--end-of-options", url, new]
                status, tail = git_command.run_showing(argv, step, _HISTORY_LIMIT_S)
            if status != 0:
                git_command.raise_for(tail, url, new)
            whole = _is_ancestor(cache, old, new)
        span = [f"{old}..{new}"] if whole else [new]
        counted = git_command.run_git(cache, "rev-list", "--count", *span, "--")
        log = git_command.run_git(cache, "log", f"--max-count={most}", "--format=%h %s (%an)", *span, "--")
        authors = git_command.run_git(cache, "shortlog", "-s", "-n", *span, "--").text if whole else ""
    shown = tuple(line[:200] for line in log.text.splitlines())
    return NewCommits(
        whole, int(counted.text), shown, tuple(" ".join(a.split()) for a in authors.splitlines())
    )


def _is_ancestor(cache: Path, old: str, new: str) -> bool:
    return git_command.run_git(cache, "merge-base", "--is-ancestor", old, new, check=False).returncode == 0
