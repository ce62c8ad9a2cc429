"""Find the files that a case brings into the guest, beside its script."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.util import paths
from kmodpipe.util.digest import digest_file, digest_tree
from kmodpipe.util.errors import UserError

MOST_MIB = 256
_HINT = "a case brings files and folders that stand beside its case.toml"


@dataclass(frozen=True)
class CaseFile:
    """A file or a whole folder that a case brings."""

    # Its path in the case's folder, here and in the guest.
    name: str
    # On this machine.
    path: Path
    # Of a file; those in a folder are as they are there.
    executable: bool = False

    @property
    def digest(self) -> list[str]:
        """Its name, its mode and the SHA-256 (hex) of its content."""
        if self.path.is_dir():
            return [self.name, "folder", digest_tree(self.path)]
        return [self.name, "x" if self.executable else "-", digest_file(self.path)]


def find(names: Iterable[str], folder: Path, where: Callable[[], str]) -> tuple[CaseFile, ...]:
    """Return the files of these names in a case's folder; ``where`` returns where they are named, for errors.

    A link to something in the case's folder counts as what it leads to; a link in a folder that is brought
    stays a link, and leads to something in it. Raise UserError for what is missing, is neither a file nor a
    folder, or leads out of the folder, and for more than 256 MiB in all.
    """
    found, size = [], 0
    home, given = Path(os.path.realpath(folder)), tuple(dict.fromkeys(names))
    for name in given:
        path = folder / name
        if not paths.is_plain(name) or paths.has_controls(name):
            raise UserError(f"not the name of a file of the case: {name!r}", where=where(), hint=_HINT)
        if not os.path.lexists(path):
            raise UserError(f"the case's file {name} does not exist", where=where(), hint=_HINT)
        if outer := next((one for one in given if name.startswith(f"{one}/")), ""):
            raise UserError(
                f"the case's file {name} is in {outer}, which is brought as a whole", where=where()
            )
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(home) or real == home:
            raise UserError(
                f"the case's file {name} is a link out of the case's folder", where=where(), hint=_HINT
            )
        for one in (real, *_inside(real)):
            size += _size(one, real, name, where)
        found.append(CaseFile(name, path, executable=real.is_file() and os.access(real, os.X_OK)))
    if size > MOST_MIB << 20:
        raise UserError(
            f"the case's files have {size >> 20} MiB, and the limit is {MOST_MIB} MiB",
            where=where(),
            hint="a guest has them in its memory: let the script make what is large",
        )
    return tuple(found)


def _inside(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        for parent, folders, files in os.walk(folder):
            yield from (Path(parent, one) for one in sorted([*folders, *files]))


def _size(path: Path, top: Path, name: str, where: Callable[[], str]) -> int:
    """Return a file's size in bytes. Raise UserError if it cannot be brought into a guest."""
    shown = name if path == top else f"{name}/{path.relative_to(top).as_posix()}"
    if paths.has_controls(shown) or not _is_text(shown):
        raise UserError(f"the case's file {shown!r} has no name in plain UTF-8", where=where(), hint=_HINT)
    if path.is_symlink():
        target = path.readlink()
        if target.is_absolute() or not Path(os.path.realpath(path)).is_relative_to(top) or not path.exists():
            raise UserError(
                f"the link {shown} leads to nothing in {name}: {target}",
                where=where(),
                hint="in the guest there is only what the case brings: put the file itself there",
            )
        return 0
    if path.is_dir():
        return 0
    # A FIFO would block whoever reads it, and a guest has devices of its own.
    if not paths.is_file(path):
        raise UserError(f"the case's file {shown} is neither a file nor a folder", where=where(), hint=_HINT)
    if not os.access(path, os.R_OK):
        raise UserError(
            f"the case's file {shown} cannot be read", where=where(), hint="look at its permissions"
        )
    return path.stat().st_size


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
