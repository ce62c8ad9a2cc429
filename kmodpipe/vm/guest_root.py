"""What is in a guest's root file system: the names in the archives that it unpacks."""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from kmodpipe.util.errors import InfraError

# Where the agent lets the cases look for programs (SEARCH_PATH in images/guest/agent/agent.h).
SEARCH_PATH = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")
_MAGIC = b"070701"
_HEADER = 110
_ALIGN = 4
_TRAILER = "TRAILER!!!"
_MOST_LINKS = 40  # as the kernel follows (path_resolution(7))


@dataclass(frozen=True)
class Member:
    """A member of an archive."""

    name: str  # relative to /
    # The target of a symbolic link, "" for anything else.
    link: str
    # Where its content is in the archive, and how many bytes it has.
    offset: int
    size: int


@dataclass(frozen=True)
class GuestRoot:
    """The names in a guest's root file system."""

    # Absolute path → the target of a symbolic link, "" for anything else.
    names: Mapping[str, str]

    def has_program(self, name: str) -> bool:
        """Return whether a program is there, by its absolute path or by its name in the search path."""
        if name.startswith("/"):
            return self._exists(name)
        return any(self._exists(f"{folder}/{name}") for folder in SEARCH_PATH)

    def has_library(self, name: str) -> bool:
        """Return whether a shared library of this file name is there, in any folder."""
        return any(posixpath.basename(path) == name for path in self.names)

    def _exists(self, path: str) -> bool:
        return self._resolved(path) in self.names

    def _resolved(self, path: str) -> str:
        """Return the path without symbolic links; "" for one that leads nowhere."""
        done, left, followed = "", path.strip("/").split("/"), 0
        while left:
            part = left.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                done = done.rpartition("/")[0]
                continue
            target = self.names.get(f"{done}/{part}", "")
            if not target:
                done = f"{done}/{part}"
                continue
            followed += 1
            if followed > _MOST_LINKS:
                return ""
            left = [*target.split("/"), *left]
            if target.startswith("/"):
                done = ""
        return done


def read(archives: Iterable[Path]) -> GuestRoot:
    """Return the names in these newc archives, as `initramfs.newc` writes them, later ones over earlier ones.

    Raises InfraError for a file that is no such archive.
    """
    names: dict[str, str] = {}
    for archive in archives:
        try:
            names.update({f"/{one.name}": one.link for one in members(archive)})
        except (OSError, ValueError) as e:
            raise InfraError(
                f"a part of the guest's root file system cannot be read: {e}",
                where=str(archive),
                hint="run: invoke clean; it is made again",
            ) from None
    return GuestRoot(names)


def members(archive: Path) -> tuple[Member, ...]:
    """Return the members of an archive as `initramfs.newc` writes it. Raise ValueError for another file."""
    with archive.open("rb") as f:
        return tuple(_members(f))


def _members(archive: BinaryIO) -> Iterator[Member]:
    while True:
        header = archive.read(_HEADER)
        if len(header) < _HEADER or header[:6] != _MAGIC:
            raise ValueError("it is no newc archive")
        mode, size, length = (int(header[at : at + 8], 16) for at in (14, 54, 94))
        name = archive.read(length)[:-1].decode("utf-8", "surrogateescape")
        archive.seek(-(_HEADER + length) % _ALIGN, 1)
        if name == _TRAILER:
            return
        offset = archive.tell()
        link = archive.read(size).decode("utf-8", "surrogateescape") if stat.S_ISLNK(mode) else ""
        archive.seek(-size % _ALIGN if link else size + -size % _ALIGN, 1)
        yield Member(name, link, offset, size)
