"""The kernel's account of a process or a thread: the one place that reads ``/proc/PID/stat``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
"""The unit of most times in /proc."""


@dataclass(frozen=True, slots=True)
class Stat:
    """Some fields of proc_pid_stat(5)."""

    # One letter: R runs, S sleeps, D waits for a disk, T or t is stopped, Z or X is dead …
    state: str
    # Processor time in user and in kernel mode; a process's includes that of its threads, past ones too.
    cpu_s: float
    # When it began, in ticks since boot, as the kernel writes it.
    started: str

    @property
    def stopped(self) -> bool:
        """Whether it stands still, as after SIGSTOP or under a debugger."""
        return self.state in "Tt"

    @property
    def dead(self) -> bool:
        """Whether it has ended, reaped or not."""
        return self.state in "ZX"


def of(pid: int) -> Stat | None:
    """Return the account of a process, None where there is none."""
    return read(Path(f"/proc/{pid}/stat"))


def read(path: Path) -> Stat | None:
    """Return what a file like ``/proc/PID/stat`` or ``/proc/PID/task/TID/stat`` says, None without one."""
    try:
        # The name in parentheses may hold anything, a parenthesis, a line end or half a character too.
        fields = path.read_bytes().rpartition(b")")[2].decode("ascii").split()
        return Stat(fields[0], (int(fields[11]) + int(fields[12])) * TICK_S, "".join(fields[19:20]))
    except (OSError, ValueError, IndexError):
        return None
