"""Read the counters of what a guest's modules executed from the records of its agent, and keep them. Pure.

    count   [case=N] file=PATH size=BYTES part=K data=BASE64    a part of a counter file of gcov
    counted [case=N] files=N opened=0|1 [lost=WHY]              the last record of a case, or of the start

In the data a zero byte stands for as many zeros as the byte behind it says. Memory is bounded.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from kmodpipe.logs.case_record import Record
from kmodpipe.util import document, paths

FILE_NAME = "counters.jsonl"
"""Their name in a cell's folder: a line for each time that they were taken."""
SUFFIX = ".gcda"
# Of one file, as in the agent, and of all files that were taken at one time.
_FILE_BYTES = 8 * 1024**2
_BYTES = 64 * 1024**2
_FILES = 10_000
_OPENED = "a process of the case opened the kernel's counters, which can clear them"


@dataclass(frozen=True)
class Taken:
    """The counters that were taken at one time: after a case, or before the first."""

    # Counter files of gcov, by their path below its folder in debugfs.
    files: Mapping[str, bytes] = field(default_factory=dict)
    # Why they do not tell what was executed; empty if they do.
    lost: str = ""


@dataclass
class _Draft:
    parts: dict[str, list[bytes]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    lost: str = ""
    ended: bool = False

    def lose(self, why: str) -> None:
        self.lost = self.lost or why

    def take(self, fields: Mapping[str, str]) -> None:
        name, size = fields.get("file", ""), _number(fields.get("size"))
        parts = self.parts.setdefault(name, [])
        if self.ended or size is None or _number(fields.get("part")) != len(parts):
            self.lose("a record of them is missing")
        if not paths.is_plain(name) or not name.endswith(SUFFIX) or len(self.parts) > _FILES:
            self.lose("a counter file has a name that none has")
        self.sizes[name] = size or 0
        if sum(self.sizes.values()) > _BYTES or self.sizes[name] > _FILE_BYTES:
            self.lose("they are too large")
        if not self.lost:
            parts.append(_decoded(fields.get("data", "")))

    def end(self, fields: Mapping[str, str]) -> None:
        if self.ended or _number(fields.get("files")) != len(self.parts):
            self.lose("a record of them is missing")
        self.ended = True
        if fields.get("opened") != "0":
            self.lose(_OPENED)
        if why := fields.get("lost"):
            self.lose(why[:200])

    def finished(self) -> Taken:
        files = {}
        for name, parts in self.parts.items() if self.ended else ():
            data = _expanded(b"".join(parts), self.sizes[name])
            if data is None:
                self.lose("a record of them is damaged")
            else:
                files[name] = data
        if not self.ended:
            self.lose("the guest ended before they were sent")
        return Taken(files, self.lost)


def taken(records: Iterable[Record]) -> Mapping[int | None, Taken]:
    """Return what was taken in one boot, by the index of the case; None is before the first case."""
    drafts: dict[int | None, _Draft] = {}
    for record in records:
        if record.type not in ("count", "counted"):
            continue
        index = _number(record.fields["case"]) if "case" in record.fields else None
        draft = drafts.setdefault(index, _Draft())
        if record.type == "count":
            draft.take(record.fields)
        else:
            draft.end(record.fields)
    return {index: draft.finished() for index, draft in drafts.items()}


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else None


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        return b""


def _expanded(data: bytes, size: int) -> bytes | None:
    """Return the content of a file of so many bytes; None if ``data`` is not that."""
    found = bytearray()
    at = 0
    while at < len(data) and len(found) <= size:
        zero = data.find(b"\0", at)
        if zero < 0:
            found += data[at:]
            break
        found += data[at:zero]
        if zero + 1 >= len(data):
            return None
        found += bytes(data[zero + 1])
        at = zero + 2
    return bytes(found) if len(found) == size else None


# -- kept ----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Kept:
    """One line of a cell's counters."""

    # The case's id, or a word for what was before the first.
    case: str
    taken: Taken


def to_line(kept: Kept) -> str:
    """Return a line for the file of a cell."""
    files = {
        name: base64.b64encode(zlib.compress(data, 6)).decode() for name, data in kept.taken.files.items()
    }
    return json.dumps({"case": kept.case, "lost": kept.taken.lost, "files": files}) + "\n"


def from_lines(text: str) -> Iterator[Kept]:
    """Yield what `to_line` wrote. Raise `document.Unreadable` if it is something else."""
    for line in text.splitlines():
        found = document.parse(line)
        try:
            files = {name: _inflated(data) for name, data in found["files"].items()}
            yield Kept(str(found["case"]), Taken(files, str(found["lost"])))
        except (KeyError, TypeError, AttributeError, ValueError, zlib.error) as e:
            raise document.Unreadable(f"it is no line of counters: {e}") from None


def _inflated(text: str) -> bytes:
    inflater = zlib.decompressobj()
    data = inflater.decompress(base64.b64decode(text, validate=True), _FILE_BYTES)
    if inflater.unconsumed_tail:
        raise ValueError("a counter file is too large")
    return data
