"""Drop patched trees that no command has used for a while.

A patched tree is hard links, but its 5,000 folders take 20 MiB, and each edit of a series makes another one.
To remove one takes a second, which nobody waits for.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from kmodpipe.cache import trash, users
from kmodpipe.source import tree as trees
from kmodpipe.util.errors import KmodpipeError
from kmodpipe.util.workers import Thread

# Of those that were used last, so many stay whatever their age.
_KEPT = 16
_UNUSED_S = 3600.0
# As `tree.slot` names them.
_RECORDS = f"patched-{'[0-9a-f]' * 24}.json"

_ours: set[Path] = set()
_lock = threading.Lock()


def used(folder: Path) -> None:
    """Note that this process uses the patched tree in ``folder`` from now on, if there is one."""
    with _lock:
        _ours.add(folder)
    with suppress(OSError):
        os.utime(trees.record_path(folder))


def is_ours(folder: Path) -> bool:
    """Return whether this process may still use a patched tree."""
    return folder in _ours


def release() -> None:
    """Note that this process uses none of the patched trees any more that it has used."""
    with _lock:
        _ours.clear()


def records(cache: Path) -> list[tuple[float, Path]]:
    """Return when each patched tree was used last (s since 1970), with its record; the newest first."""
    found = []
    for record in (cache / "trees").glob(_RECORDS):
        with suppress(OSError):
            found.append((record.stat().st_mtime, record))
    return sorted(found, reverse=True)


def drop_beside(cache: Path) -> Thread:
    """Begin to drop trees, and to remove what was dropped, while the command goes on; return the thread."""
    thread = Thread(lambda: _try_to_drop(cache), "unused trees")
    thread.start()
    return thread


def _try_to_drop(cache: Path) -> None:
    with suppress(KmodpipeError, OSError):
        drop(cache)
        trash.empty(cache)


def drop(cache: Path) -> int:
    """Take trees out of use that were not used for an hour, nor by this process; return how many.

    None is taken while another command uses the cache.
    """
    edge = time.time() - _UNUSED_S
    old = [record.with_suffix("") for at, record in records(cache)[_KEPT:] if at < edge]
    if not old:
        return 0
    dropped = 0
    # Another thread of this command that begins to use one says so before it looks whether it is there.
    with users.nobody_else(cache) as alone, _lock:
        for folder in old if alone else ():
            if folder in _ours:
                continue
            trees.forget(folder)
            with suppress(FileNotFoundError):
                trash.put(cache, folder)
            dropped += 1
    return dropped
