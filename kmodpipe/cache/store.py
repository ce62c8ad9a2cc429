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

import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.cache import integrity
from kmodpipe.util import paths, process_id
from kmodpipe.util.digest import digest_file, digest_of
from kmodpipe.util.errors import InfraError
from kmodpipe.util.files import require_space, sweep_parts, write_atomically
from kmodpipe.util.lock import lock
from kmodpipe.util.process_id import boot_id

_INPUTS, _FILES, _SUMS = ".inputs", ".files", ".sums"
_UNSUMMED = frozenset({_SUMS})

Inputs = Mapping[str, object]
"""What goes into a key: JSON values by readable name; the names are what why-missed shows."""


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
