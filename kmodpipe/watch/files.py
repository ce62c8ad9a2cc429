"""See changes of files as they happen, by inotify; by looking again and again where it cannot tell.

inotify knows nothing of what another machine writes to a network file system, and may have no watch left.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import BaseObserver, ObservedWatch
from watchdog.observers.inotify import InotifyObserver
from watchdog.observers.polling import PollingObserver

from kmodpipe.util import paths
from kmodpipe.watch.places import Place

_KINDS: list[type[FileSystemEvent]] = [
    FileModifiedEvent, FileCreatedEvent, FileDeletedEvent, FileMovedEvent, FileAttribEvent,
    DirCreatedEvent, DirDeletedEvent, DirMovedEvent,
]  # fmt: skip
# File systems on which others may write (statfs(2) and mount(8) have their names).
_SHARED = (
    "nfs", "cifs", "smb", "fuse", "9p", "virtiofs", "vboxsf", "prl_fs", "ceph", "afs", "lustre", "glusterfs",
    "drvfs", "ocfs2", "gfs2",
)  # fmt: skip
_POLL_S = 1.0
# A large tree is looked at less often, so that looking takes a twentieth of the time.
_PART = 20.0
_NAMED = 20


@dataclass(frozen=True)
class Change:
    """What changed since it was taken last."""

    # The first ones.
    paths: tuple[Path, ...]
    # The kernels whose tree changed.
    kernels: frozenset[str]
    # When the last of them changed, by the monotonic clock.
    at: float


class Files:
    """The watched folders. ``wake`` is called from another thread at the first change after each `take`."""

    def __init__(self, wake: Callable[[], None], say: Callable[[str], None]) -> None:
        self._wake, self._say = wake, say
        self._lock = threading.Lock()
        self._paths: dict[Path, None] = {}
        self._kernels: set[str] = set()
        self._at = 0.0
        self._inotify: BaseObserver | None = None
        # By place: who watches it, how, and the folder as it was then.
        self._watched: dict[Place, tuple[BaseObserver, ObservedWatch, tuple[int, int]]] = {}
        self._missing: set[Place] = set()
        # Their folders were removed: a new one may have the inode of the old one.
        self._removed: set[Place] = set()
        self._places: tuple[Place, ...] = ()
        self._aside: tuple[Path, ...] = ()
        # It would write to the terminal.
        logging.getLogger("watchdog").addHandler(logging.NullHandler())
        logging.getLogger("watchdog").propagate = False

    def watch(self, places: Iterable[Place], aside: Sequence[Path]) -> bool:
        """Watch these places and no others; nothing in ``aside`` counts.

        Return whether a place is new: what was read of it before may have changed since.
        """
        before = set(self._places)
        self._places, self._aside = tuple(places), tuple(aside)
        for place in [one for one in self._watched if one not in self._places]:
            self._drop(place)
        self._missing &= set(self._places)
        self.refresh()
        return not before.issuperset(self._places)

    def refresh(self) -> None:
        """Notice the places that went, came, or are other folders now, and watch what is there.

        To be called again and again: where a folder, one above it or a link to it is renamed, inotify says
        nothing to those who watch that folder.
        """
        with self._lock:
            removed = self._removed
            self._removed = set()
        now = {place: _identity(place.named or place.path) for place in self._places}
        # All of them before one is watched again: two places that are one folder share a watch.
        for place, known in list(self._watched.items()):
            if place in removed or known[2] != now.get(place):
                self._drop(place)
                self._note(place, place.path)
        for place, identity in now.items():
            if identity is None:
                self._missing.add(place)
            elif place not in self._watched:
                self._add(place, identity)
                if place in self._missing:
                    self._missing.discard(place)
                    self._note(place, place.path)

    def take(self) -> Change:
        """Return what changed since the last call."""
        with self._lock:
            found = Change(tuple(self._paths), frozenset(self._kernels), self._at)
            self._paths.clear()
            self._kernels.clear()
        return found

    @property
    def quiet_s(self) -> float:
        """Seconds since the last change."""
        with self._lock:
            return time.monotonic() - self._at

    def close(self) -> None:
        """Watch nothing any more."""
        for place in list(self._watched):
            self._drop(place)
        observer, self._inotify = self._inotify, None
        if observer:
            observer.stop()
            observer.join(2)

    # -- one place -------------------------------------------------------------------------------
    def _add(self, place: Place, identity: tuple[int, int]) -> None:
        handler = _Handler(place.path, lambda path: self._seen(place, path), lambda: self._lose(place))
        if not is_shared(place.path):
            with suppress(OSError):
                observer = self._inotify = self._inotify or _started(InotifyObserver())
                watch = observer.schedule(
                    handler, str(place.path), recursive=place.recursive, event_filter=_KINDS
                )
                self._watched[place] = (observer, watch, identity)
                return
            self._say(f"no inotify watch is left for {place.path}: it is looked at every second or so")
        interval = max(_POLL_S, _PART * _seconds_to_look(place)) if place.recursive else _POLL_S
        observer = _started(PollingObserver(timeout=interval))
        try:
            watch = observer.schedule(
                handler, str(place.path), recursive=place.recursive, event_filter=_KINDS
            )
        except OSError:
            # It is tried again, by another one.
            observer.stop()
        else:
            self._watched[place] = (observer, watch, identity)

    def _drop(self, place: Place) -> None:
        observer, watch, _ = self._watched.pop(place)
        if observer is self._inotify:
            # Another place may be the same folder.
            if not any(one[1] == watch for one in self._watched.values()):
                with suppress(KeyError, OSError):
                    observer.unschedule(watch)
        else:
            observer.stop()

    def _seen(self, place: Place, path: Path) -> None:
        if path == place.path or place.counts(path, self._aside):
            self._note(place, path)

    def _lose(self, place: Place) -> None:
        with self._lock:
            self._removed.add(place)

    def _note(self, place: Place, path: Path) -> None:
        with self._lock:
            first = not self._paths
            if len(self._paths) < _NAMED:
                self._paths[path] = None
            self._kernels.update(place.kernels)
            self._at = time.monotonic()
        if first:
            self._wake()


class _Handler(FileSystemEventHandler):
    """Reports both names of an event, and before it that the watched folder itself was removed."""

    def __init__(self, top: Path, seen: Callable[[Path], None], removed: Callable[[], None]) -> None:
        self._top, self._report, self._removed = os.fspath(top), seen, removed

    def on_any_event(self, event: FileSystemEvent) -> None:
        if isinstance(event, DirDeletedEvent) and os.fsdecode(event.src_path) == self._top:
            self._removed()
        for name in (event.src_path, event.dest_path):
            if name:
                self._report(Path(os.fsdecode(name)))


def _started(observer: BaseObserver) -> BaseObserver:
    observer.start()
    return observer


def _identity(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        s = path.stat()
        return (s.st_dev, s.st_ino) if paths.is_dir(path) else None
    return None


def _seconds_to_look(place: Place) -> float:
    began = time.monotonic()
    for parent, _, files in os.walk(place.path):
        for name in files:
            with suppress(OSError):
                os.lstat(f"{parent}/{name}")
    return time.monotonic() - began


def is_shared(path: Path, mounts: str | None = None) -> bool:
    """Return whether a folder is on a file system that another machine may write to.

    ``mounts`` is the text of /proc/self/mountinfo (proc_pid_mountinfo(5)).
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(errors="replace")
        except OSError:
            return False
    best, kind = -1, ""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        if len(fields) < 5 or not right:
            continue
        point = fields[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        # Of two mounts at one place, the later one is on top.
        if path.is_relative_to(point) and len(point) >= best:
            best, kind = len(point), right.split(" ")[0]
    return kind.startswith(_SHARED)
