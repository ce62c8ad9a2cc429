"""Kernel log bytes -> what happened. Pure.

A log is the guest's serial console: printk lines with any mix of prefixes (time, caller, level), whatever
processes wrote in between, cut anywhere. `Parser` takes it in pieces and keeps bounded state; `Scanner`
only says, at once, that the kernel has given up.

An event is one report: the oops that ends in a panic is an oops whose ``consequence`` is the panic, the
refcount message and the WARNING around it are one refcount report. What merely looks like a report, written
by a process to the console, is taken for one: crying wolf is better than a pass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kmodpipe.signatures import (
    BENIGN,
    CONSEQUENCE,
    FATAL,
    LEAKED_OBJECT,
    LEAKS_COUNTED,
    MESSENGER,
    SIGNATURES,
    TOKENS,
    Kind,
    Signature,
)  # fmt: skip

MAX_REPORTS = 256
_MAX_LINES = 250
_LINE_CHARS = 1000
_PARTIAL_BYTES = 16 * 1024
_HEADER_BYTES = 256
_BLOCK = 64 * 1024
_CHUNK = 1024 * 1024
# Messages between the end of a report and the panic that it leads to.
_CONSEQUENCE_GAP = 12

_TIME = r"\[ {0,5}\d{1,7}\.\d{6}\]"
_PREFIX = re.compile(rf"(?:<\d{{1,3}}>|{_TIME} ?|\[ {{0,6}}[TC]\d+(?:@C\d+)?\] ?)+")
_EMBEDDED = re.compile(rf"(?<=[^\s>])(?=(?:<\d{{1,3}}>)?{_TIME})")
_JUNK = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_SYM = r"[A-Za-z_][A-Za-z0-9_.]*"
_PLACE = rf"(?P<name>{_SYM})\+0x[0-9a-f]+/0x[0-9a-f]+(?: \[(?P<module>[\w-]+)(?: [0-9a-f]+)?\])?"
# kmemleak begins its lines with its name; an address that %p may not show yet is (____ptrval____).
_FRAME = re.compile(rf"(?:kmemleak:)?\s*(?P<unsure>\? )?(?:\[<(?:[0-9a-f]+|\(_+ptrval_+\))>\] )?{_PLACE}\s*$")
_RIP = re.compile(
    rf"(?:RIP|IP|EIP|pc|PC is at)\s*:?\s.*?{_PLACE}|RIP: [0-9a-f]+:{_PLACE.replace('?P<', '?P<_')}"
)
_HELD_AT = re.compile(rf", at: {_PLACE}")
_TASK = re.compile(
    r"\bPID: (?P<pid>\d+) Comm: (?P<task>.{1,16}?) "
    r"(?:Not tainted|Tainted: (?P<taint>[A-Z][A-Z ]*?)(?= +[^A-Z ]))"
)  # fmt: skip
_HUNG = re.compile(r"INFO: task (?P<task>.{1,16}?):(?P<pid>\d+) blocked")
_LEAKER = re.compile(r"(?:kmemleak:)?\s*comm \"(?P<task>[^\"]{1,16})\", pid (?P<pid>\d+), jiffies")
# Stacks of other moments in an object's life, in a report of KASAN or KFENCE.
_EARLIER = re.compile(
    r"(?:Allocated|Freed|allocated|freed) by task \d|(?:Last|Second to last) (?:call_rcu|potentially)"
)
_RULE = re.compile(r"={20,}\s*$")
_END_TRACE = re.compile(r"---\[ end trace")
_END_PANIC = re.compile(r"---\[ end Kernel panic")
# Lines that belong to a report though they are no frames.
_INNER = re.compile(
    r"\s*(?:</?(?:TASK|IRQ|NMI|EOI|#DF|ENTRY_TRAMPOLINE|SOFTIRQ)>|Call Trace:|Code: |R[A-Z0-9]{2}: |RSP: |"
    r"RIP: |EFLAGS|FS: |GS: |CS: |CR[0-9]: |DR[0-9]: |PKRU|Modules linked in|Hardware name|CPU: |"
    r"Workqueue: |---\[|NMI backtrace|irq event stamp|(?:hard|soft)irqs last|\? |stack backtrace|"
    r"\.\.\. |Stack:|asm_)"
)
_NUMBERS = re.compile(r"\b(?:0x)?[0-9a-f]*[0-9][0-9a-f]*\b")
_BRACKETED = (Kind.KASAN, Kind.KCSAN, Kind.KFENCE, Kind.UBSAN, Kind.SLAB)
_EXCEPTIONS = (Kind.OOPS, Kind.GPF, Kind.BUG, Kind.STACK, Kind.KASAN)
_STALLS = (Kind.SOFT_LOCKUP, Kind.HARD_LOCKUP, Kind.RCU_STALL)


_Found = tuple[Signature, dict[str, str], int]


@dataclass(frozen=True)
class Report:
    """One thing that went wrong.

    ``offset`` is that of its first line in the log, in bytes; ``lines`` are its lines without prefixes,
    250 at most; ``call_trace`` holds function names, the innermost first; ``function`` is the one in the
    title; ``modules`` are those that the trace passes through; ``consequence`` is the panic that it led
    to.
    """

    kind: Kind
    title: str
    lines: tuple[str, ...]
    offset: int
    function: str = ""
    call_trace: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    task: str = ""
    pid: int | None = None
    taint: str = ""
    consequence: str = ""


class Scanner:
    """Says when the kernel has given up, also where the words come in pieces."""

    def __init__(self) -> None:
        self._tail = b""
        self.seen: Kind | None = None

    def feed(self, data: bytes) -> Kind | None:
        """`Kind.PANIC` from the first panic on."""
        if self.seen is None:
            if FATAL in self._tail + data[: len(FATAL)] or FATAL in data:
                self.seen = Kind.PANIC
            self._tail = (self._tail + data)[1 - len(FATAL) :]
        return self.seen


def parse(log: bytes, benign: Mapping[str, str] = BENIGN) -> tuple[Report, ...]:
    """Every report in a whole log, in order; `MAX_REPORTS` at most. ``benign`` maps titles to reasons;
    those reports are left out."""
    parser = Parser()
    for at in range(0, len(log), _CHUNK):
        parser.feed(log[at : at + _CHUNK])
    return _without(parser.finish(), benign)


def parse_file(path: Path, benign: Mapping[str, str] = BENIGN) -> tuple[Report, ...]:
    """`parse` of a file, a mebibyte at a time."""
    parser = Parser()
    with path.open("rb") as f:
        while data := f.read(_CHUNK):
            parser.feed(data)
    return _without(parser.finish(), benign)


def _without(reports: tuple[Report, ...], benign: Mapping[str, str]) -> tuple[Report, ...]:
    return tuple(r for r in reports if r.title not in benign)


# -- one report in the making --------------------------------------------------------------------
@dataclass
class _Draft:
    signature: Signature
    groups: dict[str, str]
    offset: int
    lines: list[str] = field(default_factory=list)
    frames: list[tuple[str, str]] = field(default_factory=list)
    rip: tuple[str, str] | None = None
    held_at: str = ""
    task: str = ""
    pid: int | None = None
    taint: str = ""
    consequence: str = ""
    in_trace: bool = False
    backtrace: bool = False
    earlier: bool = False
    ended: bool = False
    since: int = 0  # messages since the report ended

    @property
    def kind(self) -> Kind:
        return self.signature.kind

    def add(self, text: str) -> None:
        self.lines.append(text.rstrip())
        if len(self.lines) == _MAX_LINES:
            self.ended = True
            return
        if match := _TASK.search(text) or _HUNG.search(text) or _LEAKER.match(text):
            if not self.task:
                self.task, self.pid = match["task"], int(match["pid"])
                self.taint = " ".join((match.groupdict().get("taint") or "").split())
        elif match := _RIP.search(text):
            self.rip = self.rip or (
                match["name"] or match["_name"],
                match["module"] or match["_module"] or "",
            )
            self.in_trace = self.in_trace or "Call Trace" in text
        elif match := _FRAME.match(text):
            self.in_trace = True
            if not match["unsure"] and not self.earlier and len(self.frames) < 64:
                self.frames.append((match["name"], match["module"] or ""))
        elif _EARLIER.match(text):
            self.earlier = True
        elif match := _HELD_AT.search(text):
            self.held_at = self.held_at or match["name"]
        elif "Call Trace:" in text:
            self.in_trace = True
        self._look_for_end(text)

    def _look_for_end(self, text: str) -> None:
        if _END_TRACE.search(text) or _END_PANIC.search(text):
            self.ended = True
        elif self.kind in _BRACKETED:
            self.ended = len(self.lines) > 1 and bool(_RULE.match(text))
        elif self.kind is Kind.LOCKDEP and not self.backtrace:
            # The chains of locks come with frames of their own; the trace that counts is the last.
            if "stack backtrace:" in text:
                self.backtrace, self.frames = True, []
        elif self.in_trace and not _FRAME.match(text) and not _INNER.match(text) and self.frames:
            self.lines.pop()
            self.ended = True

    def function(self) -> str:
        """The function to look at: where it happened, past those that only bring the message."""
        if self.held_at and self.kind is Kind.LOCKDEP and not MESSENGER.fullmatch(self.held_at):
            return self.held_at
        if self.kind in _STALLS:
            for name, module in filter(None, [self.rip, *self.frames]):
                if module:
                    return name
        named = [self.groups["at"]] if self.groups.get("at") else []
        frames = [name for name, _ in self.frames]
        rip = [self.rip[0]] if self.rip else []
        order = [*named, *frames, *rip] if self.signature.frame else [*named, *rip, *frames]
        return next((n for n in order if not MESSENGER.fullmatch(n)), order[0] if order else "")

    def report(self) -> Report:
        function = _plain_symbol(self.function())
        known = {k: v for k, v in self.groups.items() if v}
        template = self.signature.title
        if not function:
            template = template.replace(" in {function}", "")
        if "{b}" in template and "b" not in known:
            template = template.replace(" / {b}", "")
        if not known.get("what"):
            template = template.replace(": {what}", "")
        elif self.kind in (Kind.PANIC, Kind.BUG):
            known["what"] = _NUMBERS.sub("N", known["what"]).strip()[:100]
        title = template.format(**known | {"function": function})
        modules = dict.fromkeys(m for _, m in [self.rip or ("", ""), *self.frames] if m)
        return Report(
            self.kind, title, tuple(self.lines), self.offset, function, tuple(n for n, _ in self.frames),
            tuple(modules), self.task, self.pid, self.taint, self.consequence,
        )  # fmt: skip


def _plain_symbol(name: str) -> str:
    """``ovl_lookup.isra.0`` -> ``ovl_lookup``: what a compiler made of it is not the same in every build."""
    return re.sub(r"\.(?:isra|constprop|part|cold|llvm)\b.*", "", name)


# -- the parser ------------------------------------------------------------------------------------
class Parser:
    """Takes a log in pieces of any size. It stops looking after `MAX_REPORTS` reports: ``full``."""

    def __init__(self) -> None:
        self._partial = b""
        self._offset = 0  # of the partial line
        self._drafts: list[_Draft] = []
        self._open: _Draft | None = None
        self._gave_up = False
        self.full = False

    def feed(self, data: bytes) -> None:
        for at in range(0, len(data), _BLOCK):
            if not self.full:
                self._block(data[at : at + _BLOCK])

    def _block(self, data: bytes) -> None:
        data = self._partial + data
        # Most of a log is of no interest; do not look at its lines one by one.
        if self._open is None and not any(token in data for token in TOKENS):
            self._keep(data, max(data.rfind(b"\n") + 1, len(data) - _PARTIAL_BYTES))
            return
        at = 0
        while (end := data.find(b"\n", at)) >= 0:
            self._line(data[at:end], self._offset + at)
            at = end + 1
        while len(data) - at > _PARTIAL_BYTES + _HEADER_BYTES:
            end = at + _PARTIAL_BYTES
            # A line without an end is cut, but not through the header of a report.
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
        """The log has ended, perhaps in the middle of a line or of a report."""
        if self._partial:
            self._line(self._partial, self._offset)
            self._partial = b""
        return tuple(draft.report() for draft in self._drafts)

    def _line(self, raw: bytes, offset: int) -> None:
        if self._open is None and not any(token in raw for token in TOKENS):
            return
        # A message can begin anywhere in a line, behind what a process or a cut message left there.
        text = _JUNK.sub("", raw.decode("utf-8", "replace"))
        for piece in _EMBEDDED.split(text):
            message = _PREFIX.sub("", piece, count=1) if _PREFIX.match(piece) else piece
            self._message(message, offset)

    def _message(self, text: str, offset: int) -> None:
        found = _header(text)
        if len(text) > _LINE_CHARS:
            start = max(found[2] - _LINE_CHARS // 2, 0) if found else 0
            text = text[start : start + _LINE_CHARS]
        # The line that closes a panic repeats its words; only in a log that was cut is it the first.
        if found and _END_PANIC.search(text) and self._gave_up:
            found = None
        self._gave_up = self._gave_up or (found is not None and FATAL.decode() in text)
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
                if found[0].kind in (Kind.REFCOUNT, Kind.LIST, Kind.KMEMLEAK):  # says more than the first
                    current.signature, current.groups = found[:2]
                current.add(text)
                return
        if found is not None:
            self._begin(found, text, offset)

    def _continue(self, current: _Draft, text: str) -> None:
        if not current.ended:
            current.add(text)
            return
        current.since += 1
        if current.since > _CONSEQUENCE_GAP:
            self._open = None

    def _begin(self, found: _Found, text: str, offset: int) -> None:
        draft = _Draft(found[0], found[1], offset)
        draft.add(text)
        self._open = draft
        if len(self._drafts) < MAX_REPORTS:
            self._drafts.append(draft)
        else:
            self.full = True


def _header(text: str) -> _Found | None:
    """What report a message begins, with the groups of its pattern and where in the message it does."""
    for signature in SIGNATURES:
        if signature.token in text:
            look = signature.pattern.match if signature.start_only else signature.pattern.search
            if match := look(text):
                return signature, {k: v or "" for k, v in match.groupdict().items()}, match.start()
    return None


def _consequence(current: _Draft, found: Signature, text: str) -> bool:
    """Whether a panic is the end of the report before it."""
    if found.kind not in (Kind.PANIC, Kind.STACK) or "Kernel panic" not in text:
        return False
    if current.kind is Kind.WARNING and "panic_on_warn" not in text:
        return False
    return bool(CONSEQUENCE.search(text)) and not current.consequence


def _counts_leaks(current: _Draft, found: Signature) -> bool:
    """Whether a header only counts the leaked objects that the scan has shown before it."""
    return current.signature.token == LEAKED_OBJECT and found.token == LEAKS_COUNTED


def _same_event(current: _Draft, found: Signature) -> bool:
    """Whether a header goes on with the report that is open: the kernel prints several for one event."""
    if current.ended:
        return False
    if found.kind in (Kind.WARNING, Kind.BUG) and current.kind in (Kind.REFCOUNT, Kind.LIST):
        return not current.frames
    if found.kind in (Kind.REFCOUNT, Kind.LIST) and current.kind in (Kind.WARNING, Kind.BUG):
        return not current.frames
    if found.token == " [#" or found.kind is Kind.STACK:
        return current.kind in (*_EXCEPTIONS, Kind.REFCOUNT, Kind.LIST) and not current.frames
    return found.kind is current.kind and found.kind in (Kind.KMEMLEAK, Kind.OOM) and not current.frames


__all__ = ["MAX_REPORTS", "Kind", "Parser", "Report", "Scanner", "parse", "parse_file"]
