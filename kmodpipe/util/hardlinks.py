"""Hard-link farms: a second tree that shares every file with the first and costs no space.

A file in a farm may be replaced (written anew and renamed, as git does), but never written into.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from kmodpipe.util import process
from kmodpipe.util.errors import Interrupted

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
