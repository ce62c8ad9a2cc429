"""Names and folders that came from somebody else: looked at, and removed, without surprises."""

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
    """Whether this is a regular file, through links too; a name that no file can have is none."""
    with suppress(OSError, ValueError):
        return stat.S_ISREG(path.stat().st_mode)
    return False


def is_dir(path: Path) -> bool:
    """Whether this is a folder, through links too; a name that no folder can have is none."""
    with suppress(OSError, ValueError):
        return stat.S_ISDIR(path.stat().st_mode)
    return False


def exists(path: Path) -> bool:
    """Whether anything is there, through links too."""
    with suppress(OSError, ValueError):
        path.stat()
        return True
    return False


def expanded(given: str) -> Path:
    """A path as a user gave it; ``~`` is a home folder where there is one, and a name where not."""
    path = Path(given)
    with suppress(RuntimeError, ValueError, OSError):
        return path.expanduser()
    return path


def is_plain(name: str) -> bool:
    """Whether a relative name stays below where it begins, and is nobody's repository: no ``..``, no
    ``.git``, not absolute, and no part that a file system would refuse."""
    parts = name.split("/")
    return not any(
        part in ("", ".", "..")
        or part.lower() == ".git"
        or "\0" in part
        or len(os.fsencode(part)) > NAME_BYTES
        for part in parts
    )


def has_controls(text: str) -> bool:
    """Whether a name holds a newline or another control character."""
    return re.search(r"[\x00-\x1f\x7f]", text) is not None


# -- links ---------------------------------------------------------------------------------------------
def escaping_link(links: Mapping[str, str]) -> tuple[str, str] | None:
    """The first of ``links`` (name → target, relative to a tree's top) that leads out of the tree, or goes
    round in circles; None where none does.

    All of them together: ``a/b -> ../..`` stays inside, and so does ``c -> a/b/../x`` by its words alone, but
    the two together do not.
    """
    for name, target in sorted(links.items()):
        if not _stays_inside(name, target, links):
            return name, target
    return None


def _stays_inside(name: str, target: str, links: Mapping[str, str]) -> bool:
    """Follow ``target`` as the kernel would, from the folder of ``name``, through the other links."""
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
    """Every symbolic link below ``root``: name → target."""
    found: dict[str, str] = {}
    for name, entry in walk(root):
        if entry.is_symlink():
            found[name] = os.readlink(entry.path)  # noqa: PTH115
    return found


def walk(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything below ``root`` with its relative name, links not followed, however deep it is."""
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
    """Remove a folder with all that is in it, a file or a link; what cannot be removed stays, without error.

    A build can leave folders that nobody may enter, and more inside each other than `shutil.rmtree` can
    follow or a path can say.
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
    """Empty a folder by moving each folder that is in one of its folders up into it: no path gets long."""
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
