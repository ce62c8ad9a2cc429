"""Find the kernel's reports in the bytes of its log. Pure.

The log is the guest's serial console: printk lines with any mix of prefixes (time, caller, level), mixed with
the output of processes, and possibly cut anywhere. `Parser` takes it in pieces and keeps bounded state;
`Scanner` only detects a panic, as soon as it is printed.

One event is one report: an oops that ends in a panic is an oops whose ``consequence`` is the panic; a
refcount message and the WARNING around it are one refcount report. Text that a process writes to the console
and that looks like a report counts as one: a false alarm is better than a false pass.
"""

from __future__ import annotations

import re
from pathlib import Path

from kmodpipe.logs.crash_report import END_PANIC, Draft, Frame, Report, plain_symbol
from kmodpipe.logs.signatures import (
    CONSEQUENCE,
    FATAL,
    LEAKED_OBJECT,
    LEAKS_COUNTED,
    OOM_BEGINS,
    SIGNATURES,
    TOKENS,
    Kind,
    Signature,
)

MAX_REPORTS = 256
_LINE_CHARS = 1000
_PARTIAL_BYTES = 16 * 1024
_HEADER_BYTES = 256
_BLOCK = 64 * 1024
_CHUNK = 1024 * 1024
# At most so many messages lie between the end of a report and the panic that it leads to.
_CONSEQUENCE_GAP = 12

_TIME = r"\[ {0,5}\d{1,7}\.\d{6}\]"
_PREFIX = re.compile(rf"(?:<\d{{1,3}}>|{_TIME} ?|\[ {{0,6}}[TC]\d+(?:@C\d+)?\] ?)+")
_EMBEDDED = re.compile(rf"(?<=[^\s>])(?=(?:<\d{{1,3}}>)?{_TIME})")
_JUNK = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_EXCEPTIONS = (Kind.OOPS, Kind.GPF, Kind.BUG, Kind.STACK, Kind.KASAN)

# A header that was found: its signature, the groups of the pattern, and its position in the message.
_Found = tuple[Signature, dict[str, str], int]


class Scanner:
    """Detects a panic in a log that comes in pieces."""

    def __init__(self) -> None:
        self._tail = b""
        self.seen: Kind | None = None

    def feed(self, data: bytes) -> Kind | None:
        """Take the next bytes; return `Kind.PANIC` from the first panic on."""
        if self.seen is None:
            if FATAL in self._tail + data[: len(FATAL)] or FATAL in data:
                self.seen = Kind.PANIC
            self._tail = (self._tail + data)[1 - len(FATAL) :]
        return self.seen


def parse(log: bytes) -> tuple[Report, ...]:
    """Return the reports in a log, in order; `MAX_REPORTS` at most."""
    parser = Parser()
    for at in range(0, len(log), _CHUNK):
        parser.feed(log[at : at + _CHUNK])
    return parser.finish()


def parse_file(path: Path) -> tuple[Report, ...]:
    """Return the reports in a file, as `parse` does; reads a mebibyte at a time."""
    parser = Parser()
    with path.open("rb") as f:
        while data := f.read(_CHUNK):
            parser.feed(data)
    return parser.finish()


class Parser:
    """Parses a log that comes in pieces of any size; stops after `MAX_REPORTS` reports."""

    def __init__(self) -> None:
        self._partial = b""
        self._offset = 0  # of the partial line
        self._drafts: list[Draft] = []
        self._open: Draft | None = None
        self._panicked = False
        self.full = False  # there were more than `MAX_REPORTS`

    def feed(self, data: bytes) -> None:
        for at in range(0, len(data), _BLOCK):
            if not self.full:
                self._block(data[at : at + _BLOCK])

    def _block(self, data: bytes) -> None:
        data = self._partial + data
        # Most of a log holds no report: skip it without splitting it into lines.
        if self._open is None and not any(token in data for token in TOKENS):
            self._keep(data, max(data.rfind(b"\n") + 1, len(data) - _PARTIAL_BYTES))
            return
        at = 0
        while (end := data.find(b"\n", at)) >= 0:
            self._line(data[at:end], self._offset + at)
            at = end + 1
        while len(data) - at > _PARTIAL_BYTES + _HEADER_BYTES:
            end = at + _PARTIAL_BYTES
            # An overlong line is cut into pieces, but not within the header of a report.
            seam = data[end - _HEADER_BYTES : end + _HEADER_BYTES]
            if found := [seam.find(token) for token in TOKENS if token in seam]:
                end += min(found) - _HEADER_BYTES
            self._line(data[at:end], self._offset + at)
            at = end
        self._keep(data, at)

    def _keep(self, data: bytes, at: int) -> None:
        self._partial = data[at:]
        self._offset += at

    def finish(self) -> tuple[Report, ...]:
        """Return the reports of the log, which may end within a line or a report."""
        if self._partial:
            self._line(self._partial, self._offset)
            self._partial = b""
        return tuple(draft.report() for draft in self._drafts)

    def _line(self, raw: bytes, offset: int) -> None:
        if self._open is None and not any(token in raw for token in TOKENS):
            return
        # A message can begin anywhere in a line, after output of a process or a message that was cut.
        text = _JUNK.sub("", raw.decode("utf-8", "replace"))
        for piece in _EMBEDDED.split(text):
            message = _PREFIX.sub("", piece, count=1) if _PREFIX.match(piece) else piece
            self._message(message, offset)

    def _message(self, text: str, offset: int) -> None:
        found = _header(text)
        if len(text) > _LINE_CHARS:
            start = max(found[2] - _LINE_CHARS // 2, 0) if found else 0
            text = text[start : start + _LINE_CHARS]
        # The line that ends a panic repeats its text. It begins a report only if the log lacks the panic.
        if found and END_PANIC.search(text) and self._panicked:
            found = None
        self._panicked = self._panicked or (found is not None and FATAL.decode() in text)
        current = self._open
        if current is not None:
            if found is None:
                self._continue(current, text)
                return
            if _consequence(current, found[0], text):
                current.consequence = current.consequence or text.strip()
                current.add(text)
                current.ended = True
                return
            if _counts_leaks(current, found[0]):
                return
            if _same_event(current, found[0]):
                if found[0].kind in (Kind.REFCOUNT, Kind.LIST, Kind.KMEMLEAK):  # more specific than the first
                    current.signature, current.groups = found[:2]
                current.add(text)
                if _ends_oom_kill(found[0]):
                    current.signature, current.groups = found[:2]
                    current.ended = True
                return
        if found is not None:
            self._begin(found, text, offset)

    def _continue(self, current: Draft, text: str) -> None:
        if not current.ended:
            current.add(text)
            return
        current.since += 1
        if current.since > _CONSEQUENCE_GAP:
            self._open = None

    def _begin(self, found: _Found, text: str, offset: int) -> None:
        draft = Draft(found[0], found[1], offset)
        draft.add(text)
        self._open = draft
        if len(self._drafts) < MAX_REPORTS:
            self._drafts.append(draft)
        else:
            self.full = True


def _header(text: str) -> _Found | None:
    """Return the header of a report that a message holds, or None."""
    for signature in SIGNATURES:
        if signature.token in text:
            look = signature.pattern.match if signature.start_only else signature.pattern.search
            if match := look(text):
                return signature, {k: v or "" for k, v in match.groupdict().items()}, match.start()
    return None


def _consequence(current: Draft, found: Signature, text: str) -> bool:
    """Return whether a header is the panic that the open report led to."""
    if found.kind not in (Kind.PANIC, Kind.STACK) or "Kernel panic" not in text:
        return False
    if current.kind is Kind.WARNING and "panic_on_warn" not in text:
        return False
    return bool(CONSEQUENCE.search(text)) and not current.consequence


def _counts_leaks(current: Draft, found: Signature) -> bool:
    """Return whether a header only counts the leaked objects that were reported before it."""
    return current.signature.token == LEAKED_OBJECT and found.token == LEAKS_COUNTED


def _same_event(current: Draft, found: Signature) -> bool:
    """Return whether a header continues the open report: the kernel prints several for one event."""
    if current.ended:
        return False
    if found.kind in (Kind.WARNING, Kind.BUG) and current.kind in (Kind.REFCOUNT, Kind.LIST):
        return not current.frames
    if found.kind in (Kind.REFCOUNT, Kind.LIST) and current.kind in (Kind.WARNING, Kind.BUG):
        return not current.frames
    if found.token == " [#" or found.kind is Kind.STACK:
        return current.kind in (*_EXCEPTIONS, Kind.REFCOUNT, Kind.LIST) and not current.frames
    if _ends_oom_kill(found):
        return current.signature.token == OOM_BEGINS
    return found.kind is current.kind is Kind.KMEMLEAK and not current.frames


def _ends_oom_kill(found: Signature) -> bool:
    """Return whether a header names the process that the OOM killer killed, long after it was invoked."""
    return found.kind is Kind.OOM and found.token != OOM_BEGINS


__all__ = [
    "MAX_REPORTS", "Frame", "Kind", "Parser", "Report", "Scanner", "parse", "parse_file", "plain_symbol",
]  # fmt: skip
