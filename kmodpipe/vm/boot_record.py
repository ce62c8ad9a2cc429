"""One boot as a record: the bounds it ran under and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from kmodpipe.util import process
from kmodpipe.vm.cpu_time import PATIENCE, Reading
from kmodpipe.vm.protocol import Record
from kmodpipe.vm.qemu import MachineSpec


@dataclass(frozen=True)
class Deadlines:
    """Seconds: from start to the agent's first record; without a byte from the guest after that; for the
    whole boot; for a case beyond its own time limit, which the agent keeps; and for QEMU to end by itself
    after a panic and after the last record. All of them are QEMU's own seconds, in which it did not wait for
    a processor; ``patience``: how many times as many on the wall are waited for at the very most."""

    boot_s: float = 60.0
    silence_s: float = 20.0
    whole_s: float = 900.0
    case_grace_s: float = 30.0  # the agent waits for a kill, for the clean-up and for the modules
    panic_grace_s: float = 2.0
    exit_grace_s: float = 3.0
    patience: float = PATIENCE


@dataclass(frozen=True)
class Pace:
    """How many times longer than declared everything may take: for the ``flavour``'s kernel, which looks
    closer, and for this ``machine``'s speed."""

    flavour: float = 1.0
    machine: float = 1.0

    @property
    def factor(self) -> float:
        return self.flavour * self.machine

    def told(self, seconds: float) -> str:
        """``60 s``, or ``60 s (×4 for the flavour, ×1.8 for this machine's speed: 432 s)``."""
        reasons = {"the flavour": self.flavour, "this machine's speed": self.machine}
        why = [f"×{factor:g} for {name}" for name, factor in reasons.items() if factor != 1]
        longer = f" ({', '.join(why)}: {seconds * self.factor:g} s)" if why else ""
        return f"{seconds:g} s{longer}"


@dataclass(frozen=True)
class Limits:
    """Bounds on what a guest may send. Beyond ``file_bytes`` a log keeps its last ``tail_bytes`` only."""

    file_bytes: int = 64 * 1024 * 1024
    tail_bytes: int = 64 * 1024
    total_bytes: int = 1024 * 1024 * 1024
    rate_bytes: int = 256 * 1024 * 1024
    rate_window_s: float = 120.0
    record_bytes: int = 16 * 1024 * 1024
    records: int = 40_000


def cut_note(count: int) -> bytes:
    """What stands in a log in the place of so many bytes."""
    return b"\n[kmodpipe: %d bytes were cut here]\n" % count


class GuestEnd(StrEnum):
    """How a boot ended. `DONE` and `RETIRED` are a last record that fits all before it: what the guest says
    of its cases is believed. After `RETIRED` the ones that are left need another guest."""

    DONE = "done"
    RETIRED = "retired"
    PANIC = "panic"
    SILENCE = "silence"
    EARLY_EXIT = "early exit"
    NO_BOOT = "no boot"
    CASE_TIMEOUT = "case timeout"
    WHOLE_TIMEOUT = "time limit"
    FLOOD = "flood"
    QEMU_FAILED = "QEMU failed"
    INTERRUPTED = "interrupted"
    STUCK = "stuck"


@dataclass(frozen=True)
class Session:
    """One boot, for judging and for the record.

    ``records`` are all but the beats. ``console_offsets``: for each case that started, the part of the
    console stream (bytes, half open) in which it can have printed. The two ports are read separately, so
    a part may reach into its neighbours' by what was in flight at that moment: see `owners`. ``spent`` is
    what QEMU got of this machine, in all and, in ``case_spent``, for each case that started.
    """

    spec: MachineSpec
    end: GuestEnd
    detail: str
    records: tuple[Record, ...]
    console_path: Path
    channel_path: Path
    argv: tuple[str, ...]
    duration_s: float
    to_init_s: float | None
    returncode: int | None
    stderr_tail: str
    damaged: int
    foreign_bytes: int
    console_bytes: int
    console_cut_bytes: int
    console_offsets: Mapping[int, tuple[int, int]]
    console_cut_from: int = 0
    spent: Reading = field(default_factory=Reading)
    case_spent: Mapping[int, Reading] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """QEMU's command line as it can be pasted into a shell: the console on the terminal."""
        return process.pasteable(self.argv)

    @property
    def console_cut(self) -> tuple[int, int]:
        """The part of the console stream that is not in its file (bytes, half open)."""
        return self.console_cut_from, self.console_cut_from + self.console_cut_bytes

    def stream_offset(self, offset: int) -> int:
        """Where in the console stream a byte of its file was: behind a cut the file is shorter by that."""
        cut = self.console_cut_bytes
        behind = cut and offset >= self.console_cut_from
        return max(offset - len(cut_note(cut)), self.console_cut_from) + cut if behind else offset

    def owners(self, offset: int) -> tuple[int, ...]:
        """The cases that can have printed the console byte at ``offset``, the last started first.

        Of several, the one whose kmsg records have the line is the owner; without such, the first here.
        """
        inside = [i for i, (start, end) in self.console_offsets.items() if start <= offset < end]
        return tuple(reversed(inside))


__all__ = ["Deadlines", "GuestEnd", "Limits", "Pace", "Session"]
