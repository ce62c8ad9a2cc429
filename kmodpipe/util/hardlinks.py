"""Hard-link farms: a second tree that shares every file with the first and costs no space.

Whoever changes a file in a farm must replace it (write anew, rename), never write into it; git does.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from kmodpipe.util import process
from kmodpipe.util.errors import Interrupted

# The other file system, too many links, or a kernel that protects other people's files from links.
_NO_LINK = (errno.EXDEV, errno.EMLINK, errno.EPERM)


def link_or_copy(source: str, target: str) -> None:
    """Hard-link one file or symbolic link; a copy where the file system will not."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as e:
        if e.errno not in _NO_LINK:
            raise
        shutil.copy2(source, target, follow_symlinks=False)


def make_farm(source: Path, target: Path, *, skip: frozenset[str] = frozenset({".git"})) -> None:
    """Hard-link all below ``source`` into the new folder ``target``, without the top names in ``skip``."""
    target.mkdir()
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
                    link_or_copy(entry.path, copy)
