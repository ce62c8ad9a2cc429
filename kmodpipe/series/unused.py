"""Drop patched trees that no command has used for a while.

A patched tree is hard links, but its 5,000 folders take 20 MiB, and each edit of a series makes another one.
To remove one takes a second, which nobody waits for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kmodpipe.cache import users
from kmodpipe.cache.store import Store
from kmodpipe.source import tree as trees
from kmodpipe.util import process
from kmodpipe.util.errors import KmodpipeError
from kmodpipe.util.workers import Thread

# Of those that were used last, so many stay whatever their age.
_KEPT = 16
_UNUSED_S = 3600.0
# For one command, as all of them may take a minute.
_AT_ONCE = 4
_REMOVING_S = 60.0
# As `tree.slot` names them.
_RECORDS = f"patched-{'[0-9a-f]' * 24}.json"

_ours: set[Path] = set()


def used(folder: Path) -> None:
    """Note that this process uses the patched tree in ``folder`` from now on."""
    _ours.add(folder)
    with suppress(OSError):
        os.utime(trees.record_path(folder))


def is_ours(folder: Path) -> bool:
    """Return whether this process may still use a patched tree."""
    return folder in _ours


def release() -> None:
    """Note that this process uses none of the patched trees any more that it has used."""
    _ours.clear()


def records(cache: Path) -> list[tuple[float, Path]]:
    """Return when each patched tree was used last (s since 1970), with its record; the newest first."""
    found = []
    for record in (cache / "trees").glob(_RECORDS):
        with suppress(OSError):
            found.append((record.stat().st_mtime, record))
    return sorted(found, reverse=True)


def drop_beside(cache: Path) -> Thread:
    """Begin to drop trees while the command goes on, when nothing else needs a processor; return the thread.

    What is not removed when the command ends is unfinished work, which the next one sweeps.
    """
    thread = Thread(lambda: _try_to_drop(cache), "unused trees")
    thread.start()
    return thread


def _try_to_drop(cache: Path) -> None:
    with suppress(KmodpipeError, OSError):
        drop(cache)


def drop(cache: Path) -> int:
    """Remove some of the trees that were not used for an hour and that this process does not use; return how
    many.

    None is removed while another command uses the cache.
    """
    edge = time.time() - _UNUSED_S
    old = [record.with_suffix("") for at, record in records(cache)[_KEPT:] if at < edge]
    old = [folder for folder in old if not is_ours(folder)][-_AT_ONCE:]
    if not old:
        return 0
    with _out_of_use(old, cache) as removed:
        if removed:
            process.run(["nice", "-n", "19", "rm", "-rf", "--", *removed], timeout_s=_REMOVING_S, check=False)
        return len(removed)


@contextmanager
def _out_of_use(folders: list[Path], cache: Path) -> Iterator[list[Path]]:
    """Move trees where no command finds them, and yield where they are; remove what is left of them."""
    with Store(cache).scratch("unused-") as scratch:
        moved: list[Path] = []
        # New commands wait for this alone.
        with users.nobody_else(cache) as alone:
            for folder in folders if alone else ():
                trees.forget(folder)
                with suppress(FileNotFoundError):
                    moved.append(folder.rename(scratch / folder.name))
        yield moved
