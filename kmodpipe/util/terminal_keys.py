"""Read keys from the terminal as they are pressed, and leave the terminal as it was.

Echo and line editing are off meanwhile. Ctrl-C still is a signal; Ctrl-Z is a key, as whoever draws on the
terminal has to give it back first (`stop_here`).
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from typing import Any

from kmodpipe.util import process
from kmodpipe.util.errors import InfraError
from kmodpipe.util.workers import Thread

# Waits for a line on stdin; if we are killed and there is none, sets the terminal as it was, with the normal
# screen and the cursor (xterm's control sequences, DECSET 1049 and 25).
_GUARD = """
saved=$(stty -g < "$1") || exit 0
echo
read -r _ && exit 0
stty "$saved" < "$1"
printf '\\033[?1049l\\033[?25h' > "$1"
"""
SUSPEND = "suspend"
# What terminals send for keys without a character (terminfo(5): kcuu1, kcud1, in both cursor modes).
_NAMES = {
    b"\x1b[A": "up", b"\x1bOA": "up", b"\x1b[B": "down", b"\x1bOB": "down",
    b"\r": "enter", b"\n": "enter", b"\x1a": SUSPEND,
}  # fmt: skip
_KEY = re.compile(rb"\x1b[\[O][0-9;]*[A-Za-z~]|\x1b|[\x00-\x7f]|[\xc0-\xff][\x80-\xbf]*|.", re.DOTALL)
_BYTES = 1024


def named(data: bytes) -> list[str]:
    """Return the keys in what a terminal sent, each by its name or as its character."""
    return [_NAMES.get(key) or key.decode("utf-8", "replace") for key in _KEY.findall(data)]


class Keys:
    """The keys of this process's terminal. Without a terminal there are none."""

    def __init__(self, pressed: Callable[[str], None]) -> None:
        """``pressed`` is called with the name of each key, from another thread."""
        self._pressed = pressed
        self._fd = sys.stdin.fileno() if _is_terminal() else -1
        self._before: Any = None
        self._thread: Thread | None = None
        self._wake = (-1, -1)
        self._guard: tuple[subprocess.Popen[bytes], FileIO] | None = None

    @property
    def there(self) -> bool:
        """Whether there is a terminal to press keys on."""
        return self._fd >= 0

    def open(self) -> None:
        """Begin to read keys."""
        if not self.there or self._thread:
            return
        self._begin_to_guard()
        self._before = termios.tcgetattr(self._fd)
        now = termios.tcgetattr(self._fd)
        now[3] &= ~(termios.ICANON | termios.ECHO)
        # 0 is no character: Ctrl-Z does not stop this process (termios(3), _POSIX_VDISABLE).
        now[6][termios.VSUSP] = b"\0"
        now[6][termios.VMIN], now[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._fd, termios.TCSADRAIN, now)
        self._wake = os.pipe()
        self._thread = Thread(self._read, "keys")
        self._thread.start()

    def close(self) -> None:
        """Stop to read keys, and set the terminal as it was."""
        thread, self._thread = self._thread, None
        if thread:
            os.write(self._wake[1], b"x")
            thread.join()
            for end in self._wake:
                os.close(end)
        before, self._before = self._before, None
        if before is not None:
            # A terminal that was closed has no settings.
            with suppress(termios.error, OSError):
                termios.tcsetattr(self._fd, termios.TCSAFLUSH, before)
        self._end_to_guard()

    def _begin_to_guard(self) -> None:
        """Start a process that sets the terminal as it is now if this one is killed (SIGKILL)."""
        theirs, ours = process.pipe()
        ready, told = process.pipe()
        with theirs, ready, told, suppress(InfraError):
            child = process.spawn(
                ["/bin/sh", "-c", _GUARD, "guard", os.ttyname(self._fd)],
                stdin=theirs.fileno(), stdout=told.fileno(), stderr=subprocess.DEVNULL, may_outlive=True,
            )  # fmt: skip
            self._guard = child, ours
            told.close()
            # It has read the settings.
            ready.read(1)
            return
        ours.close()

    def _end_to_guard(self) -> None:
        guard, self._guard = self._guard, None
        if guard:
            child, ours = guard
            with suppress(OSError), ours:
                ours.write(b"through\n")
            process.end(child)

    def _read(self) -> None:
        while True:
            ready, _, _ = select.select([self._fd, self._wake[0]], [], [])
            if self._wake[0] in ready:
                return
            try:
                data = os.read(self._fd, _BYTES)
            except OSError:
                return
            if not data:
                return
            for key in named(data):
                self._pressed(key)


def _is_terminal() -> bool:
    with suppress(OSError, ValueError):
        # In the background, reading from the terminal would stop this process.
        return sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    return False


def stop_here() -> None:
    """Stop this process as Ctrl-Z does, until it is continued; the terminal has to be as the shell had it."""
    os.killpg(os.getpgrp(), signal.SIGSTOP)
