"""What a series is, and how git reads a patch.

A patch is read by git alone (which files it touches, whether it is one), outside any repository and without
anybody's git configuration: ``apply.ignoreWhitespace`` in a home folder must not bring fuzz in.
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
"""Goes into every digest: raise it when the same patches would make another tree."""

_LIMIT_S = 300.0
_MEMORY_BYTES = 4 * 1024**3
_FILE_BYTES = 256 * 1024**2


@dataclass(frozen=True)
class Patch:
    """One patch. ``data`` is the diff as applied; ``touched`` the files it changes, makes or removes."""

    name: str
    path: Path
    sha256: str
    touched: tuple[str, ...]
    data: bytes = field(repr=False, default=b"")


@dataclass(frozen=True)
class Series:
    """Patches in order, and what is declared about them. ``origin`` says where they were read from.

    ``axes`` maps names of matrix axes to this series' own spelling of the Kconfig symbol; ``partial`` marks
    the first patches of a longer series. ``subject`` and ``message_id`` are those of its first mail, empty
    where they are not known.
    """

    name: str
    design: str
    summary: str
    module: str | None
    applies_to: tuple[str, ...]
    patches: tuple[Patch, ...]
    origin: str
    axes: Mapping[str, str] = field(default_factory=dict)
    partial: bool = False
    subject: str = ""
    message_id: str = ""

    def prefixes(self) -> tuple[Series, ...]:
        """The series up to each of its patches but the last, as ``name@1``, ``name@2`` …"""
        return tuple(
            replace(self, name=f"{self.name}@{n}", patches=self.patches[:n], partial=True)
            for n in range(1, len(self.patches))
        )

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over the patches' bytes in their order, and the recipe's version."""
        return digest_of([RECIPE, [p.sha256 for p in self.patches]])

    @property
    def touched(self) -> tuple[str, ...]:
        """Every file that some patch touches, sorted."""
        return tuple(sorted({name for patch in self.patches for name in patch.touched}))


def git(cwd: Path, *args: str, stdin: bytes | None = None, check: bool = True) -> process.Completed:
    """git in ``cwd`` as if there were no repository above it and no configuration.

    Raises InfraError where this process's own limit on the size of a file stops it."""
    env = {
        # Not by ceilings: those are a list, and a colon in a path would end one.
        "GIT_DIR": "/dev/null/no-repository",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    # A binary patch of a few bytes may ask for any number of them.
    file_bytes = _at_most(resource.RLIMIT_FSIZE, _FILE_BYTES)
    memory_bytes = _at_most(resource.RLIMIT_AS, _MEMORY_BYTES)
    bounds = ["prlimit", f"--as={memory_bytes}", f"--fsize={file_bytes}", "--"]
    done = process.run(
        [*bounds, "git", *args], timeout_s=_LIMIT_S, cwd=cwd, env=env, stdin=stdin, check=False
    )
    stopped = done.returncode == -signal.SIGXFSZ or os.strerror(errno.EFBIG) in done.tail
    if stopped and file_bytes < _FILE_BYTES and (trouble := from_system(OSError(errno.EFBIG, ""))):
        trouble.detail = done.tail
        raise trouble
    if check and done.returncode != 0:
        raise InfraError(
            f"git {process.describe_status(done.returncode)}",
            where=process.pasteable(done.argv),
            detail=done.tail,
        )
    return done


def _at_most(limit: int, wanted: int) -> int:
    """``wanted``, or what this process may have at the most."""
    hard = resource.getrlimit(limit)[1]
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


_SOURCE = re.compile(
    rb"^diff --git [^\n]*\n(?:(?!diff --git |--- |@@ )[^\n]*\n)*?(?:copy|rename) from ([^\n]*)$", re.MULTILINE
)
_ODD_MODE = re.compile(rb"^new (?:file )?mode (?!100[0-7]{3}\b|120000\b)([0-7]{5,7})\s*$", re.MULTILINE)


def _sources(data: bytes) -> set[str]:
    """What the patch copies and renames: git reads a copied file wherever it is, and lists the copy only."""
    found = set()
    for raw in _SOURCE.findall(data):
        name = raw.rstrip(b"\r")
        if name.startswith(b'"'):
            # Escapes that are none git does not read either.
            with suppress(ValueError):
                name = codecs.escape_decode(name.strip(b'"'))[0]
        found.add(os.fsdecode(name))
    return found


def is_diff(data: bytes) -> bool:
    """Whether git finds any patch in ``data``; a damaged one counts."""
    with temporary("patch") as folder:
        done = git(folder, "apply", "--numstat", "-z", "-", stdin=data, check=False)
    return bool(done.stdout) or "No valid patches" not in done.tail


def read_patch(name: str, path: Path, data: bytes, *, where: str) -> Patch:
    """A Patch of ``data``. UserError where git cannot read it or it names a file that no patch may."""
    touched: set[str] = set()
    with temporary("patch") as folder:
        # Backwards too where a file may be renamed: git lists it under its new name only.
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
                    hint="is it whole, and as git format-patch or diff -up made it?",
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
            f"patch {name} makes something else than a file: mode {match[1].decode()}",
            where=f"{where}:{line}",
            hint="a tree has files, programs (100755) and symbolic links (120000)",
        )
    return Patch(name, path, hashlib.sha256(data).hexdigest(), tuple(sorted(touched)), data)
