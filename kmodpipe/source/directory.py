"""Trees from someone's own folder, which is read and never written to.

    CACHE/trees/pins/dir-<digest of its path>.sum    its identity when it had these stats
    CACHE/trees/pins/dir-<digest of its path>.files  name -> stats and content digest

An unchanged folder is recognised by its stats alone; a changed one becomes a new tree, made of hard links
to the previous copy and of what changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.cache import store
from kmodpipe.source import tree
from kmodpipe.source.git import QUIET_ENV
from kmodpipe.source.origin import FolderOrigin
from kmodpipe.source.tree import Tree
from kmodpipe.util import paths, process
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import Interrupted, UserError
from kmodpipe.util.files import require_space, write_atomically
from kmodpipe.util.hardlinks import link_or_copy
from kmodpipe.util.lock import lock
from kmodpipe.util.screen import Screen, Step

_GIT_LIMIT_S = 120.0
# A partial clone names the program that fetches what it lacks. The first word is for git from 2.44 on.
_OFFLINE = {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": ""}
_FILE_BYTES = 1024**3
_FILES = 500_000
# File times tick every few milliseconds: a file changed this shortly before it was looked at may change
# again without its times showing it, so its contents are read again next time.
_RACY_NS = 100_000_000

_PRODUCT_SUFFIXES = frozenset({
    "o", "a", "ko", "mod", "cmd", "order", "symvers", "dtb", "dtbo", "so", "dwo", "gcno", "gcda", "su",
})  # fmt: skip
_PRODUCT_NAMES = frozenset({".config", ".config.old", ".version", ".missing-syscalls.d"})
_PRODUCT_TOP_NAMES = frozenset({"System.map", "modules.builtin", "modules.builtin.modinfo"})
_PRODUCT_FOLDERS = ("include/config/", "include/generated/", ".tmp_versions/")
_PRODUCT_BELOW = re.compile(
    r"arch/[^/]+/(include/generated/|boot/[^/]*Image[^/]*(?<!\.S)$)|usr/include/[^/]+/"
)

Signature = tuple[int, int, int, int, int]
"""mtime_ns, ctime_ns, size, inode, mode."""


@dataclass(frozen=True)
class _Seen:
    """The folder at one moment: each file with its stat signature, and the digest of all of them."""

    root: Path
    files: dict[str, Signature]
    digest: str
    began_ns: int
    from_git: bool


def is_product(name: str) -> bool:
    """Whether a file of this name (relative to the top) is made by a kernel build or configuration."""
    base = name.rpartition("/")[2]
    _, dot, suffix = base.rpartition(".")
    if (dot and suffix in _PRODUCT_SUFFIXES) or base in _PRODUCT_NAMES or base.startswith(".tmp_"):
        return True
    if base.endswith((".mod.c", ".so.dbg")) or name.startswith(_PRODUCT_FOLDERS):
        return True
    if base == name:
        return base.startswith("vmlinux") or base in _PRODUCT_TOP_NAMES
    return name.startswith(("arch/", "usr/")) and _PRODUCT_BELOW.match(name) is not None


# -- looking -----------------------------------------------------------------------------------------
def _git(
    root: Path,
    *args: str,
    check: bool = True,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
) -> process.Completed:
    """git in the user's folder: reads only, runs no program that the folder's configuration names, and asks
    no server for objects that are not there."""
    argv = [
        "git",
        # The settings may name another one.
        f"--work-tree={root}",
        "-c",
        "core.fsmonitor=false",
        "-c",
        "core.hooksPath=/dev/null",
        "-c",
        "safe.directory=*",
        *args,
    ]
    return process.run(
        argv,
        timeout_s=_GIT_LIMIT_S,
        cwd=root,
        env={**QUIET_ENV, **_OFFLINE, **(env or {})},
        check=check,
        stdin=stdin,
    )


def _names(root: Path) -> tuple[list[str], bool]:
    """All source files below ``root``, and whether git told them."""
    if not (root / ".git").exists():
        return sorted(n for n in _walk(root) if not is_product(n)), False
    listings = (("-c",), ("-o", "--exclude-standard"))
    tracked, others = (_git(root, "ls-files", "-z", *which, check=False) for which in listings)
    for done in (tracked, others):
        if done.returncode != 0:
            raise UserError(
                "git cannot say which files belong to this folder",
                where=str(root),
                detail=done.tail,
                hint="is its .git whole? without one, all files of the folder are taken",
            )
        if done.stdout and not done.stdout.endswith(b"\0"):
            raise UserError("too many files for a kernel tree", where=str(root))
    names = {os.fsdecode(n) for n in tracked.stdout.split(b"\0") if n}
    # A trailing slash is a repository of its own inside this one: not part of this tree.
    untracked = {os.fsdecode(n) for n in others.stdout.split(b"\0") if n and not n.endswith(b"/")}
    return sorted(names | {n for n in untracked if not is_product(n)}), True


def _walk(root: Path) -> Iterator[str]:
    pending = [""]
    while pending:
        prefix = pending.pop()
        try:
            with os.scandir(root / prefix) as entries:
                found = list(entries)
        except OSError as e:
            raise UserError(f"its folder {prefix!r} cannot be read: {e.strerror}", where=str(root)) from e
        for entry in found:
            if entry.name.lower() == ".git":
                continue
            if entry.is_dir(follow_symlinks=False):
                pending.append(f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name


def _look(root: Path) -> _Seen:
    """Stat every source file. UserError for what is neither file nor link, and for a link out of the tree."""
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
            continue  # a submodule
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
    """Whether each part of ``folder`` is a folder itself, and no link to one; ``real`` is what is known."""
    if folder not in real:
        above = _is_below_folders(root, folder.rpartition("/")[0], real)
        real[folder] = above and not Path(root, folder).is_symlink()
    return real[folder]


def _look_calmly(root: Path) -> _Seen:
    """`_look`, a moment later where something just changed: then a further change shows in its times."""
    seen = _look(root)
    if _racy(seen):
        time.sleep(2 * _RACY_NS / 1e9)
        seen = _look(root)
    return seen


def _racy(seen: _Seen) -> set[str]:
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
    """The copy of the folder as it is now, if there is one: about a second for 75,000 files."""
    root = _root(origin)
    # Before a whole home folder is looked through.
    tree.kernel_version(root, what=str(root))
    return _recognise(_look(root), cache, warn)


def _recognise(seen: _Seen, cache: Path, warn: tree.Warn | None = None) -> Tree | None:
    summary, _ = _index_paths(cache, seen.root)
    try:
        known = json.loads(summary.read_text())
    except (OSError, ValueError):
        return None
    if known.get("stats") != seen.digest or known.get("racy"):
        return None
    found = tree.known(cache, str(known.get("identity")), warn)
    return _with_provenance(found, seen) if found else None


# -- copying -----------------------------------------------------------------------------------------
def fetch(origin: FolderOrigin, cache: Path, screen: Screen) -> Tree:
    """A copy of the folder as it is now, in the cache."""
    root = _root(origin)
    tree.kernel_version(root, what=str(root))
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
                found = tree.install(cache, made, identity, {"source": "directory"}, what=str(root))
        _write_index(seen, identity, table, summary, index)
        step.finish(f"{counts[0]} files, {counts[1]} of them linked to the copy before")
        return _with_provenance(found, seen)


def _old_index(index: Path) -> dict[str, dict[str, list[object]]]:
    try:
        loaded = json.loads(index.read_text(encoding="utf-8"))
        return loaded if isinstance(loaded, dict) else {}
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
    """Copy or link every file; returns the folder, name -> content, and (files, linked)."""
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
    """Copy one file or link; returns its part of the identity, None for a program that a build left."""
    source, copy = f"{seen.root}/{name}", f"{target}/{name}"
    if stat.S_ISLNK(signature[4]):
        points_to = os.readlink(source)  # noqa: PTH115
        os.symlink(points_to, copy)  # noqa: PTH211
        return f"l:{points_to}"
    executable = bool(signature[4] & 0o100)
    try:
        # Not blocking: what was a file when it was looked at may be a pipe now.
        fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as e:
        raise UserError(f"{name!r} cannot be read: {e.strerror}", where=str(seen.root)) from e
    with os.fdopen(fd, "rb") as f:
        data = f.read(_FILE_BYTES + 1)
        now = os.fstat(fd)
    if (now.st_mtime_ns, now.st_size, now.st_ino) != (signature[0], signature[2], signature[3]):
        raise UserError(f"{name} changed while it was copied", where=str(seen.root), hint="try again")
    if executable and not seen.from_git and data.startswith(b"\x7fELF"):
        # A host program that an earlier build left (scripts/basic/fixdep): make would take it for its own.
        return None
    with Path(copy).open("xb") as out:
        out.write(data)
    os.chmod(copy, 0o755 if executable else 0o644)  # noqa: PTH101
    os.utime(copy, ns=(now.st_mtime_ns, now.st_mtime_ns))
    return f"{'x' if executable else '-'}:{hashlib.sha256(data).hexdigest()}"


# -- provenance --------------------------------------------------------------------------------------
def _with_provenance(found: Tree, seen: _Seen) -> Tree:
    facts = {"source": "directory", "directory": str(seen.root), "digest": found.identity.partition(":")[2]}
    if seen.from_git:
        facts |= _git_state(seen.root)
    return Tree(found.name, found.path, found.identity, found.kernel_version, facts)


def _git_state(root: Path) -> dict[str, str]:
    """HEAD and what differs from it, by plumbing that leaves the index as it is."""
    head = _git(root, "rev-parse", "--verify", "--quiet", "HEAD", check=False).text.strip()
    if not head:
        return {"git-head": "none", "git-state": "no commit yet"}
    compared = _git(root, "diff-index", "--cached", "--raw", "-z", "--no-renames", head, check=False)
    if compared.returncode != 0:
        return {"git-head": head, "git-state": "cannot be told: its repository is not whole"}
    staged = _raw(compared.stdout)
    worktree = _raw(_git(root, "diff-files", "--raw", "-z", env=_without_filters(root)).stdout)
    changed = {name for name, _ in staged} | _really_changed(root, worktree)
    listed = _git(root, "ls-files", "-o", "-z", "--exclude-standard").stdout.split(b"\0")
    untracked = [n for n in listed if n and not n.endswith(b"/") and not is_product(os.fsdecode(n))]
    parts = [f"{len(changed)} changed"] * bool(changed) + [f"{len(untracked)} untracked"] * bool(untracked)
    return {"git-head": head, "git-state": "modified: " + ", ".join(parts) if parts else "clean"}


def _without_filters(root: Path) -> dict[str, str]:
    """The environment in which git runs no filter program that the configuration names."""
    listed = _git(root, "config", "-z", "--name-only", "--get-regexp", r"^filter\.", check=False)
    names = sorted({os.fsdecode(n) for n in listed.stdout.split(b"\0") if n})
    env = {"GIT_CONFIG_COUNT": str(len(names))}
    for number, name in enumerate(names):
        env[f"GIT_CONFIG_KEY_{number}"] = name
        env[f"GIT_CONFIG_VALUE_{number}"] = "false" if name.lower().endswith(".required") else ""
    return env


def _raw(output: bytes) -> list[tuple[str, str]]:
    """(name, old blob, or ``""`` where the mode changed) of ``--raw -z`` output without renames."""
    fields = output.split(b"\0")
    rows: list[tuple[str, str]] = []
    for meta, name in zip(fields[0::2], fields[1::2], strict=False):
        old_mode, new_mode, old_blob, *_ = meta.decode().lstrip(":").split()
        rows.append((os.fsdecode(name), old_blob if old_mode == new_mode else ""))
    return rows


def _really_changed(root: Path, rows: list[tuple[str, str]]) -> set[str]:
    """Those of ``rows`` whose contents differ from the index: in the others only the times do."""
    doubtful = [(n, blob) for n, blob in rows if blob and "\n" not in n and _is_file(root / n)]
    if not doubtful:
        return {name for name, _ in rows}
    paths = os.fsencode("".join(f"{name}\n" for name, _ in doubtful))
    done = _git(root, "hash-object", "--no-filters", "--stdin-paths", stdin=paths)
    same = {n for (n, blob), now in zip(doubtful, done.text.split(), strict=True) if blob == now}
    return {name for name, _ in rows} - same


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
