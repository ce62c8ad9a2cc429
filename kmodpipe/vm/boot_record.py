"""The records of one boot: what was planned, and what came of it."""

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
    """How a boot ended.

    `DONE` and `RETIRED` mean that a last record came which fits all records before it, so the guest's records
    of its cases are believed. After `RETIRED` the remaining cases need another guest.
    """

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
    """One boot as it went. Cases are known by their index in the cell."""

    spec: MachineSpec
    end: GuestEnd
    # A sentence on the end; empty after `DONE`.
    detail: str
    # All but the beats.
    records: tuple[Record, ...]
    console_path: Path
    channel_path: Path
    # QEMU's, with the console on the terminal.
    argv: tuple[str, ...]
    duration_s: float
    # From the start to the agent's first record; None if none came.
    to_init_s: float | None
    # QEMU's; None if it could not be reaped.
    returncode: int | None
    stderr_tail: str
    # Records that were lost, broken or repeated, and contradictions between records.
    damaged: int
    # Bytes on the channel that the agent did not write.
    foreign_bytes: int
    # In all, with those that are not in the file.
    console_bytes: int
    console_cut_bytes: int
    # For each case that started, the part of the console stream (bytes, half open) in which it can have
    # printed. The two ports are read separately, so parts of neighbouring cases may overlap: see `owners`.
    console_offsets: Mapping[int, tuple[int, int]]
    console_cut_from: int = 0
    # The time that QEMU had, in all and for each case that started.
    spent: Reading = field(default_factory=Reading)
    case_spent: Mapping[int, Reading] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """QEMU's command line, ready to be pasted into a shell, with the console on the terminal."""
        return process.pasteable(self.argv)

    @property
    def console_cut(self) -> tuple[int, int]:
        """The part of the console stream that is not in its file (bytes, half open)."""
        return self.console_cut_from, self.console_cut_from + self.console_cut_bytes

    def stream_offset(self, offset: int) -> int:
        """Return the offset in the console stream of a byte of its file, which may have a part cut out."""
        cut = self.console_cut_bytes
        behind = cut and offset >= self.console_cut_from
        return max(offset - len(cut_note(cut)), self.console_cut_from) + cut if behind else offset

    def owners(self, offset: int) -> tuple[int, ...]:
        """Return the cases that can have printed the console byte at ``offset``, the last started first.

        Of several, the owner is the one whose kmsg records have the line; if none has, the first one here.
        """
        inside = [i for i, (start, end) in self.console_offsets.items() if start <= offset < end]
        return tuple(reversed(inside))
