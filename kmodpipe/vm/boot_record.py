"""One boot as records: what was planned, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from kmodpipe.util import process
from kmodpipe.vm.cpu_time import Reading
from kmodpipe.vm.limits import Deadlines, Limits, TimeScale, cut_note
from kmodpipe.vm.protocol import Record
from kmodpipe.vm.qemu import MachineSpec


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
class BootSpec:
    """One boot as planned."""

    machine: MachineSpec
    nonce: str  # the key of the verdict channel, made for this boot alone
    console_path: Path
    channel_path: Path
    case_timeouts: Mapping[int, float]  # the planned cases and their limits in seconds, as declared
    deadlines: Deadlines  # as declared
    time_scale: TimeScale = field(default_factory=TimeScale)  # what the limits above are multiplied by
    limits: Limits = field(default_factory=Limits)  # on what the guest may send


@dataclass(frozen=True)
class BootRecord:
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
