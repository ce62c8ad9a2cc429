"""Content-addressed artifacts.

    CACHE/store/<kind>/<key>/            one artifact: whatever files the step made
    CACHE/store/<kind>/<key>/.inputs     what went into the key (JSON), for why-missed
    CACHE/store/<kind>/.latest/<label>   the key that this label had last
    CACHE/work/                          half-made things; swept when their maker is gone
    CACHE/locks/                         flock files; each says who held it last. The kernel lets go of a dead
                                         process's lock, so what is written there never blocks anybody

A key is the SHA-256 of the canonical JSON of everything that went in, upstream keys included, so keys
chain. An artifact appears by one rename, complete, or not at all; each says in ``.files`` the size of
every file it holds, and an artifact that no longer fits is discarded as if it had never been.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kmodpipe import owners, proc
from kmodpipe.errors import InfraError, Interrupted
from kmodpipe.owners import boot_id

Inputs = Mapping[str, object]
"""What goes into a key: JSON values by readable name; the names are what why-missed shows."""


def digest_of(value: object) -> str:
    """SHA-256 (hex) of the canonical JSON of ``value``."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def digest_tree(root: Path) -> str:
    """SHA-256 over relative names, executable bits, link targets and contents below ``root``."""
    rows: list[list[str]] = []
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            rows.append([name, "link", str(path.readlink())])
        elif path.is_file():
            rows.append([name, "x" if os.access(path, os.X_OK) else "-", digest_file(path)])
    return digest_of(rows)


def write_atomically(path: Path, data: str | bytes) -> None:
    """Write, fsync, rename: a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = data.encode() if isinstance(data, str) else data
    part = part_of(path)
    try:
        with part.open("xb") as f:
            f.write(raw)
            f.flush()
            os.fsync(f.fileno())
        part.chmod(0o644)
        part.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            part.unlink()
        raise


def part_of(path: Path) -> Path:
    """A new name beside ``path`` for what is to become it; it says who is at it, for `sweep_parts`."""
    owner = owners.me().replace(" ", "~")
    return path.with_name(f".{path.name[:100]}.{owner}~{secrets.token_hex(4)}.part")


@contextmanager
def temporary(prefix: str) -> Iterator[Path]:
    """A private folder where temporary files go, removed at the end; those that killed processes of this user
    left there go as well."""
    place = Path(tempfile.gettempdir())
    for left in place.glob("kmodpipe-*~*"):
        with suppress(OSError):
            owner = left.name.removeprefix("kmodpipe-").rpartition("~")[0]
            if left.lstat().st_uid == os.getuid() and not owners.runs(owner.replace("~", " ")):
                remove(left)
    owner = owners.me().replace(" ", "~")
    with tempfile.TemporaryDirectory(prefix=f"kmodpipe-{owner}~{prefix}", dir=place) as folder:
        yield Path(folder)


def sweep_parts(folder: Path) -> int:
    """Remove what dead processes were about to write into ``folder``; returns how many."""
    swept = 0
    for part in folder.glob(".*.part"):
        owner = part.name.removesuffix(".part").rpartition("~")[0].rpartition(".")[2]
        if not owners.runs(owner.replace("~", " ")):
            remove(part)
            swept += 1
    return swept


def remove(path: Path) -> None:
    """Remove a file, a link or a folder as far as it can be."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


@contextmanager
def lock(
    path: Path, *, waiting: Callable[[str], None] | None = None, timeout_s: float = 3600
) -> Iterator[None]:
    """Hold an exclusive flock on ``path``; ``waiting`` is told once who holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout_s
    told = False
    with path.open("a+") as f:
        while True:
            try:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                f.seek(0)
                owner = f.read(400).strip() or "another process"
                if waiting and not told:
                    waiting(f"waiting for {owner}, which holds {path.name}")
                    told = True
                if proc.stopping():
                    raise Interrupted(f"interrupted while waiting for {owner}", where=str(path)) from None
                if time.monotonic() > deadline:
                    raise InfraError(f"{path.name} is still locked by {owner}", where=str(path)) from None
                time.sleep(0.1)
        f.truncate(0)
        f.write(f"{owners.command()}\n")
        f.flush()
        yield


def require_space(path: Path, need_mib: int, what: str) -> None:
    """Raise InfraError where the file system of ``path`` has less than ``need_mib`` MiB free."""
    path.mkdir(parents=True, exist_ok=True)
    free_mib = shutil.disk_usage(path).free // (1024 * 1024)
    if free_mib < need_mib:
        raise InfraError(
            f"not enough disk for {what}: {free_mib} MiB free, {need_mib} MiB needed",
            where=str(path),
            hint="free some space, or run: invoke clean",
        )


@dataclass(frozen=True)
class Artifact:
    """A finished artifact: its key and the folder that holds it. Read only."""

    kind: str
    key: str
    path: Path


class Store:
    """The artifacts of one cache folder."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.root = cache / "store"
        self.work = cache / "work"

    def _path(self, kind: str, key: str) -> Path:
        return self.root / kind / key

    def find(self, kind: str, inputs: Inputs) -> Artifact | None:
        """The artifact made from these inputs, or None. A damaged one is discarded."""
        key = digest_of(inputs)
        path = self._path(kind, key)
        if not path.is_dir():
            return None
        if not _is_whole(path):
            shutil.rmtree(path, ignore_errors=True)
            return None
        return Artifact(kind, key, path)

    def make(
        self,
        kind: str,
        inputs: Inputs,
        label: str,
        maker: Callable[[Path], None],
        *,
        need_mib: int = 64,
        waiting: Callable[[str], None] | None = None,
    ) -> Artifact:
        """The artifact of these inputs; ``maker`` fills an empty folder where there is none yet.

        Two processes that ask for the same artifact make it once: the second waits for the first, and
        ``waiting`` is told so. What ``maker`` raises goes through, and leaves nothing behind.
        """
        key = digest_of(inputs)
        with lock(self.cache / "locks" / f"{kind}-{key[:16]}", waiting=waiting):
            artifact = self.find(kind, inputs)
            if artifact is None:
                require_space(self.cache, need_mib, f"{kind} {label}")
                with self.scratch(f"{kind}-") as folder:
                    maker(folder)
                    self._seal(folder, inputs)
                    target = self._path(kind, key)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.rmtree(target, ignore_errors=True)
                    folder.rename(target)
                artifact = Artifact(kind, key, self._path(kind, key))
        self._remember(kind, label, key)
        return artifact

    def _remember(self, kind: str, label: str, key: str) -> None:
        latest = self.root / kind / ".latest" / label.replace("/", "_")
        if not latest.is_file() or latest.read_text() != key:
            write_atomically(latest, key)

    @staticmethod
    def _seal(folder: Path, inputs: Inputs) -> None:
        sizes = {
            p.relative_to(folder).as_posix(): p.lstat().st_size
            for p in sorted(folder.rglob("*"))
            if p.is_file() or p.is_symlink()
        }
        (folder / ".inputs").write_text(json.dumps(inputs, sort_keys=True, indent=1))
        # Last, and on the disk before the rename: its presence says that everything before it is there.
        with (folder / ".files").open("w") as f:
            json.dump(sizes, f)
            f.flush()
            os.fsync(f.fileno())

    def why_missed(self, kind: str, inputs: Inputs, label: str) -> str:
        """One phrase: which input changed since this label's last artifact."""
        latest = self.root / kind / ".latest" / label.replace("/", "_")
        try:
            old = json.loads((self._path(kind, latest.read_text()) / ".inputs").read_text())
        except (OSError, ValueError):
            return "never made here"
        changed = sorted(name for name in {*old, *inputs} if old.get(name) != _plain(inputs.get(name)))
        return f"changed: {', '.join(changed)}" if changed else "its artifact is gone"

    @contextmanager
    def scratch(self, prefix: str) -> Iterator[Path]:
        """A private folder below ``work``, removed at the end unless it was renamed away."""
        self.work.mkdir(parents=True, exist_ok=True)
        folder = self.work / f"{prefix}{os.getpid()}-{secrets.token_hex(4)}"
        owner = self.work / f"{folder.name}.owner"
        # The owner first: a folder without one would never be swept.
        write_atomically(owner, owners.me())
        try:
            folder.mkdir()
            yield folder
        finally:
            _end(folder, owner)

    def sweep(self) -> int:
        """Remove what dead processes left half made; returns how many folders and files."""
        swept = 0
        for owner in self.work.glob("*.owner"):
            with suppress(OSError):
                if not owners.runs(owner.read_text()):
                    swept += _end(owner.with_suffix(""), owner)
        trees = self.cache / "trees"
        places = (self.cache, self.work, trees, trees / "pins", *self.root.glob("*/.latest"))
        return swept + sum(map(sweep_parts, places))


def _end(folder: Path, owner: Path) -> bool:
    """Remove a scratch folder, then what says whose it is. One that a container still writes into is there
    again: without its owner no sweep would find it once that container is gone."""
    remove(folder)
    if folder.exists():
        return False
    with suppress(FileNotFoundError):
        owner.unlink()
    return True


def _plain(value: object) -> object:
    """``value`` as it comes back from JSON, so that tuples compare equal to lists."""
    return json.loads(json.dumps(value))


def _is_whole(path: Path) -> bool:
    try:
        sizes = json.loads((path / ".files").read_text())
        return all((path / name).lstat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


__all__ = [
    "Artifact", "Inputs", "Store", "boot_id", "digest_file", "digest_of", "digest_tree",
    "lock", "part_of", "remove", "require_space", "sweep_parts", "temporary", "write_atomically",
]  # fmt: skip
