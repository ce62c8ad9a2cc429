"""Begin to look at trees while a command still starts: those that the last command of its project used.

To look at the 70,000 files of a kernel takes a program nearly as long as Python takes to import ours, and the
two can go on at once. What was seen counts only where a tree is as it was: anything else is looked at again.

    CACHE/kept/look-ahead/<digest of the project's folder>.json   the trees
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from kmodpipe.cache import integrity
from kmodpipe.util import document, kept, process
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import KmodpipeError
from kmodpipe.util.files import write_atomically
from kmodpipe.util.workers import Thread

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
    with suppress(OSError, ValueError, KeyError, TypeError):
        folders = [Path(str(name)) for name in document.read_object(_note(cache, project))["trees"]]
        for folder in folders[:_MOST]:
            if folder.parent == cache / "trees" and folder.is_dir() and not process.stopping():
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
    text = json.dumps({"trees": [str(folder) for folder in trees]})
    path = _note(cache, project)
    # A cache that cannot be written to has nothing to begin with.
    with suppress(OSError):
        if not path.is_file() or path.read_text("utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text)


def _note(cache: Path, project: Path) -> Path:
    return cache / kept.FOLDER / "look-ahead" / f"{digest_of(str(project))[:32]}.json"
