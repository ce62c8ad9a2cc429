"""A log with a bound: its beginning, and the last of what comes beyond."""

from __future__ import annotations

from typing import BinaryIO

from kmodpipe.vm.limits import Limits, cut_note


class CappedFile:
    """A file that takes so many bytes and keeps the last ones of what comes beyond."""

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
        return max(self._beyond - self._tail_bytes, 0)

    def close(self) -> None:
        if self.cut_bytes:
            self._file.write(cut_note(self.cut_bytes))
        if self._beyond:
            self._file.write(self.tail[-min(self._beyond, self._tail_bytes) :])
        self._file.close()


__all__ = ["CappedFile"]
