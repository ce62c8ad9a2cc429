"""Copy the project's files that a run uses when it begins.

While a run builds and boots, the user may edit files or check out another branch; the results have to
describe what really ran.

    OUT/<run>/shared/lib.sh                  the cases and their shell library
    OUT/<run>/shared/cases/<id>/<script>     and the files that the case brings
    CACHE/store/recipes/<key>/…              the recipes for kernels, modules and guests
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kmodpipe.cache.store import Store
from kmodpipe.util import os_errors, shipped
from kmodpipe.util.digest import digest_file, digest_of
from kmodpipe.util.errors import InfraError, UserError

if TYPE_CHECKING:
    from kmodpipe.judge.cases import Case


@dataclass(frozen=True)
class Snapshot:
    """Copies of the cases and of their shell library."""

    cases: tuple[Case, ...]  # with the paths of the copied scripts and files
    lib: Path

    def digest(self, case: Case) -> str:
        """Return the SHA-256 (hex) of all that defines what a case does in a guest."""
        return case.digest(self.lib.read_bytes())


def take(cases: Iterable[Case], lib: Path, folder: Path) -> Snapshot:
    """Copy the scripts of the cases, the files that they bring, and their library to ``folder``.

    Raises UserError if one of them cannot be read, InfraError if a copy cannot be written.
    """
    copied = tuple(_case(case, folder / "cases" / case.id) for case in cases)
    return Snapshot(copied, _copy(lib, folder / "lib.sh"))


def _case(case: Case, home: Path) -> Case:
    """Copy the files of one case below ``home``, and return the case with the copies' paths."""
    files = tuple(replace(one, path=_copy_all(one.path, home / one.name)) for one in case.files)
    return replace(case, path=_copy(case.path, home / case.path.name), files=files)


def _copy_all(source: Path, target: Path) -> Path:
    """Copy a file, or a folder with its links as they are; of their modes, only who may run them is kept."""
    if not source.is_dir():
        return _copy_with_mode(source, target)
    for parent, folders, files in os.walk(source):
        there = target / Path(parent).relative_to(source)
        there.mkdir(parents=True, exist_ok=True)
        for name in [*folders, *files]:
            path = Path(parent, name)
            if path.is_symlink():
                (there / name).symlink_to(path.readlink())
            elif not path.is_dir():
                _copy_with_mode(path, there / name)
    return target


def _copy_with_mode(source: Path, target: Path) -> Path:
    _copy(source, target)
    target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)
    return target


def recipes(images: Path, store: Store, more: tuple[str, ...] = ()) -> Path:
    """Return a copy of the recipes below ``images`` that does not change, without the cases.

    ``more`` are further folders, of what only some commands run.

    Raises InfraError if the recipes change while they are read.
    """
    digest = recipes_digest(images, more)

    def make(folder: Path) -> None:
        for name, path in _recipe_files(images, more).items():
            # Readable for the user in the container, whatever umask the project was checked out with.
            _copy_with_mode(path, folder / name)
        if recipes_digest(folder, more) != digest:
            raise InfraError(
                "the project's recipes changed while they were read",
                where=str(images),
                hint="run the same command again",
            )

    return store.make("recipes", {"recipes": digest}, "recipes", make).path


def _recipe_files(images: Path, more: tuple[str, ...] = ()) -> dict[str, Path]:
    """Return the files of the recipes by their names below ``images``.

    A project with recipes of its own need not have those for modules out of the tree, and the like.
    """
    folders = {name: images / name for name in ("builder", "guest")}
    folders |= {name: shipped.part(images, name) for name in ("external", *more)}
    files = {
        f"{name}/{path.relative_to(folder).as_posix()}": path
        for name, folder in folders.items()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return {name: p for name, p in files.items() if not name.startswith(("guest/cases/", "guest/lib.sh"))}


def recipes_digest(images: Path, more: tuple[str, ...] = ()) -> str:
    """Return a SHA-256 (hex) of the recipes below ``images``: names, executable bits and contents.

    A link counts with the content of the file that it leads to, which is what a run uses.
    """
    rows = [
        [name, os.access(path, os.X_OK), digest_file(path)]
        for name, path in _recipe_files(images, more).items()
    ]
    return digest_of(rows)


def _copy(source: Path, target: Path) -> Path:
    try:
        content = source.read_bytes()
    except OSError as e:
        raise UserError(f"a file of the project cannot be read: {e.strerror}", where=str(source)) from e
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    except OSError as e:
        raise os_errors.failed(f"could not keep a copy of {source.name}", e, str(target)) from e
    return target
