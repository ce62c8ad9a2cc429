"""Objects that one build leaves for another, with kbuild's records of what they were compiled from.

fixdep (``scripts/basic/fixdep.c``) writes beside each object ``dir/.name.o.cmd`` with the command and all
files that the compiler read. An object is left only if nothing was said when it was compiled: who takes it
does not compile it, and would not hear that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.build import compile_warnings
from kmodpipe.build.reuse import files_left, move

OBJECTS = "objects"
"""The folder of the objects in what is left."""
SOURCE = "/src"
"""Where every job that leaves objects has its tree (`Runtime.same_paths`)."""
_OBJECT = re.compile(r"\.?[^/]+\.o(?:\.cmd)?")
_MOST_BYTES = 32 << 20
_LOG_BYTES = 4 << 20


@dataclass(frozen=True)
class Said:
    """What a build printed about its files."""

    src: Path  # its tree
    folder: str  # the module's
    about: Collection[str]  # the files with a warning, relative to the tree or to the folder of objects

    @classmethod
    def of(cls, log: Path, src: Path, folder: str) -> Said | None:
        """Return what is in a log; None if it cannot be told which files that is about."""
        with suppress(OSError):
            if log.stat().st_size > _LOG_BYTES:
                return None
            found = compile_warnings.in_log(log.read_text("utf-8", "replace").splitlines(), src)
            about = {one.file for one in found if one.file}
            known = all(name.endswith(".o") or (src / name).is_file() for name in about)
            return cls(src, folder, about) if known and len(found) < compile_warnings.MOST else None
        return None


def collect(left: Path, folder: Path, said: Said | None) -> bool:
    """Move the objects in ``left`` to ``folder``; none, and return False, if anything is odd."""
    found = files_left(left)
    if said is None or not found or sum(state.st_size for _, state in found) > _MOST_BYTES:
        return False
    if not all(_OBJECT.fullmatch(path.name) for path, _ in found):
        return False
    loud = set[Path]()
    if said.about:
        objects = [path for path, _ in found if path.name.endswith(".o")]
        quiet = {*reading_none(objects, said.about, said.src)}
        named = {left / name.removeprefix(f"{said.folder}/") for name in said.about}
        for path in {*objects} - (quiet - named):
            loud |= {path, record_of(path)}
    for path, _ in found:
        if path not in loud:
            move(path, folder / OBJECTS / path.relative_to(left))
    return True


def record_of(path: Path) -> Path:
    """Return where kbuild's record of an object is."""
    return path.with_name(f".{path.name}.cmd")


def reading_none(objects: Collection[Path], files: Collection[str], src: Path) -> list[Path]:
    """Return the objects that were compiled from none of these files of the tree ``src``, by their records.

    One without a record is not among them.
    """
    unwanted = {os.path.realpath(src / name) for name in files}
    names = _RealNames(src)
    records = ((path, record_of(path)) for path in objects)
    return [
        path for path, record in records if record.is_file() and unwanted.isdisjoint(_read(record, names))
    ]


class _RealNames(dict[str, str]):
    """What files of a tree are really, by their names in a job; each folder is looked at once."""

    def __init__(self, src: Path) -> None:
        super().__init__()
        self._src = os.fspath(src)
        self._folders: dict[str, str] = {}

    def __missing__(self, name: str) -> str:
        folder, _, base = name.removeprefix(SOURCE).rpartition("/")
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(self._src + folder)
        path = f"{self._folders[folder]}/{base}"
        self[name] = os.path.realpath(path) if base == ".." or Path(path).is_symlink() else path
        return self[name]


def _read(record: Path, names: _RealNames) -> set[str]:
    """Return what of the tree an object was compiled from, by fixdep's record, as the files are really."""
    words = record.read_text("utf-8", "replace").split()
    return {names[word] for word in words if word.startswith(f"{SOURCE}/")}
