"""Make the patched tree of a series from one that it had some edits ago.

To link a kernel's 70,000 files takes most of the time of applying an edited series, and to remove a tree that
no edit asks for any more takes as long again. Two versions of a series differ in few files: the older tree
gets the original's files back where the series had changed them, and the patches are applied to that.

The two versions that were used last stay, so that one can go back and forth between them, and so does
whatever another command might use. Only a tree that is recognised is taken (`linked.content`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from kmodpipe.cache import users
from kmodpipe.cache.store import remove
from kmodpipe.series import unused
from kmodpipe.source import Tree, linked
from kmodpipe.source import tree as trees
from kmodpipe.util import document

# Of each series on each tree, the newest first.
_KEPT = 2


def take(cache: Path, name: str, tree: Tree, target: Path) -> bool:
    """Move an old patched tree of the series called ``name`` to ``target``, with the files that ``tree`` has.

    Return False where there is none, or it cannot be had now: then nothing is at ``target``.
    """
    with users.nobody_else(cache) as alone:
        if not alone:
            return False
        for folder in _old(cache, name, tree):
            found = linked.content(folder, trees.manifest_path(tree.path))
            if found is None or any(_leads_out(name) for names in found for name in names):
                continue
            # Without its record it is no tree any more, whatever happens here.
            trees.forget(folder)
            folder.rename(target)
            try:
                _restore(target, tree.path, *found)
            except OSError:
                remove(target)
                return False
            return True
    return False


def _old(cache: Path, name: str, tree: Tree) -> Iterator[Path]:
    """Yield the patched trees of this series and tree that may go, the one that was used last first."""
    versions = []
    for _, record in unused.records(cache):
        with suppress(OSError, ValueError, KeyError, TypeError):
            made_of = document.read_object(record)["provenance"]
            if (made_of["series"], made_of["tree"]) == (name, tree.identity):
                versions.append(record.with_suffix(""))
    yield from (folder for folder in versions[_KEPT:] if not unused.is_ours(folder))


def _restore(farm: Path, original: Path, folders: Collection[str], own: Collection[str]) -> None:
    """Have ``farm`` hold what ``original`` does; they differ in the files ``own``. Raise OSError."""
    # A link before what is below its name.
    for name in sorted(own):
        if os.path.lexists(farm / name) and not _is_folder(farm / name):
            (farm / name).unlink()
    there = {
        os.fsdecode(row)
        for row in trees.manifest_path(original).read_bytes().split(b"\0")
        if row[-1:] == b"/"
    }
    # Deeper ones first.
    for name in sorted({*folders} - there, reverse=True):
        (farm / name).rmdir()
    for name in own:
        if os.path.lexists(original / name) and not _is_folder(original / name):
            (farm / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(original / name, farm / name, follow_symlinks=False)


def shares(farm: Path, original: Path, names: Collection[str]) -> bool:
    """Return whether each name leads to one file in both trees, to a folder in both, or to nothing."""
    return all(_file(farm / name) == _file(original / name) for name in names)


def _file(path: Path) -> tuple[int, int] | str:
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return "nothing"
    return "a folder" if stat.S_ISDIR(found.st_mode) else (found.st_dev, found.st_ino)


def _leads_out(name: str) -> bool:
    return name.startswith("/") or ".." in name.split("/")


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
