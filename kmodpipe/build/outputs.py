"""Check what a build left behind before anything reads it.

Makefiles and Kconfig files run as code in the build, and can leave anything in the folders of its products:
a symbolic link to a file of this machine, a pipe without a writer, a sparse file of many terabytes. The
container cannot read the host's files, but what it left is read on the host.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path

from kmodpipe.util import paths
from kmodpipe.util.errors import KernelFailure

# The largest product: vmlinux with all debugging information has less than 1 GiB.
FILE_BYTES = 4 * 1024**3
# The largest file that a build makes on the way: vmlinux.o of allyesconfig has 4 GiB.
OBJECT_BYTES = 16 * 1024**3
# The most files in an object folder: allmodconfig makes 60,000.
MEMBERS = 1_000_000
# The longest path of a file in an object folder: PATH_MAX is 4096.
PATH_BYTES = 4000


def check(out: Path, wanted: Collection[str], what: str, log: Path) -> None:
    """Raise KernelFailure unless ``out`` holds regular files of the ``wanted`` names and nothing else."""
    with os.scandir(out) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        status = entry.stat(follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            raise _refused(what, log, entry.name, f"is {_kind(entry)}, not a file")
        if entry.name not in wanted:
            raise _refused(what, log, entry.name, "is a product that was not requested")
        if status.st_size > FILE_BYTES:
            raise _refused(what, log, entry.name, f"has {status.st_size >> 30} GiB: no product is that large")
    if missing := sorted(set(wanted) - {entry.name for entry in found}):
        raise _refused(what, log, missing[0], "was not made, though the build ended with status 0")


def tidy(folder: Path, what: str, log: Path) -> None:
    """Make an object folder safe to keep: remove pipes, devices and sockets, and clear set-id bits.

    Raises KernelFailure if it has too many files, or one that is too large or too deep.
    """
    for number, (name, entry) in enumerate(paths.walk(folder), 1):
        if number > MEMBERS:
            raise _refused(what, log, name, f"is one more than the {MEMBERS} files that are allowed")
        if len(os.fsencode(name)) + len(os.fsencode(folder)) > PATH_BYTES:
            raise _refused(what, log, f"{name[:80]}…", f"has a path of more than {PATH_BYTES} bytes")
        if entry.is_symlink():
            continue
        status = entry.stat(follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode) and not stat.S_ISREG(status.st_mode):
            # Opening a pipe blocks until a process opens its other end.
            os.unlink(entry.path)  # noqa: PTH108
            continue
        mode = stat.S_IMODE(status.st_mode) & 0o777 | (0o700 if stat.S_ISDIR(status.st_mode) else 0)
        if mode != stat.S_IMODE(status.st_mode):
            os.chmod(entry.path, mode)  # noqa: PTH101
        if stat.S_ISREG(status.st_mode) and status.st_size > OBJECT_BYTES:
            raise _refused(what, log, name, f"has {status.st_size >> 30} GiB: no object is that large")


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return f"a symbolic link to {os.readlink(entry.path)!r}"  # noqa: PTH115
    return "a folder" if entry.is_dir(follow_symlinks=False) else "a pipe, a device or a socket"


def _refused(what: str, log: Path, name: str, why: str) -> KernelFailure:
    return KernelFailure(
        f"what the build of {what} left is refused: {name!r} {why}",
        where=f"log: {log}",
        hint="look for a Makefile or Kconfig file that runs commands of its own: $(shell …), $(shell,…)",
    )
