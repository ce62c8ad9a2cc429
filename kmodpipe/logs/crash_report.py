"""Build one report of a kernel from the lines of its log.

Pure. `kernel_log` finds the lines where reports begin; a `Draft` takes the lines and finds the end.
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
# kmemleak prefixes its lines with its name. Before the kernel can hash pointers, %p prints (____ptrval____).
_FRAME = re.compile(rf"(?:kmemleak:)?\s*(?P<unsure>\? )?(?:\[<(?:[0-9a-f]+|\(_+ptrval_+\))>\] )?{_PLACE}\s*$")
_RIP = re.compile(
    rf"(?:RIP|IP|EIP|pc|PC is at)\s*:?\s.*?{_PLACE}|RIP: [0-9a-f]+:{_PLACE.replace('?P<', '?P<_')}"
)
_CPU = re.compile(r"\bCPU(?:: |#)(?P<cpu>\d+)\b|\bLOCKUP on cpu (?P<_cpu>\d+)")
# The kernel's registers, not those of the process that entered it (RIP: 0033).
_REGISTER = re.compile(r"(?:RSP|EFLAGS|R[A-Z0-9]{2}|FS|CS|CR2|PKRU|DR[0-9]): .*[0-9a-f]{4}|Code: ")
_HELD_AT = re.compile(rf", at: {_PLACE}")
_TASK = re.compile(r"\bPID: (?P<pid>\d+) Comm: (?P<task>.{1,16}?) (?:Not tainted|Tainted: )")
# On the line that names the task, or on a line of its own.
_TAINT = re.compile(r"(?:^\s+| )(?:Not tainted|Tainted: (?P<taint>[A-Z][A-Z ]*?)(?= +[^A-Z ])) ")
_HUNG = re.compile(r"INFO: task (?P<task>.{1,16}?):(?P<pid>\d+) blocked")
_LEAKER = re.compile(r"(?:kmemleak:)?\s*comm \"(?P<task>[^\"]{1,16})\", pid (?P<pid>\d+), jiffies")
# Headings of earlier stacks of an object (allocated, freed), in reports of KASAN and KFENCE.
_EARLIER = re.compile(
    r"(?:Allocated|Freed|allocated|freed) by task \d|(?:Last|Second to last) (?:call_rcu|potentially)"
)
# Headings of the two sides of a race, each with a stack, in reports of KCSAN.
_ACCESS = re.compile(r"(?:read|write|assert no )[\w()/ -]* to 0x[0-9a-f]+ of \d+ bytes by ")
_RULE = re.compile(r"={20,}\s*$")
_END_TRACE = re.compile(r"---\[ end trace")
END_PANIC = re.compile(r"---\[ end Kernel panic")
# Lines within a trace that are not frames and do not end it.
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
    """One frame of a trace, as the kernel prints it: ``name+0xoffset/0xsize [module]``."""

    name: str
    offset: int  # bytes from the function's start
    size: int  # bytes of the function
    module: str = ""
    exact: bool = False  # the processor was here (RIP); otherwise a call returns to here
    stack: str = ""  # the heading of its trace, where there is one: "Freed by task 24:"

    def __str__(self) -> str:
        return f"{self.name}+{self.offset:#x}/{self.size:#x}" + (f" [{self.module}]" if self.module else "")


@dataclass(frozen=True)
class Report:
    """One report of the kernel about an error."""

    kind: Kind
    title: str
    # Without printk's prefixes, 250 at most.
    lines: tuple[str, ...]
    # Of its first line in the log, in bytes.
    offset: int
    # The function in the title.
    function: str = ""
    # Function names, innermost first.
    call_trace: tuple[str, ...] = ()
    # The modules in the trace.
    modules: tuple[str, ...] = ()
    task: str = ""
    pid: int | None = None
    # Taint letters before the event, ``none`` for an untainted kernel, empty if the report does not say.
    taint: str = ""
    # The panic that it led to.
    consequence: str = ""
    cpu: int | None = None
    # The kernel's, as printed.
    registers: tuple[str, ...] = ()
    # Every frame in the order of the report: RIP, the call trace, and an object's earlier stacks.
    frames: tuple[Frame, ...] = ()


@dataclass
class Draft:
    """A report while its lines are read."""

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
    stack: str = ""  # the heading of the frames that follow, where a report has several stacks
    ended: bool = False
    since: int = 0  # messages since it ended

    @property
    def kind(self) -> Kind:
        return self.signature.kind

    def add(self, text: str) -> None:
        """Take the next message; sets ``ended`` when it is the last, or no longer part of the report."""
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
        """Take CPU, taint, and the first block of the kernel's registers, from its RIP on."""
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
            pass  # the trace is followed by the state of memory, and only then by the process that is killed
        elif self.kind in _BRACKETED:
            self.ended = len(self.lines) > 1 and bool(_RULE.match(text))
        elif self.kind is Kind.LOCKDEP and not self.backtrace:
            # The chains of locks have frames too; the trace of the event is the last one.
            if "stack backtrace:" in text:
                self.backtrace, self.frames, self.places = True, [], []
        elif self.in_trace and not _FRAME.match(text) and not _INNER.match(text) and self.frames:
            self.lines.pop()
            self.ended = True

    def function(self) -> str:
        """Return the function where it happened: the first that is not merely part of the reporting."""
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
        """Return the finished report."""
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
    """Return a symbol without a compiler's suffix, which differs between builds: ``f.isra.0`` -> ``f``."""
    return re.sub(r"\.(?:isra|constprop|part|cold|llvm)\b.*", "", name)
