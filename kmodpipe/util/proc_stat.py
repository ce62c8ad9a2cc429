"""Read ``/proc/PID/stat`` of processes and threads; no other file of the package does."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

# The unit of most times in /proc.
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Stat:
    """Some fields of proc_pid_stat(5)."""

    # One letter: R is running, S sleeping, D waiting for a disk, T or t stopped, Z or X dead …
    state: str
    # Processor time in user and kernel mode; that of a process includes its threads, also those that ended.
    cpu_s: float
    # The start time in ticks since boot, as the kernel prints it.
    started: str

    @property
    def stopped(self) -> bool:
        """Whether it is stopped, as after SIGSTOP or under a debugger."""
        return self.state in "Tt"

    @property
    def dead(self) -> bool:
        """Whether it has ended, reaped or not."""
        return self.state in "ZX"


def of(pid: int) -> Stat | None:
    """Return the state of a process, None if there is no such process."""
    return read(Path(f"/proc/{pid}/stat"))


def read(path: Path) -> Stat | None:
    """Return the content of a ``/proc/PID/stat`` or ``/proc/PID/task/TID/stat``, None if it is not there."""
    try:
        # The name in parentheses may contain any bytes: parentheses, line ends, a part of a character.
        fields = path.read_bytes().rpartition(b")")[2].decode("ascii").split()
        return Stat(fields[0], (int(fields[11]) + int(fields[12])) * TICK_S, "".join(fields[19:20]))
    except (OSError, ValueError, IndexError):
        return None
