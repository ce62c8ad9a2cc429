"""Measure how fast this machine is, to scale time limits by it.

Limits were set on one machine. `measure` runs a program of fixed length under the accelerator of the run, at
its start or some minutes before, and compares its time with that on the first machine. The time is the
program's own, without its waiting for a processor: a busy machine is not a slow one, and the waiting during a
boot is measured and allowed for as it happens (`cpu_time`).

`CODE` is the assembled `SOURCE`, as in `accel_rom`; a test assembles it again and compares.
"""

from __future__ import annotations

import base64
import os
import selectors
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.cache.store import Store
from kmodpipe.util import costs, kept, process
from kmodpipe.util.process_id import boot_id
from kmodpipe.vm import accel_rom
from kmodpipe.vm.cpu_time import Meter, Reading
from kmodpipe.vm.qemu import PROGRAM, Accel, base_argv, guarded

# The program's time under TCG on the machine on which the limits were set: AMD EPYC, QEMU 7.2.
REFERENCE_S = 0.25
# The highest factor. Kernels cannot be tested in reasonable time on a slower machine.
MOST = 20.0
_NOISE = 1.25
_BOUND_S = REFERENCE_S * MOST
_MOST_WALL_S = 10.0
_LOOK_S = 0.01
# What an earlier command measured is taken for so long: the limits have room for more than a machine's speed
# changes meanwhile, and a third of a second is much after an edit.
_FRESH_S = 600.0
_KIND = "speed"

SOURCE = r"""
        .set    COM1, 0x3f8
        .text
        .code16
start:  cli
        xor     %ax, %ax
        mov     %ax, %ds
        mov     %ax, %es
        mov     %ax, %ss
        mov     $0x8000, %sp
        mov     $COM1, %dx
        mov     $'s', %al
        out     %al, %dx
        xor     %eax, %eax
        xor     %ebp, %ebp
        mov     $0x9e3779b9, %ebx
        mov     $25000000, %ecx
        # arithmetic, memory accesses, unpredictable branches and calls, as in a kernel
1:      mov     %ecx, %esi
        and     $0x3ffc, %esi
        imul    $1664525, %eax, %eax
        add     $1013904223, %eax
        xor     %eax, 0x1000(%esi)
        mov     0x1000(%esi), %edx
        rol     $7, %edx
        add     %edx, %ebp
        test    $0x40000000, %eax
        jz      2f
        call    mix
2:      dec     %ecx
        jnz     1b
        mov     $COM1, %dx
        mov     $'e', %al
        out     %al, %dx
        mov     %bp, %ax
        mov     $0xf4, %dx
        out     %al, %dx
3:      hlt
        jmp     3b
mix:    push    %eax
        xor     %ebx, %eax
        mov     %eax, 0x1000(%esi)
        shr     $3, %eax
        add     %eax, %ebp
        pop     %eax
        ret
        .org    0xff0
        ljmp    $0xf000, $0xf000
        .org    0x1000
"""

# From the low byte of the program's result. Another status means that the processor computes wrongly.
EXIT_STATUS = 0x26 << 1 | 1

CODE = base64.b64decode("""
+jHAjtiOwI7QvACAuvgDsHPuZjHAZjHtZru5eTeeZrlAeH0BZonOZoHm/D8AAGZpwA1mGQBmBV/zbjxnZjGGABAAAGdmi5YAEAAA
ZsHCB2YB1WapAAAAQHQD6BMAZkl1w7r4A7Bl7onouvQA7vTr/WZQZjHYZ2aJhgAQAABmwegDZgHFZljD
""")


@dataclass(frozen=True)
class Speed:
    """One measurement."""

    seconds: float = REFERENCE_S  # the program's own time
    waited_s: float = 0.0  # for a processor
    trouble: str = ""  # why nothing was measured
    age_s: float = 0.0  # how long before an earlier command measured it

    @property
    def factor(self) -> float:
        """The factor for time limits, from 1 to `MOST`. Values just above 1 count as noise."""
        ratio = self.seconds / REFERENCE_S
        return 1.0 if self.trouble or ratio < _NOISE else min(round(ratio, 1), MOST)

    def properties(self) -> dict[str, str]:
        """Return the measurement as properties of a run."""
        found = {"speed.factor": f"{self.factor:g}", "speed.reference-seconds": f"{REFERENCE_S:g}"}
        if self.trouble:
            return {**found, "speed.trouble": self.trouble}
        if self.age_s:
            found["speed.age-seconds"] = f"{self.age_s:.0f}"
        return {
            **found, "speed.seconds": f"{self.seconds:.3f}", "speed.waited-seconds": f"{self.waited_s:.3f}",
        }  # fmt: skip

    def describe(self) -> str:
        """Return the measurement and its effect on time limits as one line."""
        if self.trouble:
            return f"not measured: {self.trouble}; limits are as declared"
        before = f" ({self.age_s:.0f} s ago)" if self.age_s else ""
        took = (
            f"a test program took {self.seconds:.2f} s{before}, {REFERENCE_S:.2f} s where the limits were set"
        )
        waited = f", and waited {self.waited_s:.2f} s for a processor" if self.waited_s >= 0.05 else ""
        longer = f"limits are ×{self.factor:g}" if self.factor > 1 else "limits are as declared"
        return f"{took}{waited}: {longer}"


class _TooSlow(Exception):
    def __init__(self, seen: Reading) -> None:
        super().__init__()
        self.seen = seen


def measure(accel: Accel, folder: Path, *, program: Path = PROGRAM) -> Speed:
    """Run the program once and return its time; its ROM is written to ``folder``.

    Takes a quarter of a second on the first machine. If it cannot be measured, the result has a ``trouble``
    and the factor 1. Raises InfraError if QEMU is not installed, Interrupted if the run is stopped.
    """
    rom = folder / "speed-rom"
    rom.write_bytes(accel_rom.image(CODE))
    argv = [*base_argv(accel, program=program, memory_mib=4), "-monitor", "none", "-bios", os.fspath(rom)]
    argv += ["-device", "isa-debug-exit,iobase=0xf4,iosize=1"]
    argv += ["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]
    started = time.monotonic()
    child = process.spawn_piped(guarded(argv))
    try:
        seen = _between(child.stdout.fileno(), Meter(child.pid, started))
        ended = child.wait(_MOST_WALL_S)
    except _TooSlow as e:
        return Speed(_BOUND_S, e.seen.waited_s)
    except (TimeoutError, subprocess.TimeoutExpired):
        return Speed(
            trouble=f"a test program was not through in {_MOST_WALL_S:g} s, this machine is too busy"
        )
    finally:
        process.end(child, grace_s=0.5)
    if seen is None or ended != EXIT_STATUS:
        return Speed(trouble=f"a test program {process.describe_status(child.returncode)}")
    return Speed(seen.own_s, seen.waited_s)


@costs.step(costs.Part.MACHINE)
def of_machine(accel: Accel, store: Store) -> Speed:
    """Return how fast this machine is with an accelerator, as an earlier command measured it if that is not
    long ago; measured once where a process keeps things.

    Raises what `measure` raises.
    """

    def measured() -> Speed:
        if known := _recalled(accel, store.cache):
            return known
        with store.scratch("speed-") as scratch:
            found = measure(accel, scratch)
        _note(found, accel, store.cache)
        return found

    # It is the machine's, and no round of one process makes it another one.
    return kept.once(_KIND, accel, measured)


def _subject(accel: Accel) -> str:
    return f"{accel.name} {accel.cpu} {accel.qemu}"


def _note(found: Speed, accel: Accel, cache: Path) -> None:
    if not found.trouble:
        measured = {
            "boot": boot_id(),
            "at": time.time(),
            "seconds": found.seconds,
            "waited_s": found.waited_s,
        }
        kept.note(cache, _KIND, _subject(accel), measured)


def _recalled(accel: Accel, cache: Path) -> Speed | None:
    """Return what was measured in the last minutes, since this machine booted; None if nothing was."""
    found = kept.noted(cache, _KIND, _subject(accel))
    with suppress(KeyError, TypeError, ValueError):
        age_s = time.time() - float(found["at"])
        if found["boot"] == boot_id() and 0 <= age_s < _FRESH_S:
            return Speed(float(found["seconds"]), float(found["waited_s"]), age_s=max(age_s, 1.0))
    return None


def _between(stream: int, meter: Meter) -> Reading | None:
    """Return the time between the program's two letters on COM1; None if they do not come.

    Raises _TooSlow if its own time exceeds the highest factor, TimeoutError if it gets too little CPU time.
    """
    begun: Reading | None = None
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while not process.stopping():
            came = selector.select(_LOOK_S)
            now = meter.read(time.monotonic(), least_s=0)
            data = os.read(stream, 4096) if came else b""
            if came and not data:
                return None
            if b"s" in data:
                begun = now
            if begun and b"e" in data:
                return now.since(begun)
            if now.own_s > _BOUND_S:
                raise _TooSlow(now)
            if now.wall_s > _MOST_WALL_S:
                raise TimeoutError
    return None


__all__ = ["MOST", "REFERENCE_S", "Speed", "measure", "of_machine"]
