"""Look at a folder in which a project is to begin: the modules that it builds, a kernel tree, its CI.

Files are read, and nothing is run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kmodpipe.build import dkms, own_makefile
from kmodpipe.source import user_git
from kmodpipe.source.tree import kernel_version
from kmodpipe.util import paths
from kmodpipe.util.errors import KmodpipeError

_OBJECTS = re.compile(r"^[ \t]*obj-(?:m|\$[({]\w+[)}])[ \t]*[:+]?=[ \t]*([^#\n]*)", re.MULTILINE)
_BELOW = re.compile(r"^[ \t]*obj-y[ \t]*[:+]?=[ \t]*([^#\n]*/)[ \t]*$", re.MULTILINE)
_SET = re.compile(r"^[ \t]*(?:export[ \t]+)?(\w+)[ \t]*[:?]{0,2}=[ \t]*([^#\n]*)", re.MULTILINE)
_USE = re.compile(r"\$[({](\w+)[)}]")
_OBJECT = re.compile(r"([A-Za-z0-9_-]+)\.o")
# As kbuild documents itself, for a folder whose dkms.conf would have it otherwise.
_KBUILD = "-C {kit} M={obj} modules"
_BYTES = 1 << 20
# Of a repository that may be large.
_DEPTH, _FOLDERS = 4, 2000


@dataclass(frozen=True)
class FoundModule:
    """A folder that builds modules."""

    # From the top; "." is the top.
    folder: str
    # Without .ko; empty if only make knows them.
    names: tuple[str, ...]
    # What the build will have to say about its dkms.conf.
    note: str = ""
    # The arguments of make that build it; empty where kbuild's own, or those of dkms.conf, do.
    make: str = ""


@dataclass(frozen=True)
class Look:
    """What there is."""

    is_tree: bool
    modules: tuple[FoundModule, ...]
    # The CI that the repository uses: github, gitlab or nothing.
    ci: str


def look(root: Path) -> Look:
    """Return what there is in a folder."""
    is_tree = _is_tree(root)
    return Look(is_tree, () if is_tree else tuple(_modules(root)), _ci(root))


def _is_tree(root: Path) -> bool:
    try:
        return bool(kernel_version(root, what="this folder"))
    except KmodpipeError:
        return False


def _ci(root: Path) -> str:
    if paths.is_dir(root / ".github"):
        return "github"
    if paths.is_file(root / ".gitlab-ci.yml"):
        return "gitlab"
    if not paths.exists(root / ".git"):
        return ""
    try:
        origin = user_git.run_git(root, "remote", "get-url", "origin", check=False).text.strip()
    except KmodpipeError:
        return ""
    address = re.sub(r"^\w+://", "", origin).rpartition("@")[2]
    host = re.split(r"[:/]", address, maxsplit=1)[0]
    return next((ci for ci in ("github", "gitlab") if ci in host), "")


# -- modules --------------------------------------------------------------------------------------------
def _modules(root: Path) -> Iterator[FoundModule]:
    """Yield the folders that build modules, those nearest to the top first, and none below another."""
    found: list[str] = []
    for folder in _folders(root):
        if any(above == "." or folder.startswith(f"{above}/") for above in found):
            continue
        if one := _of_dkms(root, folder) or _of_kbuild(root, folder):
            found.append(folder)
            yield one


def _folders(root: Path) -> Iterator[str]:
    """Yield the folders of a repository in order of their depth, from the top."""
    level, seen = ["."], 0
    for _ in range(_DEPTH):
        below: list[str] = []
        for folder in level:
            yield folder
            seen += 1
            if seen >= _FOLDERS:
                return
            try:
                with os.scandir(root / folder) as entries:
                    names = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
            except OSError:
                continue
            below += [f"{folder}/{name}".removeprefix("./") for name in names if not name.startswith(".")]
        level = below


def _of_dkms(root: Path, folder: str) -> FoundModule | None:
    path = root / folder / "dkms.conf"
    if not paths.is_file(path):
        return None
    name = path.relative_to(root).as_posix()
    try:
        made = dkms.read(_text(path), name)
    except KmodpipeError as e:
        kbuild = _of_kbuild(root, folder)
        # Without one, what it builds is in folders below.
        if kbuild is None:
            return None
        return replace(
            kbuild, note=f"dkms.conf is not used, kbuild is run: {e.sentence}", make=kbuild.make or _KBUILD
        )
    return FoundModule(folder, tuple(one.name for one in made.modules), " ".join(made.notes))


def _of_kbuild(root: Path, folder: str) -> FoundModule | None:
    own = _text(root / folder / "Makefile")
    make = own_makefile.before_kbuild(own)
    for name in ("Kbuild", "Makefile"):
        words = _words(root / folder / name)
        if not words and name == "Makefile" and (kernel := own_makefile.kernel_folder(own)):
            # It goes down to folders whose modules are switched on by what it sets.
            words, make = " ".join(_BELOW.findall(own.replace("\\\n", " "))).split(), make or kernel
        if words:
            names = tuple(dict.fromkeys(_names(root, folder, words, _DEPTH)))
            return FoundModule(folder, names, make=make)
    return None


def _names(root: Path, folder: str, words: list[str], depth: int) -> Iterator[str]:
    """Yield the names of the modules that words of ``obj-m`` stand for, those in folders too."""
    for word in words:
        if match := _OBJECT.fullmatch(word):
            yield match[1]
        elif word.endswith("/") and depth and paths.is_plain(word.rstrip("/")):
            below = f"{folder}/{word.rstrip('/')}"
            inside = _words(root / below / "Kbuild") or _words(root / below / "Makefile")
            yield from _names(root, below, inside, depth - 1)


def _words(makefile: Path) -> list[str]:
    """Return the words of a Makefile's ``obj-m`` lines, whatever condition they are under."""
    text = _text(makefile).replace("\\\n", " ")
    values = {match[1]: match[2].strip() for match in _SET.finditer(text)}
    found = " ".join(_OBJECTS.findall(text))
    # A name that is made of another one, once: what is more than that, make alone knows.
    return _USE.sub(lambda use: values.get(use[1], use[0]), found).split()


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as f:
            return f.read(_BYTES)
    except OSError:
        return ""
