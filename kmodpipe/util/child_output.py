"""What a child writes: to a log, or into a bounded buffer, with its last lines for messages."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from io import BufferedWriter
from pathlib import Path

from kmodpipe.util import os_errors
from kmodpipe.util.errors import InfraError
from kmodpipe.util.lines import LineOutput

_CAPTURE_LIMIT = 16 * 1024 * 1024


class OutputTooLarge(InfraError):
    """A command whose whole output is needed wrote more than is kept."""


class Output:
    """Writes a child's output to a log or keeps it in a bounded buffer, and keeps the last lines."""

    def __init__(self, log: Path | None, on_line: Callable[[str], None] | None, *, whole: bool) -> None:
        self._whole = whole
        self.kept = bytearray()
        self._lines = LineOutput(on_line, streams=2)
        try:
            self._file = log.open("ab") if log else None
        except OSError as e:
            raise os_errors.failed("the log cannot be written", e, str(log)) from e

    def take(self, data: bytes, *, is_stdout: bool) -> None:
        """Take what one of the streams gave. Raise OutputTooLarge, and InfraError for a log that is full."""
        if self._file:
            self._write(self._file, data)
        elif is_stdout:
            room = _CAPTURE_LIMIT - len(self.kept)
            self.kept += data[:room]
            if self._whole and room < len(data):
                raise OutputTooLarge(f"its output is larger than {_CAPTURE_LIMIT >> 20} MiB")
        self._lines.feed(data, 0 if is_stdout else 1)

    @staticmethod
    def _write(file: BufferedWriter, data: bytes) -> None:
        try:
            file.write(data)
            file.flush()
        except OSError as e:
            raise os_errors.failed("the log cannot be written", e, str(file.name)) from e

    def close(self) -> str:
        """Close the log, and return the last lines of both streams."""
        if self._file:
            # A write that failed has already raised its error.
            with suppress(OSError):
                self._file.close()
        return self._lines.close()
