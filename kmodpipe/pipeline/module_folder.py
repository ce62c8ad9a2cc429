"""Find the module under test: what is requested, what the series declares, or what it changes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from kmodpipe.build.kbuild import require_named, split
from kmodpipe.kconfig import Matrix
from kmodpipe.series import Series
from kmodpipe.util import paths
from kmodpipe.util.errors import UserError, unknown_name
from kmodpipe.util.text import some

# What is below these is part of no module, or of all of them.
_OF_NO_MODULE = ("Documentation/", "include/", "scripts/", "tools/", "LICENSES/", "usr/", "init/", "certs/")
_SOURCE = (".c", ".h", ".S", ".rs")
_BUILD = ("Makefile", "Kbuild", "Kconfig")
# Names that a message lists.
_NAMES = 3


def only_module(series: Iterable[Series], matrix: Matrix, option: str) -> str:
    """Return the module under test of a run: a folder, or one module of it as make has it (fs/fuse/cuse.ko).

    That is the option's, else what the series declare, else the matrix's, else the one folder that the series
    change. Where series declare a folder, the matrix can name one module of it. Raise UserError where series
    disagree, where nothing names one, and where a series changes nothing of the matrix's module.
    """
    series = tuple(series)
    if option:
        return plain_module(option, "--module")
    named = {s.module.strip("/"): s.name for s in series if s.module}
    if len(named) > 1:
        raise UserError(
            "the series are for different modules: " + ", ".join(f"{s} for {m}" for m, s in named.items()),
            hint="run them one at a time, or name one with --module",
        )
    if named:
        module, owner = next(iter(named.items()))
        wanted = matrix.module if isinstance(matrix.module, str) else ""
        if split(wanted)[0] == module:
            module, owner = wanted.strip("/"), matrix.path.name
        return plain_module(module, f"series.toml of {owner}")
    if isinstance(matrix.module, str):
        module = plain_module(matrix.module, str(matrix.path))
        for one in series:
            _require_touched(one, split(module)[0], matrix)
        return module
    changed = sorted({folder for one in series for folder in changed_folders(one)})
    if len(changed) == 1:
        return plain_folder(changed[0], f"the files of {', '.join(one.name for one in series)}")
    if changed:
        raise UserError(
            f"the series change several folders: {some(changed, _NAMES)}",
            where=str(matrix.path),
            hint=f"name that of the module: --module {changed[0]}",
        )
    raise UserError(
        "no module under test is given",
        where=str(matrix.path),
        hint='--module FOLDER, or module = "…" in series.toml or the matrix file',
    )


def changed_folders(series: Series) -> tuple[str, ...]:
    """Return the folders with code that a series changes, sorted; of nested ones the outermost."""
    found = set()
    for name in series.touched:
        folder, _, last = name.rpartition("/")
        code = last.endswith(_SOURCE) or last.startswith(_BUILD)
        if folder and code and not name.startswith(_OF_NO_MODULE):
            found.add(folder)
    return tuple(sorted(f for f in found if not any(f.startswith(f"{other}/") for other in found)))


def changes(series: Series, folder: str) -> bool:
    """Return whether a series changes a file of the module."""
    return any(name.startswith(f"{folder}/") for name in series.touched)


def _require_touched(one: Series, folder: str, matrix: Matrix) -> None:
    """Raise UserError, with the ``--module`` that fits, if a series changes nothing of the module."""
    if changes(one, folder):
        return
    changed = changed_folders(one)
    fits = f"--module {folder}, if that is meant"
    if len(changed) == 1:
        fits = f"--module {changed[0]}, with a --matrix that has its symbols; or {fits}"
    elif changed:
        fits = f"name the module: --module {' or --module '.join(changed[:3])}; or {fits}"
    touched = some(one.touched, _NAMES)
    raise UserError(
        f"series {one.name} changes nothing of {folder}, which would be tested: only {touched}",
        where=str(matrix.path),
        hint=fits,
    )


def plain_module(module: str, where: str) -> str:
    """Return the module under test without slashes at its ends, a folder or one of its modules.

    Raise UserError, as `plain_folder` does.
    """
    name = plain_folder(module, where)
    if not split(name)[0]:
        raise UserError(
            f"not a module of a folder: {name!r}",
            where=where,
            hint=f"with its folder, from the top of the tree: drivers/md/{name}",
        )
    return name


def plain_folder(folder: str, where: str) -> str:
    """Return the module's ``folder`` without slashes at its ends.

    Raise UserError, with the place ``where`` it is named, if it cannot be a folder of a tree.
    """
    name = folder.strip("/")
    # It is part of make's targets, and of paths in the tree and in the object folder.
    if not re.fullmatch(r"[\w.+,-]+(?:/[\w.+,-]+)*", name, re.ASCII) or not paths.is_plain(name):
        raise UserError(
            f"not a module folder: {folder!r}",
            where=where,
            hint="a folder of the tree, from its top: fs/overlayfs",
        )
    if name.startswith("-"):
        raise UserError(f"a module folder cannot begin with a dash: {folder!r}", where=where)
    return name


def require_folder(folder: str, trees: Sequence[Path], where: str) -> None:
    """Raise UserError, with similar names, unless one of the trees has the module's folder with a Makefile.

    A series may bring the folder: it is looked for in the patched trees as well.
    """
    if any(paths.is_file(tree / folder / "Makefile") for tree in trees):
        return
    above = folder.rpartition("/")[0]
    while above and not paths.is_file(trees[0] / above / "Makefile"):
        above = above.rpartition("/")[0]
    if any(paths.is_dir(tree / folder) for tree in trees):
        hint = f"is it part of {above}? --module {above}" if above else "modules are built by a Makefile"
        raise UserError(f"the folder {folder} of the tree has no Makefile", where=where, hint=hint)
    hint = "a folder of the tree, from its top: fs/overlayfs"
    if above == folder.rpartition("/")[0] and above:
        with suppress(UserError):
            require_named(trees[0], f"{folder}.ko")
            hint = f"a module of the folder {above}: --module {folder}.ko"
    raise unknown_name("module folder", folder, _folders(trees), where=where, hint=hint)


def require_module(module: str, trees: Sequence[Path], where: str) -> None:
    """Raise UserError unless one of the trees has the module under test, as far as Makefiles show.

    For its folder as `require_folder` does; for one that is named in it with those that there are.
    """
    folder, named = split(module)
    require_folder(folder, trees, where)
    error = None
    for tree in trees if named else ():
        try:
            require_named(tree, named)
        except UserError as e:
            error = error or e
        else:
            return
    if error:
        raise error


def _folders(trees: Iterable[Path]) -> set[str]:
    """Return the folders with a Makefile."""
    found = set()
    for tree in trees:
        for parent, folders, files in os.walk(tree):
            folders[:] = [name for name in folders if name != ".git"]
            if "Makefile" in files and parent != str(tree):
                found.add(Path(parent).relative_to(tree).as_posix())
    return found
