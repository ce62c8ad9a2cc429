"""Lay out the files of Debian packages as the guest's root file system has them.

The guest has ``/usr/bin -> ../bin`` and so on (images/guest/recipe.sh), Debian has it the other way round.
An archive that brings a folder by the name of such a link would replace the link.
"""

from __future__ import annotations

import filecmp
import os
import posixpath
import stat
from collections.abc import Sequence
from pathlib import Path

from kmodpipe.util import process
from kmodpipe.util.errors import InfraError

_LIMIT_S = 300.0
# Of a package, what programs may need when they run. Its own scripts (preinst, postinst) are not run.
_KEPT = ("bin", "sbin", "lib", "lib64", "etc", "usr/libexec", "usr/share")
_MERGED = ("bin", "sbin", "lib", "lib64")
# For people, and for other languages and character sets.
_LEFT_OUT = (
    "usr/share/bash-completion", "usr/share/bug", "usr/share/common-licenses", "usr/share/doc",
    "usr/share/doc-base", "usr/share/info", "usr/share/lintian", "usr/share/locale", "usr/share/man",
    "usr/share/menu", "usr/share/applications", "usr/share/icons", "usr/share/pixmaps",
)  # fmt: skip
_PROGRAMS = ("bin/", "sbin/")
_CHARACTER_SETS = "gconv"


def lay_out(debs: Sequence[Path], root: Path, work: Path, out: Path) -> None:
    """Unpack packages into ``out`` as a layer over the guest's ``root``; the last is the one that is wanted.

    What the root has is left out: files that are the same, its configuration, and its programs by the name
    of one that a dependency brings. ``work`` is an empty folder on the same file system. Raise InfraError
    for a package that cannot be unpacked.
    """
    for number, deb in enumerate(debs):
        folder = work / str(number)
        folder.mkdir()
        process.run(
            ["dpkg-deb", "--extract", deb, folder],
            timeout_s=_LIMIT_S,
            hint="remove the file, and run the same command again: it is fetched anew",
        )
        try:
            _take(folder, root, out, wanted=number == len(debs) - 1)
        except OSError as e:
            raise InfraError(
                f"a package's files cannot be laid out for the guest: {e.strerror}",
                where=f"{deb.name}: {e.filename}",
                hint="look at the space and the rights in the cache folder, and run the same command again",
            ) from e


def _take(folder: Path, root: Path, out: Path, *, wanted: bool) -> None:
    """Move the files of one package from ``folder`` to ``out``."""
    for parent, folders, files in os.walk(folder):
        for name in [*files, *(one for one in folders if Path(parent, one).is_symlink())]:
            source = Path(parent, name)
            original = source.relative_to(folder).as_posix()
            placed = place(original)
            if not placed or not _is_new(source, root, placed, wanted=wanted):
                continue
            target = out / placed
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            if source.is_symlink():
                target.symlink_to(link_target(original, placed, str(source.readlink())))
            elif source.is_file():
                source.replace(target)


def place(name: str) -> str:
    """Return where the guest has a package's file (both relative to /); empty if it does not get it."""
    first, _, rest = name.partition("/")
    merged, _, below = rest.partition("/")
    placed = rest if first == "usr" and merged in _MERGED and below else name
    if not any(placed.startswith(f"{top}/") for top in _KEPT):
        return ""
    if any(f"{placed}/".startswith(f"{top}/") for top in _LEFT_OUT):
        return ""
    if placed.startswith("lib/") and _CHARACTER_SETS in placed.split("/")[1:3]:
        return ""
    return placed


def link_target(original: str, placed: str, target: str) -> str:
    """Return what a link says at its new place, to lead where it led: in Debian's root or in the guest's."""
    if (
        target.startswith("/")
        or posixpath.dirname(original) == posixpath.dirname(placed)
        or "/" not in target
    ):
        return target
    return posixpath.normpath(posixpath.join("/", posixpath.dirname(original), target))


def _is_new(source: Path, root: Path, placed: str, *, wanted: bool) -> bool:
    """Return whether the guest gets a file that its ``root`` may have already."""
    there = root / placed
    if not os.path.lexists(there):
        return True
    if placed.startswith("etc/") or (placed.startswith(_PROGRAMS) and not wanted):
        return False
    if there.is_dir() and not there.is_symlink():
        return False
    mode = source.lstat().st_mode
    if stat.S_ISLNK(mode):
        return not (there.is_symlink() and there.readlink() == source.readlink())
    return there.is_symlink() or not filecmp.cmp(source, there, shallow=False)
