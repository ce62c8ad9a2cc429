"""Store artifacts under the digest of their inputs.

    CACHE/store/<kind>/<key>/            one artifact: the files that a step made
    CACHE/store/<kind>/<key>/.inputs     the inputs of the key (JSON), for `Store.why_missed`
    CACHE/store/<kind>/<key>/.sums       the SHA-256 of every file; .files has their sizes
    CACHE/store/<kind>/.latest/<label>   the last key of this label
    CACHE/store/<kind>/.as/<name>        the key of an artifact that is also found by this name
    CACHE/store/<kind>/.seen/<key>       the stats of its files when they were hashed last
    CACHE/work/                          unfinished work; removed once its process has ended
    CACHE/trash/                         what is removed when there is time
    CACHE/locks/                         flock files, each with the process that held it last. The kernel
                                         releases a dead process's lock, so a stale file never blocks

A key is the SHA-256 of the canonical JSON of all inputs. The keys of earlier steps are among the inputs, so
keys chain. An artifact appears complete, by one rename, or not at all. Each time it is used it is compared
with its sums (see `integrity`: unchanged files are not hashed again); one that differs is made again.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kmodpipe.cache import integrity, trash
from kmodpipe.util import costs, document, paths, process_id
from kmodpipe.util.digest import digest_file, digest_of
from kmodpipe.util.errors import InfraError
from kmodpipe.util.files import require_space, sweep_parts, write_atomically
from kmodpipe.util.lock import lock
from kmodpipe.util.process_id import boot_id

_INPUTS, _FILES, _SUMS = ".inputs", ".files", ".sums"
_UNSUMMED = frozenset({_SUMS})
# Folders of the cache in whose folders nothing is written one by one.
_MADE_WHOLE = frozenset({"trees", "git", "work", trash.FOLDER})
_KEY = re.compile(r"[0-9a-f]{64}")
# A base has 80,000 files at most, each in a row of 150 bytes.
_RECORD_BYTES = 64 * document.MIB

Inputs = Mapping[str, object]
"""The inputs of a key: JSON values by name. `Store.why_missed` shows these names."""

Check = Callable[[Path], None]
"""Raises InfraError if the folder of an artifact lacks what an artifact of its kind has."""


def _no_check(folder: Path) -> None:
    pass


@dataclass(frozen=True)
class Artifact:
    """A finished artifact: its key, and its folder, which is not to be written to."""

    kind: str
    key: str
    path: Path

    def sums(self) -> Mapping[str, object]:
        """Return what each file was when it was made (`integrity.sums`); empty if that is not recorded.

        `Store.find` has compared the files with it.
        """
        try:
            return document.read_object(self.path / _SUMS, most=_RECORD_BYTES)
        except (OSError, ValueError):
            return {}


class Store:
    """The artifacts of one cache folder."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.root = cache / "store"
        self.work = cache / "work"
        self._damage: dict[str, str] = {}

    def _path(self, kind: str, key: str) -> Path:
        return self.root / kind / key

    @costs.step(costs.Part.STORE)
    def find(self, kind: str, inputs: Inputs, check: Check = _no_check) -> Artifact | None:
        """Return the artifact made from these inputs, or None if there is none or it is damaged.

        It counts as damaged, too, if ``check`` raises InfraError: an earlier version may have stored one that
        lacks files. `make` replaces a damaged one, and `why_missed` describes the damage.
        """
        return self._find(kind, digest_of(inputs), check)

    def _find(self, kind: str, key: str, check: Check) -> Artifact | None:
        path = self._path(kind, key)
        if not path.is_dir() or path.is_symlink():
            return None
        damage = self._damage_of(kind, key)
        if not damage:
            try:
                check(path)
            except InfraError as e:
                damage = e.what
        if damage:
            self._damage[key] = damage
            return None
        return Artifact(kind, key, path)

    def _damage_of(self, kind: str, key: str) -> str:
        """Return a phrase that describes the damage of an artifact; empty if it is whole."""
        path, seen = self._path(kind, key), self.root / kind / ".seen" / key
        try:
            before = integrity.fingerprint(path, without=_UNSUMMED)
            if before and seen.is_file() and seen.read_bytes() == _seen_now(path, before):
                return ""
            found = integrity.sums(path, without=_UNSUMMED)
            if (path / _SUMS).exists():
                kept: dict[str, object] = document.read_object(path / _SUMS, most=_RECORD_BYTES)
                damage = integrity.changes(kept, found)
            else:
                # Made by an earlier version, which recorded sizes only.
                kept = document.read_object(path / _FILES, most=_RECORD_BYTES)
                damage = integrity.changes(kept, _sizes(path, found))
                if not damage:
                    with suppress(OSError):
                        write_atomically(path / _SUMS, json.dumps(found))
            # Files that did not change while they were hashed need not be hashed again. In a cache that
            # cannot be written to, they are hashed each time.
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
        check: Check = _no_check,
        need_mib: int = 64,
        waiting: Callable[[str], None] | None = None,
    ) -> Artifact:
        """Return the artifact of these inputs; if there is none, ``maker`` fills an empty folder.

        If two processes want the same artifact, it is made once: the second calls ``waiting`` with a message
        and waits for the first. An exception of ``maker`` is passed on, and its folder is removed.
        ``need_mib`` is the free space that must be there before it is made. ``check`` is as in `find`.
        """
        key = digest_of(inputs)
        with lock(self.cache / "locks" / f"{kind}-{key[:16]}", waiting=waiting):
            artifact = self.find(kind, inputs, check)
            if artifact is None:
                require_space(self.cache, need_mib, f"{kind} {label}")
                with self.scratch(f"{kind}-") as folder:
                    maker(folder)
                    check(folder)
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

    def remember_as(self, name: str, artifact: Artifact) -> None:
        """Have an artifact found by a name as well; the one that was found by it before is no more."""
        # A cache that cannot be written to finds nothing by names.
        with suppress(OSError):
            write_atomically(self._named(artifact.kind, name), artifact.key)

    @costs.step(costs.Part.STORE)
    def remembered_as(self, kind: str, name: str) -> Artifact | None:
        """Return the artifact of a name, or None if there is none, or it is damaged."""
        try:
            key = document.read_text(self._named(kind, name), most=128)
        except (OSError, ValueError):
            return None
        return self._find(kind, key, _no_check) if _KEY.fullmatch(key) else None

    def _named(self, kind: str, name: str) -> Path:
        return self.root / kind / ".as" / name

    @staticmethod
    def _seal(folder: Path, inputs: Inputs) -> None:
        (folder / _INPUTS).write_text(json.dumps(inputs, sort_keys=True, indent=1))
        found = integrity.sums(folder, without=_UNSUMMED)
        (folder / _FILES).write_text(json.dumps(_sizes(folder, found)))
        found[_FILES] = integrity.sum_of(folder / _FILES)
        # Written last, and synced before the rename: after a power cut, files that did not reach the disk do
        # not match it.
        with (folder / _SUMS).open("w") as f:
            json.dump(found, f)
            f.flush()
            os.fsync(f.fileno())

    def why_missed(self, kind: str, inputs: Inputs, label: str) -> str:
        """Return in a phrase what was wrong with the artifact, or which inputs changed for this label."""
        if damage := self._damage.get(digest_of(inputs)):
            return f"damaged in the cache: {damage}"
        latest = self.root / kind / ".latest" / label.replace("/", "_")
        try:
            old = document.read_object(
                self._path(kind, document.read_text(latest, most=128)) / _INPUTS, most=_RECORD_BYTES
            )
        except (OSError, ValueError):
            return "never made here"
        changed = sorted(name for name in {*old, *inputs} if old.get(name) != _plain(inputs.get(name)))
        return f"changed: {', '.join(changed)}" if changed else "its artifact is gone"

    @contextmanager
    def scratch(self, prefix: str) -> Iterator[Path]:
        """Make a private folder below ``work``, and remove it at the end unless it was renamed away."""
        self.work.mkdir(parents=True, exist_ok=True)
        folder = self.work / f"{prefix}{os.getpid()}-{secrets.token_hex(4)}"
        owner = self.work / f"{folder.name}.owner"
        # Written first: a folder without an owner file would never be swept.
        write_atomically(owner, process_id.current())
        try:
            folder.mkdir()
            yield folder
        finally:
            _remove_scratch(folder, owner)

    @costs.step(costs.Part.STORE)
    def sweep(self) -> int:
        """Remove the unfinished work of dead processes; return the number of folders and files removed."""
        swept = 0
        for owner in self.work.glob("*.owner"):
            with suppress(OSError):
                if process_id.left_by(owner.read_text(), owner):
                    swept += _remove_scratch(owner.with_suffix(""), owner)
        return swept + sum(map(sweep_parts, self._written()))

    def _written(self) -> Iterator[Path]:
        """Yield the folders whose files are written one by one; others appear whole, from ``work``."""
        yield self.cache
        for folder in _folders(self.cache):
            yield folder
            below = [] if folder.name in _MADE_WHOLE else list(_folders(folder))
            yield from below
            if folder == self.root:
                yield from (named for kind in below for named in kind.glob(".*"))
        yield self.cache / "trees" / "pins"


def _folders(folder: Path) -> Iterator[Path]:
    with suppress(OSError), os.scandir(folder) as entries:
        yield from (Path(entry) for entry in entries if entry.is_dir(follow_symlinks=False))


def _remove_scratch(folder: Path, owner: Path) -> bool:
    """Remove a scratch folder, then its owner file; return False if the folder is still there.

    That happens while a container writes to it. Its owner file stays then, so that a later sweep finds it.
    """
    paths.remove(folder)
    if folder.exists():
        return False
    with suppress(FileNotFoundError):
        owner.unlink()
    return True


def _plain(value: object) -> object:
    """Return ``value`` as JSON reads it back, so that tuples compare equal to lists."""
    return json.loads(json.dumps(value))


def _seen_now(path: Path, fingerprint: str) -> bytes:
    """Return the content of a ``.seen`` file.

    It holds for one boot only: after a power cut, stats may be on the disk and contents not.
    """
    return f"{boot_id()} {fingerprint} {digest_file(path / _SUMS)}".encode()


def made_as(file: Path) -> str:
    """Return the SHA-256 (hex) that a file of an artifact had when it was made, even if it changed since."""
    for folder in file.parents:
        if (folder / _SUMS).is_file():
            kept = document.read_object(folder / _SUMS, most=_RECORD_BYTES)
            return str(kept[file.relative_to(folder).as_posix()]).partition(" ")[2]
    return digest_file(file)


def inputs_of(folder: Path) -> Mapping[str, Any]:
    """Return the inputs of an artifact's key. Raises OSError and ValueError if they cannot be read."""
    return document.read_object(folder / _INPUTS, most=_RECORD_BYTES)


def _sizes(path: Path, names: Iterable[str]) -> dict[str, object]:
    return {n: (path / n).lstat().st_size for n in names if n not in (_INPUTS, _FILES)}


def remove(folder: Path) -> None:
    """Remove a folder of the cache with all that is in it. Raise InfraError if it cannot be removed."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
        return
    paths.remove(folder)
    if folder.exists():
        raise InfraError(
            "a damaged folder of the cache cannot be removed", where=str(folder), hint="remove it by hand"
        )
