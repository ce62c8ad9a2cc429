"""Turn a report of the kernel into the record that results keep, with its traces decoded to source lines.

Pure, except that a `Decoder` reads vmlinux and modules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kmodpipe.logs.kernel_log import Frame, Report, plain_symbol
from kmodpipe.logs.signatures import is_messenger
from kmodpipe.util.text import one_line

if TYPE_CHECKING:
    from kmodpipe.logs.symbolize import Decoder

# Lines of the log that results keep: of a case's first report, and of each later one.
LINES, FEWER_LINES = 200, 40
# Reports of one case in one guest that results keep. The console has all of them.
REPORTS = 16
_COLUMN = 56
_FINGERPRINT_FUNCTIONS = 3
_TAINTED = re.compile(r"\btaint:(?P<letters>\S+?)(?:,|$)")
NOT_TAINTED = "none"


@dataclass(frozen=True)
class TraceLine:
    """One function of a trace."""

    function: str
    """The frame as the kernel printed it, or only the name of an inlined function."""
    place: str = ""
    """File and line, where they are known."""
    inlined: bool = False
    """It is inlined into the next function."""
    note: str = ""
    """Why `place` is not known, where there is a reason to give."""
    stack: str = ""
    """The heading of its trace, where there is one: `Freed by task 24:`."""

    def __str__(self) -> str:
        name = f"  {self.function} (inlined)" if self.inlined else self.function
        where = self.place or (f"({self.note})" if self.note else "")
        return f"{name:<{_COLUMN}} {where}".rstrip()


@dataclass(frozen=True)
class KernelReport:
    """One report of the kernel, as results keep it."""

    kind: str
    """The kind of report, such as `KASAN` or `WARNING`."""
    title: str
    """The report in one line, as crash databases name it."""
    place: str = ""
    """File and line of the frame whose function is in the title."""
    fingerprint: str = ""
    """What two reports of one defect have in common."""
    task: str = ""
    """The task that it came in."""
    pid: int | None = None
    """Its process id; null if unknown."""
    cpu: int | None = None
    """The processor; null if unknown."""
    taint_before: str = ""
    """Taint letters as an oops prints them, `none` for an untainted kernel, empty if unknown."""
    taint_after: str = ""
    """The same after the case."""
    registers: tuple[str, ...] = ()
    """The registers, as the kernel printed them."""
    trace: tuple[TraceLine, ...] = ()
    """The call traces, innermost function first."""
    modules: tuple[str, ...] = ()
    """The modules that the traces pass through."""
    consequence: str = ""
    """The panic that it led to; empty if it led to none."""
    lines: tuple[str, ...] = ()
    """The lines of the kernel's log, as it printed them."""
    log: str = ""
    """The name of the log's file."""
    offset: int = 0
    """The byte in it where the report begins."""
    benign: str = ""
    """Why the report does not count; empty if it does."""

    def format(self) -> list[str]:
        """Return the report as lines: what a developer needs first at the top, the kernel's log last."""
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
    """Return whether one more report of a case is kept. The first that is not benign always is."""
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
    """Return the record of a report, with its frames decoded.

    ``left`` is the agent's text on what the case left behind, which has the taint after it; ``log`` the file
    name of the log; ``benign`` the reason why the report does not count.
    """
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
    """Return the taint after the case; empty if the agent could not report it any more."""
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


def fingerprint(report: Report) -> str:
    """Return what is the same in every build, as rules for benign reports need it.

    That is kind, title, the first functions of the trace that are not part of the reporting, and modules.
    """
    names = dict.fromkeys(plain_symbol(name) for name in report.call_trace if not is_messenger(name))
    functions = " < ".join(list(names)[:_FINGERPRINT_FUNCTIONS])
    return " | ".join(filter(None, (report.kind, report.title, functions, ", ".join(report.modules))))
