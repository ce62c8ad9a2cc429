"""Limits on a guest's time, which is the time that QEMU really had, and on how much it may send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from kmodpipe.vm.cpu_time import PATIENCE

_Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Deadlines:
    """Time limits of one boot, in QEMU's own seconds: those in which it did not wait for a processor."""

    boot_s: _Positive = 60.0
    """From the start to the agent's first record."""
    silence_s: _Positive = 20.0
    """Without a byte from the guest, after that."""
    whole_s: _Positive = 900.0
    """For the whole boot."""
    case_grace_s: _Positive = 30.0
    """For a case, beyond its own limit, which the agent enforces: to kill it, clean up and check the
    modules."""
    panic_grace_s: _Positive = 2.0
    """For QEMU to end by itself after a panic."""
    exit_grace_s: _Positive = 3.0
    """For QEMU to end by itself after the last record."""
    patience: _Positive = PATIENCE
    """Each limit has passed in any case after so many times as much wall time."""


@dataclass(frozen=True)
class TimeScale:
    """The factors by which declared time limits are multiplied."""

    flavour: float = 1.0  # for the checks in the flavour's kernel
    machine: float = 1.0  # for the speed of this machine

    @property
    def factor(self) -> float:
        return self.flavour * self.machine

    def format(self, seconds: float) -> str:
        """Return ``60 s``, or ``60 s (×4 for the flavour, ×1.8 for this machine's speed: 432 s)``."""
        reasons = {"the flavour": self.flavour, "this machine's speed": self.machine}
        why = [f"×{factor:g} for {name}" for name, factor in reasons.items() if factor != 1]
        longer = f" ({', '.join(why)}: {seconds * self.factor:g} s)" if why else ""
        return f"{seconds:g} s{longer}"


@dataclass(frozen=True)
class Limits:
    """Limits on what a guest may send."""

    # A log keeps its first ``file_bytes``, and the last ``tail_bytes`` beyond them.
    file_bytes: int = 64 * 1024 * 1024
    tail_bytes: int = 64 * 1024
    # Of console and channel together: in all, and in each ``rate_window_s`` seconds.
    total_bytes: int = 1024 * 1024 * 1024
    rate_bytes: int = 256 * 1024 * 1024
    rate_window_s: float = 120.0
    # Of all records but the beats. The agent retires its guest long before (GUEST_LIMIT in agent.h).
    record_bytes: int = 16 * 1024 * 1024
    records: int = 40_000


def cut_note(count: int) -> bytes:
    """Return the note that replaces so many bytes in a log."""
    return b"\n[kmodpipe: %d bytes were cut here]\n" % count
