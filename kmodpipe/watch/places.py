"""Say which folders a command line reads, and which files in them count."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kmodpipe import series
from kmodpipe.kconfig.matrix import find_fragment, read_file
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.series import from_git
from kmodpipe.source import TreeSpec, user_git
from kmodpipe.source.build_products import is_product
from kmodpipe.util import paths

# What editors and tools write beside a file: vim's swap files and its probe 4913, Emacs's locks and
# autosaves, backups, what GNOME, KDE, LibreOffice, JetBrains and sed write before a rename, and what NFS
# keeps of removed files.
_TEMPORARY = re.compile(
    r"\..*\.sw[a-z]|4913|\.#.*|#.*#|.*~|\.goutputstream-.*|.*\.kate-swp|\.~lock\..*#|.*___jb_(tmp|old)___"
    r"|sed[A-Za-z0-9]{6}|\.nfs[0-9a-f]{8,}|\..*\.part|.*\.lock|.*\.pyc|__pycache__"
)
# A folder of these in a repository says that git is in the middle of something.
_UNDER_WAY = {"rebase-merge": "a rebase", "rebase-apply": "a rebase"}


@dataclass(frozen=True)
class Place:
    """A folder to watch."""

    path: Path
    recursive: bool = True
    # Of a folder alone, the files that count; empty for all of them.
    names: frozenset[str] = frozenset()
    # The kernels whose tree this is, by their names in cells.
    kernels: tuple[str, ...] = ()
    # Of a repository's own folder, in which other names are made up.
    of_git: bool = False

    def counts(self, path: Path, aside: Sequence[Path] = ()) -> bool:
        """Return whether a change of ``path`` can be one of the inputs; nothing in ``aside`` is."""
        if is_temporary(path.name) or any(path.is_relative_to(one) for one in aside):
            return False
        if not self.recursive:
            return path.parent == self.path and (not self.names or path.name in self.names)
        if not path.is_relative_to(self.path):
            return False
        below = path.relative_to(self.path)
        return self.of_git or (".git" not in below.parts and not is_product(below.as_posix()))


@dataclass(frozen=True)
class Places:
    """All that a command line reads."""

    places: tuple[Place, ...]
    # The folders of repositories.
    repositories: tuple[Path, ...] = ()

    def under_way(self) -> str:
        """Return what git is in the middle of, for a line of the screen; '' if nothing."""
        for git in self.repositories:
            for name, word in _UNDER_WAY.items():
                if paths.is_dir(git / name):
                    return f"{word} in {git.parent if git.name == '.git' else git}"
        return ""


def is_temporary(name: str) -> bool:
    """Return whether a file of this name is one that an editor has only for a while."""
    return _TEMPORARY.fullmatch(name) is not None


def of(spec: RunSpec, files: Iterable[Path]) -> Places:
    """Return the places of a run; ``files`` are those that the command line names."""
    project = spec.project
    single = [project.file, spec.matrix.path, *_fragments(spec.matrix.path), *files]
    single += [project.benign] if project.benign else []
    found = [Place(folder, False, frozenset(names)) for folder, names in _by_folder(single).items()]
    found += [Place(one.resolve()) for one in (project.cases, project.images) if paths.is_dir(one)]
    repositories: dict[Path, None] = {}
    for name in dict.fromkeys(
        spec.series_arguments.get(one.name, one.name) for one in spec.series if not one.partial
    ):
        found += _of_series(name, project.patches, repositories)
    if spec.own:
        found += _of_own(spec, repositories)
    for kernel, tree in spec.kernels:
        if isinstance(tree, TreeSpec) and tree.path:
            found.append(Place(paths.expanded(str(tree.path)).resolve(), kernels=(kernel,)))
    for git in repositories:
        found += _of_repository(git)
    return Places(tuple(dict.fromkeys(found)), tuple(repositories))


def _by_folder(files: Iterable[Path]) -> dict[Path, list[str]]:
    found: dict[Path, list[str]] = {}
    for file in files:
        # A link counts as well as what it leads to.
        for one in {file.absolute(), file.resolve()}:
            found.setdefault(one.parent.resolve(), []).append(one.name)
    return found


def _fragments(matrix: Path) -> Iterator[Path]:
    table, _ = read_file(matrix)
    flavours = [name for one in table.flavours.values() for name in one.fragments]
    for name in dict.fromkeys((*table.fragments, *flavours)):
        yield find_fragment(matrix, name)


def _of_series(name: str, patches: Path, repositories: dict[Path, None]) -> Iterator[Place]:
    """Yield where a series is read from, as `series.load` finds it; add its repository."""
    if name in series.available(patches):
        yield Place((patches / name).resolve())
        return
    path = paths.expanded(name)
    if paths.is_dir(path) and not from_git.is_checkout(path):
        yield Place(path.resolve())
        return
    if paths.is_file(path):
        for folder, names in _by_folder([path]).items():
            yield Place(folder, False, frozenset(names))
        return
    root = paths.expanded(from_git.repository_of(name))
    if paths.is_dir(root):
        repositories.update(dict.fromkeys(_git_folders(root.resolve())))
        if ".." not in name.partition("#")[2]:
            yield Place(root.resolve())


def _of_own(spec: RunSpec, repositories: dict[Path, None]) -> Iterator[Place]:
    """Yield the folder of a module's own source; add its repository."""
    own = spec.own.spec if spec.own else None
    top = None if own is None else own.path
    if own and own.git and own.git.startswith("file://"):
        top = Path(unquote(urlsplit(own.git).path))
    if top and paths.is_dir(top):
        yield Place(top.resolve())
        if paths.exists(top / ".git"):
            repositories.update(dict.fromkeys(_git_folders(top.resolve())))


def _git_folders(root: Path) -> list[Path]:
    """Return the folders of a repository: its own, and the one that it shares with other worktrees."""
    argv = ("rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir")
    return [Path(line) for line in user_git.run_git(root, *argv, check=False).text.splitlines() if line]


def _of_repository(git: Path) -> Iterator[Place]:
    """Yield where git keeps what HEAD and branches are (gitrepository-layout(5))."""
    yield Place(git, False, frozenset({"HEAD", "packed-refs"}), of_git=True)
    for name in ("refs", "reftable"):
        if paths.is_dir(git / name):
            yield Place(git / name, of_git=True)
