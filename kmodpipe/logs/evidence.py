"""What a report of the kernel comes to in the results: who, where, on which processor, in what state, and its
traces decoded to lines. Pure but for the files that a `Decoder` reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kmodpipe.logs.kernel_log import Frame, Report, plain_symbol
from kmodpipe.logs.signatures import MESSENGER
from kmodpipe.logs.symbolize import Decoder
from kmodpipe.util.text import one_line

LINES, FEWER_LINES = 200, 40
"""Of a report's own words that results keep: of a case's first report, and of each that followed it."""
REPORTS = 16
"""Of one case in one guest that results keep; the console has them all."""
_COLUMN = 56
_TAINTED = re.compile(r"\btaint:(?P<letters>\S+?)(?:,|$)")
NOT_TAINTED = "none"


@dataclass(frozen=True)
class TraceLine:
    """One function of a trace: a frame as the kernel printed it, or the name of one that is ``inlined`` into
    the next; ``place`` is file and line where they are known, ``note`` says why not where there is something
    to say. ``stack`` is the heading of a trace that has one ("Freed by task 24:")."""

    function: str
    place: str = ""
    inlined: bool = False
    note: str = ""
    stack: str = ""

    def __str__(self) -> str:
        name = f"  {self.function} (inlined)" if self.inlined else self.function
        where = self.place or (f"({self.note})" if self.note else "")
        return f"{name:<{_COLUMN}} {where}".rstrip()


@dataclass(frozen=True)
class KernelReport:
    """One report of the kernel, as results keep it. ``place`` is where the function of its title was.
    ``taint_before`` and ``taint_after`` are letters as an oops has them, ``none``, or empty where nobody
    said; ``benign`` is the reason why it does not count, empty where it does; ``log`` and ``offset`` say
    where in which console it begins."""

    kind: str
    title: str
    place: str = ""
    fingerprint: str = ""
    task: str = ""
    pid: int | None = None
    cpu: int | None = None
    taint_before: str = ""
    taint_after: str = ""
    registers: tuple[str, ...] = ()
    trace: tuple[TraceLine, ...] = ()
    modules: tuple[str, ...] = ()
    consequence: str = ""
    lines: tuple[str, ...] = ()
    log: str = ""
    offset: int = 0
    benign: str = ""

    def format(self) -> list[str]:
        """Return its lines: what a developer needs first at the top, the kernel's own words last."""
        if self.benign:
            return [f"benign report: {self.title}", f"  let off: {self.benign}"]
        lines = [f"crash: {self.title}", *(f"  {name}: {value}" for name, value in self._facts() if value)]
        if self.registers:
            lines += ["  registers:", *(f"    {line}" for line in self.registers)]
        stack = None
        for line in self.trace:
            if line.stack != stack:
                lines.append(f"  {line.stack or 'call trace, innermost first:'}")
                stack = line.stack
            lines.append(f"    {line}")
        return lines + [f"| {line}" for line in self.lines]

    def _facts(self) -> Iterator[tuple[str, str]]:
        who = self.task + (f", PID {self.pid}" if self.pid is not None else "")
        yield "in", who + (f", CPU {self.cpu}" if self.cpu is not None else "")
        taint = [f"{self.taint_before} before" * bool(self.taint_before)]
        taint += [f"{self.taint_after} after" * bool(self.taint_after)]
        yield "taint", ", ".join(filter(None, taint))
        yield "led to", self.consequence
        yield "fingerprint", self.fingerprint
        yield "console", f"{self.log}, from byte {self.offset}" if self.log else ""


def has_room(kept: Sequence[KernelReport], *, benign: bool) -> bool:
    """Whether one more report of a case is kept. The first that counts always is."""
    return len(kept) < REPORTS or (not benign and all(one.benign for one in kept))


def of(
    report: Report,
    decoder: Decoder,
    *,
    left: str = "",
    log: str = "",
    benign: str = "",
    most_lines: int = LINES,
) -> KernelReport:
    """A report with its frames decoded. ``left`` is what the guest's agent says that the case left behind."""
    trace = tuple(_trace(report.frames, decoder))
    return KernelReport(
        kind=report.kind.value,
        title=one_line(report.title),
        place=_place(report.function, trace),
        fingerprint=one_line(fingerprint(report)),
        task=one_line(report.task),
        pid=report.pid,
        cpu=report.cpu,
        taint_before=report.taint,
        taint_after=_taint_after(report.taint, one_line(left)),
        registers=tuple(map(one_line, report.registers)),
        trace=trace,
        modules=tuple(map(one_line, report.modules)),
        consequence=one_line(report.consequence),
        lines=tuple(one_line(line) for line in report.lines[:most_lines]),
        log=log,
        offset=report.offset,
        benign=benign,
    )


def _place(function: str, trace: Iterable[TraceLine]) -> str:
    named = (one for one in trace if plain_symbol(one.function.partition("+")[0]) == function)
    return next((one.place for one in named if not one.inlined), "")


def _taint_after(before: str, left: str) -> str:
    """The taint with what the agent says came to it; nothing where it could not say any more."""
    added = _TAINTED.search(left)
    letters = " ".join(filter(None, (before.replace(NOT_TAINTED, ""), added["letters"] if added else "")))
    return (letters or NOT_TAINTED) if left else ""


def _trace(frames: Iterable[Frame], decoder: Decoder) -> Iterator[TraceLine]:
    for frame in frames:
        stack, decoded = one_line(frame.stack), decoder.decode(frame)
        for place in decoded.places:
            name = one_line(place.function if place.inlined else str(frame))
            yield TraceLine(name, one_line(str(place)), place.inlined, stack=stack)
        if not decoded.places:
            yield TraceLine(one_line(str(frame)), note=one_line(decoded.note), stack=stack)


_SHOWN = 3


def fingerprint(report: Report) -> str:
    """What stays of a report from build to build, and what a rule is made of: kind, title, the first
    functions of its trace that do more than bring the message, modules."""
    names = dict.fromkeys(plain_symbol(name) for name in report.call_trace if not MESSENGER.fullmatch(name))
    functions = " < ".join(list(names)[:_SHOWN])
    return " | ".join(filter(None, (report.kind, report.title, functions, ", ".join(report.modules))))
