"""Pack the project's files for workers, and unpack them there.

A bundle is a tar with the digest of what it holds as its name: the project as it is when the run begins,
without what is hidden, ignores itself (results, caches of tools) or is a virtual environment; and the files
elsewhere that the command line names.

    CACHE/cluster/projects/<digest>/project/…     on a worker
    CACHE/cluster/projects/<digest>/given/<n>/…   what the command line named outside of the project
    CACHE/cluster/projects/<digest>/trees/…       sources of modules, which go to the worker's trees
"""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.cache.share import pack
from kmodpipe.cache.store import Store
from kmodpipe.source import Tree, kept
from kmodpipe.util import os_errors, paths
from kmodpipe.util.digest import digest_tree
from kmodpipe.util.errors import InfraError, UserError
from kmodpipe.util.files import IGNORES_ITSELF, temporary
from kmodpipe.util.lock import lock

PROJECT, GIVEN, TREES = "project", "given", "trees"
_MOST_MIB = 64
_FILES = 20_000
_NO_PART = frozenset({"__pycache__", "node_modules"})


@dataclass(frozen=True)
class Bundle:
    """A packed project."""

    digest: str
    data: bytes


class Staging:
    """Collects the files of a bundle in a folder."""

    def __init__(self, root: Path, folder: Path) -> None:
        """``root`` is the project."""
        self._root = root
        self._folder = folder
        self._size = 0
        self._files = 0
        self._largest: dict[str, int] = {}
        self._given: dict[Path, str] = {}
        self._numbers = 0

    def word(self, value: str) -> str:
        """Return a file or folder of the command line as a job names it, from the bundled project.

        One in the project is named as it is there; another is added to the bundle. What is no path stays.
        """
        path = Path(value).expanduser()
        if not value or "://" in value or not paths.exists(path):
            return value
        there = path.resolve()
        root = self._root.resolve()
        if there == root or there.is_relative_to(root):
            # Beginning with a dot, so that it is a path and no name.
            return f"./{there.relative_to(root).as_posix()}"
        if there not in self._given:
            target = self._next(there.name)
            self._add(there, self._folder / target)
            self._given[there] = f"../{target.as_posix()}"
        return self._given[there]

    def file(self, name: str, data: bytes) -> str:
        """Add a file that is on no disk, and return how a job names it."""
        target = self._next(name)
        self._count(name, len(data))
        (self._folder / target).parent.mkdir(parents=True)
        (self._folder / target).write_bytes(data)
        return f"../{target.as_posix()}"

    def tree(self, found: Tree) -> None:
        """Add a tree of the cache, which a worker's cache gets."""
        with temporary("tree-") as scratch:
            size = kept.pack_tree(found, self._folder / TREES, str(self._numbers), scratch)
        self._numbers += 1
        self._count(found.name or found.identity, size)

    def _next(self, name: str) -> Path:
        self._numbers += 1
        return Path(GIVEN, str(self._numbers), name)

    def pack(self) -> Bundle:
        """Return the bundle. Raise UserError if the project is too large to travel."""
        self._copy_folder(self._root, self._folder / PROJECT)
        digest = digest_tree(self._folder)
        for path in (self._folder, *self._folder.rglob("*")):
            os.utime(path, (1, 1), follow_symlinks=False)
        target = self._folder.with_name(f"{self._folder.name}.tar")
        try:
            pack.pack(self._folder, target)
            return Bundle(digest, target.read_bytes())
        finally:
            target.unlink(missing_ok=True)

    def _add(self, source: Path, target: Path) -> None:
        if source.is_dir():
            self._copy_folder(source, target)
        else:
            self._copy(source, target)

    def _copy_folder(self, source: Path, target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        try:
            entries = sorted(os.scandir(source), key=lambda one: one.name)
        except OSError as e:
            raise UserError(f"a folder cannot be read: {e.strerror}", where=str(source)) from e
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith("."):
                continue
            if entry.is_symlink() and not path.exists():
                continue
            if path.is_dir():
                if not _is_no_part(path):
                    self._copy_folder(path, target / entry.name)
            elif path.is_file():
                self._copy(path, target / entry.name)

    def _copy(self, source: Path, target: Path) -> None:
        try:
            found = source.stat()
            below = source.is_relative_to(self._root)
            self._count(source.relative_to(self._root).parts[0] if below else str(source), found.st_size)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            target.chmod(0o755 if found.st_mode & stat.S_IXUSR else 0o644)
        except OSError as e:
            known = os_errors.explain(e, (self._folder,))
            raise known or UserError(f"a file cannot be read: {e.strerror}", where=str(source)) from e

    def _count(self, what: str, size: int) -> None:
        self._size += size
        self._files += 1
        self._largest[what] = self._largest.get(what, 0) + size
        if self._size > _MOST_MIB * 1024**2 or self._files > _FILES:
            name, most = max(self._largest.items(), key=lambda one: one[1])
            raise UserError(
                f"the project is too large to travel: more than {_MOST_MIB} MiB, or {_FILES} files",
                where=f"{name} has {most // 1024**2} MiB of them",
                hint="a folder with a .gitignore that holds a * is left out; a kernel tree is named by its "
                "URL or version, and fetched by the workers",
            )


def _is_no_part(folder: Path) -> bool:
    """Return whether a folder is no part of a project: results, an environment, the cache of a tool."""
    if folder.name in _NO_PART or (folder / "pyvenv.cfg").is_file() or (folder / "CACHEDIR.TAG").is_file():
        return True
    try:
        return (folder / ".gitignore").read_text().strip() == IGNORES_ITSELF.strip()
    except (OSError, UnicodeDecodeError):
        return False


def place(data: bytes, digest: str, cache: Path) -> Path:
    """Unpack a bundle on a worker, once, and return the project's folder in it.

    The cache has its trees then. Raise InfraError if it is not what its digest says.
    """
    home = cache / "cluster" / "projects" / digest
    if not digest.isalnum():
        raise InfraError("a bundle has no digest for a name", where=digest[:80], hint="start the run again")
    with lock(cache / "locks" / f"bundle-{digest[:16]}"):
        if not home.is_dir():
            with Store(cache).scratch("bundle-") as scratch:
                (scratch / "tar").write_bytes(data)
                (scratch / "out").mkdir()
                pack.unpack(scratch / "tar", scratch / "out", links_below="none")
                if digest_tree(scratch / "out") != digest:
                    raise InfraError(
                        "the project's files did not arrive as they were sent",
                        where=digest[:12],
                        hint="start the run again",
                    )
                home.parent.mkdir(parents=True, exist_ok=True)
                (scratch / "out").rename(home)
    # Used now: what nobody uses for a week is removed.
    os.utime(home)
    kept.unpack_trees(home / TREES, cache)
    return home / PROJECT
