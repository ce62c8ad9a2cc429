"""The protocol of the verdict channel, on the guest's second serial port: bytes <-> records. Pure.

    KP <mark> <seq> <mac> <type> [key=value ...]\\n

The nonce is made for one boot, known in the guest to the agent alone, and never sent: the mark is an HMAC of
a constant with it as the key, and the mac an HMAC of the record. So a process that reads the channel, as root
in the guest can, cannot forge records. A line is a record if mark, mac and syntax are right; other bytes are
counted and dropped. A sequence number that is missing or comes twice is damage, and no case of a damaged
stream passes.

The records of a boot, in this order:

    hello                       the kernel and its build id
    module | refused            each module of the plan, as the kernel took it; what=disk if the disk with the
                                tools cannot be mounted
    start obs out cut kmsg end  each case; ``left`` of its end lists what it left behind and what was restored
    section | shell             of a guest that is used by hand (`by_hand`), instead of cases: where a part
                                of a module is in memory, if gdb is to be attached; the shell begins
    done cases=N                the last one: every case ended, or something was refused (N = 0)
    retired cases=N why=TEXT    the last one instead: after N cases the guest is not in its initial state any
                                more (a module in use, a taint, a stuck process), and no case may follow

``beat`` may come at any time. Nothing comes after the last record.

The host sends the agent one kind of line, ``KH <mac> <ms>``: how far the guest's clock is ahead of the time
that QEMU had, as QEMU waited for a processor. The agent subtracts that from its time limits.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import quote_from_bytes

# Bytes in the longest line that can be a record.
MAX_LINE = 32 * 1024

_NONCE = re.compile(r"[0-9a-f]{32}")
_SEQ = re.compile(rb"0|[1-9][0-9]{0,9}")
_MAC_BYTES = 16
_TYPE = re.compile(rb"[a-z][a-z0-9_-]{0,31}")
_FIELD = re.compile(rb"([a-z][a-z0-9_-]{0,31})=((?:[A-Za-z0-9._:/,+@-]|%[0-9A-F]{2})*)")
_ESCAPE = re.compile(rb"%([0-9A-F]{2})")
_SAFE = "._:/,+@-"


@dataclass(frozen=True)
class Record:
    """One authentic record.

    A guest may send any byte in a value: bytes that are no UTF-8 are surrogate escapes in ``fields``, and
    `raw` returns the bytes.
    """

    seq: int
    type: str
    fields: Mapping[str, str]

    def raw(self, key: str) -> bytes:
        """Return a value as bytes; empty if it is missing."""
        return self.fields.get(key, "").encode("utf-8", "surrogateescape")

    def number(self, key: str) -> int | None:
        """Return a value as a decimal number; None if it is missing or no number."""
        value = self.fields.get(key, "")
        return int(value) if re.fullmatch(r"-?[0-9]{1,18}", value, re.ASCII) else None


def _mac(nonce: str, data: bytes) -> str:
    return hmac.digest(nonce.encode(), data, "sha256")[:_MAC_BYTES].hex()


class Channel:
    """An incremental parser of the channel. It keeps at most one unfinished line."""

    def __init__(self, nonce: str) -> None:
        if not _NONCE.fullmatch(nonce):
            raise ValueError("a nonce is 32 hexadecimal digits")
        self._nonce = nonce
        self._mark = f"KP {_mac(nonce, b'mark')} ".encode()
        self._buffer = b""
        self._next = 0
        # Records with this boot's mark that did not arrive whole or in order.
        self.damaged = 0
        # The stream ended within a record, as when the guest dies while it sends. Earlier records are valid.
        self.cut = False
        # Bytes outside of records.
        self.foreign_bytes = 0

    @property
    def whole(self) -> bool:
        """Whether no record was lost, repeated or broken so far."""
        return self.damaged == 0

    def feed(self, data: bytes) -> list[Record]:
        """Take the next bytes; return the records that they complete, in order."""
        buffer = self._buffer + data
        records: list[Record] = []
        at = 0
        while True:
            start = buffer.find(self._mark, at)
            if start < 0:
                # The end may be the beginning of the mark.
                keep = max(at, len(buffer) - len(self._mark) + 1)
                self._foreign(buffer[at:keep])
                at = keep
                break
            self._foreign(buffer[at:start])
            at = start
            end = buffer.find(b"\n", start, start + MAX_LINE)
            if end < 0 and len(buffer) - start < MAX_LINE:
                break
            record = self._parse(buffer[start + len(self._mark) : end]) if end >= 0 else None
            if record is None:
                # Cut or overwritten. Another record may begin within it: continue just after this mark.
                self.damaged += 1
                at = start + len(self._mark)
                continue
            at = end + 1
            if self._in_order(record):
                records.append(record)
        self._buffer = buffer[at:]
        return records

    def close(self) -> None:
        """End the stream: an unfinished line is a record that was cut, or foreign bytes."""
        if self._buffer.startswith(self._mark):
            self.cut = True
        else:
            self._foreign(self._buffer)
        self._buffer = b""

    def _foreign(self, data: bytes) -> None:
        self.foreign_bytes += len(data.translate(None, b"\r\n"))

    def _in_order(self, record: Record) -> bool:
        if record.seq < self._next:
            self.damaged += 1  # a record that was there already is dropped
            return False
        if record.seq > self._next:
            self.damaged += 1
        self._next = record.seq + 1
        return True

    def _parse(self, line: bytes) -> Record | None:
        """Return the record of ``<seq> <mac> <type>[ key=value...]``, or None if it is not authentic."""
        seq, _, rest = line.rstrip(b"\r").partition(b" ")
        mac, _, tail = rest.partition(b" ")
        if not _SEQ.fullmatch(seq):
            return None
        if not hmac.compare_digest(_mac(self._nonce, seq + b" " + tail).encode(), mac):
            return None
        kind, *pairs = tail.split(b" ")
        if not _TYPE.fullmatch(kind):
            return None
        fields: dict[str, str] = {}
        for pair in pairs:
            match = _FIELD.fullmatch(pair)
            if match is None or match[1].decode() in fields:
                return None
            fields[match[1].decode()] = decode_value(match[2]).decode("utf-8", "surrogateescape")
        return Record(int(seq), kind.decode(), fields)


class Ledger:
    """Checks that the records of one boot keep to the protocol, and tracks the planned cases."""

    def __init__(self, planned: Collection[int]) -> None:
        self._planned = frozenset(planned)
        self.greeted = False  # hello came
        self.refused = False  # the kernel refused a module, or the disk
        self.running: int | None = None
        self.ended: set[int] = set()
        self.stuck: int | None = None  # the case whose process could not be killed
        self.done: int | None = None  # the count of cases in the last record
        self.retired: int | None = None  # likewise
        self.why = ""  # the guest retired
        # Violations, as sentences. With any of them the last record is not believed.
        self.problems: list[str] = []

    @property
    def complete(self) -> bool:
        """Whether ``done`` came, counts the planned cases, and each of them ended."""
        if self.problems or self.done is None:
            return False
        if self.refused:
            return self.done == 0 and not self.ended
        return self.done == len(self._planned) and self.ended == self._planned

    @property
    def retired_well(self) -> bool:
        """Whether ``retired`` came and counts the cases that ended.

        At least one has to: if the guest retired before any, the next one would do the same.
        """
        if self.problems or self.retired is None or self.running is not None or self.refused:
            return False
        return 0 < self.retired == len(self.ended)

    def take(self, record: Record) -> None:
        """Check and count the next record."""
        if not self.greeted and record.type != "hello":
            self._problem(f"a record {record.type!r} before the first, hello")
        if self.done is not None or self.retired is not None:
            last = "done" if self.done is not None else "retired"
            self._problem(f"a record {record.type!r} after the last, {last}")
        if record.type == "hello":
            if self.greeted:
                self._problem("the agent started twice")
            self.greeted = True
        elif record.type == "refused":
            self.refused = True
        elif record.type == "start":
            self._start(record.number("case"))
        elif record.type == "end":
            self._end(record)
        elif record.type == "done":
            self.done = record.number("cases")
            if self.done is None:
                self._problem("the last record does not count the cases")
            elif not self.complete:
                self._problem(
                    f"the agent is done after {self.done} cases, {len(self.ended)} of "
                    f"{len(self._planned)} planned ones ended"
                )
        elif record.type == "retired":
            self._retire(record)

    def _start(self, case: int | None) -> None:
        if case not in self._planned or case in self.ended or self.running is not None or self.refused:
            self._problem(f"case {case} started out of turn")
        self.running = case

    def _end(self, record: Record) -> None:
        case = record.number("case")
        if case is None or case != self.running:
            self._problem(f"case {case} ended without being run")
            return
        self.running = None
        self.ended.add(case)
        if record.fields.get("how") == "stuck":
            self.stuck = case

    def _retire(self, record: Record) -> None:
        self.why = record.fields.get("why", "")
        self.retired = record.number("cases")
        if self.retired is None:
            self._problem("the last record does not count the cases")
        elif not self.retired_well:
            self._problem(f"the agent retires after {self.retired} cases, {len(self.ended)} ended")

    def _problem(self, text: str) -> None:
        if len(self.problems) < 8:
            self.problems.append(text)


def encode_value(value: str | bytes | int) -> str:
    """Return a value as a word of the channel or the plan: ``%XX`` for all but ``[A-Za-z0-9._:/,+@-]``."""
    raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
    # quote_from_bytes never quotes "~", which is not in the set.
    return quote_from_bytes(raw, safe=_SAFE).replace("~", "%7E")


def decode_value(value: bytes) -> bytes:
    """Return the bytes that `encode_value` made ``value`` from."""
    if b"%" not in value:
        return value
    return _ESCAPE.sub(lambda m: bytes([int(m[1], 16)]), value)


def encode_record(
    nonce: str, seq: int, kind: str, fields: Mapping[str, str | bytes | int] | None = None
) -> bytes:
    """Return the line that the agent sends for a record. Used by the scripted machines of the tests."""
    tail = "".join([kind, *(f" {key}={encode_value(value)}" for key, value in (fields or {}).items())])
    mac = _mac(nonce, f"{seq} {tail}".encode())
    return f"KP {_mac(nonce, b'mark')} {seq} {mac} {tail}\n".encode()


def encode_ahead(nonce: str, seconds: float) -> bytes:
    """Return the line that informs the agent how far its clock is ahead."""
    ms = round(seconds * 1000)
    return f"KH {_mac(nonce, f'ahead {ms}'.encode())} {ms}\n".encode()


__all__ = [
    "MAX_LINE", "Channel", "Ledger", "Record", "decode_value", "encode_ahead", "encode_record",
    "encode_value",
]  # fmt: skip
