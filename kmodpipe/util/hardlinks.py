"""Hard-link farms: a second tree that shares every file with the first and costs no space.

A file in a farm may be replaced (written anew and renamed, as git does), but never written into.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from kmodpipe.util import paths, process
from kmodpipe.util.errors import InfraError, Interrupted
from kmodpipe.util.workers import Pool

# This folder has nearly half of a kernel's files.
_HALF = "drivers"
_LINKING_S = 600.0
# Of names on a command line; a module's own source may have many at its top.
_MOST_BYTES = 100_000
# Another file system, too many links, or fs.protected_hardlinks.
_NO_LINK = (errno.EXDEV, errno.EMLINK, errno.EPERM)


def link_or_copy(source: str, target: str) -> bool:
    """Hard-link a file or symbolic link; copy it if the file system refuses. Return whether it is linked."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as e:
        if e.errno not in _NO_LINK:
            raise
        shutil.copy2(source, target, follow_symlinks=False)
        return False
    return True


def make_farm(source: Path, target: Path, *, skip: frozenset[str] = frozenset({".git"})) -> bool:
    """Hard-link all below ``source`` into the new folder ``target``, but for the top names in ``skip``.

    Return whether all is linked and nothing copied. Raises Interrupted when the command is stopped meanwhile.
    """
    target.mkdir()
    names = [path.name for path in source.iterdir() if path.name not in skip]
    if _linked_by_cp(source, target, names):
        return True
    for entry in [*os.scandir(target)]:
        paths.remove(Path(entry.path))
    return _link_each(source, target, skip)


def _linked_by_cp(source: Path, target: Path, names: list[str]) -> bool:
    """Link the top names of a folder by cp(1), two at once; return whether it could.

    It takes two thirds of the time that `_link_each` does for a kernel tree. Where a link cannot be made, it
    copies nothing, but ends with an error.
    """
    halves = [[_HALF]] if _HALF in names else []
    halves.append([name for name in names if [name] not in halves])
    argv = [
        "cp",
        "--recursive",
        "--link",
        "--no-dereference",
        "--no-preserve=mode",
        f"--target-directory={target}",
    ]

    def link(half: list[str]) -> bool:
        try:
            done = process.run([*argv, "--", *half], timeout_s=_LINKING_S, cwd=source, check=False)
        except Interrupted:
            raise
        except InfraError:
            # No cp, or no GNU's.
            return False
        return done.returncode == 0

    if sum(map(len, names)) > _MOST_BYTES:
        return False
    with Pool(len(halves)) as pool:
        return all([*pool.map(link, [half for half in halves if half])])


def _link_each(source: Path, target: Path, skip: frozenset[str]) -> bool:
    all_linked = True
    pending = [(os.fspath(source), os.fspath(target), skip)]
    while pending:
        if process.stopping():
            raise Interrupted("interrupted while a tree was linked", where=str(target))
        here, there, left_out = pending.pop()
        with os.scandir(here) as entries:
            for entry in entries:
                if entry.name in left_out:
                    continue
                copy = f"{there}/{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    os.mkdir(copy)  # noqa: PTH102
                    pending.append((entry.path, copy, frozenset()))
                else:
                    all_linked &= link_or_copy(entry.path, copy)
    return all_linked
