"""What a job in a container writes: its log, and the disk that it may fill up."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from kmodpipe.build.runtime.job import Job
from kmodpipe.util.errors import InfraError, KernelFailure
from kmodpipe.util.files import size_mib
from kmodpipe.util.lines import LineOutput

_RESERVE_MIB = 512
_MOST_MIB = 64 * 1024
"""More than any build writes: allmodconfig with debugging information takes 25 GiB."""
_LOG_LIMIT = 256 * 1024 * 1024


class Log:
    """A job's output: appended to the log file up to a limit, its last lines kept, each line passed on."""

    def __init__(self, path: Path, on_line: Callable[[str], None] | None) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
        except OSError as e:
            raise InfraError(f"the log cannot be written: {e.strerror}", where=str(path)) from e
        self._written = 0
        self._lines = LineOutput(on_line)
        self.trouble: OSError | None = None

    def take(self, data: bytes) -> None:
        self._write(data)
        self._lines.feed(data)

    def _write(self, data: bytes) -> None:
        if self._written >= _LOG_LIMIT or self.trouble:
            return
        try:
            self._file.write(data)
            self._file.flush()
            self._written += len(data)
        except OSError as e:
            # The lines are still read: they say what went on when the disk filled up.
            self.trouble = e

    def close(self) -> str:
        with suppress(OSError):
            self._file.close()
        return self._lines.close()


class Room:
    """Watches the disk that a job writes to, and stops the job before the disk is full."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._next = 0.0

    def check(self) -> None:
        """Raise KernelFailure where the job itself wrote far more than any build does, InfraError where it
        did not and the disk is full all the same."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 0.5
        written = [folder.path for folder in self._job.folders if folder.writable]
        for path in written:
            free_mib = shutil.disk_usage(path).free >> 20
            if free_mib < _RESERVE_MIB:
                self._raise(path, free_mib, sum(size_mib(one) for one in written))

    def _raise(self, path: Path, free_mib: int, own_mib: int) -> NoReturn:
        what = f"{free_mib} MiB of the disk are left while {self._job.name} is built: it was stopped"
        where = f"{path} (log: {self._job.log})"
        if own_mib > _MOST_MIB:
            raise KernelFailure(
                f"{what}, having written {own_mib} MiB itself",
                where=where,
                hint="look for a Makefile or Kconfig file that runs commands of its own",
            )
        raise InfraError(what, where=where, hint="free some space, or run: invoke clean")
