"""Does a folder of the cache still hold what was put there?

    artifacts   SHA-256 of every file, and whether it may be run (`sums`). Hashed again wherever size, times,
                inode or mode of any file differ from those it had when it was hashed last (`fingerprint`): a
                write changes the time of status change even where the time of modification was set back.
    trees       size, time of modification, mode and link target of every file (`listing`): 70,000 files
                are too many to hash for each run, and the links that other trees have to them change their
                times of status change.

Found, then, in an artifact: any file changed, cut, missing, there besides, or become a link. In a tree: the
same, but a file that was written to and had its size *and* time of modification set back, or that rotted on
the disk. What the file system itself returns wrongly without a word is found in neither.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from kmodpipe.util import process
from kmodpipe.util.errors import InfraError
from kmodpipe.util.workers import Pool

# File times tick every few milliseconds: a file changed this shortly before it was looked at may change again
# without its times showing it.
_RACY_NS = 100_000_000
_LISTING_S = 300.0
_NAMES_TOLD = 3
# Nearly half of a kernel's files: they are listed beside the others.
_HALF = "./drivers"


def sums(folder: Path, *, without: frozenset[str]) -> dict[str, str]:
    """What each file below ``folder`` is, by name: ``file SHA-256``, ``program SHA-256`` where it may be run,
    ``link`` with its target, or ``special`` for what is neither: a pipe is not opened."""
    return {name: _content(folder / name, found) for name, found in sorted(_files(folder, without))}


def sum_of(path: Path) -> str:
    """What one file is, as `sums` says it."""
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
    """A digest of every file's stats; empty where one changed so recently that they prove nothing yet."""
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
    """What differs, in a phrase for people; empty where nothing does."""
    missing = sorted(before.keys() - now.keys())
    more = sorted(now.keys() - before.keys())
    changed = sorted(name for name in before.keys() & now.keys() if before[name] != now[name])
    told = [
        f"{_some(names)} {word}"
        for names, word in ((changed, "changed"), (missing, "missing"), (more, "not part of it"))
        if names
    ]
    return "; ".join(told)


def _some(names: list[str]) -> str:
    more = len(names) - _NAMES_TOLD
    return ", ".join(names[:_NAMES_TOLD]) + (f" and {more} more" if more > 0 else "")


# -- trees -------------------------------------------------------------------------------------------
def listing(folder: Path) -> bytes:
    """One row for each file, link and folder below ``folder``, NUL behind each; in the folders' own order."""
    halves = [[".", "-mindepth", "1", "-path", _HALF, "-prune", "-o"]]
    if os.path.lexists(folder / _HALF):
        halves.append([_HALF])
    with Pool(len(halves)) as pool:
        found = b"".join(pool.map(lambda half: _listed(folder, half), halves))
    return (b"\0" + found).replace(b"\0./", b"\0")[1:]


def _listed(folder: Path, where: list[str]) -> bytes:
    # In C: it is run for each tree of each run.
    done = process.run(
        ["find", *where, "-type", "d", "-printf", r"%p/\0", "-o", "-printf", r"%p\t%y %s %T@ %m %l\0"],
        timeout_s=_LISTING_S,
        cwd=folder,
    )
    if done.stdout and not done.stdout.endswith(b"\0"):
        raise InfraError("too many files for a kernel tree", where=str(folder))
    return done.stdout


def listed_changes(before: bytes, now: bytes) -> str:
    """What differs between two listings, in a phrase for people; empty where nothing does."""
    # Not by their order: it is the folders' own, and another in a copy of them.
    return changes(_rows(before), _rows(now))


def _rows(found: bytes) -> dict[str, bytes]:
    pairs = (row.partition(b"\t") for row in found.split(b"\0") if row)
    return {os.fsdecode(name): rest for name, _, rest in pairs}


def listed_sizes(found: bytes) -> tuple[int, int]:
    """How many files and links a listing has, and their bytes."""
    sizes = [int(rest.split(b" ", 2)[1]) for rest in _rows(found).values() if rest]
    return len(sizes), sum(sizes)
