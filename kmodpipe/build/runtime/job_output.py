"""Write the log of a job in a container, and watch the disk that the job writes to."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from kmodpipe.build.runtime.job import Job
from kmodpipe.util import os_errors
from kmodpipe.util.errors import InfraError, KernelFailure
from kmodpipe.util.files import size_mib
from kmodpipe.util.lines import LineOutput

# A job is stopped when less of its disk is free.
_RESERVE_MIB = 512
# More than any build writes: allmodconfig with debugging information takes 25 GiB.
_MOST_MIB = 64 * 1024
_LOG_LIMIT = 256 * 1024 * 1024


class Log:
    """Appends a job's output to a file, up to a limit; keeps its last lines, and passes each line on."""

    def __init__(self, path: Path, on_line: Callable[[str], None] | None) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
        except OSError as e:
            raise os_errors.failed("the log cannot be written", e, str(path)) from e
        self._written = 0
        self._lines = LineOutput(on_line)
        # The first error of writing the file.
        self.error: OSError | None = None

    def take(self, data: bytes) -> None:
        """Take the next bytes of the output."""
        self._write(data)
        self._lines.feed(data)

    def _write(self, data: bytes) -> None:
        if self._written >= _LOG_LIMIT or self.error:
            return
        try:
            self._file.write(data)
            self._file.flush()
            self._written += len(data)
        except OSError as e:
            # Lines are still passed on: they show what the job did when the disk filled up.
            self.error = e

    def close(self) -> str:
        """Close the file; return the last lines of the output."""
        with suppress(OSError):
            self._file.close()
        return self._lines.close()


class DiskGuard:
    """Checks the disks that a job writes to, so that it is stopped before one is full."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._next = 0.0

    def check(self) -> None:
        """Raise an error if a disk is almost full: KernelFailure if the job itself wrote far more than any
        build does, else InfraError."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 0.5
        written = [folder.path for folder in self._job.folders if folder.writable]
        for path in written:
            free_mib = shutil.disk_usage(path).free >> 20
            if free_mib < _RESERVE_MIB:
                self._raise(path, free_mib, sum(size_mib(one) for one in written))

    def _raise(self, path: Path, free_mib: int, own_mib: int) -> NoReturn:
        what = f"{self._job.name} was stopped: only {free_mib} MiB of the disk are free"
        where = f"{path} (log: {self._job.log})"
        if own_mib > _MOST_MIB:
            raise KernelFailure(
                f"{what}, after it wrote {own_mib} MiB",
                where=where,
                hint="look for a Makefile or Kconfig file that runs commands of its own",
            )
        raise InfraError(what, where=where, hint="free some space, or run: invoke clean")
