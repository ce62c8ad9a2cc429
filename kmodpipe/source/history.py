"""What came in between two commits of a branch. Trees are fetched without their history: of it, just so much
is asked for as leads from the one to the other, bounded in depth and time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kmodpipe.source import connectivity, git
from kmodpipe.util.lock import lock
from kmodpipe.util.screen import Screen

_DEEPEST = (16, 128, 512)
_HISTORY_LIMIT_S = 300.0


@dataclass(frozen=True)
class CameIn:
    """What lies between two commits of a branch. ``whole``: the old one is an ancestor of the new one, and
    ``lines`` are all that came in, newest first and bounded, of ``count``; otherwise ``lines`` are the newest
    commits of a branch that was rewound, or moved on further than anybody looked."""

    whole: bool
    count: int
    lines: tuple[str, ...]
    authors: tuple[str, ...] = ()


def commits_between(url: str, cache: Path, old: str, new: str, screen: Screen, *, most: int = 20) -> CameIn:
    """The commits of ``url`` that came in from ``old`` to ``new``, which is in the shared repository already.

    Trees are fetched without their history; here just so much of it is fetched as leads back to ``old``,
    bounded in depth and time. Raises InfraError where git or the server fails.
    """
    with lock(cache / "locks" / "git", waiting=screen.say):
        whole = _is_ancestor(cache, old, new)
        for depth in _DEEPEST:
            if whole:
                break
            with screen.step(f"ask {connectivity.host_of(url)} for the last {depth} commits") as step:
                argv = [
                    "git",
                    f"--git-dir={git.repository(cache)}",
                    *git.SAFE,
                    "fetch",
                    "--progress",
                    "--no-tags",
                ]
                argv += ["--no-write-fetch-head", f"--depth={depth}", "--end-of-options", url, new]
                status, tail = git.run_showing(argv, step, _HISTORY_LIMIT_S)
            if status != 0:
                git.raise_for(tail, url, new)
            whole = _is_ancestor(cache, old, new)
        span = [f"{old}..{new}"] if whole else [new]
        counted = git.run_git(cache, "rev-list", "--count", *span, "--")
        log = git.run_git(cache, "log", f"--max-count={most}", "--format=%h %s (%an)", *span, "--")
        authors = git.run_git(cache, "shortlog", "-s", "-n", *span, "--").text if whole else ""
    shown = tuple(line[:200] for line in log.text.splitlines())
    return CameIn(whole, int(counted.text), shown, tuple(" ".join(a.split()) for a in authors.splitlines()))


def _is_ancestor(cache: Path, old: str, new: str) -> bool:
    return git.run_git(cache, "merge-base", "--is-ancestor", old, new, check=False).returncode == 0
