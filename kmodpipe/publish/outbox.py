"""The outbox: what is to be sent is written to the disk first, and removed only after it has arrived.

    OUTBOX/pending/<receiver>.<key>/    one parcel
        parcel.json part-0 part-1 …     what to send; never changes
        state.json                      the attempts so far
    OUTBOX/delivered/<key>.json         a receipt: the parcel has arrived
    OUTBOX/locks/<receiver>             held by the process that sends to it
    OUTBOX/work/                        unfinished parcels, removed once their process has ended

OUTBOX is ``$XDG_STATE_HOME/kmodpipe/outbox``, else ``~/.local/state/kmodpipe/outbox``. It is not a cache:
last night's results cannot be made again, so `invoke clean` does not remove it. No file in it holds a token,
or an address to which one would be sent.

A parcel appears by a rename. Before each attempt its state gets ``sending``, with the sending process; after
a success the receipt is written first, then the parcel is removed. If a process dies in between, its parcel
is sent again, as the receiver recognises it, or the receipt shows that it has arrived. If neither is
possible, it is held back as unclear.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from kmodpipe.cache.store import Store
from kmodpipe.publish.payload import DeliveryStatus, Parcel, Part
from kmodpipe.util import document
from kmodpipe.util.errors import InfraError
from kmodpipe.util.files import write_atomically
from kmodpipe.util.lock import lock
from kmodpipe.util.process_id import boot_id

_KEEP_RECEIPTS_S = 400 * 24 * 3600.0
# Files that an atomic write left behind.
_KEEP_UNFINISHED_S = 24 * 3600.0


@dataclass(frozen=True)
class State:
    """The attempts so far, as state.json has them."""

    attempts: int = 0
    # A `DeliveryStatus`; empty until the first attempt has ended.
    fate: str = ""
    # The message of the last attempt.
    text: str = ""
    # When it ended: ISO 8601, UTC.
    time: str = ""
    # The process that is making an attempt.
    sending: str = ""

    @property
    def unclear(self) -> bool:
        """Whether the receiver may have the parcel: an attempt ended so, or its process died during one."""
        return self.fate == DeliveryStatus.UNCLEAR or bool(self.sending)


@dataclass(frozen=True)
class Entry:
    """One pending parcel."""

    path: Path
    key: str
    receiver: str
    kind: str
    run: str
    about: str
    # When it was spooled, in seconds since 1970.
    made: float
    state: State


class Spooled(StrEnum):
    """What `Outbox.spool` found."""

    NEW = "new"
    # It is in the outbox already.
    WAITING = "waiting"
    # It has arrived before.
    DELIVERED = "delivered"


def place() -> Path:
    """Return the outbox's folder. Raise InfraError if neither HOME nor XDG_STATE_HOME is set."""
    state = os.environ.get("XDG_STATE_HOME") or (
        str(Path(os.environ["HOME"]) / ".local" / "state") if os.environ.get("HOME") else ""
    )
    if not state:
        raise InfraError(
            "neither HOME nor XDG_STATE_HOME is set", hint="set XDG_STATE_HOME to a folder to keep"
        )
    return Path(state).absolute() / "kmodpipe" / "outbox"


class Outbox:
    """The pending parcels, and the receipts of those that have arrived."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._pending = root / "pending"
        self._delivered = root / "delivered"
        self._store = Store(root)

    def open(self) -> Outbox:
        """Make the folder, for its owner only, and remove what dead processes left. Raise InfraError."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            for folder in (self._pending, self._delivered):
                folder.mkdir(exist_ok=True)
        except OSError as e:
            raise InfraError(
                f"the outbox cannot be used: {e.strerror}",
                where=str(self.root),
                hint="set XDG_STATE_HOME to a folder that can be written",
            ) from None
        self._store.sweep()
        _remove_older(self._delivered.glob("*.json"), _KEEP_RECEIPTS_S)
        # Temporary files of write_atomically whose process was killed.
        _remove_older([*self._delivered.glob(".*"), *self._store.work.glob(".*")], _KEEP_UNFINISHED_S)
        return self

    # -- adding parcels ------------------------------------------------------------------------------
    def spool(self, parcel: Parcel, target: str, *, again: bool = False) -> Spooled:
        """Add a parcel, unless it is pending already or has arrived at *target*.

        With *again* it is added even if it has arrived.
        """
        path = self._path(parcel)
        if not again and self.receipt(parcel.key, target):
            return Spooled.DELIVERED
        if path.is_dir():
            return Spooled.WAITING
        if again:
            with suppress(FileNotFoundError):
                self._receipt(parcel.key).unlink()
        with self._store.scratch("parcel-") as folder:
            rows = []
            for number, part in enumerate(parcel.parts):
                _write(folder / f"part-{number}", part.data)
                rows.append({"name": part.name, "filename": part.filename, "content_type": part.content_type})
            head = {
                "receiver": parcel.receiver,
                "kind": parcel.kind,
                "run": parcel.run,
                "about": parcel.about,
                "fields": dict(parcel.fields),
                "parts": rows,
                "key": parcel.key,
                "made": time.time(),
            }
            _write(folder / "parcel.json", json.dumps(head, indent=1).encode())
            _sync(folder)
            try:
                folder.rename(path)
            except OSError:
                if path.is_dir():
                    return Spooled.WAITING  # another process has added the same parcel meanwhile
                raise
        _sync(self._pending)
        return Spooled.NEW

    def _path(self, parcel: Parcel) -> Path:
        return self._pending / f"{parcel.receiver}.{parcel.key[:32]}"

    # -- reading -------------------------------------------------------------------------------------
    def pending(self, receiver: str = "") -> tuple[Entry, ...]:
        """Return the pending parcels, of all receivers or one, the oldest first; no damaged ones."""
        found = [entry for path in self._pending.glob("*.*") if (entry := _entry(path)) is not None]
        return tuple(
            sorted((e for e in found if receiver in ("", e.receiver)), key=lambda e: (e.made, e.path.name))
        )

    def damaged(self) -> tuple[Path, ...]:
        """Return the pending folders that cannot be read as parcels."""
        return tuple(p for p in sorted(self._pending.glob("*")) if p.is_dir() and _entry(p) is None)

    def receipt(self, key: str, target: str) -> bool:
        """Return whether the parcel *key* has arrived at *target* before."""
        with suppress(OSError, ValueError, AttributeError):
            found: Any = document.read_object(self._receipt(key))
            return bool(found.get("target") == target)
        return False

    def _receipt(self, key: str) -> Path:
        return self._delivered / f"{key}.json"

    # -- sending -------------------------------------------------------------------------------------
    @contextmanager
    def sending_to(self, receiver: str, waiting: Callable[[str], None]) -> Iterator[None]:
        """Hold the lock of a receiver, so that two processes never send the same parcel.

        *waiting* gets a message if another process holds it.
        """
        with lock(self.root / "locks" / receiver, waiting=waiting):
            yield

    def refreshed(self, entry: Entry) -> Entry | None:
        """Return the entry read again; None if another process has sent it meanwhile."""
        return _entry(entry.path)

    def parcel(self, entry: Entry) -> Parcel:
        """Return the parcel of an entry. Raise InfraError if it is not what was spooled."""
        try:
            head = document.read_object(entry.path / "parcel.json")
            parts = tuple(
                Part(
                    row["name"], (entry.path / f"part-{n}").read_bytes(), row["filename"], row["content_type"]
                )
                for n, row in enumerate(head["parts"])
            )
            parcel = Parcel(head["receiver"], head["kind"], head["run"], head["about"], parts, head["fields"])
        except (OSError, ValueError, KeyError, TypeError):
            parcel = None
        if parcel is None or parcel.key != entry.key:
            raise InfraError(
                "a parcel of the outbox is damaged, and not sent",
                where=str(entry.path),
                hint="publish its run again, and remove that folder",
            )
        return parcel

    def begin(self, entry: Entry) -> Entry:
        """Record that an attempt begins: from now on the receiver may have the parcel."""
        state = replace(entry.state, sending=f"pid {os.getpid()} boot {boot_id()}")
        return self._note(entry, replace(state, attempts=state.attempts + 1))

    def failed(self, entry: Entry, fate: DeliveryStatus, text: str) -> Entry:
        """Record how an attempt ended that did not deliver the parcel."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return self._note(entry, replace(entry.state, fate=fate.value, text=text, time=now, sending=""))

    @staticmethod
    def _note(entry: Entry, state: State) -> Entry:
        write_atomically(entry.path / "state.json", json.dumps(asdict(state), indent=1))
        return replace(entry, state=state)

    def delivered(self, entry: Entry, target: str, text: str) -> None:
        """Record that the parcel has arrived: write its receipt, then remove it."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        receipt = {
            "receiver": entry.receiver, "run": entry.run, "about": entry.about, "target": target,
            "time": now, "answer": text,
        }  # fmt: skip
        write_atomically(self._receipt(entry.key), json.dumps(receipt, indent=1))
        _sync(self._delivered)
        # Moved away before it is removed: a partly removed parcel would look like a damaged one.
        with self._store.scratch("sent-") as folder:
            entry.path.rename(folder / entry.path.name)


def _remove_older(files: Iterable[Path], age_s: float) -> None:
    """Remove the files that are older than *age_s* seconds."""
    for file in files:
        with suppress(OSError):
            if file.stat().st_mtime < time.time() - age_s:
                file.unlink()


def _entry(path: Path) -> Entry | None:
    """Return the parcel in a folder, None if it cannot be read."""
    try:
        head = document.read_object(path / "parcel.json")
        made, key = float(head["made"]), str(head["key"])
        receiver, kind, run, about = (str(head[n]) for n in ("receiver", "kind", "run", "about"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    state = State()
    with suppress(OSError, ValueError, TypeError):
        state = State(**document.read_object(path / "state.json"))
    return Entry(path, key, receiver, kind, run, about, made, state)


def _write(path: Path, data: bytes) -> None:
    """Write a new file through to the disk."""
    with path.open("xb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())


def _sync(folder: Path) -> None:
    """Write a folder's names through to the disk, so that a power failure does not undo a rename."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
