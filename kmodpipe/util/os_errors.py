"""Turn OSErrors into errors that say what to do: a full disk, no inodes, a folder that is not writable …

Code that writes files lets OSErrors pass; `explain` and `explained` translate them in one place.
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
_GOES_ON = "then run the same command again"
# Limits of this process or machine, by errno: what happened, and what to do about it.
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
# Errors of a file or its file system, by errno: what to do about it.
_FILE_ERRORS = {
    errno.EROFS: "mount it writable, or name another folder",
    errno.EACCES: "check its owner and its permissions",
    errno.EPERM: "check its owner, and whether its file system can do this",
    errno.EIO: "check the disk: look for its errors in dmesg",
    errno.ENAMETOOLONG: "name a cache and a results folder with shorter paths",
    errno.ESTALE: "check whether the network file system is still mounted",
    errno.ENOLCK: "the file system has no locks: put the cache on a local disk",
    errno.EOPNOTSUPP: "the file system cannot do this: put the cache on a local disk",
    errno.ENOSYS: "the file system cannot do this: put the cache on a local disk",
}


def from_system(error: BaseException) -> InfraError | None:
    """Return the error for an exception that means a limit of this process or machine, None for others."""
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
    """Return the error for a disk that filled up while ``doing``: "the disk filled up while git ran"."""
    return InfraError(f"the disk filled up while {doing}", where=where, detail=detail, hint=_FREE_IT)


def says_full(text: str) -> bool:
    """Return whether a program's output has the message of a full disk or quota."""
    return os.strerror(errno.ENOSPC) in text or os.strerror(errno.EDQUOT) in text


def explain(error: OSError, places: Iterable[Path] = ()) -> InfraError | None:
    """Return the error for the user that ``error`` means, None if it does not come from the machine.

    ``places`` are the folders that are written to: the error of a write does not contain the file's name.
    """
    if error.errno in _FULL:
        # The disk may have some space left, if the write was larger than that: take the fullest one.
        written = [Path(str(error.filename))] if error.filename else list(places)
        fullest = min(written, key=_free, default=None)
        what = "the disk is full" if error.errno == errno.ENOSPC else "the disk quota is used up"
        if error.errno == errno.ENOSPC and fullest is not None and not _free(fullest)[0]:
            what = "the disk has no inodes left"
        return InfraError(what, where=str(fullest or ""), hint=_FREE_IT)
    if error.errno in _FILE_ERRORS:
        reason = (error.strerror or str(error)).lower()
        where = str(error.filename or "")
        return InfraError(f"a file cannot be used: {reason}", where=where, hint=_FILE_ERRORS[error.errno])
    return from_system(error)


def is_shortage(error: OSError) -> bool:
    """Return whether an error is this machine's whatever file is written: a full disk, say."""
    return error.errno in (*_FULL, *_SHORTAGES, errno.EROFS, errno.EIO)


def failed(what: str, error: OSError, where: str, *, detail: str = "") -> InfraError:
    """Return the error for ``what`` that could not be done, with its reason and what to do about that."""
    if error.errno in _FULL:
        hint = _FREE_IT
    elif shortage := from_system(error):
        hint = shortage.hint
    else:
        hint = _FILE_ERRORS.get(error.errno or 0, "check the folder and its disk; " + _GOES_ON)
    return InfraError(f"{what}: {error.strerror or error}", where=where, detail=detail, hint=hint)


@contextmanager
def explained(*places: Path) -> Iterator[None]:
    """Replace an OSError in the block by the error that `explain` returns for it, if any."""
    try:
        yield
    except OSError as e:
        if (error := explain(e, places)) is None:
            raise
        raise error from e


def require_capable(cache: Path) -> None:
    """Raise InfraError if the file system of ``cache`` cannot hold kernel trees, or run what is built."""
    with explained(cache), tempfile.TemporaryDirectory(prefix=".probe-", dir=cache) as name:
        defect = _defect_of(Path(name))
    if defect:
        raise InfraError(
            f"the cache's file system cannot be used: it {defect}",
            where=str(cache),
            hint="set KMODPIPE_CACHE to a folder on a local disk: ext4, xfs or btrfs, mounted with exec",
        )


def _defect_of(folder: Path) -> str:
    """Return what the file system of an empty folder cannot do that the cache needs, '' if it can do all."""
    program = folder / "name"
    program.touch()
    if (folder / "NAME").exists():
        return "is not case-sensitive, as kernel trees need"
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
    """Return whether a file system has free inodes (0 or 1), and how many bytes are free.

    It is that of ``path``, or of the nearest folder above that exists.
    """
    try:
        while not path.exists() and path != path.parent:
            path = path.parent
        s = os.statvfs(path)
    except OSError:
        return 1, sys.maxsize
    # A file system without a fixed number of inodes reports 0 free of 0.
    inodes = int(bool(s.f_favail or not s.f_files))
    # Not f_bfree, even for root: its containers cannot use the reserved blocks.
    return inodes, s.f_bavail * s.f_frsize


def is_full(path: Path) -> bool:
    """Return whether the file system of ``path`` has no inodes, or less than 64 KiB free."""
    inodes, free = _free(path)
    return not inodes or free < 64 * 1024
