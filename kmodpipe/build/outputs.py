"""What a build left behind, looked at before anything of ours reads it.

Makefiles and Kconfig files run as code in the build, and can leave whatever they like where its products are
taken from: a link to a file of this machine, a pipe that nobody writes to, a file of many terabytes with
nothing in it. A container sees none of our files; what it left is looked at from outside, where they are.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path

from kmodpipe.util import paths
from kmodpipe.util.errors import KernelFailure

FILE_BYTES = 4 * 1024**3
"""Larger is no product: vmlinux with all debugging information has less than 1 GiB."""
OBJECT_BYTES = 16 * 1024**3
"""Larger is nothing that a build makes on the way: vmlinux.o of allyesconfig has 4 GiB."""
MEMBERS = 1_000_000
"""More files are no object folder: allmodconfig makes 60,000."""
PATH_BYTES = 4000


def check(out: Path, wanted: Collection[str], what: str, log: Path) -> None:
    """Raise KernelFailure unless ``out`` holds files of the ``wanted`` names and nothing else."""
    with os.scandir(out) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        status = entry.stat(follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            raise _refused(what, log, entry.name, f"is {_kind(entry)}, not a file")
        if entry.name not in wanted:
            raise _refused(what, log, entry.name, "is a product that nobody asked for")
        if status.st_size > FILE_BYTES:
            raise _refused(what, log, entry.name, f"has {status.st_size >> 30} GiB: no product is that large")
    if missing := sorted(set(wanted) - {entry.name for entry in found}):
        raise _refused(what, log, missing[0], "was not made, though the build says that it ended well")


def tidy(folder: Path, what: str, log: Path) -> None:
    """Make an object folder fit to be kept: nothing but files, links and folders are in it, and nothing runs
    with somebody else's rights.

    Raises KernelFailure where it holds more than an object folder can.
    """
    for number, (name, entry) in enumerate(paths.walk(folder), 1):
        if number > MEMBERS:
            raise _refused(what, log, name, f"is one more than the {MEMBERS} files that may be left")
        if len(os.fsencode(name)) + len(os.fsencode(folder)) > PATH_BYTES:
            raise _refused(what, log, f"{name[:80]}…", "lies deeper than a path can say")
        if entry.is_symlink():
            continue
        status = entry.stat(follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode) and not stat.S_ISREG(status.st_mode):
            # Whoever opens a pipe waits for somebody at its other end.
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
        f"what the build of {what} left is not taken: {name!r} {why}",
        where=f"log: {log}",
        hint="look for a Makefile or Kconfig file that runs commands of its own: $(shell …), $(shell,…)",
    )
