"""Check a commit of the shared repository out. It is not trusted: its files are checked before."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.source import archive
from kmodpipe.source.git_command import run_git
from kmodpipe.util import paths
from kmodpipe.util.child_output import OutputTooLarge
from kmodpipe.util.errors import UserError
from kmodpipe.util.files import require_space

_LINK = b"120000"
_SUBMODULE = b"160000"
_LINK_BYTES = 4096


@dataclass(frozen=True)
class Entry:
    """One file of a commit, before it is checked out."""

    name: str
    mode: bytes
    blob: bytes
    size: int

    @property
    def is_submodule(self) -> bool:
        """Whether it is a commit of another repository."""
        return self.mode == _SUBMODULE


def check_out(cache: Path, folder: Path, commit: str, what: str) -> None:
    """Make a worktree of a commit in ``folder``, which is empty or not there.

    Raise UserError for a commit that holds what no source tree does.
    """
    entries = listing(cache, commit, what)
    _refuse_what_no_tree_holds(entries, what)
    _refuse_escaping_links(cache, entries, what)
    # The file system rounds the size of every file up to whole blocks.
    need_mib = (sum(entry.size for entry in entries) + len(entries) * 4096 >> 20) + 64
    require_space(cache, need_mib, f"a worktree of {commit[:12]}")
    run_git(cache, "-c", "checkout.workers=2", "worktree", "add", "--force", "--detach", str(folder), commit)


def listing(cache: Path, commit: str, what: str) -> list[Entry]:
    """Return the files of a commit. Raise UserError if it has none, or more than any kernel."""
    try:
        done = run_git(cache, "ls-tree", "-r", "-l", "-z", "--full-tree", commit, whole=True)
    except OutputTooLarge as e:
        raise UserError("the commit holds far more files than a kernel", where=what) from e
    entries = []
    for row in done.stdout.split(b"\0")[:-1]:
        meta, _, raw = row.partition(b"\t")
        mode, _, blob, size = meta.split()
        entries.append(Entry(os.fsdecode(raw), mode, blob, int(size) if size.isdigit() else 0))
    if not entries:
        raise UserError("the commit holds no files", where=what)
    return entries


def _refuse_what_no_tree_holds(listing: list[Entry], what: str) -> None:
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


def _refuse_escaping_links(cache: Path, listing: list[Entry], what: str) -> None:
    links = [entry for entry in listing if entry.mode == _LINK]
    if not links:
        return
    blobs = b"".join(entry.blob + b"\n" for entry in links)
    output = run_git(cache, "cat-file", "--batch", stdin=blobs, whole=True).stdout
    targets: dict[str, str] = {}
    for entry in links:
        # "<blob> blob <size>", a newline, the content, a newline
        begin = output.index(b"\n") + 1
        targets[entry.name] = os.fsdecode(output[begin : begin + entry.size])
        output = output[begin + entry.size + 1 :]
    if found := paths.escaping_link(targets):
        raise UserError(f"its symbolic link {found[0]} points out of the tree, to {found[1]}", where=what)
