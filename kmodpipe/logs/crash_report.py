"""One report of a kernel, and the making of it from the lines of a log. Pure; `console` finds where it begins
and ends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from kmodpipe.logs.signatures import MESSENGER, OOM_BEGINS, Kind, Signature

_MAX_LINES = 250
_MAX_FRAMES = 64
_MAX_REGISTERS = 24

_SYM = r"[A-Za-z_][A-Za-z0-9_.]*"
_PLACE = (
    rf"(?P<name>{_SYM})\+0x(?P<offset>[0-9a-f]+)/0x(?P<size>[0-9a-f]+)"
    r"(?: \[(?P<module>[\w-]+)(?: [0-9a-f]+)?\])?"
)
# kmemleak begins its lines with its name; an address that %p may not show yet is (____ptrval____).
_FRAME = re.compile(rf"(?:kmemleak:)?\s*(?P<unsure>\? )?(?:\[<(?:[0-9a-f]+|\(_+ptrval_+\))>\] )?{_PLACE}\s*$")
_RIP = re.compile(
    rf"(?:RIP|IP|EIP|pc|PC is at)\s*:?\s.*?{_PLACE}|RIP: [0-9a-f]+:{_PLACE.replace('?P<', '?P<_')}"
)
_CPU = re.compile(r"\bCPU(?:: |#)(?P<cpu>\d+)\b|\bLOCKUP on cpu (?P<_cpu>\d+)")
# The registers of the kernel, not those of the process that entered it (RIP: 0033).
_REGISTER = re.compile(r"(?:RSP|EFLAGS|R[A-Z0-9]{2}|FS|CS|CR2|PKRU|DR[0-9]): .*[0-9a-f]{4}|Code: ")
_HELD_AT = re.compile(rf", at: {_PLACE}")
_TASK = re.compile(r"\bPID: (?P<pid>\d+) Comm: (?P<task>.{1,16}?) (?:Not tainted|Tainted: )")
# On a task's line, or one of its own.
_TAINT = re.compile(r"(?:^\s+| )(?:Not tainted|Tainted: (?P<taint>[A-Z][A-Z ]*?)(?= +[^A-Z ])) ")
_HUNG = re.compile(r"INFO: task (?P<task>.{1,16}?):(?P<pid>\d+) blocked")
_LEAKER = re.compile(r"(?:kmemleak:)?\s*comm \"(?P<task>[^\"]{1,16})\", pid (?P<pid>\d+), jiffies")
# Stacks of other moments in an object's life, in a report of KASAN or KFENCE.
_EARLIER = re.compile(
    r"(?:Allocated|Freed|allocated|freed) by task \d|(?:Last|Second to last) (?:call_rcu|potentially)"
)
# The two sides of a race, each with a stack, in a report of KCSAN.
_ACCESS = re.compile(r"(?:read|write|assert no )[\w()/ -]* to 0x[0-9a-f]+ of \d+ bytes by ")
_RULE = re.compile(r"={20,}\s*$")
_END_TRACE = re.compile(r"---\[ end trace")
END_PANIC = re.compile(r"---\[ end Kernel panic")
# Lines that belong to a report though they are no frames.
_INNER = re.compile(
    r"\s*(?:</?(?:TASK|IRQ|NMI|EOI|#DF|ENTRY_TRAMPOLINE|SOFTIRQ)>|Call Trace:|Code: |R[A-Z0-9]{2}: |RSP: |"
    r"RIP: |EFLAGS|FS: |GS: |CS: |CR[0-9]: |DR[0-9]: |PKRU|Modules linked in|Hardware name|CPU: |"
    r"Workqueue: |---\[|NMI backtrace|irq event stamp|(?:hard|soft)irqs last|\? |stack backtrace|"
    r"\.\.\. |Stack:|asm_)"
)
_NUMBERS = re.compile(r"\b(?:0x)?[0-9a-f]*[0-9][0-9a-f]*\b")
_BRACKETED = (Kind.KASAN, Kind.KCSAN, Kind.KFENCE, Kind.UBSAN, Kind.SLAB)
_STALLS = (Kind.SOFT_LOCKUP, Kind.HARD_LOCKUP, Kind.RCU_STALL)


@dataclass(frozen=True)
class Frame:
    """One place of a trace, as the kernel prints it: ``name+0xoffset/0xsize [module]``. ``exact``: it is
    where the processor was (RIP), not where a call returns to. ``stack`` is the heading of a trace
    that has one ("Freed by task 24:")."""

    name: str
    offset: int
    size: int
    module: str = ""
    exact: bool = False
    stack: str = ""

    def __str__(self) -> str:
        return f"{self.name}+{self.offset:#x}/{self.size:#x}" + (f" [{self.module}]" if self.module else "")


@dataclass(frozen=True)
class Report:
    """One thing that went wrong.

    ``offset`` is that of its first line in the log, in bytes; ``lines`` are its lines without prefixes, 250
    at most; ``call_trace`` holds function names, the innermost first; ``function`` is the one in the title;
    ``modules`` are those that the trace passes through; ``consequence`` is the panic that it led to.
    ``frames`` are all places that it names, in its own order: those of the call trace, where the processor
    was, and those of earlier moments in an object's life. ``taint`` is what the kernel was before (letters,
    or ``none``), ``registers`` the kernel's as they were printed.
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
    cpu: int | None = None
    registers: tuple[str, ...] = ()
    frames: tuple[Frame, ...] = ()


@dataclass
class Draft:
    """A report as far as it has come."""

    signature: Signature
    groups: dict[str, str]
    offset: int
    lines: list[str] = field(default_factory=list)
    frames: list[tuple[str, str]] = field(default_factory=list)
    rip: tuple[str, str] | None = None
    places: list[Frame] = field(default_factory=list)
    registers: list[str] = field(default_factory=list)
    kernel_registers: bool = False
    cpu: int | None = None
    held_at: str = ""
    task: str = ""
    pid: int | None = None
    taint: str = ""
    consequence: str = ""
    in_trace: bool = False
    backtrace: bool = False
    earlier: str = ""
    stack: str = ""  # whose frames follow, where there are several
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
        self._look_for_state(text)
        if match := _TASK.search(text) or _HUNG.search(text) or _LEAKER.match(text):
            if not self.task:
                self.task, self.pid = match["task"], int(match["pid"])
        elif match := _RIP.search(text):
            if not self.rip:
                at = _frame(match, "" if match["name"] else "_", exact=True)
                self.rip = (at.name, at.module)
                self.places.append(at)
            self.in_trace = self.in_trace or "Call Trace" in text
        elif match := _FRAME.match(text):
            self.in_trace = True
            if not match["unsure"]:
                self._add_frame(match)
        elif _EARLIER.match(text):
            self.earlier = self.stack = text.strip()
        elif _ACCESS.match(text):
            self.stack = text.strip()
        elif match := _HELD_AT.search(text):
            self.held_at = self.held_at or match["name"]
        elif "Call Trace:" in text:
            self.in_trace = True
        self._look_for_end(text)

    def _add_frame(self, match: re.Match[str]) -> None:
        if not self.earlier and len(self.frames) < _MAX_FRAMES:
            self.frames.append((match["name"], match["module"] or ""))
        if len(self.places) < 2 * _MAX_FRAMES:
            self.places.append(_frame(match, stack=self.stack))

    def _look_for_state(self, text: str) -> None:
        """Processor, taint, and the first block of the kernel's registers, from its RIP on."""
        if self.cpu is None and (match := _CPU.search(text)):
            self.cpu = int(match["cpu"] or match["_cpu"])
        if not self.taint and (match := _TAINT.search(text)):
            self.taint = " ".join((match["taint"] or "none").split())
        if "RIP: 0010:" in text:
            self.kernel_registers = not self.registers
        elif "RIP: " in text or (self.registers and not _REGISTER.match(text)):
            self.kernel_registers = False
        if self.kernel_registers and len(self.registers) < _MAX_REGISTERS:
            self.registers.append(text.strip())

    def _look_for_end(self, text: str) -> None:
        if _END_TRACE.search(text) or END_PANIC.search(text):
            self.ended = True
        elif self.signature.token == OOM_BEGINS:
            pass  # behind the trace it shows all memory, before it says whom it kills
        elif self.kind in _BRACKETED:
            self.ended = len(self.lines) > 1 and bool(_RULE.match(text))
        elif self.kind is Kind.LOCKDEP and not self.backtrace:
            # The chains of locks come with frames of their own; the trace that counts is the last.
            if "stack backtrace:" in text:
                self.backtrace, self.frames, self.places = True, [], []
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
        function = plain_symbol(self.function())
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
            tuple(modules), self.task, self.pid, self.taint, self.consequence, self.cpu,
            tuple(self.registers), tuple(self.places),
        )  # fmt: skip


def _frame(match: re.Match[str], prefix: str = "", *, exact: bool = False, stack: str = "") -> Frame:
    name, offset, size, module = (match[prefix + key] for key in ("name", "offset", "size", "module"))
    return Frame(name, int(offset, 16), int(size, 16), module or "", exact, stack)


def plain_symbol(name: str) -> str:
    """``ovl_lookup.isra.0`` -> ``ovl_lookup``: what a compiler made of it is not the same in every build."""
    return re.sub(r"\.(?:isra|constprop|part|cold|llvm)\b.*", "", name)
