"""Find in a build's output why it failed: the compiler's errors by file and line, or a machine error."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.build.runtime import Ended
from kmodpipe.util import os_errors
from kmodpipe.util.errors import InfraError, KernelFailure
from kmodpipe.util.screen import Step

_ERROR = re.compile(r"^(?P<file>[^\s:]+):(?P<line>\d+):(?:\d+:)? (?:fatal )?[Ee]rror: (?P<text>.*)$")
_LINK_ERROR = re.compile(r"^(?:ERROR: modpost: |ld: (?!.*warning: )|.*undefined reference to )")
_MAKE_ERROR = re.compile(r"^make(?:\[\d+\])?: \*\*\* (?P<text>.*\S)")
_KBUILD_LINE = re.compile(r"^  (?P<tool>[A-Z][A-Z0-9_]*(?: \[[A-Z]\])?)\s+(?P<target>\S+)")
# Not in lines of source text that a compiler quotes: those are indented.
_DISK_FULL = re.compile(r"^\S.*\bNo space left on device")
_FULL_MIB = 1024
FIX_IT = "fix the source, or the patch that last touched it"
"""What there is to do about an error of the compiler."""
_FREE_IT = "free some space, or run: invoke clean"
_NO_MEMORY = re.compile(
    r"^\S+: (?:fatal error: Killed signal terminated|out of memory allocating|virtual memory exhausted)",
)
_NO_PROCESS = re.compile(
    r"^\S.*\b(?:v?fork|posix_spawn)\b.*: Resource temporarily unavailable$|^\S+: \d+: Cannot fork$"
)


def relative(file: str, src: Path) -> str:
    """Return the path of a file in a build's output relative to the source, in a container or here."""
    file = file.removeprefix(f"{src}/").removeprefix("/src/")
    return re.sub(r"^(?:\.\./)*(?:src/)?", "", file)


@dataclass(frozen=True)
class CompileError:
    """One error as the compiler printed it."""

    file: str  # relative to the tree
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


class CompileWatch:
    """Reads the output of a build line by line: shows its progress, and collects its errors."""

    def __init__(self, src: Path, folder: Path, step: Step | None, expected_lines: int | None = None) -> None:
        """``src`` is the source tree, ``folder`` on the disk that the build writes to."""
        self.errors: list[CompileError] = []
        self.link_errors: list[str] = []
        # What make itself says first, '' if nothing.
        self.make_error = ""
        # How many files kbuild has reported as made.
        self.compiled = 0
        # The first machine error, '' if there is none, and what to do about it.
        self._machine_error = self._hint = ""
        self._root = src
        self._folder = folder
        self._step = step
        self._expected = expected_lines

    def line(self, line: str) -> None:
        """Take one line of the output."""
        # Machine errors first: a compiler may report them with a file and a line of the tree.
        if _DISK_FULL.match(line):
            # The message may also be about /tmp, which is in memory, or be printed by the tree itself.
            if shutil.disk_usage(self._folder).free >> 20 < _FULL_MIB:
                self._machine_error, self._hint = "the disk filled up", _FREE_IT
        elif _NO_MEMORY.match(line):
            self._blame("a compiler ran out of memory", "give the machine more memory, or use fewer --jobs")
        elif _NO_PROCESS.match(line):
            self._blame(
                "no more processes could be started", "use fewer --jobs, or check what the build starts"
            )
        elif match := _KBUILD_LINE.match(line):
            self.compiled += 1
            if self._step:
                self._step.update(
                    f"{match['tool']} {match['target']}", done=self.compiled, total=self._expected
                )
        elif match := _ERROR.match(line):
            if len(self.errors) < 20:
                self.errors.append(CompileError(self.named(match["file"]), int(match["line"]), match["text"]))
        elif _LINK_ERROR.match(line) and len(self.link_errors) < 20:
            self.link_errors.append(line.strip())
        elif match := _MAKE_ERROR.match(line):
            # The first is about the file, those after it about the folders that it is in.
            self.make_error = self.make_error or match["text"]

    def named(self, file: str) -> str:
        """Return the path of a file in the output relative to the source."""
        return relative(file, self._root)

    def _blame(self, what: str, hint: str) -> None:
        """Note a machine error, unless there was one before."""
        if not self._machine_error:
            self._machine_error, self._hint = what, hint

    def raise_for_machine(self, ended: Ended, what: str, log: Path) -> None:
        """Raise InfraError for a machine error, whatever the status."""
        if ended.status != 0 and os_errors.is_full(self._folder):
            # Not every tool prints why it could not write.
            self._blame("the disk filled up", _FREE_IT)
        # Whatever the status: a recipe may ignore that a compiler was killed, and go on without its object.
        if self._machine_error:
            raise InfraError(
                f"{self._machine_error} while {what} was built",
                where=f"log: {log}",
                detail=ended.tail,
                hint=self._hint,
            )

    def raise_for(self, ended: Ended, what: str, log: Path) -> None:
        """Raise the error of a failed build: InfraError for a machine error, else KernelFailure."""
        self.raise_for_machine(ended, what, log)
        if ended.status == 0:
            return
        if self.errors:
            first = self.errors[0]
            raise KernelFailure(
                f"{what} does not compile: {first}",
                where=f"{first.file}:{first.line} (log: {log})",
                detail="\n".join(map(str, self.errors)),
                hint=FIX_IT,
            )
        if self.link_errors:
            raise KernelFailure(
                f"{what} does not link: {self.link_errors[0]}",
                where=f"log: {log}",
                detail="\n".join(self.link_errors),
            )
        if self.make_error:
            raise KernelFailure(
                f"{what} does not build: {self.make_error}",
                where=f"log: {log}",
                detail=f"{self.make_error}\n{ended.tail}",
            )
        raise KernelFailure(
            f"{what} does not build (status {ended.status})", where=f"log: {log}", detail=ended.tail
        )
