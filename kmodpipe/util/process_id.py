"""Identify a process, to find out later whether it still runs.

A pid alone is not enough: the kernel uses it again, and after a reboot it belongs to another process. With
the start time of the process and the id of the boot it is unique. In a container it may be that of a process
that is not seen from outside, nor from another container: jobs of a CI runner are such, and share a cache. So
the pid namespace is part of the id, and what belongs to another one counts as running until it is old.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from kmodpipe.util import proc_stat, process

_LONGEST_S = 24 * 3600


def boot_id() -> str:
    """Return the running kernel's boot id, which is new after each boot."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return "unknown"


def start_ticks(pid: int) -> str:
    """Return when a process started, in ticks since boot; '' if there is none, or it is dead."""
    stat = proc_stat.of(pid)
    return "" if stat is None or stat.dead else stat.started


def namespace() -> str:
    """Return the number of this process's pid namespace (pid_namespaces(7)); '' if it cannot be read."""
    with suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink()).removeprefix("pid:[").removesuffix("]")
    return ""


def current() -> str:
    """Return the unique id of this process: ``pid boot-id start-ticks pid-namespace``."""
    return f"{os.getpid()} {boot_id()} {start_ticks(os.getpid())} {namespace()}"


def runs(owner: str, age_s: float = 0.0) -> bool:
    """Return whether the process with this id (see `current`) still runs; False for any other text.

    ``age_s`` is how long ago it left what is asked about: of a process that cannot be seen from here nothing
    else is known, and no command takes a day. An id without start ticks or namespace is accepted.
    """
    pid, boot, start, place = (*owner.split(), "", "", "", "")[:4]
    if boot != boot_id() or not pid.isdigit():
        return False
    if place not in (namespace(), ""):
        return age_s < _LONGEST_S
    now = start_ticks(int(pid))
    return now != "" and start in (now, "")


def left_by(owner: str, left: Path) -> bool:
    """Return whether a file or folder was left by a process that has ended. Raise OSError if it is gone."""
    return not runs(owner, time.time() - left.lstat().st_mtime)


def describe() -> str:
    """Return this process's pid and command line, for messages: ``pid 1234 (invoke test …)``."""
    program = "invoke" if "invoke" in sys.argv[0] else Path(sys.argv[0]).name
    line = process.pasteable([program, *sys.argv[1:]])
    return f"pid {os.getpid()} ({line[:120]}{'…' if len(line) > 120 else ''})"
