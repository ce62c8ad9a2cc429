"""Check that a folder of the cache still holds what was put there.

    artifacts   the SHA-256 of every file, and whether it is executable (`sums`). An artifact is hashed again
                if the size, times, inode or mode of any file changed since the last time (`fingerprint`): a
                write changes a file's ctime even where its mtime was set back.
    trees       the size, mtime, mode and link target of every file (`listing`): 70,000 files are too many to
                hash in each run, and ctimes change when other trees make hard links to the files.

For an artifact this finds every file that was changed, truncated, removed, added or replaced by a link. For
a tree it finds the same, except a file that was written to with its size *and* mtime restored, or that
decayed on the disk. Neither finds data that the file system returns wrongly without an error.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from kmodpipe.util import process
from kmodpipe.util.errors import InfraError
from kmodpipe.util.text import some
from kmodpipe.util.workers import Pool

# File times have a granularity of some milliseconds: a file changed less than this before it was looked at
# may change again without a change of its times.
_RACY_NS = 100_000_000
_LISTING_S = 300.0
# How many file names a phrase lists.
_NAMES_LISTED = 3
# This folder has nearly half of a kernel's files; it is listed in parallel with the others.
_HALF = "./drivers"


def sums(folder: Path, *, without: frozenset[str]) -> dict[str, str]:
    """Return a description of the content of each file below ``folder``, by name.

    It is ``file SHA-256``, ``program SHA-256`` for an executable file, ``link TARGET``, or ``special TYPE``
    for a pipe, socket or device, which is not opened. Files named in ``without`` are left out.
    """
    return {name: _content(folder / name, found) for name, found in sorted(_files(folder, without))}


def sum_of(path: Path) -> str:
    """Return the description of one file, as in `sums`."""
    return _content(path, path.lstat())


def _content(path: Path, found: os.stat_result) -> str:
    if stat.S_ISLNK(found.st_mode):
        return f"link {path.readlink()}"
    if not stat.S_ISREG(found.st_mode):
        return f"special {stat.S_IFMT(found.st_mode):o}"
    with path.open("rb") as f:
        kind = "program" if found.st_mode & 0o100 else "file"
        return f"{kind} {hashlib.file_digest(f, 'sha256').hexdigest()}"


def fingerprint(folder: Path, *, without: frozenset[str]) -> str:
    """Return a digest of every file's stats; empty if one changed so recently that they prove nothing."""
    edge = time.time_ns() - _RACY_NS
    digest = hashlib.sha256()
    for name, s in sorted(_files(folder, without)):
        if max(s.st_mtime_ns, s.st_ctime_ns) >= edge:
            return ""
        row = (name, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_mode)
        digest.update(os.fsencode(f"{row}\n"))
    return digest.hexdigest()


def _files(folder: Path, without: frozenset[str]) -> Iterator[tuple[str, os.stat_result]]:
    pending = [""]
    while pending:
        prefix = pending.pop()
        with os.scandir(folder / prefix) as entries:
            for entry in entries:
                name = prefix + entry.name
                if entry.is_dir(follow_symlinks=False):
                    pending.append(f"{name}/")
                elif name not in without:
                    yield name, entry.stat(follow_symlinks=False)


def changes(before: Mapping[str, object], now: Mapping[str, object]) -> str:
    """Return a phrase that names the files that differ; empty if none does."""
    missing = sorted(before.keys() - now.keys())
    more = sorted(now.keys() - before.keys())
    changed = sorted(name for name in before.keys() & now.keys() if before[name] != now[name])
    phrases = [
        f"{some(names, _NAMES_LISTED)} {word}"
        for names, word in ((changed, "changed"), (missing, "missing"), (more, "not part of it"))
        if names
    ]
    return "; ".join(phrases)


# -- trees -------------------------------------------------------------------------------------------
def listing(folder: Path) -> bytes:
    """Return one row for each file, link and folder below ``folder``, each ended by NUL, unsorted."""
    halves = [[".", "-mindepth", "1", "-path", _HALF, "-prune", "-o"]]
    if os.path.lexists(folder / _HALF):
        halves.append([_HALF])
    with Pool(len(halves)) as pool:
        found = b"".join(pool.map(lambda half: _listed(folder, half), halves))
    return (b"\0" + found).replace(b"\0./", b"\0")[1:]


def listing_of(folder: Path, names: Iterable[str]) -> bytes:
    """Return the rows that `listing` has for these names, as far as they are there; not those below them."""
    found = [f"./{name}" for name in names if os.path.lexists(folder / name)]
    # Without a name find(1) would look at the folder itself.
    listed = _listed(folder, [*found, "-maxdepth", "0"]) if found else b""
    return (b"\0" + listed).replace(b"\0./", b"\0")[1:]


def _listed(folder: Path, where: list[str]) -> bytes:
    # find(1) is faster than os.scandir, and this runs for each tree in each run.
    done = process.run(
        ["find", *where, "-type", "d", "-printf", r"%p/\0", "-o", "-printf", r"%p\t%y %s %T@ %m %l\0"],
        timeout_s=_LISTING_S,
        cwd=folder,
    )
    if done.stdout and not done.stdout.endswith(b"\0"):
        raise InfraError(
            "too many files for a kernel tree", where=str(folder), hint="name a folder that holds one tree"
        )
    return done.stdout


def listed_changes(before: bytes, now: bytes) -> str:
    """Return a phrase that names the files that differ between two listings; empty if none does."""
    # Compared by name: the order is that of the directories, and another in a copy of them.
    return changes(_rows(before), _rows(now))


def _rows(found: bytes) -> dict[str, bytes]:
    pairs = (row.partition(b"\t") for row in found.split(b"\0") if row)
    return {os.fsdecode(name): rest for name, _, rest in pairs}


def listed_sizes(found: bytes) -> tuple[int, int]:
    """Return the number of files and links in a listing, and the sum of their sizes in bytes."""
    sizes = [int(rest.split(b" ", 2)[1]) for rest in _rows(found).values() if rest]
    return len(sizes), sum(sizes)
