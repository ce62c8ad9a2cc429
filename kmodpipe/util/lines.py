"""Lines of a program's output as it comes, in pieces of any size, and the last of them.

Nothing here grows without bound, whatever the program writes: a line keeps its last 8 KiB, a tail its last
lines.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path

_LINE_BYTES = 8192
_FILE_BYTES = 16384


class LineSplitter:
    """Cuts one stream into lines."""

    def __init__(self) -> None:
        self._partial = b""

    def feed(self, data: bytes, last: int | None = None) -> list[str]:
        """Return the lines that end in ``data``; only the ``last`` so many, where a number is given."""
        # Cut out from the end: of a flood of short lines few are looked at.
        most = -1 if last is None else last + 1
        *lines, partial = (self._partial + data).rsplit(b"\n", most)
        self._partial = partial[-_LINE_BYTES:]
        return [_decoded(raw) for raw in (lines if last is None else lines[-last:])]

    @property
    def rest(self) -> str:
        """What came after the last end of a line."""
        return _decoded(self._partial)


class Tail:
    """The last lines of an output."""

    def __init__(self, most: int = 40) -> None:
        self.most = most
        self._lines: deque[str] = deque(maxlen=most)

    def add(self, *lines: str) -> None:
        self._lines.extend(lines)

    @property
    def text(self) -> str:
        return "\n".join(self._lines)


class LineOutput:
    """The last lines of what a program writes to one or more streams; each line is passed on as it ends."""

    def __init__(self, on_line: Callable[[str], None] | None, *, streams: int = 1) -> None:
        self._on_line = on_line
        self._tail = Tail()
        # A line that one stream has not ended yet is not the beginning of another's.
        self._streams = [LineSplitter() for _ in range(streams)]

    def feed(self, data: bytes, stream: int = 0) -> None:
        for line in self._streams[stream].feed(data, None if self._on_line else self._tail.most):
            self._tail.add(line)
            if self._on_line:
                self._on_line(line)

    def close(self) -> str:
        """The output has ended, perhaps within a line; return its last lines."""
        self._tail.add(*(splitter.rest for splitter in self._streams if splitter.rest))
        return self._tail.text


def tail_of(log: Path, start: int = 0, *, lines: int = 20) -> str:
    """Return the last ``lines`` lines written to ``log`` after byte ``start``; '' if it is unreadable."""
    try:
        with log.open("rb") as f:
            f.seek(max(start, log.stat().st_size - _FILE_BYTES))
            return "\n".join(f.read().decode("utf-8", "replace").splitlines()[-lines:])
    except OSError:
        return ""


def _decoded(raw: bytes) -> str:
    return raw[-_LINE_BYTES:].decode("utf-8", "replace")
