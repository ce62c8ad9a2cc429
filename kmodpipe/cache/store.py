"""Content-addressed artifacts.

    CACHE/store/<kind>/<key>/            one artifact: whatever files the step made
    CACHE/store/<kind>/<key>/.inputs     what went into the key (JSON), for why-missed
    CACHE/store/<kind>/<key>/.sums       the SHA-256 of every file, .files their sizes
    CACHE/store/<kind>/.latest/<label>   the key that this label had last
    CACHE/store/<kind>/.seen/<key>       the stats that its files had when they were hashed last
    CACHE/work/                          half-made things; swept when their maker is gone
    CACHE/locks/                         flock files; each says who held it last. The kernel lets go of a dead
                                         process's lock, so what is written there never blocks anybody

A key is the SHA-256 of the canonical JSON of everything that went in, upstream keys included, so keys
chain. An artifact appears by one rename, complete, or not at all. It is compared with its own sums each
time it is asked for (see `integrity`: files that were not touched are not hashed again), and one that no
longer fits is made again as if it had never been.
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
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.cache import integrity
from kmodpipe.util import paths, process, process_id
from kmodpipe.util.errors import InfraError, Interrupted
from kmodpipe.util.process_id import boot_id

_INPUTS, _FILES, _SUMS = ".inputs", ".files", ".sums"
_UNSUMMED = frozenset({_SUMS})

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
    owner = process_id.me().replace(" ", "~")
    return path.with_name(f".{path.name[:100]}.{owner}~{secrets.token_hex(4)}.part")


@contextmanager
def temporary(prefix: str) -> Iterator[Path]:
    """A private folder where temporary files go, removed at the end; those that killed processes of this user
    left there go as well."""
    place = Path(tempfile.gettempdir())
    for left in place.glob("kmodpipe-*~*"):
        with suppress(OSError):
            owner = left.name.removeprefix("kmodpipe-").rpartition("~")[0]
            if left.lstat().st_uid == os.getuid() and not process_id.runs(owner.replace("~", " ")):
                paths.remove(left)
    owner = process_id.me().replace(" ", "~")
    with tempfile.TemporaryDirectory(prefix=f"kmodpipe-{owner}~{prefix}", dir=place) as folder:
        yield Path(folder)


def sweep_parts(folder: Path) -> int:
    """Remove what dead processes were about to write into ``folder``; returns how many."""
    swept = 0
    for part in folder.glob(".*.part"):
        owner = part.name.removesuffix(".part").rpartition("~")[0].rpartition(".")[2]
        if not process_id.runs(owner.replace("~", " ")):
            paths.remove(part)
            swept += 1
    return swept


@contextmanager
def lock(
    path: Path, *, waiting: Callable[[str], None] | None = None, timeout_s: float = 3600
) -> Iterator[None]:
    """Hold an exclusive flock on ``path``; ``waiting`` is told once who holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout_s
    told = False
    with path.open("a+", encoding="utf-8", errors="replace") as f:
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
                if process.stopping():
                    raise Interrupted(f"interrupted while waiting for {owner}", where=str(path)) from None
                if time.monotonic() > deadline:
                    raise InfraError(f"{path.name} is still locked by {owner}", where=str(path)) from None
                time.sleep(0.1)
        f.truncate(0)
        f.write(f"{process_id.command()}\n")
        f.flush()
        yield


def size_mib(folder: Path) -> int:
    """What is allocated on the disk below ``folder``, in MiB; 0 where that cannot be told."""
    done = process.run(["du", "-sm", folder], timeout_s=120, check=False)
    return int(done.text.split()[0]) if done.text.split() else 0


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
        self._damage: dict[str, str] = {}

    def _path(self, kind: str, key: str) -> Path:
        return self.root / kind / key

    def find(self, kind: str, inputs: Inputs) -> Artifact | None:
        """The artifact made from these inputs, or None. A damaged one is none: `make` puts a new one in its
        place, and `why_missed` says what was wrong with it."""
        key = digest_of(inputs)
        path = self._path(kind, key)
        if not path.is_dir() or path.is_symlink():
            return None
        damage = self._look(kind, key)
        if damage:
            self._damage[key] = damage
            return None
        return Artifact(kind, key, path)

    def _look(self, kind: str, key: str) -> str:
        """What is wrong with an artifact, in a phrase; empty where nothing is."""
        path, seen = self._path(kind, key), self.root / kind / ".seen" / key
        try:
            before = integrity.fingerprint(path, without=_UNSUMMED)
            if before and seen.is_file() and seen.read_bytes() == _seen_now(path, before):
                return ""
            found = integrity.sums(path, without=_UNSUMMED)
            if (path / _SUMS).exists():
                kept: dict[str, object] = json.loads((path / _SUMS).read_text())
                damage = integrity.changes(kept, found)
            else:
                # Made by an earlier version, which wrote down sizes alone.
                kept = json.loads((path / _FILES).read_text())
                damage = integrity.changes(kept, _sizes(path, found))
                if not damage:
                    with suppress(OSError):
                        write_atomically(path / _SUMS, json.dumps(found))
            # Only what stood still while it was hashed need not be hashed again. A cache that cannot be
            # written is hashed each time.
            if not damage and before and before == integrity.fingerprint(path, without=_UNSUMMED):
                with suppress(OSError):
                    write_atomically(seen, _seen_now(path, before))
        except (OSError, ValueError, AttributeError) as e:
            return f"it cannot be read ({e})"
        return damage

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
                    remove(target)
                    folder.rename(target)
                artifact = Artifact(kind, key, self._path(kind, key))
        self._remember(kind, label, key)
        return artifact

    def _remember(self, kind: str, label: str, key: str) -> None:
        latest = self.root / kind / ".latest" / label.replace("/", "_")
        if not latest.is_file() or latest.read_bytes() != key.encode():
            write_atomically(latest, key)

    @staticmethod
    def _seal(folder: Path, inputs: Inputs) -> None:
        (folder / _INPUTS).write_text(json.dumps(inputs, sort_keys=True, indent=1))
        found = integrity.sums(folder, without=_UNSUMMED)
        (folder / _FILES).write_text(json.dumps(_sizes(folder, found)))
        found[_FILES] = integrity.sum_of(folder / _FILES)
        # Last, and on the disk before the rename: what did not get there with it does not fit it.
        with (folder / _SUMS).open("w") as f:
            json.dump(found, f)
            f.flush()
            os.fsync(f.fileno())

    def why_missed(self, kind: str, inputs: Inputs, label: str) -> str:
        """One phrase: what was wrong with the artifact, or which input changed since this label's last."""
        if damage := self._damage.get(digest_of(inputs)):
            return f"damaged in the cache: {damage}"
        latest = self.root / kind / ".latest" / label.replace("/", "_")
        try:
            old = json.loads((self._path(kind, latest.read_text()) / _INPUTS).read_text())
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
        write_atomically(owner, process_id.me())
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
                if not process_id.runs(owner.read_text()):
                    swept += _end(owner.with_suffix(""), owner)
        trees = self.cache / "trees"
        places = (self.cache, self.work, trees, trees / "pins", *self.root.glob("*/.latest"))
        return swept + sum(map(sweep_parts, places))


def _end(folder: Path, owner: Path) -> bool:
    """Remove a scratch folder, then what says whose it is. One that a container still writes into is there
    again: without its owner no sweep would find it once that container is gone."""
    paths.remove(folder)
    if folder.exists():
        return False
    with suppress(FileNotFoundError):
        owner.unlink()
    return True


def _plain(value: object) -> object:
    """``value`` as it comes back from JSON, so that tuples compare equal to lists."""
    return json.loads(json.dumps(value))


def _seen_now(path: Path, fingerprint: str) -> bytes:
    """After a power cut stats may be on the disk and contents not: what was seen holds for one boot."""
    return f"{boot_id()} {fingerprint} {digest_file(path / _SUMS)}".encode()


def made_as(file: Path) -> str:
    """The SHA-256 (hex) that a file of an artifact had when it was made, whatever became of it since."""
    for folder in file.parents:
        if (folder / _SUMS).is_file():
            kept = json.loads((folder / _SUMS).read_text())
            return str(kept[file.relative_to(folder).as_posix()]).partition(" ")[2]
    return digest_file(file)


def _sizes(path: Path, names: Iterable[str]) -> dict[str, object]:
    return {n: (path / n).lstat().st_size for n in names if n not in (_INPUTS, _FILES)}


def remove(folder: Path) -> None:
    """Remove a folder of the cache, whatever is in it. Raises InfraError where it stays."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
        return
    paths.remove(folder)
    if folder.exists():
        raise InfraError(
            "a damaged folder of the cache cannot be removed", where=str(folder), hint="remove it by hand"
        )


__all__ = [
    "Artifact", "Inputs", "Store", "boot_id", "digest_file", "digest_of", "digest_tree",
    "lock", "made_as", "part_of", "remove", "require_space", "size_mib", "sweep_parts", "temporary",
    "write_atomically",
]  # fmt: skip
