"""Define a series, and read a patch with git.

Only git parses patches (whether it is one, which files it touches). It runs outside any repository and
without the user's configuration: with ``apply.ignoreWhitespace`` set, say, patches would apply with fuzz.
"""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
import re
import resource
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from kmodpipe.util import paths, process
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import InfraError, UserError
from kmodpipe.util.files import temporary
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


@dataclass(frozen=True)
class Series:
    """Patches in order, with what series.toml declares about them."""

    name: str
    # Cases give their expected outcomes by design; several series may share one.
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

    def prefixes(self) -> tuple[Series, ...]:
        """Return the series up to each of its patches but the last, as ``name@1``, ``name@2`` …"""
        return tuple(
            replace(self, name=f"{self.name}@{n}", patches=self.patches[:n], partial=True)
            for n in range(1, len(self.patches))
        )

    @property
    def digest(self) -> str:
        """The SHA-256 (hex) of the patches' bytes in order, and of RECIPE."""
        return digest_of([RECIPE, [p.sha256 for p in self.patches]])

    @property
    def touched(self) -> tuple[str, ...]:
        """The files that the patches touch, sorted."""
        return tuple(sorted({name for patch in self.patches for name in patch.touched}))


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
        )
    return done


def _at_most(limit: int, wanted: int) -> int:
    """Return ``wanted``, or this process's hard limit if that is lower."""
    hard = resource.getrlimit(limit)[1]
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


_SOURCE = re.compile(
    rb"^diff --git [^\n]*\n(?:(?!diff --git |--- |@@ )[^\n]*\n)*?(?:copy|rename) from ([^\n]*)$", re.MULTILINE
)
_ODD_MODE = re.compile(rb"^new (?:file )?mode (?!100[0-7]{3}\b|120000\b)([0-7]{5,7})\s*$", re.MULTILINE)


def _sources(data: bytes) -> set[str]:
    """Return the source files of the patch's copies and renames: git's list of touched files omits them."""
    found = set()
    for raw in _SOURCE.findall(data):
        name = raw.rstrip(b"\r")
        if name.startswith(b'"'):
            # git does not accept invalid escapes either.
            with suppress(ValueError):
                name = codecs.escape_decode(name.strip(b'"'))[0]
        found.add(os.fsdecode(name))
    return found


def is_diff(data: bytes) -> bool:
    """Whether git finds a patch in ``data``, even a damaged one."""
    with temporary("patch") as folder:
        done = git(folder, "apply", "--numstat", "-z", "-", stdin=data, check=False)
    return bool(done.stdout) or "No valid patches" not in done.tail


def read_patch(name: str, path: Path, data: bytes, *, where: str) -> Patch:
    """Return the patch in ``data``. Raise UserError if git cannot read it, or it touches a forbidden file."""
    touched: set[str] = set()
    with temporary("patch") as folder:
        # git lists a renamed file under its new name only: reading the patch in reverse gives the old one.
        renames = b"rename " in data or b"diff --git " not in data
        for direction in [(), ("--reverse",)] if renames else [()]:
            argv = ("apply", *direction, "--numstat", "-z", "-")
            done = git(folder, *argv, stdin=data, check=False)
            if done.returncode != 0 or not done.stdout:
                detail = done.tail if not done.stdout else ""
                raise UserError(
                    f"git cannot read patch {name}",
                    where=where,
                    detail=detail,
                    hint="is it complete, and as git format-patch or diff -up made it?",
                )
            rows = [row for row in done.stdout.split(b"\0") if row]
            touched |= {os.fsdecode(row.split(b"\t", 2)[2]) for row in rows}
    for file in sorted(touched | _sources(data)):
        if not paths.is_plain(file):
            raise UserError(
                f"patch {name} names a file that no patch may touch: {file!r}",
                where=where,
                hint="names are relative to the tree's top: a/fs/overlayfs/super.c",
            )
    if match := _ODD_MODE.search(data):
        line = data.count(b"\n", 0, match.start()) + 1
        raise UserError(
            f"patch {name} makes something other than a file: mode {match[1].decode()}",
            where=f"{where}:{line}",
            hint="a tree has files (100644, 100755) and symbolic links (120000)",
        )
    return Patch(name, path, hashlib.sha256(data).hexdigest(), tuple(sorted(touched)), data)
