"""Ends what this process started, when this process is killed and cannot do it itself.

One shell beside us, started with the first child. It waits at a pipe; we hold the other end, and so does each
child for the moment between fork and exec. An orderly end says so in the pipe. When it is closed without a
word, whatever still carries our mark in its environment is killed: grandchildren too, in whatever group or
session they are.
"""

from __future__ import annotations

import atexit
import os
import secrets
import subprocess
import threading
from contextlib import suppress

MARK = "KMODPIPE_DRIVER"

# In the background, so that it is no child of ours; there a shell has no standard input of its own.
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
    """The environment that a child is to have so that it ends with us; the undertaker is there from now."""
    global _pid
    with _lock:
        # A fork of this process is a driver of its own.
        if _pid != os.getpid():
            _pid = os.getpid()
            _start(f"{MARK}={_pid}-{_token}")
    return {MARK: f"{_pid}-{_token}"}


def _start(marked: str) -> None:
    """Start the undertaker. Where it cannot be, we go on without: it matters only if we are killed."""
    global _pipe
    if _pipe >= 0:
        with suppress(OSError):
            os.close(_pipe)
        _pipe = -1
    with suppress(OSError):
        theirs, ours = os.pipe()
        try:
            # Not through proc: it must live longer than all that proc ends, and than us.
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
