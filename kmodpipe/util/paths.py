"""Inspect and remove paths that come from users, archives and builds, without surprises."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

NAME_BYTES = 255
"""The longest name that a file can have on Linux's file systems."""
_LINKS_FOLLOWED = 40  # as the kernel's own MAXSYMLINKS


def is_file(path: Path) -> bool:
    """Return whether this is a regular file, following links; False for a name that no file can have."""
    with suppress(OSError, ValueError):
        return stat.S_ISREG(path.stat().st_mode)
    return False


def is_dir(path: Path) -> bool:
    """Return whether this is a folder, following links; False for a name that no folder can have."""
    with suppress(OSError, ValueError):
        return stat.S_ISDIR(path.stat().st_mode)
    return False


def exists(path: Path) -> bool:
    """Return whether anything exists there, following links."""
    with suppress(OSError, ValueError):
        path.stat()
        return True
    return False


def expanded(given: str) -> Path:
    """Return a path as the user gave it, with ``~`` expanded if there is such a home folder."""
    path = Path(given)
    with suppress(RuntimeError, ValueError, OSError):
        return path.expanduser()
    return path


def is_plain(name: str) -> bool:
    """Return whether a relative name stays below its start and outside of any repository.

    It has no ``..`` and no ``.git``, is not absolute, and has no part that a file system would refuse.
    """
    parts = name.split("/")
    return not any(
        part in ("", ".", "..")
        or part.lower() == ".git"
        or "\0" in part
        or len(os.fsencode(part)) > NAME_BYTES
        for part in parts
    )


def has_controls(text: str) -> bool:
    """Return whether a name holds a newline or another control character."""
    return re.search(r"[\x00-\x1f\x7f]", text) is not None


# -- links ---------------------------------------------------------------------------------------------
def escaping_link(links: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the first of ``links`` that leads out of the tree or round in circles, else None.

    ``links`` maps names to targets, relative to the tree's top. They are followed together: ``a/b -> ../..``
    stays inside, and so does the text of ``c -> a/b/../x``, but the two together do not.
    """
    for name, target in sorted(links.items()):
        if not _stays_inside(name, target, links):
            return name, target
    return None


def _stays_inside(name: str, target: str, links: Mapping[str, str]) -> bool:
    """Follow ``target`` from the folder of ``name`` through the other links, as the kernel would."""
    reached = name.split("/")[:-1]
    if target.startswith("/") or "\0" in target or not target:
        return False
    pending = target.split("/")[::-1]
    followed = 1
    while pending:
        part = pending.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not reached:
                return False
            reached.pop()
            continue
        reached.append(part)
        onward = links.get("/".join(reached))
        if onward is not None:
            followed += 1
            if followed > _LINKS_FOLLOWED or onward.startswith("/"):
                return False
            reached.pop()
            pending += onward.split("/")[::-1]
    return True


def links_below(root: Path) -> dict[str, str]:
    """Return every symbolic link below ``root`` as name → target."""
    found: dict[str, str] = {}
    for name, entry in walk(root):
        if entry.is_symlink():
            found[name] = os.readlink(entry.path)  # noqa: PTH115
    return found


def walk(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield everything below ``root`` with its relative name, at any depth; links are not followed."""
    pending = [""]
    while pending:
        prefix = pending.pop()
        with os.scandir(root / prefix) as entries:
            for entry in entries:
                yield prefix + entry.name, entry
                if entry.is_dir(follow_symlinks=False):
                    pending.append(f"{prefix}{entry.name}/")


# -- removing ------------------------------------------------------------------------------------------
def remove(folder: Path) -> None:
    """Remove a folder with its content, a file or a link; what cannot be removed stays, without an error.

    A build can leave folders without permission to enter, and nested deeper than `shutil.rmtree` or the
    kernel's limit on paths allow.
    """
    if folder.is_symlink() or not folder.is_dir():
        with suppress(OSError):
            folder.unlink()
        return
    with suppress(RecursionError, OSError):
        shutil.rmtree(folder)
    if not folder.is_dir():
        return
    with suppress(OSError):
        _flatten(folder)
        folder.rmdir()


def _flatten(folder: Path) -> None:
    """Empty a folder by moving nested folders up into it, so that no path gets long."""
    number = 0
    top = os.fspath(folder)
    os.chmod(top, 0o700)  # noqa: PTH101
    while inside := os.listdir(top):  # noqa: PTH208
        for name in inside:
            path = f"{top}/{name}"
            if not _is_real_folder(path):
                os.unlink(path)  # noqa: PTH108
                continue
            os.chmod(path, 0o700)  # noqa: PTH101
            for deeper in os.listdir(path):  # noqa: PTH208
                child = f"{path}/{deeper}"
                if _is_real_folder(child):
                    os.chmod(child, 0o700)  # noqa: PTH101
                    number += 1
                    os.rename(child, f"{top}/.kmodpipe-{number}")  # noqa: PTH104
                else:
                    os.unlink(child)  # noqa: PTH108
            os.rmdir(path)  # noqa: PTH106


def _is_real_folder(path: str) -> bool:
    return stat.S_ISDIR(os.lstat(path).st_mode)
