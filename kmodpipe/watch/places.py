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
    # How the folder was named, if not by ``path``: a link on the way may lead elsewhere later.
    named: Path | None = None

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
    found = [*_of_files(single)]
    for folder in (project.cases, project.images):
        if paths.is_dir(folder):
            found += [_folder(folder), *_linked(folder)]
    repositories: dict[Path, None] = {}
    for name in dict.fromkeys(
        spec.series_arguments.get(one.name, one.name) for one in spec.series if not one.partial
    ):
        found += _of_series(name, project.patches, repositories)
    if spec.own:
        found += _of_own(spec, repositories)
    for kernel, tree in spec.kernels:
        if isinstance(tree, TreeSpec) and tree.path:
            found.append(_folder(paths.expanded(str(tree.path)), kernels=(kernel,)))
    for git in repositories:
        found += _of_repository(git)
    return Places(tuple(dict.fromkeys(found)), tuple(repositories))


def _folder(path: Path, *, kernels: tuple[str, ...] = ()) -> Place:
    real, named = path.resolve(), path.absolute()
    return Place(real, kernels=kernels, named=None if named == real else named)


def _of_files(files: Iterable[Path]) -> Iterator[Place]:
    """Yield the folders of files, each alone. A link counts as well as what it leads to."""
    found: dict[tuple[Path, Path], list[str]] = {}
    for file in files:
        for one in {file.absolute(), file.resolve()}:
            found.setdefault((one.parent.resolve(), one.parent), []).append(one.name)
    for (real, named), names in found.items():
        yield Place(real, False, frozenset(names), named=None if named == real else named)


def _linked(folder: Path) -> Iterator[Place]:
    """Yield what links in a folder of cases or recipes lead to: folders in it, and files at any depth."""
    tops = [one for one in sorted(folder.iterdir()) if one.is_symlink() and paths.is_dir(one)]
    for top in tops:
        yield _folder(top)
    for top in (folder, *tops):
        links = (top / name for name in paths.links_below(top))
        yield from _of_files([link for link in links if paths.is_file(link)])


def _fragments(matrix: Path) -> Iterator[Path]:
    table, _ = read_file(matrix)
    flavours = [name for one in table.flavours.values() for name in one.fragments]
    for name in dict.fromkeys((*table.fragments, *flavours)):
        yield find_fragment(matrix, name)


def _of_series(name: str, patches: Path, repositories: dict[Path, None]) -> Iterator[Place]:
    """Yield where a series is read from, as `series.load` finds it; add its repository."""
    if name in series.available(patches):
        yield _folder(patches / name)
        return
    path = paths.expanded(name)
    if paths.is_dir(path) and not from_git.is_checkout(path):
        yield _folder(path)
        return
    if paths.is_file(path):
        yield from _of_files([path])
        return
    root = paths.expanded(from_git.repository_of(name))
    if paths.is_dir(root):
        repositories.update(dict.fromkeys(_git_folders(root.resolve())))
        if ".." not in name.partition("#")[2]:
            yield _folder(root)


def _of_own(spec: RunSpec, repositories: dict[Path, None]) -> Iterator[Place]:
    """Yield the folder of a module's own source; add its repository."""
    own = spec.own.spec if spec.own else None
    top = None if own is None else own.path
    if own and own.git and own.git.startswith("file://"):
        top = Path(unquote(urlsplit(own.git).path))
    if top and paths.is_dir(top):
        yield _folder(top)
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
