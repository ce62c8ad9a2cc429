"""Keep what is slow to find out between the rounds of one process.

A command that runs once keeps nothing: only inside of `keeping` is anything recalled. What is kept is found
by everything that it depends on, so that a stale answer cannot be found; it is in memory alone.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from kmodpipe.util import paths

_T = TypeVar("_T")
# Of each kind; the least recently used go first.
_MOST = 256
# So many folders of one key: trees with other series applied.
_MOST_FOLDERS = 8


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


def of_files(kind: str, key: Hashable, root: Path, read: Callable[[], tuple[_T, Mapping[str, str]]]) -> _T:
    """Return what ``read`` makes of files below ``root``, from an earlier call if the files hold the same.

    ``read`` also returns what each file that it looked for held (`content`), by the name below ``root``. So a
    result is found for another folder as well, whose files have these names and hold the same.
    """
    kept = current()
    if kept is None:
        return read()[0]
    known: tuple[tuple[_T, Mapping[str, str]], ...] = kept.get(kind, key) or ()
    for value, files in known:
        if all(content(root / name) == held for name, held in files.items()):
            return value
    made = read()
    kept.put(kind, key, (made, *known)[:_MOST_FOLDERS])
    return made[0]


def content(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes; '' if there is no such file."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if paths.is_file(path) else ""
    except OSError:
        return ""


def forget(kind: str) -> None:
    """Keep nothing of a kind any more."""
    if kept := current():
        kept.forget(kind)
