"""Put the files of large packages on a disk that the guest mounts, and links to them into its root.

What stands in an initramfs is unpacked into memory in each boot, and read after each case; of a disk only
what is used is read. The links are what the guest's root gets instead: one for a folder that it does not
have, one for each file in those that it has.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.util.errors import InfraError
from kmodpipe.vm.initramfs import DISK, Entry, folder

IN_MEMORY_MIB = 48
"""Packages of a guest that together have more than this are put on a disk, if its kernel can mount one."""

# What a kernel needs to mount it before it loads a module, with what asks for it in a matrix.
_NEEDED: Mapping[str, str] = {
    "VIRTIO_PCI": "the fragment virtio.config",
    "VIRTIO_BLK": "the fragment virtio.config",
    "EXT4_FS": "CONFIG_EXT4_FS=y",
}
MARKER = ".kmodpipe"
"""A file on the disk, which the agent keeps open: it can be read as long as the file system works."""
_BLOCK = 4096
_INODE = 256
_GROUP_BLOCKS = 8 * _BLOCK
_RESERVED_INODES = 11
# A name that debugfs cannot be told: it reads a command a line, and has no other quotes.
_UNSPEAKABLE = re.compile(r'["\n]')


def lacking(final: Mapping[str, str]) -> tuple[str, ...]:
    """Return the symbols that a kernel of this configuration would need to mount the disk; none if it can."""
    return tuple(symbol for symbol in _NEEDED if final.get(symbol) != "y")


def way_out(lacks: Collection[str]) -> str:
    """Return what brings these symbols, for a hint: ``the fragment virtio.config``."""
    return " and ".join(dict.fromkeys(_NEEDED[symbol] for symbol in lacks))


def merge(packages: Sequence[Path], tree: Path) -> None:
    """Copy what packages have laid out to the empty folder ``tree``, later files over earlier ones.

    What differs from machine to machine is dropped: times, owners, all permissions but "executable". A link
    that leads up becomes absolute: its folder stands elsewhere on the disk than in the guest's root.
    """
    (tree / MARKER).write_bytes(b"tools\n")
    for package in packages:
        for path, name in _inside(package):
            _copy(path, tree / name, name)


def _copy(source: Path, target: Path, name: str) -> None:
    mode = source.lstat().st_mode
    link = str(source.readlink()) if stat.S_ISLNK(mode) else ""
    if _UNSPEAKABLE.search(name + link):
        raise InfraError(
            "a package's file has a name that no disk can be given",
            where=repr(name),
            hint="leave out the package, or its flavour's virtio.config: then it is held in memory",
        )
    if stat.S_ISDIR(mode):
        if target.is_symlink() or target.is_file():
            target.unlink()
        target.mkdir(exist_ok=True)
        return
    if target.is_dir() and not target.is_symlink():
        return
    target.unlink(missing_ok=True)
    if link:
        target.symlink_to(_link_target(name, link))
    else:
        shutil.copyfile(source, target)
        target.chmod(0o755 if mode & 0o111 else 0o644)


def _link_target(name: str, target: str) -> str:
    if target.startswith("/") or ".." not in target.split("/"):
        return target
    return posixpath.normpath(posixpath.join("/", posixpath.dirname(name), target))


def links(tree: Path, root: Collection[str]) -> Iterator[Entry]:
    """Yield the archive members that lead to what is in ``tree``: links, and the folder of the mount.

    ``root`` has the names that the guest has already (`GuestRoot.names`).
    """
    yield folder(DISK)
    yield from _links(tree, "", root)


def _links(tree: Path, below: str, root: Collection[str]) -> Iterator[Entry]:
    for path in sorted((tree / below).iterdir()):
        name = f"{below}{path.name}"
        if name == MARKER:
            continue
        if path.is_symlink():
            # Itself: it may lead to what is in the root alone.
            yield _link(name, str(path.readlink()))
        elif path.is_dir() and f"/{name}" in root:
            yield from _links(tree, f"{name}/", root)
        else:
            yield _link(name, f"/{DISK}/{name}")


def _link(name: str, target: str) -> Entry:
    return Entry(name, stat.S_IFLNK | 0o777, os.fsencode(target))


@dataclass(frozen=True)
class Layout:
    """A file system as images/guest/disk.sh makes it."""

    # For debugfs(8), which runs in the tree's folder.
    commands: str
    blocks: int
    inodes: int


def layout(tree: Path) -> Layout:
    """Return the file system of all that is in ``tree``. The same content gives the same layout."""
    lines, blocks, inodes = [], 0, _RESERVED_INODES
    # The marker last: where it is, all is.
    for path, name in sorted(_inside(tree), key=lambda found: found[1] == MARKER):
        inodes += 1
        blocks += 1
        if path.is_symlink():
            lines.append(f'symlink "/{name}" "{path.readlink()}"')
        elif path.is_dir():
            lines.append(f'mkdir "/{name}"')
            # An entry of 8 bytes, and the name; a new block where one does not fit.
            blocks += sum(16 + len(os.fsencode(one.name)) for one in path.iterdir()) * 5 // 4 // _BLOCK
        else:
            lines.append(f'write "./{name}" "/{name}"')
            size = path.stat().st_size
            # And a block of its map, for each 64 MiB of a file in pieces.
            blocks += -(-size // _BLOCK) + (size >> 26)
    inodes += inodes // 50 + 16
    tables = -(-inodes * _INODE // _BLOCK)
    groups = blocks // _GROUP_BLOCKS + 1
    blocks += tables + 8 * groups + blocks // 50 + 64
    return Layout("".join(f"{line}\n" for line in lines), blocks, inodes)


def _inside(top: Path) -> Iterator[tuple[Path, str]]:
    """Yield all that is in a folder with its path there, sorted, folders before their content."""
    for path in sorted(top.iterdir()):
        yield path, path.name
        if path.is_dir() and not path.is_symlink():
            yield from ((found, f"{path.name}/{name}") for found, name in _inside(path))
