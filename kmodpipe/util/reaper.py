"""Kill the children of this process when it is itself killed (SIGKILL) and cannot do so.

A shell is started beside the first child. It reads from a pipe whose other end this process holds (and each
child between fork and exec). An orderly exit writes a line into the pipe. If the pipe is closed without one,
the shell kills every process that carries our mark in its environment, grandchildren in other process groups
and sessions included.
"""

from __future__ import annotations

import atexit
import os
import secrets
import subprocess
import threading
from contextlib import suppress

MARK = "KMODPIPE_DRIVER"

# In the background, so that it is no child of ours; a background shell has no stdin, hence fd 3.
_SCRIPT = """
exec 3<&0
{
    read -r _ <&3 && exit 0
    for turn in 1 2 3 4 5 6 7 8 9 10; do
        # A child that was just being started has its environment in a moment.
        sleep 0.05
        found=$(grep -lzsx -- "$0" /proc/[0-9]*/environ) || [ "$turn" = 1 ] || exit 0
        for file in $found; do
            pid=${file#/proc/}
            kill -9 "${pid%/environ}" 2> /dev/null
        done
    done
} &
"""

_lock = threading.Lock()
_token = secrets.token_hex(8)
_pid = 0
_pipe = -1


def mark() -> dict[str, str]:
    """Return the environment variable that ties a child to this process; start the reaper if needed."""
    global _pid
    with _lock:
        # A fork of this process needs a reaper of its own.
        if _pid != os.getpid():
            _pid = os.getpid()
            _start(f"{MARK}={_pid}-{_token}")
    return {MARK: f"{_pid}-{_token}"}


def _start(marked: str) -> None:
    """Start the reaper. Without one we go on: it matters only if we are killed."""
    global _pipe
    if _pipe >= 0:
        with suppress(OSError):
            os.close(_pipe)
        _pipe = -1
    with suppress(OSError):
        theirs, ours = os.pipe()
        try:
            # Not through `process`: it has to outlive this process and the children that `process` ends.
            subprocess.run(
                ["/bin/sh", "-c", _SCRIPT, marked],
                cwd="/", env={"PATH": os.defpath}, stdin=theirs, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, start_new_session=True, check=False,
            )  # fmt: skip
            _pipe = ours
        except OSError:
            os.close(ours)
        finally:
            os.close(theirs)


@atexit.register
def _dismiss() -> None:
    if _pipe >= 0 and _pid == os.getpid():
        with suppress(OSError):
            os.write(_pipe, b"through\n")
