"""Define a series and its patches, and run git on untrusted patches.

git runs outside any repository and without the user's configuration: with ``apply.ignoreWhitespace`` set,
say, patches would apply with fuzz.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from kmodpipe.util import process, version
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import InfraError
from kmodpipe.util.os_errors import from_system

RECIPE = 1
"""Part of every series' digest; raise it when the same patches would give another tree."""

_LIMIT_S = 300.0
_MEMORY_BYTES = 4 * 1024**3
_FILE_BYTES = 256 * 1024**2


@dataclass(frozen=True)
class Patch:
    """One patch."""

    name: str
    # The file it was read from.
    path: Path
    # Of ``data``, in hex.
    sha256: str
    # The files that it changes, makes or removes.
    touched: tuple[str, ...]
    # The diff, as it is applied.
    data: bytes = field(repr=False, default=b"")
    # How many leading folders of its file names are removed: 1 for a/ and b/, 0 for none.
    strip: int = 1
    # The message of its mail, with the trailers that b4 added; empty for a bare diff.
    text: str = field(repr=False, default="")
    # The subject of its mail or its commit, as it is there, and who wrote it; empty for a bare diff.
    subject: str = ""
    author: str = ""

    @property
    def is_bare(self) -> bool:
        """Whether it is a diff without a commit: of a working tree, say, whose subject is ours."""
        return not self.text and not self.author


@dataclass(frozen=True)
class Port:
    """Patches of a series for other kernels than those that it was made for."""

    # The folder below the series' own.
    name: str
    # Conditions on the kernel's version, one of which has to hold.
    kernel: tuple[str, ...]
    # Each in place of the patch of its name.
    patches: tuple[Patch, ...]


@dataclass(frozen=True)
class Unnoticed:
    """Why no case notices if a hunk is left out, or if a mistake is made in a line of it."""

    file: str
    # One that the hunk adds or removes, or that the mistake is in.
    line: str
    reason: str
    # The kind of mistake; empty for the whole hunk.
    mistake: str = ""
    # The part of the line that is changed; empty for all mistakes of the kind.
    of: str = ""
    # The function that the mistake is in; empty for any.
    function: str = ""


@dataclass(frozen=True)
class Series:
    """Patches in order, with what series.toml declares about them."""

    name: str
    # Cases give their expected outcomes by design; several series may share one. Empty if it is not declared.
    design: str
    summary: str
    # The module under test: a folder of the tree.
    module: str | None
    # Kernel versions such as 5.9; empty for any.
    applies_to: tuple[str, ...]
    patches: tuple[Patch, ...]
    # Where they were read from, for messages.
    origin: str
    # By matrix axis, the Kconfig symbol that this series uses instead of the axis' own.
    axes: Mapping[str, str] = field(default_factory=dict)
    # Whether these are only the first patches of a longer series.
    partial: bool = False
    # Subject and Message-ID of the mail to reply to; empty if unknown.
    subject: str = ""
    message_id: str = ""
    # The text of the cover letter; empty if there is none.
    text: str = field(default="", repr=False)
    # What a reader of the results should know: which version was taken, which files were not read.
    notices: tuple[str, ...] = ()
    # In the order in which they are tried.
    ports: tuple[Port, ...] = ()
    # The name of the port that these patches are; empty for the series as it was made.
    port: str = ""
    unnoticed: tuple[Unnoticed, ...] = ()

    def on(self, kernel_version: str) -> Series:
        """Return the series as it is for a kernel: with the patches of the first port that is for it."""
        for port in self.ports:
            if version.fits_any(kernel_version, port.kernel):
                own = {patch.name: patch for patch in port.patches}
                patches = tuple(own.get(patch.name, patch) for patch in self.patches)
                return replace(self, patches=patches, ports=(), port=port.name)
        return self

    @property
    def every_patch(self) -> tuple[Patch, ...]:
        """The patches, and those of the ports."""
        return (*self.patches, *(patch for port in self.ports for patch in port.patches))

    def prefixes(self) -> tuple[Series, ...]:
        """Return the series up to each of its patches but the last, as ``name@1``, ``name@2`` …"""
        return tuple(
            replace(self, name=f"{self.name}@{n}", patches=self.patches[:n], partial=True)
            for n in range(1, len(self.patches))
        )

    @property
    def digest(self) -> str:
        """The SHA-256 (hex) of the patches' bytes in order, of how they are applied, and of RECIPE."""
        return digest_of([RECIPE, [p.sha256 if p.strip == 1 else [p.sha256, p.strip] for p in self.patches]])

    @property
    def touched(self) -> tuple[str, ...]:
        """The files that the patches touch, those of ports included, sorted."""
        return tuple(sorted({name for patch in self.every_patch for name in patch.touched}))


def git(cwd: Path, *args: str, stdin: bytes | None = None, check: bool = True) -> process.Completed:
    """Run git in ``cwd``, without a repository or configuration, and with limits on memory and file size.

    Raise InfraError if git fails and ``check`` is set, and if this process's own file size limit stops it.
    """
    env = {
        # GIT_CEILING_DIRECTORIES would not do: it is a list, and a path may contain its separator, a colon.
        "GIT_DIR": "/dev/null/no-repository",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    # A binary patch of a few bytes can make a file of any size.
    file_bytes = _at_most(resource.RLIMIT_FSIZE, _FILE_BYTES)
    memory_bytes = _at_most(resource.RLIMIT_AS, _MEMORY_BYTES)
    bounds = ["prlimit", f"--as={memory_bytes}", f"--fsize={file_bytes}", "--"]
    done = process.run(
        [*bounds, "git", *args], timeout_s=_LIMIT_S, cwd=cwd, env=env, stdin=stdin, check=False
    )
    stopped = done.returncode == -signal.SIGXFSZ or os.strerror(errno.EFBIG) in done.tail
    if stopped and file_bytes < _FILE_BYTES and (error := from_system(OSError(errno.EFBIG, ""))):
        error.detail = done.tail
        raise error
    if check and done.returncode != 0:
        raise InfraError(
            f"git {process.describe_status(done.returncode)}",
            where=process.pasteable(done.argv),
            detail=done.tail,
            hint="run the command above by hand, and read what git says",
        )
    return done


def _at_most(limit: int, wanted: int) -> int:
    """Return ``wanted``, or this process's hard limit if that is lower."""
    hard = resource.getrlimit(limit)[1]
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
