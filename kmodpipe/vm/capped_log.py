"""A log file of bounded size: the beginning of what is written, and its end."""

from __future__ import annotations

from typing import BinaryIO

from kmodpipe.vm.limits import Limits, cut_note


class CappedFile:
    """A file that keeps the first ``file_bytes`` written to it, and the last ``tail_bytes`` beyond them.

    ``tail`` holds the last bytes written, ``total`` counts all.
    """

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        self._file = file
        self._room = limits.file_bytes
        self._tail_bytes = limits.tail_bytes
        self.tail = bytearray()
        self.total = 0
        self._beyond = 0

    def write(self, data: bytes) -> None:
        self.total += len(data)
        self._file.write(data[: self._room])
        self._beyond += max(len(data) - self._room, 0)
        self._room = max(self._room - len(data), 0)
        self.tail += data
        if len(self.tail) > 4 * self._tail_bytes:
            del self.tail[: -self._tail_bytes]

    @property
    def cut_bytes(self) -> int:
        """The bytes between beginning and end that are not in the file."""
        return max(self._beyond - self._tail_bytes, 0)

    def close(self) -> None:
        """Write the end, after a note where something was cut, and close the file."""
        if self.cut_bytes:
            self._file.write(cut_note(self.cut_bytes))
        if self._beyond:
            self._file.write(self.tail[-min(self._beyond, self._tail_bytes) :])
        self._file.close()


__all__ = ["CappedFile"]
