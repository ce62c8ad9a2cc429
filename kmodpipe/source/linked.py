"""Recognise a tree of hard links to another one by its folders, instead of by its 70,000 files.

CACHE/trees/<tree>.linked   the names of its folders and of the files of its own, and a digest of their stats

What is added, removed, renamed or replaced in a folder changes the folder's ctime, which no program can set
back. So, while the ctimes of all folders are those of when the tree was made, its names lead to the same
files: those of its own, whose stats are compared, and those that it shares with the other tree, whose stats
were compared when that one was found whole (`tree.whole`). The other one has to be the same as well, and not
one that was made again since.

A tree that is not recognised is compared file by file, as any other.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kmodpipe.cache import integrity
from kmodpipe.util import document
from kmodpipe.util.files import write_atomically

# File times have a granularity of some milliseconds: a folder changed less than this before it was looked at
# may change again without a change of its times.
_RACY_NS = 100_000_000


@dataclass(frozen=True)
class Links:
    """What a tree of hard links shares with another tree: every file but those that were ``changed``."""

    manifest: Path  # of the other tree
    changed: Collection[str] = ()


def path_of(folder: Path) -> Path:
    """Return the file about the tree in ``folder``."""
    return folder.with_name(f"{folder.name}.linked")


def note(folder: Path, links: Links, listing: bytes) -> None:
    """Have written down, beside the command, what the tree is recognised by: after its folders' times mean
    something, and if nothing has changed until then. ``listing`` is of it, made just now.
    """
    _await(folder)
    with suppress(OSError):
        noting = _Noting(folder, links, listing)
        with _lock:
            _begun[folder] = noting
            noting.start()


class _Noting(threading.Thread):  # noqa: TID251 - it starts no process, and a command that ends waits for it
    """Waits until a change of a folder would change its times, and compares."""

    def __init__(self, folder: Path, links: Links, listing: bytes) -> None:
        super().__init__(name="linked")
        rows = listing.split(b"\0")
        shared = set(links.manifest.read_bytes().split(b"\0"))
        # Whatever is another file than there, whether it was meant to be changed or not.
        more = {os.fsdecode(r.partition(b"\t")[0]) for r in rows if r not in shared and not r.endswith(b"/")}
        self._folder, self._manifest = folder, links.manifest
        self._folders = sorted(os.fsdecode(row) for row in rows if row.endswith(b"/"))
        self._own = sorted(more.union(links.changed))
        self._latest, self._digest = self._look()

    def _look(self) -> tuple[int, str]:
        return _look(self._folder, self._folders, self._own, self._manifest)

    def run(self) -> None:
        # What changes during the wait is not noted: such a tree is compared file by file.
        with suppress(OSError):
            time.sleep(max(self._latest + 2 * _RACY_NS - time.time_ns(), 0) / 1e9)
            if self._look() == (self._latest, self._digest):
                known = {"folders": self._folders, "own": self._own, "digest": self._digest}
                write_atomically(path_of(self._folder), json.dumps(known))
        with _lock:
            if _begun.get(self._folder) is self:
                del _begun[self._folder]


_begun: dict[Path, _Noting] = {}
_lock = threading.Lock()


def _await(folder: Path) -> None:
    """Wait until what this process has to note of a tree is noted."""
    with _lock:
        noting = _begun.pop(folder, None)
    if noting:
        noting.join()


def holds(folder: Path, manifest: Path) -> bool:
    """Return whether the tree is as it was, if the one with this manifest is."""
    return content(folder, manifest) is not None


def content(folder: Path, manifest: Path) -> tuple[list[str], list[str]] | None:
    """Return the names of the tree's folders and of the files of its own; None if it is not as it was."""
    _await(folder)
    # Whatever is in the file: without the digest of what is there now, it says nothing.
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = document.read_object(path_of(folder))
        folders, own = ([str(name) for name in known[kind]] for kind in ("folders", "own"))
        if folders and _look(folder, folders, own, manifest)[1] == known["digest"]:
            return folders, own
    return None


def listing(links: Links, folder: Path) -> bytes:
    """Return `integrity.listing` of a tree from that of the one that it is linked to, of which all but what
    was changed are the same files. Raise OSError if nothing is known of the other one.
    """
    changed = {name for one in links.changed for name in (one, *map(str, PurePosixPath(one).parents))}
    names = {os.fsencode(name) for name in changed}
    rows = links.manifest.read_bytes().split(b"\0")
    same = [row for row in rows if row.partition(b"\t")[0].rstrip(b"/") not in names]
    return b"\0".join(same) + integrity.listing_of(folder, sorted(changed - {"."}))


def _look(folder: Path, folders: Collection[str], own: Collection[str], manifest: Path) -> tuple[int, str]:
    """Return when anything changed last (ns since 1970), and a digest of all stats. Raise OSError."""
    digest, latest = hashlib.sha256(), 0
    for row in _rows(folder, folders, own):
        latest = max(latest, *row[1:3])
        digest.update(f"{row}\n".encode("utf-8", "surrogateescape"))
    other = manifest.stat()
    digest.update(f"{(other.st_ino, other.st_mtime_ns, other.st_size)}".encode())
    return latest, digest.hexdigest()


def _rows(
    folder: Path, folders: Collection[str], own: Collection[str]
) -> Iterator[tuple[str, int, int, int, int, int]]:
    """Yield the name, mtime, ctime, inode, mode and size of each, as far as they mean something."""
    top = os.fspath(folder)
    for name in ("", *folders):
        s = os.lstat(f"{top}/{name}")
        # Its size is the file system's affair.
        yield name, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_mode, 0
    for name in own:
        try:
            s = os.lstat(f"{top}/{name}")
        except (FileNotFoundError, NotADirectoryError):
            yield name, 0, 0, 0, 0, 0
        else:
            # Its ctime changes when yet another tree makes a hard link to it.
            yield name, s.st_mtime_ns, 0, s.st_ino, s.st_mode, s.st_size
