"""Keep what is slow to find out between the rounds of one process, and between processes.

What is kept is found by everything that it depends on, so that a stale answer cannot be found. Inside of
`keeping` it is in memory; a command that runs once keeps nothing there. Inside of `on_disk` what is made of
files, and can be written, is in a folder of the cache as well:

    CACHE/kept/<kind>/<name>.json   the names and a digest of the files, and what was made of them

So is what a command notes about a project, or about something else, for the next one (`note`): an advice, or
what it tells the age of.

    CACHE/kept/<kind>/<digest of the project's folder>.json
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from kmodpipe.util import document
from kmodpipe.util.digest import digest_of
from kmodpipe.util.files import write_atomically

_T = TypeVar("_T")
# Of each kind; the least recently used go first.
_MOST = 256
# So many folders of one key: trees with other series applied.
_MOST_FOLDERS = 8
FOLDER = "kept"
"""The folder of the cache for what is on the disk."""
# On the disk, of each kind; those that were written first go first.
_MOST_FILES = 64


class Kept:
    """What one process keeps. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, OrderedDict[Hashable, Any]] = {}

    def get(self, kind: str, key: Hashable) -> Any:
        """Return what is kept under a key, None if nothing is."""
        with self._lock:
            found = self._found.get(kind, OrderedDict())
            if key in found:
                found.move_to_end(key)
            return found.get(key)

    def put(self, kind: str, key: Hashable, value: object) -> None:
        """Keep a value under a key."""
        with self._lock:
            found = self._found.setdefault(kind, OrderedDict())
            found[key] = value
            found.move_to_end(key)
            while len(found) > _MOST:
                found.popitem(last=False)

    def forget(self, kind: str) -> None:
        """Keep nothing of a kind any more."""
        with self._lock:
            self._found.pop(kind, None)


_CURRENT: ContextVar[Kept | None] = ContextVar("kept", default=None)


@contextmanager
def keeping() -> Iterator[Kept]:
    """Keep what is found out in the block, and in threads of `util.workers` made in it."""
    token = _CURRENT.set(Kept())
    try:
        yield current() or Kept()
    finally:
        _CURRENT.reset(token)


def current() -> Kept | None:
    """Return what the current command keeps; None if it keeps nothing."""
    return _CURRENT.get()


def once(kind: str, key: Hashable, make: Callable[[], _T]) -> _T:
    """Return what ``make`` returns, from an earlier call with this key if it is kept.

    ``key`` has to have everything in it that the result depends on; the result is not to be changed.
    """
    kept = current()
    if kept is None:
        return make()
    found: _T | None = kept.get(kind, key)
    if found is None:
        found = make()
        kept.put(kind, key, found)
    return found


@dataclass(frozen=True)
class Written(Generic[_T]):
    """How what is made of files is written to the disk."""

    name: str  # of all that it depends on beside the files: for a file's name
    plain: Callable[[_T], object]  # as values of JSON
    read: Callable[[Any], _T]  # of such values; raises an exception for others


_FOLDER: ContextVar[Path | None] = ContextVar("kept-on-disk", default=None)


@contextmanager
def on_disk(folder: Path) -> Iterator[None]:
    """Keep what can be written in a folder, in the block and in threads of `util.workers` made in it."""
    token = _FOLDER.set(folder)
    try:
        yield
    finally:
        _FOLDER.reset(token)


def of_files(
    kind: str,
    key: Hashable,
    root: Path,
    read: Callable[[], tuple[_T, Mapping[str, str]]],
    written: Written[_T] | None = None,
) -> _T:
    """Return what ``read`` makes of files below ``root``, from an earlier call if the files hold the same.

    ``read`` also returns what each file that it looked for held (`content`), by the name below ``root``. So a
    result is found for another folder as well, whose files have these names and hold the same. One of an
    earlier process is found if it is ``written``.
    """
    kept, folder, top = current(), _FOLDER.get(), os.fspath(root)
    known: tuple[tuple[_T, Mapping[str, str]], ...] = (kept.get(kind, key) or ()) if kept else ()
    for value, files in known:
        if all(content(f"{top}/{name}") == held for name, held in files.items()):
            return value
    file = folder / kind / f"{written.name}.json" if folder and written else None
    made = _recalled(file, root, written) if file and written and not known else None
    if made is None:
        made = read()
        if file and written:
            _remember(file, made, written)
    if kept:
        kept.put(kind, key, (made, *known)[:_MOST_FOLDERS])
    return made[0]


def _recalled(file: Path, root: Path, written: Written[_T]) -> tuple[_T, Mapping[str, str]] | None:
    """Return what was made of files that hold what they do now, and that; None if nothing was."""
    # It may be anything that someone wrote there: what cannot be read is made again.
    with suppress(OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        for entry in document.read_json(file):
            # There are more than a thousand: texts, as paths would take half of the time.
            files = {str(name): content(f"{root}/{name}") for name in entry["names"]}
            if digest_of(files) == entry["digest"]:
                return written.read(entry["made"]), files
    return None


def _remember(file: Path, made: tuple[_T, Mapping[str, str]], written: Written[_T]) -> None:
    value, files = made
    # A cache that cannot be written to keeps nothing, nor is kept what is nested too deep.
    with suppress(OSError, RecursionError):
        entry = {"names": sorted(files), "digest": digest_of(dict(files)), "made": written.plain(value)}
        others: list[Any] = []
        with suppress(OSError, ValueError, TypeError, KeyError):
            others = [one for one in document.read_json(file) if one["digest"] != entry["digest"]]
        write_atomically(file, json.dumps([entry, *others][:_MOST_FOLDERS]))
        for old in sorted(file.parent.glob("*.json"), key=lambda one: one.stat().st_mtime)[:-_MOST_FILES]:
            old.unlink(missing_ok=True)


def noted(cache: Path, kind: str, subject: Path | str) -> dict[str, Any]:
    """Return what was noted last about a project, say; empty if nothing was, or it cannot be read."""
    with suppress(OSError, ValueError):
        return document.read_object(_note(cache, kind, subject))
    return {}


def note(cache: Path, kind: str, subject: Path | str, value: Mapping[str, object]) -> None:
    """Note something about a project, say; nothing in a cache that cannot be written to."""
    with suppress(OSError):
        write_atomically(_note(cache, kind, subject), json.dumps(value))


def _note(cache: Path, kind: str, subject: Path | str) -> Path:
    return cache / FOLDER / kind / f"{digest_of(str(subject))[:32]}.json"


def content(path: Path | str) -> str:
    """Return the SHA-256 (hex) of a file's bytes; '' if there is no such file."""
    try:
        # Without O_NONBLOCK, opening a FIFO waits for its other end.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return ""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return ""
        digest = hashlib.sha256()
        while data := os.read(fd, 1 << 20):
            digest.update(data)
        return digest.hexdigest()
    except OSError:
        return ""
    finally:
        os.close(fd)


def forget(kind: str) -> None:
    """Keep nothing of a kind any more."""
    if kept := current():
        kept.forget(kind)
