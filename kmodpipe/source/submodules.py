"""The submodules of a module's repository: commits of other repositories, at folders of this one.

They are taken from the user's own clone, where ``git submodule update --init`` has put them. An address
that a commit names is not followed: it is the commit's word, and could be of any host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kmodpipe.source import checkout
from kmodpipe.source.git_command import run_git
from kmodpipe.util import paths
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import UserError
from kmodpipe.util.text import count

_TAKEN, _LEFT_OUT = PROVENANCE = ("submodules", "submodules-left-out")

FetchCommit = Callable[[str, str], None]
"""A function that fetches a commit of the repository at a URL into the shared repository."""


@dataclass(frozen=True)
class Submodules:
    """The submodules of one commit, and theirs."""

    # The commit of each that is there, by its folder; an outer one stands before its inner ones.
    taken: tuple[tuple[str, str], ...] = ()
    # Folders of those that the clone does not have.
    left_out: tuple[str, ...] = ()

    def suffix(self) -> str:
        """Return what tells a tree with these submodules from that of the commit alone."""
        if not (self.taken or self.left_out):
            return ""
        return f"+{digest_of({'taken': self.taken, 'left-out': self.left_out})[:16]}"

    def provenance(self) -> dict[str, str]:
        """Return what the results say of them."""
        taken = {_TAKEN: ", ".join(f"{name} ({commit[:12]})" for name, commit in self.taken)}
        left_out = {_LEFT_OUT: ", ".join(self.left_out)}
        return {key: text for key, text in {**taken, **left_out}.items() if text}

    def warning(self) -> str:
        """Return what to say of those that are left out."""
        names = ", ".join(self.left_out)
        return (
            f"{count(len(self.left_out), 'submodule')} of the module's repository left out, {names}: "
            "only what a clone of one's own has is taken (git submodule update --init --recursive)"
        )


def are_left_out(provenance: Mapping[str, str]) -> bool:
    """Return whether a tree lacks submodules that may be there by now."""
    return _LEFT_OUT in provenance


def is_clone(folder: Path) -> bool:
    """Return whether a submodule's folder has its repository, and is where its path says."""
    return paths.exists(folder / ".git") and folder.resolve() == folder


def find(cache: Path, url: str, commit: str, fetch_commit: FetchCommit) -> Submodules:
    """Find the submodules of a commit in the clone at ``url``, and fetch their commits.

    Raise UserError for one whose clone lacks the commit.
    """
    clone = Path(unquote(urlsplit(url).path)) if url.startswith("file://") else None
    taken: list[tuple[str, str]] = []
    left_out: list[str] = []
    _find(cache, clone, "", commit, fetch_commit, taken, left_out)
    return Submodules(tuple(taken), tuple(left_out))


def _find(
    cache: Path,
    clone: Path | None,
    above: str,
    commit: str,
    fetch_commit: FetchCommit,
    taken: list[tuple[str, str]],
    left_out: list[str],
) -> None:
    for entry in checkout.listing(cache, commit, f"{clone or 'its repository'} at {commit}"):
        if not entry.is_submodule:
            continue
        name, wanted = f"{above}{entry.name}", entry.blob.decode("ascii")
        its_clone = clone / entry.name if clone else None
        if its_clone is None or not is_clone(its_clone):
            left_out.append(name)
            continue
        try:
            fetch_commit(its_clone.as_uri(), wanted)
        except UserError as e:
            e.hint = "git submodule update --init --recursive"
            e.where = f"submodule {name}: {e.where}"
            raise
        taken.append((name, wanted))
        _find(cache, its_clone, f"{name}/", wanted, fetch_commit, taken, left_out)


def fill(cache: Path, folder: Path, found: Submodules) -> None:
    """Check the submodules that were found out into the worktree of their commit."""
    for name, commit in found.taken:
        checkout.check_out(cache, folder / name, commit, f"submodule {name} at {commit}")
        # The worktree's record goes with it: one tree has one.
        (folder / name / ".git").unlink()
    if found.taken:
        run_git(cache, "worktree", "prune")
