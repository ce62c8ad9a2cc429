"""Look up the commits that Fixes tags name, in the history that the tree or the series comes from."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from kmodpipe.analysis.check.tags import Commits
from kmodpipe.series import Series
from kmodpipe.source import Tree, user_git
from kmodpipe.util import paths
from kmodpipe.util.errors import KmodpipeError

_NO_HISTORY = "the tree is not from git"


def of(series: Series, tree: Tree) -> Commits:
    """Return the commits of the repository that a series is read from, else of the tree's.

    A shallow history does not tell that a commit does not exist.
    """
    for folder in (Path(series.origin.partition("#")[0]), tree.path):
        if paths.exists(folder / ".git"):
            return _in(folder)
    return Commits(unknown=_NO_HISTORY)


def _in(root: Path) -> Commits:
    @cache
    def subject(sha: str) -> str | None:
        found = user_git.run_git(
            root, "log", "-1", "--no-show-signature", "--format=%s", f"{sha}^{{commit}}", "--", check=False
        )
        return found.text.strip() if found.returncode == 0 else None

    try:
        told = user_git.run_git(root, "rev-parse", "--is-shallow-repository", check=False)
    except KmodpipeError as e:
        return Commits(unknown=e.what)
    if told.returncode != 0:
        return Commits(unknown="the tree's repository cannot be read")
    shallow = told.text.strip() != "false"
    return Commits(subject, "the tree's history was fetched in part only" if shallow else "")
