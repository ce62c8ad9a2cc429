"""Build one report of a kernel from the lines of its log.

Pure. `kernel_log` finds the lines where reports begin; a `Draft` takes the lines and finds the end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from kmodpipe.logs import trace_lines
from kmodpipe.logs.signatures import OOM_BEGINS, Kind, Signature, is_messenger, is_reporter, plain_symbol
from kmodpipe.logs.trace_lines import Frame

_MAX_LINES = 250
_MAX_FRAMES = 64
_MAX_REGISTERS = 40
# So many messages of others may stand between two lines of a trace.
_MAX_STRAYS = 3

_HEX = re.compile(r"\b(?:0x)?[0-9a-f]*[0-9][0-9a-f]*\b")
# What a header says of one boot only: a task by its name and number, addresses, the place of a page.
_TASKS = re.compile(
    r"(?::|,| by| in)? *(?:process|task) .*$|[:,]? \[[0-9a-f]+\] code: .*$|[:,] \S{1,16}/\d+\b.*$"
)
_ADDRESS = re.compile(r"(?: at)? (?:0x)?[0-9a-f]{8,}.*$")
_ENDED_BY_RULE = (Kind.KASAN, Kind.KCSAN, Kind.KFENCE, Kind.KMSAN, Kind.UBSAN)
_STALLS = (Kind.SOFT_LOCKUP, Kind.HARD_LOCKUP, Kind.RCU_STALL)


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
    # The line that names the error: not the first where a message of the code precedes it.
    header: str = ""
    # The title should name a function, and the log does not tell it.
    vague: bool = False
    # The `Watch` for which it counts, or `QUIET`; empty if it always counts.
    watch: str = ""


@dataclass
class Draft:
    """A report while its lines are read."""

    signature: Signature
    groups: dict[str, str]
    offset: int
    header: str
    # It was printed with a time, so that lines without one are not of the kernel.
    timed: bool = False
    lines: list[str] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    pc: Frame | None = None
    # How many frames came before ``pc``: those of an interrupt.
    before_pc: int = 0
    places: list[Frame] = field(default_factory=list)
    registers: list[str] = field(default_factory=list)
    kernel_registers: bool = False
    cpu: int | None = None
    held_at: str = ""
    caller: str = ""
    task: str = ""
    pid: int | None = None
    described: bool = False  # the line with CPU, task and taint came
    taint: str = ""
    consequence: str = ""
    in_trace: bool = False
    backtrace: bool = False
    earlier: bool = False
    stack: str = ""  # the heading of the frames that follow, where a report has several stacks
    strays: int = 0  # messages since the last line of the trace
    ended: bool = False
    since: int = 0  # messages since it ended
    closed: bool = False  # its "end trace" came

    @property
    def kind(self) -> Kind:
        return self.signature.kind

    def rename(self, signature: Signature, groups: dict[str, str], header: str) -> None:
        """Take a more specific header than the first."""
        self.signature, self.groups, self.header = signature, groups, header

    def add(self, text: str) -> None:
        """Take the next message; sets ``ended`` when it is the last, or no longer part of the report."""
        self.lines.append(text.rstrip())
        if len(self.lines) == _MAX_LINES or self.signature.single:
            self.ended = True
            return
        self._look_for_state(text)
        frames = trace_lines.frames(text)
        if frames is not None:
            self.in_trace = True
            for frame in frames:
                if frame.size or frames[1:] == () or not self.frames:
                    self._add_frame(frame)
        elif place := trace_lines.processor_at(text):
            self._add_pc(place)
        elif heading := trace_lines.earlier_stack(text):
            self.earlier, self.stack = True, heading
        elif heading := trace_lines.access(text):
            self.stack = heading
        elif "Call Trace:" in text or "Call trace:" in text:
            self.in_trace = True
        else:
            self.held_at = self.held_at or trace_lines.held_at(text)
            self.caller = self.caller or trace_lines.caller(text)
        self._look_for_end(text, is_frame=frames is not None)

    def _add_pc(self, place: Frame) -> None:
        if self.pc is None:
            self.pc, self.before_pc = place, len(self.frames)
            self.places.append(place)

    def _add_frame(self, frame: Frame) -> None:
        if not self.earlier and len(self.frames) < _MAX_FRAMES:
            self.frames.append(frame)
        if len(self.places) < 2 * _MAX_FRAMES:
            self.places.append(Frame(frame.name, frame.offset, frame.size, frame.module, stack=self.stack))

    def _look_for_state(self, text: str) -> None:
        """Take task, CPU, taint, and the first block of the kernel's registers, from its RIP on."""
        if task := trace_lines.task(text):
            # What follows is the stack of the event itself.
            self.earlier, self.stack = False, ""
            self.described = self.described or " Comm: " in text
            if not self.task:
                self.task, self.pid = task.name, task.pid
        if self.cpu is None:
            self.cpu = trace_lines.cpu(text)
        self.taint = self.taint or trace_lines.taint(text)
        if trace_lines.begins_registers(text):
            self.kernel_registers = not self.registers or self.kernel_registers
        elif "RIP: " in text or (self.registers and not trace_lines.is_register(text)):
            self.kernel_registers = False
        if self.kernel_registers and len(self.registers) < _MAX_REGISTERS:
            self.registers.append(text.strip())

    def _look_for_end(self, text: str, *, is_frame: bool) -> None:
        if trace_lines.ends_report(text):
            self.ended = self.closed = True
        elif self.signature.token == OOM_BEGINS:
            pass  # the trace is followed by the state of memory, and only then by the process that is killed
        elif self.kind in _ENDED_BY_RULE:
            self.ended = len(self.lines) > 1 and trace_lines.is_rule(text)
        elif self.kind is Kind.LOCKDEP and not self.backtrace:
            # The chains of locks have frames too; the trace of the event is the last one.
            if "stack backtrace:" in text:
                self.backtrace, self.earlier, self.stack = True, False, ""
                self.frames, self.places = [], []
        elif is_frame or not (self.in_trace and self.frames):
            self.strays = 0
        elif not trace_lines.is_within(text) or self.strays:
            # Another message may stand between two frames.
            self.strays += 1
            if self.strays > _MAX_STRAYS:
                self.ended = True

    def function(self) -> str:
        """Return the function where it happened: the first that is not merely part of the reporting."""
        if self.kind is Kind.LOCKDEP and self.held_at and not is_messenger(self.held_at):
            return self.held_at
        after, before = self.frames[self.before_pc :], self.frames[: self.before_pc]
        pc = [self.pc] if self.pc else []
        if self.kind in _STALLS:
            # The frames of the interrupt that found it are not what was stuck.
            order = [*pc, *after, *before]
            if in_module := next((f.name for f in order if f.module), ""):
                return in_module
        else:
            order = [*self.frames, *pc] if self.signature.frame else [*pc, *self.frames]
        named = [Frame(self.groups["at"], 0, 0)] if self.groups.get("at") else []
        called = [Frame(self.caller, 0, 0)] if self.caller else []
        order = [*called, *named, *order]
        for left_out in (is_messenger, is_reporter):
            if named_by := next((f.name for f in order if not left_out(f.name, f.module)), ""):
                return named_by
        return order[0].name if order else ""

    def report(self) -> Report:
        """Return the finished report."""
        function = plain_symbol(self.function())
        title = self._title(function)
        pc = [self.pc] if self.pc else []
        modules = dict.fromkeys(f.module for f in (*pc, *self.frames) if f.module)
        return Report(
            self.kind, title, tuple(self.lines[: len(self.lines) - self.strays]), self.offset, function,
            tuple(f.name for f in self.frames),
            tuple(modules), self.task, self.pid, self.taint, self.consequence, self.cpu,
            tuple(self.registers), tuple(self.places), self.header.strip(),
            not function and "{function}" in self.signature.title, self.signature.watch,
        )  # fmt: skip

    def _title(self, function: str) -> str:
        known = {k: v for k, v in self.groups.items() if v}
        template = self.signature.title
        if not function:
            template = template.replace(" in {function}", "")
        if "{b}" in template and "b" not in known:
            template = template.replace(" / {b}", "")
        if not known.get("what"):
            template = template.replace(": {what}", "")
        elif self.kind in (Kind.PANIC, Kind.BUG, Kind.SLAB, Kind.OOPS):
            known["what"] = _without_details(known["what"])
        return template.format(**known | {"function": function})


def _without_details(what: str) -> str:
    """Return the words of a header without what differs from boot to boot."""
    for pattern in (_TASKS, _ADDRESS):
        what = pattern.sub("", what)
    return _HEX.sub("N", what).strip(" :,-.")[:100]


__all__ = ["Draft", "Frame", "Report"]
