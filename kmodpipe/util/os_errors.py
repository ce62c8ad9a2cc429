"""Trouble with files, named for what it is: a full disk, no inodes, a folder that may not be written.

`explain` turns what Python raises into the error that a user can act on, so that code that writes files need
not foresee what a disk can do.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kmodpipe.util.errors import InfraError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FREE_IT = "free some space there, or run: invoke clean; then run the same command again"
_GOES_ON = "then the same command goes on"
# Limits of this process or machine, whatever was done when they were met: what happened, and what to do.
_SHORTAGES = {
    errno.EMFILE: (
        "this process may not open more files",
        "raise the limit (ulimit -n), or use fewer --jobs",
    ),
    errno.ENFILE: ("this machine may not open more files", "raise fs.file-max (sysctl)"),
    errno.ENOMEM: ("there is not enough memory", "raise the limit (ulimit -v), or end other programs"),
    errno.EAGAIN: ("no more processes or threads can be started", "raise the limit (ulimit -u, or -v)"),
    errno.EFBIG: ("a file may not grow any more", "raise the limit on the size of a file (ulimit -f)"),
}
# Trouble of the file system that a named file lies on, and what to do about it.
_FILE_TROUBLE = {
    errno.EROFS: "mount it writable, or name another folder",
    errno.EACCES: "look at who owns it, and at its permissions",
    errno.EPERM: "look at who owns it, and whether its file system can do this",
    errno.EIO: "look at the disk: dmesg tells",
    errno.ENAMETOOLONG: "name a cache and a results folder with shorter paths",
    errno.ESTALE: "is the network file system still there?",
    errno.ENOLCK: "the file system has no locks: put the cache on a local disk",
    errno.EOPNOTSUPP: "the file system cannot do this: put the cache on a local disk",
    errno.ENOSYS: "the file system cannot do this: put the cache on a local disk",
}


def from_system(error: BaseException) -> InfraError | None:
    """Return the error for an exception that says this process or machine has no more to give, else None."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, MemoryError):
        number = errno.ENOMEM
    elif isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        number = errno.EAGAIN
    if number not in _SHORTAGES:
        return None
    what, hint = _SHORTAGES[number]
    where = str(error.filename or "") if isinstance(error, OSError) else ""
    return InfraError(what, where=where, hint=f"{hint}; {_GOES_ON}")


def full(doing: str, *, where: str, detail: str = "") -> InfraError:
    """Return the error for a disk that filled up while something was done."""
    return InfraError(f"the disk filled up while {doing}", where=where, detail=detail, hint=_FREE_IT)


def says_full(text: str) -> bool:
    """Whether a program's output says that it found no room."""
    return os.strerror(errno.ENOSPC) in text or os.strerror(errno.EDQUOT) in text


def explain(error: OSError, places: Iterable[Path] = ()) -> InfraError | None:
    """Return the error that tells a user what ``error`` means; None where it is no trouble of the machine's.

    ``places`` are the folders that are written to: an error of a write does not say where it was.
    """
    if error.errno in _FULL:
        # What was too large for the room that is left may leave some: the fullest it is.
        written = [Path(str(error.filename))] if error.filename else list(places)
        fullest = min(written, key=_free, default=None)
        what = "the disk is full" if error.errno == errno.ENOSPC else "the disk quota is used up"
        if error.errno == errno.ENOSPC and fullest is not None and not _free(fullest)[0]:
            what = "the disk has no inodes left"
        return InfraError(what, where=str(fullest or ""), hint=_FREE_IT)
    if error.errno in _FILE_TROUBLE:
        said = (error.strerror or str(error)).lower()
        where = str(error.filename or "")
        return InfraError(f"a file cannot be used: {said}", where=where, hint=_FILE_TROUBLE[error.errno])
    return from_system(error)


@contextmanager
def explained(*places: Path) -> Iterator[None]:
    """Raise what `explain` makes of an OSError in the block; the OSError itself where it makes nothing."""
    try:
        yield
    except OSError as e:
        if (error := explain(e, places)) is None:
            raise
        raise error from e


def require_capable(cache: Path) -> None:
    """Raise InfraError where the file system of ``cache`` cannot hold kernel trees and run what is built."""
    with explained(cache), tempfile.TemporaryDirectory(prefix=".probe-", dir=cache) as name:
        lacks = _lacks(Path(name))
    if lacks:
        raise InfraError(
            f"the cache's file system cannot be used: it {lacks}",
            where=str(cache),
            hint="set KMODPIPE_CACHE to a folder on a local disk: ext4, xfs or btrfs, mounted with exec",
        )


def _lacks(folder: Path) -> str:
    program = folder / "name"
    program.touch()
    if (folder / "NAME").exists():
        return "does not tell small letters from capital ones, as kernel trees need"
    try:
        (folder / "link").symlink_to("name")
    except OSError:
        return "has no symbolic links, as kernel trees need"
    program.chmod(0o755)
    if not os.access(program, os.X_OK):
        return "runs no programs (noexec)"
    try:
        with program.open("r+") as f:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        return f"has no locks ({e.strerror})"
    return ""


def _free(path: Path) -> tuple[int, int]:
    """Whether inodes are left (0 or 1) where ``path`` is, or what is above it, and how many bytes."""
    try:
        while not path.exists() and path != path.parent:
            path = path.parent
        s = os.statvfs(path)
    except OSError:
        return 1, sys.maxsize
    # File systems without a fixed table of inodes say 0 of 0.
    inodes = int(bool(s.f_favail or not s.f_files))
    # For root too: what is reserved for it is not for its containers.
    return inodes, s.f_bavail * s.f_frsize


def is_full(path: Path) -> bool:
    """Whether nothing worth speaking of can be written where ``path`` is."""
    inodes, free = _free(path)
    return not inodes or free < 64 * 1024
