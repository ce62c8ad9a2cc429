"""Begin to look at trees while a command still starts: those that the last command of its project used.

To look at the 70,000 files of a kernel takes a program nearly as long as Python takes to import ours, and the
two can go on at once. What was seen counts only where a tree is as it was: anything else is looked at again.
Which trees those were is noted by `util.kept`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from kmodpipe.cache import integrity
from kmodpipe.util import kept, paths, process
from kmodpipe.util.errors import KmodpipeError
from kmodpipe.util.workers import Thread

_KIND = "look-ahead"
# What was seen longer ago than that is not asked for any more.
_FRESH_S = 10.0
_MOST = 4


class _Look:
    """One look at a tree."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.began = time.monotonic()
        self.seen: bytes | None = None
        self.thread = Thread(self._run, "look-ahead")

    def _run(self) -> None:
        # Who asks looks again, and reports what is wrong.
        with suppress(KmodpipeError, OSError):
            self.seen = integrity.listing(self.folder)


_begun: dict[Path, _Look] = {}
_lock = threading.Lock()


def begin(cache: Path, project: Path) -> None:
    """Begin to look at the trees that were used last for a ``project``."""
    found = kept.noted(cache, _KIND, project).get("trees")
    for name in found[:_MOST] if isinstance(found, list) else ():
        folder = Path(str(name))
        if folder.parent == cache / "trees" and paths.is_dir(folder) and not process.stopping():
            look = _Look(folder)
            with _lock:
                _begun[folder] = look
            look.thread.start()


def seen(folder: Path) -> bytes | None:
    """Return what was seen of a tree (`integrity.listing`), once; None if nothing was, or not just now."""
    with _lock:
        look = _begun.pop(folder, None)
    if look is None or time.monotonic() - look.began > _FRESH_S:
        return None
    look.thread.join()
    return look.seen


def note(cache: Path, project: Path, trees: Iterable[Path]) -> None:
    """Note the trees that a command uses for a ``project``."""
    names = {"trees": [str(folder) for folder in trees]}
    if kept.noted(cache, _KIND, project) != names:
        kept.note(cache, _KIND, project, names)
