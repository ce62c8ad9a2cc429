"""Identify a process, to find out later whether it still runs.

A pid alone is not enough: the kernel uses it again, and after a reboot it belongs to another process. With
the start time of the process and the id of the boot it is unique.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from kmodpipe.util import proc_stat, process


def boot_id() -> str:
    """Return the running kernel's boot id, which is new after each boot."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return "unknown"


def start_ticks(pid: int) -> str:
    """Return when a process started, in ticks since boot; '' if there is none, or it is dead."""
    stat = proc_stat.of(pid)
    return "" if stat is None or stat.dead else stat.started


def current() -> str:
    """Return the unique id of this process: ``pid boot-id start-ticks``."""
    return f"{os.getpid()} {boot_id()} {start_ticks(os.getpid())}"


def runs(owner: str) -> bool:
    """Return whether the process with this id (see `current`) still runs; False for any other text.

    An id without start ticks is accepted.
    """
    pid, boot, start = (*owner.split(), "", "", "")[:3]
    if boot != boot_id() or not pid.isdigit():
        return False
    now = start_ticks(int(pid))
    return now != "" and start in (now, "")


def describe() -> str:
    """Return this process's pid and command line, for messages: ``pid 1234 (invoke test …)``."""
    program = "invoke" if "invoke" in sys.argv[0] else Path(sys.argv[0]).name
    line = process.pasteable([program, *sys.argv[1:]])
    return f"pid {os.getpid()} ({line[:120]}{'…' if len(line) > 120 else ''})"
