"""What is to be sent, on the disk before it is sent, and gone from there only once it has arrived.

    OUTBOX/pending/<receiver>.<key>/    one parcel
        parcel.json part-0 part-1 …     what to send; never changes
        state.json                      what came of trying
    OUTBOX/delivered/<key>.json         a receipt: it has arrived
    OUTBOX/locks/<receiver>             who sends to it now
    OUTBOX/work/                        half-made parcels, swept when their maker is gone

OUTBOX is ``$XDG_STATE_HOME/kmodpipe/outbox``, else ``~/.local/state/kmodpipe/outbox``. It is no cache:
nothing can make the results of last night anew, so `invoke clean` leaves it alone. No file of it holds a
token or an address to send one to.

A parcel appears by one rename. Before each attempt its state says ``sending``, with the process that does it;
after a success the receipt is written first and the parcel removed second. A process may die between any two
of these: what it leaves is a parcel that is sent again, which the receiver or we recognise, or, where neither
can, one that is held back as unclear.
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
from kmodpipe.util.errors import InfraError
from kmodpipe.util.files import write_atomically
from kmodpipe.util.lock import lock
from kmodpipe.util.process_id import boot_id

_KEEP_RECEIPTS_S = 400 * 24 * 3600.0
_KEEP_HALVES_S = 24 * 3600.0


@dataclass(frozen=True)
class State:
    """What came of trying so far. ``fate`` is empty before the first attempt has ended; ``sending`` names the
    process that is in the middle of one."""

    attempts: int = 0
    fate: str = ""
    text: str = ""
    time: str = ""
    sending: str = ""

    @property
    def unclear(self) -> bool:
        """Whether the receiver may have it: an attempt ended so, or its process died in it."""
        return self.fate == DeliveryStatus.UNCLEAR or bool(self.sending)


@dataclass(frozen=True)
class Entry:
    """One parcel that waits. ``made`` is the time at which it was spooled, in seconds since the epoch."""

    path: Path
    key: str
    receiver: str
    kind: str
    run: str
    about: str
    made: float
    state: State


class Spooled(StrEnum):
    NEW = "new"
    WAITING = "waiting"
    DELIVERED = "delivered"


def place() -> Path:
    """The outbox's folder. Raises InfraError where there is no place for one."""
    state = os.environ.get("XDG_STATE_HOME") or (
        str(Path(os.environ["HOME"]) / ".local" / "state") if os.environ.get("HOME") else ""
    )
    if not state:
        raise InfraError(
            "neither HOME nor XDG_STATE_HOME is set", hint="set XDG_STATE_HOME to a folder to keep"
        )
    return Path(state).absolute() / "kmodpipe" / "outbox"


class Outbox:
    """The parcels that wait, and the receipts of those that do not any more."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._pending = root / "pending"
        self._delivered = root / "delivered"
        self._store = Store(root)

    def open(self) -> Outbox:
        """Make the folder, for its owner only, and sweep what the dead have left. Raises InfraError."""
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
        # What write_atomically had begun when its process was killed.
        _remove_older([*self._delivered.glob(".*"), *self._store.work.glob(".*")], _KEEP_HALVES_S)
        return self

    # -- in ------------------------------------------------------------------------------------------
    def spool(self, parcel: Parcel, target: str, *, again: bool = False) -> Spooled:
        """Put the parcel in, unless it waits already or has arrived at ``target``; ``again`` does not ask for
        the latter."""
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
                    return Spooled.WAITING  # somebody else was quicker with the same
                raise
        _sync(self._pending)
        return Spooled.NEW

    def _path(self, parcel: Parcel) -> Path:
        return self._pending / f"{parcel.receiver}.{parcel.key[:32]}"

    # -- looking -------------------------------------------------------------------------------------
    def pending(self, receiver: str = "") -> tuple[Entry, ...]:
        """What waits, the oldest first; damaged ones are no entries, see `damaged`."""
        found = [entry for path in self._pending.glob("*.*") if (entry := _entry(path)) is not None]
        return tuple(
            sorted((e for e in found if receiver in ("", e.receiver)), key=lambda e: (e.made, e.path.name))
        )

    def damaged(self) -> tuple[Path, ...]:
        """Folders among those that wait which cannot be read as parcels."""
        return tuple(p for p in sorted(self._pending.glob("*")) if p.is_dir() and _entry(p) is None)

    def receipt(self, key: str, target: str) -> bool:
        """Whether this has arrived at this target before."""
        with suppress(OSError, ValueError, AttributeError):
            found: Any = json.loads(self._receipt(key).read_text("utf-8"))
            return bool(found.get("target") == target)
        return False

    def _receipt(self, key: str) -> Path:
        return self._delivered / f"{key}.json"

    # -- out -----------------------------------------------------------------------------------------
    @contextmanager
    def sending_to(self, receiver: str, waiting: Callable[[str], None]) -> Iterator[None]:
        """Alone with this receiver: two publishers at once send once."""
        with lock(self.root / "locks" / receiver, waiting=waiting):
            yield

    def refreshed(self, entry: Entry) -> Entry | None:
        """The entry as it is now; None where somebody else has sent it meanwhile."""
        return _entry(entry.path)

    def parcel(self, entry: Entry) -> Parcel:
        """What to send. Raises InfraError where it is not what was spooled."""
        try:
            head = json.loads((entry.path / "parcel.json").read_text("utf-8"))
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
                hint="publish its run anew, and remove that folder",
            )
        return parcel

    def begin(self, entry: Entry) -> Entry:
        """Say that an attempt begins; from here on the receiver may have it."""
        state = replace(entry.state, sending=f"pid {os.getpid()} boot {boot_id()}")
        return self._note(entry, replace(state, attempts=state.attempts + 1))

    def failed(self, entry: Entry, fate: DeliveryStatus, text: str) -> Entry:
        """Say how the attempt ended that `begin` began."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return self._note(entry, replace(entry.state, fate=fate.value, text=text, time=now, sending=""))

    @staticmethod
    def _note(entry: Entry, state: State) -> Entry:
        write_atomically(entry.path / "state.json", json.dumps(asdict(state), indent=1))
        return replace(entry, state=state)

    def delivered(self, entry: Entry, target: str, text: str) -> None:
        """It has arrived: the receipt first, then it is gone from here."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        receipt = {
            "receiver": entry.receiver, "run": entry.run, "about": entry.about, "target": target,
            "time": now, "answer": text,
        }  # fmt: skip
        write_atomically(self._receipt(entry.key), json.dumps(receipt, indent=1))
        _sync(self._delivered)
        # Renamed away whole and removed there: half a parcel would look like a damaged one.
        with self._store.scratch("sent-") as folder:
            entry.path.rename(folder / entry.path.name)


def _remove_older(files: Iterable[Path], age_s: float) -> None:
    for file in files:
        with suppress(OSError):
            if file.stat().st_mtime < time.time() - age_s:
                file.unlink()


def _entry(path: Path) -> Entry | None:
    try:
        head = json.loads((path / "parcel.json").read_text("utf-8"))
        made, key = float(head["made"]), str(head["key"])
        receiver, kind, run, about = (str(head[n]) for n in ("receiver", "kind", "run", "about"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    state = State()
    with suppress(OSError, ValueError, TypeError):
        state = State(**json.loads((path / "state.json").read_text("utf-8")))
    return Entry(path, key, receiver, kind, run, about, made, state)


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())


def _sync(folder: Path) -> None:
    """The folder's names on the disk, so that a power cut takes none back."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
