"""The verdict channel: bytes of the guest's second serial port <-> records. Pure.

    KP <mark> <seq> <mac> <type> [key=value ...]\\n

The nonce is made for one boot, known to the agent alone, and never sent: the mark is an HMAC of a constant
under it, and the mac one of the record. So who reads the channel, as root in the guest can, still cannot
write to it. A line counts as a record when mark, mac and shape are right; whatever else arrives is counted,
never kept and never believed.
A sequence number that is missing, or comes twice, is damage: no pass can come from a damaged stream.

The records of a boot, in this order:

    hello                       the kernel and its build id
    module | refused            each module of the plan, as the kernel took it
    start obs out cut kmsg end  each case; ``left`` of its end says what it left behind and what was restored
    done cases=N                the last one: every case ended, or the module was refused (N = 0)
    retired cases=N why=TEXT    the last one instead: after N cases the guest is no more what it was at the
                                start (a module in use, a taint, a stuck process), and no case may follow

``beat`` comes at any time. After either last record nothing comes.

The other way, from host to agent, goes one kind of line, ``KH <mac> <ms>``: how far the guest's clock
is ahead of what QEMU had, as it waited for a processor. The agent's limits are in the rest.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import quote_from_bytes

MAX_LINE = 32 * 1024
"""Bytes in a line, the longest that is a record."""

_NONCE = re.compile(r"[0-9a-f]{32}")
_SEQ = re.compile(rb"0|[1-9][0-9]{0,9}")
_MAC_BYTES = 16
_TYPE = re.compile(rb"[a-z][a-z0-9_-]{0,31}")
_FIELD = re.compile(rb"([a-z][a-z0-9_-]{0,31})=((?:[A-Za-z0-9._:/,+@-]|%[0-9A-F]{2})*)")
_ESCAPE = re.compile(rb"%([0-9A-F]{2})")
_SAFE = "._:/,+@-"


@dataclass(frozen=True)
class Record:
    """One believed record. A guest may send any byte in a value: what is no UTF-8 is in the text as a
    surrogate escape, and ``raw`` gives the bytes back."""

    seq: int
    type: str
    fields: Mapping[str, str]

    def raw(self, key: str) -> bytes:
        return self.fields.get(key, "").encode("utf-8", "surrogateescape")

    def number(self, key: str) -> int | None:
        """A value as a decimal number; None where it is missing or no number."""
        value = self.fields.get(key, "")
        return int(value) if re.fullmatch(r"-?[0-9]{1,18}", value, re.ASCII) else None


def _mac(nonce: str, data: bytes) -> str:
    return hmac.digest(nonce.encode(), data, "sha256")[:_MAC_BYTES].hex()


class Channel:
    """An incremental parser. It keeps at most one unfinished line.

    ``damaged`` counts what was sent with this boot's mark and did not arrive whole or in order,
    ``foreign_bytes`` what something else wrote. ``cut``: the stream ended within a record, as it does when
    the guest dies while it sends; what came before is none the worse for it.
    """

    def __init__(self, nonce: str) -> None:
        if not _NONCE.fullmatch(nonce):
            raise ValueError("a nonce is 32 hexadecimal digits")
        self._nonce = nonce
        self._mark = f"KP {_mac(nonce, b'mark')} ".encode()
        self._buffer = b""
        self._next = 0
        self.damaged = 0
        self.cut = False
        self.foreign_bytes = 0

    @property
    def whole(self) -> bool:
        """Whether nothing was lost, repeated or broken so far."""
        return self.damaged == 0

    def feed(self, data: bytes) -> list[Record]:
        """The records that ``data`` completes, in order."""
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
                # Cut or overwritten. Another record may begin within: look on just behind this mark.
                self.damaged += 1
                at = start + len(self._mark)
                continue
            at = end + 1
            if self._in_order(record):
                records.append(record)
        self._buffer = buffer[at:]
        return records

    def close(self) -> None:
        """The stream has ended: what is still unfinished is a cut record, or foreign."""
        if self._buffer.startswith(self._mark):
            self.cut = True
        else:
            self._foreign(self._buffer)
        self._buffer = b""

    def _foreign(self, data: bytes) -> None:
        self.foreign_bytes += len(data.translate(None, b"\r\n"))

    def _in_order(self, record: Record) -> bool:
        if record.seq < self._next:
            self.damaged += 1  # a record that was already there: repeated, not believed again
            return False
        if record.seq > self._next:
            self.damaged += 1
        self._next = record.seq + 1
        return True

    def _parse(self, line: bytes) -> Record | None:
        """``<seq> <mac> <type>[ key=value...]`` as a record."""
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
    """Whether the records of one boot keep to the protocol, and how far the planned cases came.

    ``problems`` are sentences; with any of them nothing that the guest says about its end is believed.
    """

    def __init__(self, planned: Collection[int]) -> None:
        self._planned = frozenset(planned)
        self.greeted = False
        self.refused = False
        self.running: int | None = None
        self.ended: set[int] = set()
        self.stuck: int | None = None
        self.done: int | None = None
        self.retired: int | None = None
        self.why = ""
        self.problems: list[str] = []

    @property
    def complete(self) -> bool:
        """The last record came, it counts the cases that were planned, and each of them ended."""
        if self.problems or self.done is None:
            return False
        if self.refused:
            return self.done == 0 and not self.ended
        return self.done == len(self._planned) and self.ended == self._planned

    @property
    def retired_well(self) -> bool:
        """The last record says that the guest is of no more use, and counts the cases that ended. At least
        one did: a guest that retires before any would do so again."""
        if self.problems or self.retired is None or self.running is not None or self.refused:
            return False
        return 0 < self.retired == len(self.ended)

    def take(self, record: Record) -> None:
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
    """Bytes as a token of the channel and of the plan: ``%XX`` for all but ``[A-Za-z0-9._:/,+@-]``."""
    raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
    # quote_from_bytes never quotes "~", which is not one of ours.
    return quote_from_bytes(raw, safe=_SAFE).replace("~", "%7E")


def decode_value(value: bytes) -> bytes:
    """The bytes that `encode_value` made ``value`` from."""
    if b"%" not in value:
        return value
    return _ESCAPE.sub(lambda m: bytes([int(m[1], 16)]), value)


def encode_record(
    nonce: str, seq: int, kind: str, fields: Mapping[str, str | bytes | int] | None = None
) -> bytes:
    """The line that the agent sends for a record; for the scripted machines of the tests."""
    tail = "".join([kind, *(f" {key}={encode_value(value)}" for key, value in (fields or {}).items())])
    mac = _mac(nonce, f"{seq} {tail}".encode())
    return f"KP {_mac(nonce, b'mark')} {seq} {mac} {tail}\n".encode()


def encode_ahead(nonce: str, seconds: float) -> bytes:
    """The line that tells the agent how far its clock is ahead."""
    ms = round(seconds * 1000)
    return f"KH {_mac(nonce, f'ahead {ms}'.encode())} {ms}\n".encode()


__all__ = [
    "MAX_LINE", "Channel", "Ledger", "Record", "decode_value", "encode_ahead", "encode_record",
    "encode_value",
]  # fmt: skip
