"""The lines that all reports share, by kernel version and architecture, and the prefixes of a log."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

VERSIONS = ("4.19", "5.10", "6.1", "6.12", "6.19", "7.0")
ARCHS = ("x86", "arm64", "arm", "riscv")
TASK, PID = "mount", 131
# The function that every report here is about, and its callers.
FUNCTION, MODULE = "foo_sync", "foo"
_CALLERS = (("foo_ioctl", MODULE), ("vfs_ioctl", ""), ("do_one_thing", ""))


@dataclass(frozen=True)
class Kernel:
    """A kernel that prints a report."""

    version: str
    arch: str

    def since(self, version: str) -> bool:
        """Return whether this kernel is of a version or later."""
        return tuple(map(int, self.version.split("."))) >= tuple(map(int, version.split(".")))

    def who(self, taint: str = "Not tainted") -> list[str]:
        """Return the lines with processor, task, taint and machine."""
        uid = "UID: 0 " if self.since("6.12") else ""
        machine = {
            "x86": "QEMU Standard PC (i440FX + PIIX, 1996), BIOS 1.16.2-1 04/01/2014",
            "arm64": "linux,dummy-virt (DT)",
            "arm": "Generic DT based system",
            "riscv": "riscv-virtio,qemu (DT)",
        }[self.arch]
        build = "#1 PREEMPT(voluntary) " if self.since("6.12") else "#1"
        line = f"CPU: 0 {uid}PID: {PID} Comm: {TASK} {taint} {self.version}.0 {build}"
        verbose = ["Tainted: [W]=WARN"] if taint.startswith("Tainted") and self.since("6.12") else []
        return [line, *verbose, f"Hardware name: {machine}"]

    def place(self, name: str, module: str = "") -> str:
        """Return a function as the kernel prints an address in it."""
        return f"{name}+0x12/0x30" + (f" [{module}]" if module else "")

    def at(self, name: str, module: str = "") -> list[str]:
        """Return where the processor was, with registers."""
        place = self.place(name, module)
        if self.arch == "x86":
            return [
                f"RIP: 0010:{place}",
                "Code: 48 89 df e8 12 34 56 78 <0f> 0b 5b 5d c3 0f 1f 44 00 00",
                "RSP: 0018:ffffc9000012fdc8 EFLAGS: 00010246",
                *(f"{a}: 0000000000000000 {b}: ffff888004c1e280 {c}: 0000000000000001"
                  for a, b, c in (("RAX", "RBX", "RCX"), ("RDX", "RSI", "RDI"), ("RBP", "R08", "R09"),
                                  ("R10", "R11", "R12"), ("R13", "R14", "R15"))),
                "FS:  00007f3a5c0d5740(0000) GS:ffff88807dc00000(0000) knlGS:0000000000000000",
                "CS:  0010 DS: 0000 ES: 0000 CR0: 0000000080050033",
                "CR2: 0000000000000008 CR3: 0000000004a34000 CR4: 00000000000006b0",
            ]  # fmt: skip
        if self.arch == "arm64":
            return [
                "pstate: 60400005 (nZCv daif +PAN -UAO -TCO BTYPE=--)",
                f"pc : {place}",
                f"lr : {self.place('foo_ioctl', MODULE)}",
                "sp : ffff800010d3bd40",
                "x29: ffff800010d3bd40 x28: ffff000004b28000 x27: 0000000000000000 ",
                "x26: 0000000000000000 x25: 0000000000000000 x24: ffff000004b28000 ",
                "x2 : 0000000000000000 x1 : 0000000000000000 x0 : 0000000000000000 ",
            ]
        if self.arch == "arm":
            return [
                f"PC is at {place}",
                f"LR is at {self.place('foo_ioctl', MODULE)}",
                "pc : [<bf000012>]    lr : [<bf000112>]    psr: 60000013",
                "sp : c4a3fe68  ip : 00000000  fp : c4a3fe7c",
                "r10: 00000000  r9 : c4a3e000  r8 : 00000000",
                "Flags: nZCv  IRQs on  FIQs on  Mode SVC_32  ISA ARM  Segment none",
                f"Process {TASK} (pid: {PID}, stack limit = 0x(ptrval))",
                "Stack: (0xc4a3fe68 to 0xc4a40000)",
                "fe60:                   00000000 c4a3fe7c bf000112 c4a3e000 00000000 c0101234",
            ]
        if not self.since("5.10"):
            first = "epc: ffffffe000012345 ra : ffffffe000054321 sp : ffffffe07f8c7d50"
            return [first, " gp : ffffffe000c42460 tp : ffffffe07f8a1200 t0 : ffffffe07f8c7dd8"]
        return [
            f"epc : {place}",
            f" ra : {self.place('foo_ioctl', MODULE)}",
            "epc : ffffffff80012345 ra : ffffffff80054321 sp : ff2000000010bd50",
            " gp : ffffffff815050e0 tp : ff60000001b3a000 t0 : ff2000000010bdd8",
            "status: 0000000200000120 badaddr: 0000000000000008 cause: 000000000000000d",
        ]

    def trace(self, *before: str, function: str = FUNCTION) -> list[str]:
        """Return the call trace: the functions of the reporting, then the function and its callers."""
        calls = [*((name, "") for name in before), (function, MODULE), *_CALLERS]
        if self.arch == "x86":
            head = ["Call Trace:", *([" <TASK>"] if self.since("6.1") else [])]
            tail = [" </TASK>"] if self.since("6.1") else []
            unsure = [f" ? {self.place('never_there')}"]
            return [*head, *(f" {self.place(n, m)}" for n, m in calls[:1]), *unsure,
                    *(f" {self.place(n, m)}" for n, m in calls[1:]), *tail]  # fmt: skip
        if self.arch == "arm64":
            mark = " (P)" if self.since("6.19") else ""
            return ["Call trace:", *(f" {self.place(n, m)}{mark}" for n, m in calls)]
        if self.arch == "arm":
            pairs = itertools.pairwise(calls)
            if self.since("6.1"):
                return ["Call trace: ", *(f" {a} from {self.place(b, m)}" for (a, _), (b, m) in pairs)]
            return ["Backtrace: ", *(f"[<c0101234>] ({a}) from [<c0105678>] ({self.place(b, m)})"
                                     for (a, _), (b, m) in pairs)]  # fmt: skip
        address = "[<ffffffff80012345>] " if self.since("5.10") else "[<ffffffe000012345>] "
        return ["Call Trace:", *(f"{address}{self.place(n, m)}" for n, m in calls)]

    def dump(self, *before: str) -> list[str]:
        """Return what `dump_stack` prints."""
        first = {
            "x86": ("dump_stack_lvl" if self.since("5.15") else "dump_stack",),
            "arm64": ("dump_backtrace", "show_stack", "dump_stack"),
            "arm": ("unwind_backtrace", "show_stack", "dump_stack"),
            "riscv": ("dump_backtrace", "show_stack", "dump_stack"),
        }[self.arch]
        return [*self.who(), *self.trace(*first, *before)]

    def die(self, what: str, code: str = "0000") -> str:
        """Return the header of an oops."""
        if self.arch == "x86":
            return f"{'Oops: ' if self.since('6.12') else ''}{what}: {code} [#1] SMP NOPTI"
        if self.arch == "riscv":
            return f"{what} [#1]"
        return f"Internal error: {what}: {'96000004' if self.arch == 'arm64' else '5'} [#1] PREEMPT SMP"

    def end(self) -> str:
        """Return the last line of a report."""
        return f"---[ end trace {'0' * 16 if self.since('5.16') else '3f1c3f8e1a2b3c4d'} ]---"


def messages(lines: Sequence[str]) -> list[str]:
    """Return what is printed: a message with a newline in it has a prefix on each line."""
    return [part for line in lines for part in line.split("\n")]


# How a log has its lines, by name: the prefix of each message, by its number.
STYLES: dict[str, Callable[[int], str]] = {
    "bare": lambda n: "",
    "time": lambda n: f"[{n // 10 + 3:5d}.{n % 10:06d}] ",
    "long time": lambda n: f"[123456.{n:06d}] ",
    "level": lambda n: f"<{n % 8}>",
    "level and time": lambda n: f"<4>[    3.{n:06d}] ",
    "task": lambda n: f"[    3.{n:06d}][  T131] ",
    "task of 5 digits": lambda n: f"[    3.{n:06d}][T13131] ",
    "processor": lambda n: f"[    3.{n:06d}][    C0] ",
    "task on a processor": lambda n: f"[    3.{n:06d}][  T131@C0] ",
    "task without time": lambda n: "[  T131] ",
    "dmesg -x": lambda n: f"kern  :warn  : [    3.{n:06d}] ",
    "syslog": lambda n: f"Nov 28 22:37:26 box kernel: [    3.{n:06d}] ",
    "serial": lambda n: f"[    3.{n:06d}] ",
    "behind output": lambda n: ("box login: " if n == 0 else "") + f"[    3.{n:06d}] ",
    "behind a prompt": lambda n: ("# " if n == 0 else "") + f"[    3.{n:06d}] ",
}


def log(lines: Sequence[str], style: str = "time") -> bytes:
    """Return a log with some lines of another kind before and behind a report."""
    before = ["foo: loading out-of-tree module taints kernel.", "EXT4-fs (loop0): mounted filesystem"]
    behind = ["loop0: detected capacity change from 0 to 2048", "random: crng init done"]
    prefix = STYLES[style]
    end = "\r\n" if style == "serial" else "\n"
    quiet = [f"{STYLES['time'](n)}{line}" for n, line in enumerate(before)] if style != "bare" else []
    own = [f"{prefix(n)}{line}" for n, line in enumerate(messages(lines))]
    after = [f"{STYLES['time'](n + 900)}{line}" for n, line in enumerate(behind)] if style != "bare" else []
    return "".join(f"{line}{end}" for line in (*quiet, *own, *after)).encode()
