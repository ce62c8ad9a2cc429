"""Get trees from the user's own folder, which is not written to.

    CACHE/trees/pins/dir-<digest of its path>.sum    identity and digest of stats of the last copy
    CACHE/trees/pins/dir-<digest of its path>.files  stats and content digest of each file

An unchanged folder is recognised by its stats alone. The copy of a changed one has hard links to the files of
the previous copy that did not change.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.cache import store
from kmodpipe.source import tree, user_git
from kmodpipe.source.build_products import ignores_itself, is_of_project, is_source
from kmodpipe.source.origin import FolderOrigin
from kmodpipe.source.submodules import is_clone
from kmodpipe.source.tree import Tree
from kmodpipe.util import document, paths, process
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import Interrupted, UserError
from kmodpipe.util.files import require_space, write_atomically
from kmodpipe.util.hardlinks import link_or_copy
from kmodpipe.util.lock import lock
from kmodpipe.util.screen import Screen, Step

_FILE_BYTES = 1024**3
_FILES = 500_000
# File times have a granularity of some milliseconds: a file changed less than this before it was looked at
# may change again without a change of its times, so its contents are read again next time.
_RACY_NS = 100_000_000

Signature = tuple[int, int, int, int, int]
"""mtime_ns, ctime_ns, size, inode, mode."""


@dataclass(frozen=True)
class _Seen:
    """The state of a folder at one moment."""

    root: Path
    # By name, relative to ``root``.
    files: dict[str, Signature]
    # Of the names and signatures.
    digest: str
    began_ns: int
    # Whether git listed the files; else all files of the folder were taken.
    from_git: bool


# -- looking -----------------------------------------------------------------------------------------
def _names(root: Path) -> tuple[list[str], bool]:
    """Return the names of all source files below ``root``, and whether git listed them.

    Those of a project in the same folder are none: a case that is edited makes no other tree.
    """
    names, from_git = _all_names(root)
    return sorted(n for n in names if not is_of_project(n)), from_git


def _all_names(root: Path) -> tuple[set[str], bool]:
    if not (root / ".git").exists():
        return {n for n in _walk(root) if is_source(root, n)}, False
    return _listed_names(root), True


def _listed_names(root: Path) -> set[str]:
    """Return the names that git lists; of a submodule, that of its folder."""
    listings = (("-c",), ("-o", "--exclude-standard"))
    tracked, others = (user_git.run_git(root, "ls-files", "-z", *which, check=False) for which in listings)
    for done in (tracked, others):
        if done.returncode != 0:
            raise UserError(
                "git cannot list the files of this folder",
                where=str(root),
                detail=done.tail,
                hint="is its .git complete? Without one, all files of the folder are taken",
            )
        if done.stdout and not done.stdout.endswith(b"\0"):
            raise UserError("too many files for a kernel tree", where=str(root))
    names = {os.fsdecode(n) for n in tracked.stdout.split(b"\0") if n}
    # A name with a trailing slash is a repository inside this one, and not part of this tree.
    untracked = {os.fsdecode(n) for n in others.stdout.split(b"\0") if n and not n.endswith(b"/")}
    return names | {n for n in untracked if is_source(root, n)}


def _walk(root: Path) -> Iterator[str]:
    pending = [""]
    while pending:
        prefix = pending.pop()
        try:
            with os.scandir(root / prefix) as entries:
                found = list(entries)
        except OSError as e:
            raise UserError(f"its folder {prefix!r} cannot be read: {e.strerror}", where=str(root)) from e
        if prefix and ignores_itself(root / prefix):
            continue
        for entry in found:
            if entry.name.lower() == ".git":
                continue
            if entry.is_dir(follow_symlinks=False):
                pending.append(f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name


def _look(root: Path) -> _Seen:
    """Stat every source file. Raise UserError for one that is neither a file nor a link, or too large."""
    began_ns = time.time_ns()
    names, from_git = _names(root)
    files: dict[str, Signature] = {}
    real: dict[str, bool] = {"": True}
    for name in names:
        if not paths.is_plain(name):
            raise UserError(f"git's index names a file outside the folder: {name!r}", where=str(root))
        if not _is_below_folders(root, name.rpartition("/")[0], real):
            continue  # tracked, and replaced by a link to a folder
        try:
            s = os.lstat(f"{root}/{name}")
        except (FileNotFoundError, NotADirectoryError):
            continue  # tracked and deleted
        if stat.S_ISDIR(s.st_mode):
            if from_git and is_clone(root / name):
                names += (f"{name}/{n}" for n in sorted(_listed_names(root / name)))
            continue
        if not (stat.S_ISREG(s.st_mode) or stat.S_ISLNK(s.st_mode)):
            raise UserError(
                f"{name!r} is neither a file nor a link",
                where=str(root),
                hint="no source tree has one: remove it",
            )
        if s.st_size > _FILE_BYTES:
            raise UserError(
                f"{name!r} has {s.st_size >> 20} MiB: no source file is larger than {_FILE_BYTES >> 20} MiB",
                where=str(root),
                hint="move it out of the tree",
            )
        files[name] = (s.st_mtime_ns, s.st_ctime_ns, s.st_size, s.st_ino, s.st_mode)
    if len(files) > _FILES:
        raise UserError(f"it holds more than {_FILES} files: no kernel does", where=str(root))
    text = "".join(f"{name}\0{sig}\n" for name, sig in files.items())
    digest = hashlib.sha256(os.fsencode(text)).hexdigest()
    return _Seen(root, files, digest, began_ns, from_git)


def _is_below_folders(root: Path, folder: str, real: dict[str, bool]) -> bool:
    """Whether no part of the path ``folder`` is a symbolic link; ``real`` caches the results."""
    if folder not in real:
        above = _is_below_folders(root, folder.rpartition("/")[0], real)
        real[folder] = above and not Path(root, folder).is_symlink()
    return real[folder]


def _look_calmly(root: Path) -> _Seen:
    """Return `_look`; if a file just changed, look again a moment later.

    By then a further change of the file would show in its times.
    """
    seen = _look(root)
    if _racy(seen):
        time.sleep(2 * _RACY_NS / 1e9)
        seen = _look(root)
    return seen


def _racy(seen: _Seen) -> set[str]:
    """Return the files that changed so recently that their stats prove nothing."""
    edge = seen.began_ns - _RACY_NS
    return {name for name, s in seen.files.items() if max(s[0], s[1]) >= edge}


def _index_paths(cache: Path, root: Path) -> tuple[Path, Path]:
    stem = cache / "trees" / "pins" / f"dir-{digest_of(str(root))[:24]}"
    return stem.with_suffix(".sum"), stem.with_suffix(".files")


def _root(origin: FolderOrigin) -> Path:
    root = origin.path.expanduser().resolve()
    if not root.is_dir():
        raise UserError(f"no such folder: {origin.path}", where=f"tree {origin.name}")
    return root


def locate(origin: FolderOrigin, cache: Path, warn: tree.Warn | None = None) -> Tree | None:
    """Return the copy of the folder as it is now if there is one, else None. Takes 1 s for 75,000 files."""
    root = _root(origin)
    # First, so that a folder that is no tree (a home folder, say) is not searched.
    tree.version_of(root, what=str(root), of_kernel=origin.of_kernel)
    return _recognise(_look(root), cache, warn)


def _recognise(seen: _Seen, cache: Path, warn: tree.Warn | None = None) -> Tree | None:
    summary, _ = _index_paths(cache, seen.root)
    try:
        known = document.read_object(summary)
    except (OSError, ValueError):
        return None
    if known.get("stats") != seen.digest or known.get("racy"):
        return None
    found = tree.known(cache, str(known.get("identity")), warn)
    return _with_provenance(found, seen) if found else None


def content(origin: FolderOrigin) -> str:
    """Return a digest of the folder's files as they are now, all of which are read."""
    seen = _look(_root(origin))
    return digest_of([[name, _read_one(seen, name, it)[0]] for name, it in seen.files.items()])


# -- copying -----------------------------------------------------------------------------------------
def fetch(origin: FolderOrigin, cache: Path, screen: Screen) -> Tree:
    """Return a copy of the folder as it is now; make it if it is not in the cache."""
    root = _root(origin)
    tree.version_of(root, what=str(root), of_kernel=origin.of_kernel)
    summary, index = _index_paths(cache, root)
    with (
        lock(cache / "locks" / summary.stem, waiting=screen.say),
        screen.step(f"look at {root}") as step,
    ):
        seen = _look_calmly(root)
        if here := _recognise(seen, cache):
            step.finish("unchanged")
            return here
        old = _old_index(index)
        previous = tree.slot(cache, str(old.get("identity", "none")))
        base = previous if tree.whole(previous) else None
        require_space(cache, sum(s[2] for s in seen.files.values()) >> 20, f"a copy of {root}")
        with store.Store(cache).scratch("dir-") as scratch:
            made, table, counts = _copy(seen, old.get("files", {}), base, scratch / "tree", step)
            identity = f"dir:{_identity(table)}"
            found = tree.known(cache, identity)
            if found is None:
                found = tree.install(
                    cache, made, identity, {"source": "directory"},
                    what=str(root), of_kernel=origin.of_kernel,
                )  # fmt: skip
        _write_index(seen, identity, table, summary, index)
        step.finish(f"{counts[0]} files, {counts[1]} of them linked to the copy before")
        return _with_provenance(found, seen)


# A row has about 150 bytes, and Linux 90,000 files.
_INDEX_BYTES = 64 * document.MIB


def _old_index(index: Path) -> dict[str, dict[str, list[object]]]:
    try:
        return document.read_object(index, most=_INDEX_BYTES)
    except (OSError, ValueError):
        return {}


def _write_index(seen: _Seen, identity: str, table: dict[str, str], summary: Path, index: Path) -> None:
    racy = _racy(seen)
    rows = {n: [[0] if n in racy else list(seen.files[n]), content] for n, content in table.items()}
    summary.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(index, json.dumps({"identity": identity, "files": rows}))
    write_atomically(summary, json.dumps({"stats": seen.digest, "identity": identity, "racy": bool(racy)}))


def _identity(table: dict[str, str]) -> str:
    return digest_of(sorted(table.items()))


def _copy(
    seen: _Seen, old: dict[str, list[object]], base: Path | None, target: Path, step: Step
) -> tuple[Path, dict[str, str], tuple[int, int]]:
    """Copy or link every file to ``target``.

    Return it, the content of each file as in the identity, and the numbers of files and of linked ones.
    ``old`` has the stats and content of each file in ``base``, the previous copy.
    """
    _refuse_escaping_links(seen)
    target.mkdir()
    made: set[str] = {""}
    table: dict[str, str] = {}
    linked = 0
    for done, (name, signature) in enumerate(seen.files.items()):
        if done % 256 == 0:
            if process.stopping():
                raise Interrupted("interrupted while a folder was copied", where=str(seen.root))
            step.update(f"{done} files", done=done, total=len(seen.files))
        folder = name.rpartition("/")[0]
        if folder not in made:
            (target / folder).mkdir(parents=True, exist_ok=True)
            made.add(folder)
        before = old.get(name)
        if base is not None and before and before[0] == list(signature):
            with suppress(FileNotFoundError):
                link_or_copy(f"{base}/{name}", f"{target}/{name}")
                table[name] = str(before[1])
                linked += 1
                continue
        content = _copy_one(seen, name, signature, target)
        if content is not None:
            table[name] = content
    return target, table, (len(table), linked)


def _refuse_escaping_links(seen: _Seen) -> None:
    links = {
        name: os.readlink(f"{seen.root}/{name}")  # noqa: PTH115
        for name, signature in seen.files.items()
        if stat.S_ISLNK(signature[4])
    }
    if found := paths.escaping_link(links):
        raise UserError(
            f"its symbolic link {found[0]} points out of the tree, to {found[1]}",
            where=str(seen.root),
            hint="replace the link by what it points to",
        )


def _copy_one(seen: _Seen, name: str, signature: Signature, target: Path) -> str | None:
    """Copy one file or link. Return its part of the identity; None for a program that a build left."""
    copy = f"{target}/{name}"
    content, data = _read_one(seen, name, signature)
    if content is None:
        return None
    if stat.S_ISLNK(signature[4]):
        os.symlink(os.fsdecode(data), copy)  # noqa: PTH211
        return content
    with Path(copy).open("xb") as out:
        out.write(data)
    os.chmod(copy, 0o755 if content.startswith("x") else 0o644)  # noqa: PTH101
    os.utime(copy, ns=(signature[0], signature[0]))
    return content


def _read_one(seen: _Seen, name: str, signature: Signature) -> tuple[str | None, bytes]:
    """Read one file or link. Return its part of the identity, and what it holds.

    The part is None for a program that a build left. Raise UserError for a file that changed meanwhile.
    """
    source = f"{seen.root}/{name}"
    if stat.S_ISLNK(signature[4]):
        points_to = os.readlink(source)  # noqa: PTH115
        return f"l:{points_to}", os.fsencode(points_to)
    executable = bool(signature[4] & 0o100)
    try:
        # Not blocking, because the file may have been replaced by a pipe.
        fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as e:
        raise UserError(f"{name!r} cannot be read: {e.strerror}", where=str(seen.root)) from e
    with os.fdopen(fd, "rb") as f:
        data = f.read(_FILE_BYTES + 1)
        now = os.fstat(fd)
    if (now.st_mtime_ns, now.st_size, now.st_ino) != (signature[0], signature[2], signature[3]):
        raise UserError(f"{name} changed while it was copied", where=str(seen.root), hint="try again")
    if executable and not seen.from_git and data.startswith(b"\x7fELF"):
        # A host program of an earlier build, such as scripts/basic/fixdep: make would use it.
        return None, b""
    return f"{'x' if executable else '-'}:{hashlib.sha256(data).hexdigest()}", data


# -- provenance --------------------------------------------------------------------------------------
def _with_provenance(found: Tree, seen: _Seen) -> Tree:
    facts = {"source": "directory", "directory": str(seen.root), "digest": found.identity.partition(":")[2]}
    if seen.from_git:
        facts |= user_git.state(seen.root)
    return Tree(found.name, found.path, found.identity, found.kernel_version, facts)
