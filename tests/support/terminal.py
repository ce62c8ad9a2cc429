"""A terminal for tests: a program runs on it, keys are pressed, and what it shows is waited for."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

# Control sequences (ECMA-48), and the one that sets a title.
_SEQUENCE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\x1b[=>()][A-Z0-9]?")
ALTERNATE, NORMAL, CURSOR = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"
HOME = b"\x1b[H"


class Terminal:
    """A program on a terminal of its own."""

    def __init__(
        self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], *, columns: int = 120, lines: int = 30
    ) -> None:
        self._ours, self._theirs = pty.openpty()
        self.resize(columns, lines)
        self.before = termios.tcgetattr(self._theirs)
        theirs = self._theirs

        def take() -> None:
            # The terminal of its session: Ctrl-C reaches it, as the foreground process.
            fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

        self.child = subprocess.Popen(
            argv, cwd=cwd, env={**env, "TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=theirs,
            start_new_session=True, preexec_fn=take,
        )  # fmt: skip
        self.raw = b""
        self._mark = 0

    @property
    def settings(self) -> list[object]:
        return termios.tcgetattr(self._theirs)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, keys: str) -> None:
        self.mark()
        os.write(self._ours, keys.encode())

    def mark(self) -> None:
        """Wait for what is shown from now on."""
        self._read(0)
        self._mark = len(self.raw)

    @property
    def text(self) -> str:
        """What was shown since the mark, without colours and positions."""
        lines = self.raw[self._mark :].replace(HOME, b"\n")
        return _SEQUENCE.sub(b"", lines).decode("utf-8", "replace")

    @property
    def picture(self) -> list[str]:
        """The lines of the last whole picture; none if there is no such yet. Its end is what keys do."""
        pictures = [one for one in self.raw.split(HOME)[1:] if b"q quit" in one]
        text = _SEQUENCE.sub(b"", pictures[-1] if pictures else b"").decode("utf-8", "replace")
        return [line for line in re.split(r"[\r\n]+", text) if line]

    def wait(self, *texts: str, within_s: float = 60.0, behind: str = "") -> None:
        """Wait until each text was shown since the mark, and since ``behind`` was shown last."""

        def missing() -> list[str]:
            _, found, text = self.text.rpartition(behind) if behind else ("", "", self.text)
            return [one for one in texts if one not in text] + ([] if found or not behind else [behind])

        deadline = time.monotonic() + within_s
        while lacking := missing():
            left = deadline - time.monotonic()
            assert left > 0, f"not shown: {lacking}, but:\n{self.text[-6000:]}"
            if not self._read(min(left, 0.2)) and self.child.poll() is not None and not self._read(0.1):
                lacking = missing()
                assert not lacking, f"ended with {self.child.returncode} before {lacking}:\n{self.text}"

    def end(self, within_s: float = 60.0) -> int:
        """Wait until the program has ended; return its exit status."""
        deadline = time.monotonic() + within_s
        while self.child.poll() is None:
            assert time.monotonic() < deadline, f"still running:\n{self.text[-6000:]}"
            self._read(0.1)
        while self._read(0.1):
            pass
        return self.child.returncode

    def close(self) -> None:
        """End what is left."""
        if self.child.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()
        os.close(self._ours)
        os.close(self._theirs)

    def _read(self, within_s: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], within_s)
        if not ready:
            return False
        with suppress(OSError):
            self.raw += os.read(self._ours, 1 << 16)
        return True
