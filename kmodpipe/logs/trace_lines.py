"""Recognize the lines of a report: frames, the place of the processor, registers, headings. Pure.

The formats are of x86, arm, arm64, riscv and the others that print through the same code, 4.19 to 7.0, as the
kernel prints them and as scripts/decode_stacktrace.sh does, which adds the place in the source.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kmodpipe.logs.signatures import SYM

_PLACE = (
    rf"(?P<name>{SYM})\+0x(?P<offset>[0-9a-f]+)/0x(?P<size>[0-9a-f]+)"
    r"(?: \[(?P<module>[\w-]+)(?: [0-9a-f]+)?\])?"
)
# Before the kernel can hash pointers, %p prints (____ptrval____).
_RETURN = r"\[<\s*(?:[0-9a-f]+|\(_*ptrval_*\))\s*>\]"
_SOURCE = r"[\w./+~-]{1,200}:\d+(?: \(discriminator \d+\))?"
# kmemleak prefixes its lines with its name; arm64 marks what a frame is, "(P)"; powerpc, "(unreliable)".
_FRAME = re.compile(
    rf"(?:kmemleak:)?\s*(?P<unsure>\? )?(?:{_RETURN} |\[[0-9a-f]{{8,16}}\] ){{0,2}}(?P<guess>\? )?"
    rf"\(?{_PLACE}\)?(?: \([A-Z]{{1,4}}\)| \(unreliable\))?"
    rf"(?: \(?{_SOURCE}\)?)?(?: \[inline\])?(?: \[?(?P<decoded>[\w-]+)\]?)?\s*$"
)
# An inlined function has no address.
_INLINED = re.compile(
    rf"\s*(?:\[<\s*inline\s*>\] )?(?P<name>{SYM}) "
    rf"(?:{_SOURCE} \[inline\]|\[inline\]|\({_SOURCE}\))(?: [\w-]+)?\s*$"
)
_INLINED_OLD = re.compile(rf"\s*\[<\s*inline\s*>\] (?P<name>{SYM})\b")
# arm: "[<c0101234>] (f) from [<c0105678>] (g+0x10/0x20)", since 5.18 " f from g+0x10/0x20".
_FROM = re.compile(
    rf"\s*(?:{_RETURN} )?\(?(?P<callee>{SYM})(?:\+0x[0-9a-f]+/0x[0-9a-f]+)?(?: \[[\w-]+\])?\)? from "
    rf"(?:{_RETURN} )?\(?{_PLACE}\)?\s*$"
)
# Where the processor was: x86, arm and arm64, riscv and mips, loongarch, powerpc, s390.
_PC = re.compile(
    rf"(?:(?:\bRIP|^EIP|^IP)(?: is at |: ?(?:[0-9a-f]{{4}}:)?| )(?:{_RETURN}\s+){{0,2}}"
    rf"|^\s*(?:pc|PC|s?epc|ERA|NIP|TPC)(?: is at|\s*:)? (?:[\[<]?[0-9a-f]{{8,16}}[\]>]? )?<?"
    rf"|^Krnl PSW : [0-9a-f ]{{16,40}} \(){_PLACE}"
)
_CPU = re.compile(r"\bCPU(?:: |#)(?P<cpu>\d+)\b|\bLOCKUP on cpu (?P<_cpu>\d+)")
# The kernel's registers, not those of the process that entered it (RIP: 0033).
_REGISTERS_BEGIN = re.compile(
    rf"^\s*(?:RIP: 0010:|EIP: |pc : (?:{SYM}\+|\[<)|PC is at |s?epc : {SYM}\+|epc   : )"
)
_REGISTER = re.compile(
    r"\s*(?:(?:RSP|EFLAGS|[RE][A-Z0-9]{2}|FS|CS|DS|CR2|PKRU|DR[0-9]): .*[0-9a-f]{4}|Code: "
    r"|(?:lr|ra)\s*: |LR is at |Flags: "
    r"|(?:pc|sp|epc|gp|tp|pstate|status|fp|[xrats]\d{1,2})\s*: ?.*[0-9a-f]{4})"
)
_HELD_AT = re.compile(rf", at: (?:{_RETURN} )?{_PLACE}")
_CALLER = re.compile(rf"^caller is (?:{_RETURN} )?(?P<name>{SYM})\+0x")
_TASK = re.compile(r"\bPID: (?P<pid>\d+) Comm: (?P<task>.{1,16}?) (?:Not tainted|Tainted: )")
_HEADER_TASK = re.compile(r", CPU#\d+: (?P<task>.{1,16}?)/(?P<pid>\d+)\s*$")
# On the line that names the task, or on a line of its own.
_TAINT = re.compile(r"(?:^\s+| )(?:Not tainted|Tainted: (?P<taint>[A-Z][A-Z ]*?)(?= +[^A-Z ])) ")
_HUNG = re.compile(r"INFO: task (?P<task>.{1,16}?):(?P<pid>\d+) (?:blocked|can't die)")
_LEAKER = re.compile(r"(?:kmemleak:)?\s*comm \"(?P<task>[^\"]{1,16})\", pid (?P<pid>\d+), jiffies")
# Headings of earlier stacks of an object (allocated, freed, stored), or of another event (preemption off).
_EARLIER = re.compile(
    r"(?:Allocated|Freed|allocated|freed) by task \d|(?:Last|Second to last) (?:call_rcu|potentially)"
    r"|(?:INFO: )?(?:Allocated|Freed) in \S+ age=|(?:Uninit|Local variable .{1,80}) was (?:stored|created)"
    r"|Local variable .{1,80} created at:|Preemption disabled at:|(?:soft|hard)irqs last +(?:en|dis)abled at"
    r"|page last (?:allocated|free)|page (?:allocated|last free) via|The buggy address|Tracked by"
    r"|\{.{1,20}\} state was registered at:|Memory state around"
)
# Headings of the two sides of a race, each with a stack, in reports of KCSAN.
_ACCESS = re.compile(r"(?:read|write|assert no )[\w()/ -]* to 0x[0-9a-f]+ of \d+ bytes by ")
_RULE = re.compile(r"={20,}\s*$")
_END_TRACE = re.compile(r"---\[ end trace")
END_PANIC = re.compile(r"---\[ end Kernel panic")
# Lines within a trace that are not frames and do not end it.
_INNER = re.compile(
    r"\s*(?:</?(?:TASK|IRQ|NMI|EOI|EOE|UNK|#DF|#DB|#MC|ENTRY_TRAMPOLINE|SOFTIRQ)>|\[?Call [Tt]race|Code: |"
    r"[RE][A-Z0-9]{2}: |EFLAGS|[FGCDES]S: |CR[0-9]: |DR[0-9]: |PKRU|Modules linked in|Hardware name|CPU: |"
    r"Workqueue: |---\[|NMI backtrace|irq event stamp|(?:hard|soft)irqs last|\? |stack backtrace|\.\.\. |"
    r"Stack:|Backtrace:|asm_|Tainted: \[|Sending NMI|Exception stack|(?:PC|LR|EIP) is at|"
    r"(?:pc|lr|sp|ra|epc|gp|tp|pstate|status|fp|psr|Flags)\s*: |[xrats]\d{1,2}\s*: ?[0-9a-f]{8}|"
    r"[0-9a-f]{4,16}: +[0-9a-f]{4})"
)
# Lines between a report and the panic that it led to: registers again, ftrace's buffer, rules.
_TAIL = re.compile(
    r"\s*(?:$|-{5,}|={5,}|Dumping ftrace|\(ftrace buffer|note: |Process .{1,20} \(pid: |Kernel Offset|"
    r"R[A-Z0-9]{2}: |\(?[\[<(]?[0-9a-f]{8,16}\b|\d+ locks? held by|no locks held|#\d+: |Showing all locks)"
)


@dataclass(frozen=True)
class Frame:
    """One frame of a trace, as the kernel prints it: ``name+0xoffset/0xsize [module]``."""

    name: str
    offset: int  # bytes from the function's start
    size: int  # bytes of the function; 0 for an inlined one, which has no address
    module: str = ""
    exact: bool = False  # the processor was here (RIP); otherwise a call returns to here
    stack: str = ""  # the heading of its trace, where there is one: "Freed by task 24:"

    def __str__(self) -> str:
        place = f"{self.name}+{self.offset:#x}/{self.size:#x}" if self.size else self.name
        return place + (f" [{self.module}]" if self.module else "")


@dataclass(frozen=True)
class Task:
    """The task that a line names."""

    name: str
    pid: int


def frames(text: str) -> tuple[Frame, ...] | None:
    """Return the frames of a line of a trace, none if it is unreliable; None if it is no such line.

    arm names two in a line, the called function (size 0) and its caller.
    """
    if match := _FRAME.match(text):
        if match["unsure"] or match["guess"]:
            return ()
        return (_frame(match, match["module"] or match["decoded"] or ""),)
    if match := _INLINED.match(text) or _INLINED_OLD.match(text):
        return (Frame(match["name"], 0, 0),)
    if match := _FROM.match(text):
        return Frame(match["callee"], 0, 0), _frame(match, match["module"] or "")
    return None


def processor_at(text: str) -> Frame | None:
    """Return where the processor was, if a line says so."""
    match = _PC.search(text)
    return _frame(match, match["module"] or "", exact=True) if match else None


def task(text: str) -> Task | None:
    """Return the task in which the event happened, if a line names it."""
    match = _TASK.search(text) or _HUNG.search(text) or _LEAKER.match(text) or _HEADER_TASK.search(text)
    return Task(match["task"], int(match["pid"])) if match else None


def cpu(text: str) -> int | None:
    """Return the processor on which the event happened, if a line names it."""
    match = _CPU.search(text)
    return int(match["cpu"] or match["_cpu"]) if match else None


def taint(text: str) -> str:
    """Return the taint letters of a line, ``none`` for an untainted kernel; empty if it does not tell."""
    if match := _TAINT.search(text):
        return " ".join((match["taint"] or "none").split())
    return ""


def held_at(text: str) -> str:
    """Return the function that took a held lock, if a line names it."""
    match = _HELD_AT.search(text)
    return match["name"] if match else ""


def caller(text: str) -> str:
    """Return the function in "caller is f+0x1/0x2"; empty in other lines."""
    match = _CALLER.match(text)
    return match["name"] if match else ""


def earlier_stack(text: str) -> str:
    """Return the heading of a stack of an earlier event; empty if a line is none."""
    return text.strip() if _EARLIER.match(text) else ""


def access(text: str) -> str:
    """Return the heading of one side of a race; empty if a line is none."""
    return text.strip() if _ACCESS.match(text) else ""


def begins_registers(text: str) -> bool:
    """Return whether a line begins the kernel's registers."""
    return _REGISTERS_BEGIN.match(text) is not None


def is_register(text: str) -> bool:
    """Return whether a line has registers."""
    return _REGISTER.match(text) is not None


def is_rule(text: str) -> bool:
    """Return whether a line is a rule, as sanitizers end their reports with."""
    return _RULE.match(text) is not None


def ends_report(text: str) -> bool:
    """Return whether a line is the last of a report."""
    return _END_TRACE.search(text) is not None or END_PANIC.search(text) is not None


def is_within(text: str) -> bool:
    """Return whether a line stands within traces and is no frame."""
    return _INNER.match(text) is not None


def is_tail(text: str) -> bool:
    """Return whether a line belongs to what the kernel prints between a report and its panic."""
    return _INNER.match(text) is not None or _TAIL.match(text) is not None or frames(text) is not None


def _frame(match: re.Match[str], module: str, *, exact: bool = False) -> Frame:
    return Frame(match["name"], int(match["offset"], 16), int(match["size"], 16), module, exact)
