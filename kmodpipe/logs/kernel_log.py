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
from dataclasses import dataclass, replace
from pathlib import Path

from kmodpipe.logs import trace_lines
from kmodpipe.logs.crash_report import Draft, Frame, Report
from kmodpipe.logs.event import Found, causes, continues, counts_leaks, ends_oom_kill, find_header
from kmodpipe.logs.signatures import FATAL, QUIET, TOKENS, Kind, plain_symbol, unknown

MAX_REPORTS = 256
# Reports that count only where they are watched for; more than these are not kept.
_MAX_WATCHED = 64
# Tasks and processors whose reports are read at the same time, where the log names them.
_MAX_OPEN = 16
_LINE_CHARS = 1000
_OVERLAP_CHARS = 250
_PARTIAL_BYTES = 16 * 1024
_HEADER_BYTES = 256
_BLOCK = 64 * 1024
_CHUNK = 1024 * 1024
# At most so many messages, without registers and the like, lie between the end of a report and the panic that
# it leads to; or, to the lines that all reports share, so many bytes.
_CONSEQUENCE_GAP = 12
_NEAR_BYTES = 64 * 1024

_TIME = r"\[ {0,5}\d{1,7}\.\d{1,9}\]"
_CALLER = r"\[ {0,6}(?P<caller>[TC]\d+)(?:@C\d+)?\]"
_DATE = r"\[?(?:\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}|\d{4}-\d\d-\d\dT[\d:,.+-]{8,25})\]?"
_LEVEL = r"<\d{1,3}>|(?:kern|user|daemon|syslog|local\d) {0,4}:\w{3,6} {0,4}: "
_SYSLOG = r"(?:\w{3} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\S{8,25}) \S{1,64} kernel: "
_PREFIX = re.compile(rf"(?:{_LEVEL}|{_SYSLOG}|{_TIME} ?|{_DATE} |{_CALLER} ?)+")
_STAMP = re.compile(_TIME)
_HAS_TIME = re.compile(rf"(?:{_LEVEL}|{_SYSLOG})*{_TIME}")
_EMBEDDED = re.compile(rf"(?<!<\d>)(?<!<\d\d>)(?<!<\d\d\d>)(?=(?:<\d{{1,3}}>)?{_TIME})")
_JUNK = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class _Message:
    """One message of the log, without its prefix."""

    text: str
    offset: int  # of its line in the log, in bytes
    # The task or processor that printed it, where the log has that: "T12", "C0".
    caller: str = ""
    # It had a time, as printk gives it.
    timed: bool = False


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
        self._watched = 0  # how many of them count only where they are watched for
        self._open: dict[str, Draft] = {}  # by caller
        self._panicked = False
        self.full = False  # there were more than `MAX_REPORTS`

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the log."""
        for at in range(0, len(data), _BLOCK):
            if not self.full:
                self._block(data[at : at + _BLOCK])

    def finish(self) -> tuple[Report, ...]:
        """Return the reports of the log, which may end within a line or a report."""
        if self._partial:
            self._line(self._partial, self._offset, TOKENS)
            self._partial = b""
        return tuple(draft.report() for draft in self._drafts)

    # -- bytes to messages ----------------------------------------------------------------------------
    def _block(self, data: bytes) -> None:
        data = self._partial + data
        # Most of a log holds no report: skip it without splitting it into lines.
        tokens = tuple(token for token in TOKENS if token in data)
        if not self._open and not tokens:
            self._keep(data, max(data.rfind(b"\n") + 1, len(data) - _PARTIAL_BYTES))
            return
        at = 0
        while (end := data.find(b"\n", at)) >= 0:
            self._line(data[at:end], self._offset + at, tokens)
            at = end + 1
        while len(data) - at > _PARTIAL_BYTES + _HEADER_BYTES:
            end = at + _PARTIAL_BYTES
            # An overlong line is cut into pieces, but not within the header of a report.
            seam = data[end - _HEADER_BYTES : end + _HEADER_BYTES]
            if found := [seam.find(token) for token in TOKENS if token in seam]:
                end += min(found) - _HEADER_BYTES
            self._line(data[at:end], self._offset + at, tokens)
            at = end
        self._keep(data, at)

    def _keep(self, data: bytes, at: int) -> None:
        self._partial = data[at:]
        self._offset += at

    def _line(self, raw: bytes, offset: int, tokens: tuple[bytes, ...]) -> None:
        """Take a line; ``tokens`` are those that can be in it."""
        if not self._open:
            for token in tokens:
                if token in raw:
                    break
            else:
                return
        text = _JUNK.sub("", raw.decode("utf-8", "replace"))
        prefix = match[0] if (match := _PREFIX.match(text)) else ""
        # A message can begin anywhere in a line, after output of a process or a message that was cut.
        rest = text[len(prefix) :]
        first, *others = _EMBEDDED.split(rest) if _STAMP.search(rest) else [rest]
        for piece in (prefix + first, *others):
            match = _PREFIX.match(piece)
            caller = match["caller"] or "" if match else ""
            timed = _HAS_TIME.match(piece) is not None
            self._message(_Message(piece[match.end() if match else 0 :], offset, caller, timed))

    # -- messages to reports --------------------------------------------------------------------------
    def _message(self, message: _Message) -> None:
        text, found = _cut(message.text)
        if text is not message.text:
            message = replace(message, text=text)
        # The line that ends a panic repeats its text. It begins a report only if the log lacks the panic.
        if found and self._panicked and trace_lines.END_PANIC.search(text):
            found = None
        if found is None:
            self._continue(message)
            return
        panics = FATAL.decode() in text
        self._panicked = self._panicked or panics
        current = self._open.get(message.caller)
        if panics and (cause := causes(text, current, self._near(message.offset))):
            cause.consequence = text.strip()
            cause.add(text)
            # With panic_on_warn the panic comes before the trace.
            cause.ended = cause.ended or bool(cause.frames)
            if cause is not current and not cause.ended:
                self._open[message.caller] = cause
        elif found.signature.kind is Kind.UNKNOWN:
            self._unknown(found, message, current)
        elif current is None or not self._same(found, message, current):
            self._begin(found, message)

    def _continue(self, message: _Message) -> None:
        """Add a message without a header to the report of its caller."""
        current = self._open.get(message.caller)
        if current is None or (current.timed and not message.timed):
            return  # of another task, or the output of a process
        if not current.ended:
            current.add(message.text)
        elif not trace_lines.is_tail(message.text):
            current.since += 1
            if current.since > _CONSEQUENCE_GAP:
                del self._open[message.caller]

    def _same(self, found: Found, message: _Message, current: Draft) -> bool:
        """Take a header that belongs to the open report; return whether it does."""
        if counts_leaks(current, found.signature):
            return True
        if not continues(current, found.signature):
            return False
        if current.kind is Kind.UNKNOWN:
            current.rename(found.signature, found.groups, message.text)
            current.timed = message.timed
            if unknown.CUT_HERE.pattern.search(current.lines[0]):
                del current.lines[0]
        elif found.signature.kind in (Kind.REFCOUNT, Kind.LIST, Kind.KMEMLEAK):
            current.rename(found.signature, found.groups, message.text)  # more specific than the first
        current.add(message.text)
        if ends_oom_kill(found.signature):
            current.rename(found.signature, found.groups, message.text)
            current.ended = True
        return True

    def _begin(self, found: Found, message: _Message) -> None:
        draft = Draft(found.signature, found.groups, message.offset, message.text, message.timed)
        draft.add(message.text)
        if not draft.signature.single:
            self._open.pop(message.caller, None)
            if len(self._open) >= _MAX_OPEN:
                del self._open[next(iter(self._open))]
            self._open[message.caller] = draft
        if draft.signature.watch:
            self._watched += 1
            if self._watched <= _MAX_WATCHED:
                self._drafts.append(draft)
        elif len(self._drafts) - min(self._watched, _MAX_WATCHED) < MAX_REPORTS:
            self._drafts.append(draft)
        else:
            self.full = True

    # -- reports under a header that is not known -----------------------------------------------------
    def _unknown(self, found: Found, message: _Message, current: Draft | None) -> None:
        """Take a line that stands in reports of every kind: part of a known report, or of an unknown one."""
        if current is not None and not current.ended and not _alike(current, message):
            current = None  # one of them is the output of a process
        if current is not None and not current.ended and _takes(current, found):
            current.add(message.text)
        elif found.signature is unknown.CUT_HERE or not self._explained(found, message, current):
            self._begin(found, message)

    def _explained(self, found: Found, message: _Message, current: Draft | None) -> bool:
        """Return whether a known report, which ended before, has a line that all reports share."""
        if self._panicked:
            return True
        near = self._near(message.offset)
        ends = found.signature in unknown.AFTER
        if found.signature is unknown.BACKTRACE:
            # Of each processor, behind a report about what does not go on.
            cause = next((d for d in near if d.kind in _NOT_ONE_TRACE or d.signature.watch == QUIET), None)
        elif found.signature is unknown.EXITED:
            cause = near[0] if near else None
        elif ends:
            cause = next((d for d in near if not d.closed and not d.signature.watch), None)
        else:
            cause = current if current and not current.closed and _takes(current, found) else None
        if cause is None:
            return False
        cause.since, cause.closed = 0, cause.closed or ends
        if found.signature is unknown.BACKTRACE:
            self._open[message.caller] = cause
        if not cause.ended:
            cause.add(message.text)
        return True

    def _near(self, offset: int) -> list[Draft]:
        """Return the reports shortly before a place in the log, the last first."""
        return [d for d in self._drafts[:-9:-1] if offset - d.offset < _NEAR_BYTES]


_NOT_ONE_TRACE = (
    Kind.SOFT_LOCKUP, Kind.HARD_LOCKUP, Kind.RCU_STALL, Kind.HUNG_TASK, Kind.OOM, Kind.PANIC, Kind.BOOT,
)  # fmt: skip


def _alike(current: Draft, message: _Message) -> bool:
    """Return whether a message has a time as its report has; a requested dump is not begun by a process."""
    return current.timed == message.timed or (message.timed and not current.signature.watch)


def _takes(current: Draft, found: Found) -> bool:
    """Return whether a report has room for a line that all reports share: most have each of them once."""
    signature = found.signature
    if current.signature.watch:
        return signature is unknown.TASK and (not current.task or current.signature.watch == QUIET)
    if signature is unknown.CUT_HERE:
        # A message about a list or a lock comes before the BUG or WARNING that it leads to.
        return not current.frames and not current.task and len(current.lines) < 8
    if signature is unknown.TASK:
        return (
            not current.described
            or current.kind in _NOT_ONE_TRACE
            or current.signature.token == "BUG: workqueue lockup"
        )
    return True


def _cut(text: str) -> tuple[str, Found | None]:
    """Return a message in the length that is read, and its header: of an overlong one, the part with it."""
    if len(text) <= _LINE_CHARS:
        return text, find_header(text)
    first: tuple[str, Found] | None = None
    for at in range(0, len(text), _LINE_CHARS - _OVERLAP_CHARS):
        part = text[at : at + _LINE_CHARS]
        if found := find_header(part):
            if not found.signature.watch:
                return part, found
            first = first or (part, found)
    return first or (text[:_LINE_CHARS], None)


__all__ = [
    "MAX_REPORTS", "Frame", "Kind", "Parser", "Report", "Scanner", "parse", "parse_file", "plain_symbol",
]  # fmt: skip
