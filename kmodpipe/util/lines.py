"""Split a program's output into lines as it arrives, and keep the last lines.

Memory is bounded whatever the program writes: of a line the last 8 KiB are kept, of an output the last lines.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path

_LINE_BYTES = 8192
_FILE_BYTES = 16384


class LineSplitter:
    """Splits one stream into lines."""

    def __init__(self) -> None:
        self._partial = b""

    def feed(self, data: bytes, last: int | None = None) -> list[str]:
        """Take the next bytes; return the lines that they complete, of these only the ``last`` so many."""
        # Split from the end: of a flood of short lines only the last ones are decoded.
        most = -1 if last is None else last + 1
        *lines, partial = (self._partial + data).rsplit(b"\n", most)
        self._partial = partial[-_LINE_BYTES:]
        return [_decoded(raw) for raw in (lines if last is None else lines[-last:])]

    @property
    def rest(self) -> str:
        """The incomplete line at the end."""
        return _decoded(self._partial)


class Tail:
    """The last lines of an output."""

    def __init__(self, most: int = 40) -> None:
        self.most = most
        self._lines: deque[str] = deque(maxlen=most)

    def add(self, *lines: str) -> None:
        """Append lines, and drop the oldest beyond `most`."""
        self._lines.extend(lines)

    @property
    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(self._lines)


class LineOutput:
    """Keeps the last lines of a program's output, from one or more streams, and passes each line on."""

    def __init__(self, on_line: Callable[[str], None] | None, *, streams: int = 1) -> None:
        self._on_line = on_line
        self._tail = Tail()
        # One for each stream: an incomplete line must not be joined with another stream's.
        self._streams = [LineSplitter() for _ in range(streams)]

    def feed(self, data: bytes, stream: int = 0) -> None:
        """Take the next bytes of a stream."""
        for line in self._streams[stream].feed(data, None if self._on_line else self._tail.most):
            self._tail.add(line)
            if self._on_line:
                self._on_line(line)

    def close(self) -> str:
        """End the output; return its last lines, with an incomplete one at the end."""
        self._tail.add(*(splitter.rest for splitter in self._streams if splitter.rest))
        return self._tail.text


def tail_of(log: Path, start: int = 0, *, lines: int = 20) -> str:
    """Return the last ``lines`` lines of ``log`` after byte ``start``, '' if it cannot be read."""
    try:
        with log.open("rb") as f:
            f.seek(max(start, log.stat().st_size - _FILE_BYTES))
            return "\n".join(f.read().decode("utf-8", "replace").splitlines()[-lines:])
    except OSError:
        return ""


def _decoded(raw: bytes) -> str:
    # Programs that think they write to a terminal, such as dpkg under apt, end a line with both.
    return raw.removesuffix(b"\r")[-_LINE_BYTES:].decode("utf-8", "replace")
