"""How long a guest may take, in the time that it really had, and how much it may say."""

from __future__ import annotations

from dataclasses import dataclass

from kmodpipe.vm.cpu_time import PATIENCE


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
class TimeScale:
    """How many times longer than declared everything may take."""

    flavour: float = 1.0  # for the flavour's kernel, which checks more
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
