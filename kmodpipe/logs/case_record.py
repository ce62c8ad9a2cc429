"""Turn the records of one boot's verdict stream into one `CaseRecord` for each case.

Pure. Memory is bounded whatever the guest sends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

# Bytes of a case's output that are kept, from its beginning. The guest's agent sends half of that.
OUTPUT_LIMIT = 512 * 1024
# Kernel messages of a case that are kept, from its beginning, and their characters. Likewise.
KMSG_LIMIT = 20_000
_KMSG_CHARACTERS = 512 * 1024
# Characters of one value; the agent's longest is a kernel message of 8 KiB.
_VALUE_LIMIT = 8192
# Observations of one case, as many as the agent sends.
_KEYS_LIMIT = 500
_ENDINGS = ("exit", "signal", "timeout", "stuck")


class Record(Protocol):
    """The part of a verdict stream's record that `case_records` reads."""

    @property
    def type(self) -> str: ...
    @property
    def fields(self) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class CaseRecord:
    """What the verdict stream reports about one case in one boot."""

    index: int
    case_id: str = ""
    started: bool = False
    ended: bool = False
    # How it ended: exit, signal, timeout or stuck; empty if no end record came.
    how: str = ""
    # Exit status or signal number, by ``how``.
    status: int = 0
    duration_ms: int = 0
    # The last value of each key.
    observations: Mapping[str, str] = field(default_factory=dict)
    # The different outcomes that it observed, in order.
    outcomes: tuple[str, ...] = ()
    output: bytes = b""
    # Kernel messages during the case.
    kmsg: tuple[str, ...] = ()
    # What the case left behind in the guest, as the agent words it.
    left: str = ""
    # What was dropped, by stream: bytes of "out" and "kmsg", lines of "obs". A lower bound.
    dropped: Mapping[str, int] = field(default_factory=dict)
    # Contradictions in the stream about this case.
    problems: tuple[str, ...] = ()
    # SHA-256 of the script and of the shell library, taken just before the script ran.
    digests: tuple[str, str] = ("", "")


@dataclass
class _Draft:
    """A `CaseRecord` while its records are read."""

    index: int
    case_id: str = ""
    started: bool = False
    ended: bool = False
    how: str = ""
    status: int = 0
    duration_ms: int = 0
    observations: dict[str, str] = field(default_factory=dict)
    outcomes: list[str] = field(default_factory=list)
    output: bytearray = field(default_factory=bytearray)
    kmsg: list[str] = field(default_factory=list)
    kmsg_characters: int = 0
    left: str = ""
    dropped: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    digests: tuple[str, str] = ("", "")

    def take(self, record: Record) -> None:
        fields = record.fields
        if record.type == "start":
            if self.started:
                self.problem("it starts twice")
            self.started, self.case_id = True, fields.get("id", "")
            self.digests = fields.get("script", ""), fields.get("lib", "")
            return
        if not self.started or self.ended:
            self.problem(f"a record {record.type!r} {'after its end' if self.ended else 'before its start'}")
        if record.type == "obs":
            self.observe(
                self.bounded("obs", fields.get("key", "")), self.bounded("obs", fields.get("value", ""))
            )
        elif record.type == "out":
            self.add_output(_raw(fields.get("data", "")))
        elif record.type == "kmsg":
            self.add_kmsg(fields)
        elif record.type == "cut":
            self.drop(fields.get("stream", "out"), _number(fields.get("dropped")) or 1)
        elif record.type == "end":
            self.end(fields)

    def observe(self, key: str, value: str) -> None:
        if key == "outcome" and value not in self.outcomes and len(self.outcomes) < 8:
            self.outcomes.append(value)
        if key in self.observations or len(self.observations) < _KEYS_LIMIT:
            self.observations[key] = value
        else:
            self.drop("obs", 1)

    def bounded(self, stream: str, value: str) -> str:
        """Return a value, or its beginning if it is too long."""
        if len(value) > _VALUE_LIMIT:
            self.drop(stream, 1 if stream == "obs" else len(value) - _VALUE_LIMIT)
        return value[:_VALUE_LIMIT]

    def add_output(self, data: bytes) -> None:
        room = OUTPUT_LIMIT - len(self.output)
        self.output += data[: max(room, 0)]
        if len(data) > room:
            self.drop("out", len(data) - max(room, 0))

    def add_kmsg(self, fields: Mapping[str, str]) -> None:
        text = self.bounded("kmsg", fields.get("text", ""))
        self.kmsg_characters += len(text)
        if len(self.kmsg) < KMSG_LIMIT and self.kmsg_characters <= _KMSG_CHARACTERS:
            self.kmsg.append(text)
        else:
            self.drop("kmsg", len(text))

    def drop(self, stream: str, count: int) -> None:
        self.dropped[stream] = self.dropped.get(stream, 0) + max(count, 1)

    def end(self, fields: Mapping[str, str]) -> None:
        self.ended, self.how, self.left = True, fields.get("how", ""), fields.get("left", "")
        status, duration_ms = _number(fields.get("status")), _number(fields.get("ms"))
        if self.how not in _ENDINGS:
            self.problem(f"it ended in an unknown way {self.how!r}")
        if status is None or duration_ms is None:
            self.problem("its end has no status or no duration")
        self.status, self.duration_ms = status or 0, duration_ms or 0

    def problem(self, text: str) -> None:
        if text not in self.problems and len(self.problems) < 8:
            self.problems.append(text)

    def finished(self) -> CaseRecord:
        return CaseRecord(
            self.index, self.case_id, self.started, self.ended, self.how, self.status, self.duration_ms,
            dict(self.observations), tuple(self.outcomes), bytes(self.output), tuple(self.kmsg),
            self.left, dict(self.dropped), tuple(self.problems), self.digests,
        )  # fmt: skip


def case_records(records: Iterable[Record]) -> dict[int, CaseRecord]:
    """Return the case records of one boot, by case index.

    What exceeds the limits is dropped and counted in ``dropped``.
    """
    drafts: dict[int, _Draft] = {}
    for record in records:
        if record.type in ("start", "obs", "out", "cut", "kmsg", "end"):
            index = _number(record.fields.get("case"))
            if index is not None:
                drafts.setdefault(index, _Draft(index)).take(record)
    return {index: draft.finished() for index, draft in sorted(drafts.items())}


def _number(text: str | None) -> int | None:
    """Parse a decimal number as the agent writes it; return None for anything else."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else None


def _raw(text: str) -> bytes:
    """Return the bytes that the guest printed: a record holds those that are no UTF-8 as surrogates."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")
