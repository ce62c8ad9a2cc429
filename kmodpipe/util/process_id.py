"""Who made something, and whether they still run.

A pid alone says little: it is given out again, and after a reboot it means another process. With the moment
at which its process began and the boot it began in, it names one process for ever.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from kmodpipe.util import proc_stat, process


def boot_id() -> str:
    """The running kernel's boot id: a pid means something only together with it."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return "unknown"


def began(pid: int) -> str:
    """When a process began, in the kernel's ticks since boot; empty where there is none, or it is dead."""
    stat = proc_stat.of(pid)
    return "" if stat is None or stat.dead else stat.started


def me() -> str:
    """This process, told apart from every other: ``pid boot-id start``."""
    return f"{os.getpid()} {boot_id()} {began(os.getpid())}"


def runs(owner: str) -> bool:
    """Whether the process that `me` named still runs. A text that is no name is nobody's."""
    pid, boot, start = (*owner.split(), "", "", "")[:3]
    if boot != boot_id() or not pid.isdigit():
        return False
    now = began(int(pid))
    return now != "" and start in (now, "")


def command() -> str:
    """What this process was asked to do, for others that wait for it: ``pid 1234 (invoke test …)``."""
    program = "invoke" if "invoke" in sys.argv[0] else Path(sys.argv[0]).name
    told = process.pasteable([program, *sys.argv[1:]])
    return f"pid {os.getpid()} ({told[:120]}{'…' if len(told) > 120 else ''})"
