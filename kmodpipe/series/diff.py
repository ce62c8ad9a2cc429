"""Read one patch: which files it touches, and how many leading folders its file names have.

git decides whether it is a patch, and which files it touches. It has to be given whether names have a/ and b/
before them (``-p``): that is read from the headers. What does not show there is refused, since a patch of a
new file applies anywhere.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from kmodpipe.series.model import Patch, git
from kmodpipe.util import paths
from kmodpipe.util.errors import UserError

# What a kernel tree has at its top (6.12); plain diffs show by it where their names begin.
_TOP = frozenset((
    "arch", "block", "certs", "crypto", "Documentation", "drivers", "fs", "include", "init", "io_uring",
    "ipc", "kernel", "lib", "LICENSES", "mm", "net", "rust", "samples", "scripts", "security", "sound",
    "tools", "usr", "virt", "COPYING", "CREDITS", "Kbuild", "Kconfig", "MAINTAINERS", "Makefile",
    "README",
))  # fmt: skip
_MAYBE = re.compile(rb"^(?:diff --git |--- |Index: |@@ -)", re.MULTILINE)
_HUNK = re.compile(rb"^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_DATE = re.compile(
    r"\s+(?:\d{4}-\d\d-\d\d|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d) .*$|\s+\((?:revision|working).*$"
)
_BACKUP = re.compile(r"(?:\.orig|\.old|~)$")
_ODD_MODE = re.compile(rb"^new (?:file )?mode (?!100[0-7]{3}\b|120000\b)([0-7]{5,7})\s*$", re.MULTILINE)
_SOURCE = re.compile(
    rb"^diff --git [^\n]*\n(?:(?!diff --git |--- |@@ )[^\n]*\n)*?(?:copy|rename) from ([^\n]*)$", re.MULTILINE
)


def may_have_diff(data: bytes) -> bool:
    """Return False if there is certainly no patch in ``data``."""
    return _MAYBE.search(data) is not None


def has_diff(data: bytes) -> bool:
    """Return whether git finds a patch in ``data``, even a damaged one."""
    if not may_have_diff(data):
        return False
    done = git(Path("/"), "apply", "--numstat", "-z", "-", stdin=data, check=False)
    return bool(done.stdout) or "No valid patches" not in done.tail


# -- where its names begin ---------------------------------------------------------------------------
@dataclass(frozen=True)
class _Header:
    """The header of one file of a patch."""

    # The line "diff --git" without these words; None for a plain diff.
    git: str | None = None
    # The names behind --- and +++, "" for /dev/null; None if it has no such lines.
    old: str | None = None
    new: str | None = None
    # The names of a rename or copy, which never have a prefix.
    source: str = ""
    target: str = ""
    is_copy: bool = False

    @property
    def shown(self) -> str:
        """A name for messages."""
        return self.new or self.old or self.git or ""


def _headers(data: bytes) -> Iterator[_Header]:
    """Yield the headers of a patch; lines of hunks that look like headers are none."""
    for header, _ in _files(data):
        yield header


def _files(data: bytes) -> Iterator[tuple[_Header, list[list[bytes]]]]:
    """Yield the header of each file of a patch and the lines of its hunks, that of @@ included."""
    lines = data.split(b"\n")
    current: _Header | None = None
    hunks: list[list[bytes]] = []
    old = new = 0
    for number, line in enumerate(lines):
        if old > 0 or new > 0:
            kind = line[:1]
            old -= kind not in (b"+", b"\\")
            new -= kind not in (b"-", b"\\")
            hunks[-1].append(line or b" ")
        elif line.startswith(b"diff --git "):
            if current:
                yield current, hunks
            current, hunks = _Header(git=os.fsdecode(line[11:].rstrip(b"\r"))), []
        elif line.startswith(b"--- ") and lines[number + 1 : number + 2] and lines[number + 1][:4] == b"+++ ":
            if current and (current.git is None or current.old is not None):
                yield current, hunks
                current, hunks = None, []
            current = replace(current or _Header(), old=_name(line), new=_name(lines[number + 1]))
        elif current and line.startswith((b"rename from ", b"copy from ")):
            source = _unquoted(line.split(b" from ", 1)[1])
            current = replace(current, source=source, is_copy=line.startswith(b"copy"))
        elif current and line.startswith((b"rename to ", b"copy to ")):
            current = replace(current, target=_unquoted(line.split(b" to ", 1)[1]))
        elif match := _HUNK.match(line):
            old, new = (int(count) if count is not None else 1 for count in match.groups())
            hunks.append([line])
        elif hunks and line[:1] == b"\\":
            # Behind the last line of a hunk: "No newline at end of file".
            hunks[-1].append(line)
    if current:
        yield current, hunks


@dataclass(frozen=True)
class FileDiff:
    """What a patch says of one file."""

    # Its names before and after, from the tree's top; empty for a file that is made, or removed.
    old_path: str
    path: str
    # The lines of each hunk, that of @@ included.
    hunks: tuple[tuple[bytes, ...], ...]
    is_copy: bool = False


def file_diffs(data: bytes, strip: int) -> Iterator[FileDiff]:
    """Yield the files that a patch changes by hunks, renames or copies; ``strip`` is its ``-p``."""
    for header, hunks in _files(data):
        old, new = (_stripped(name, strip) if name else "" for name in (header.old, header.new))
        if header.source:
            old, new = header.source, header.target
        if hunks or header.source:
            yield FileDiff(old, new, tuple(tuple(hunk) for hunk in hunks), header.is_copy)


def _stripped(name: str, strip: int) -> str:
    return name.split("/", strip)[-1]


def _unquoted(raw: bytes) -> str:
    """Return a name as git writes it: in quotes, with C's escapes, if it holds odd characters."""
    name = raw.rstrip(b"\r")
    if name.startswith(b'"'):
        # git does not accept invalid escapes either.
        with suppress(ValueError):
            name = codecs.escape_decode(name.strip(b'"'))[0]
    return os.fsdecode(name)


def _name(line: bytes) -> str:
    """Return the name behind --- or +++, without the time that diff -u adds; empty for /dev/null."""
    name = _DATE.sub("", _unquoted(line[4:].split(b"\t", 1)[0])).rstrip()
    return "" if name == "/dev/null" else name


def _strip_of(header: _Header) -> int | None:
    """Return how many folders come before the names of one file, 0 or 1; None if the header does not show."""
    return _strip_of_git(header, header.git) if header.git is not None else _strip_of_plain(header)


def _strip_of_git(header: _Header, line: str) -> int:
    if header.source:
        return 0 if line.strip('"').startswith((f"{header.source} ", f'{header.source}" ')) else 1
    # git writes one name twice, with a/ and b/ (or c/, i/, o/, w/) before it or without.
    middle = len(line) // 2
    return 0 if line[:middle] == line[middle + 1 :] else 1


def _strip_of_plain(header: _Header) -> int | None:
    old, new = header.old or "", header.new or ""
    if (not old or old.startswith("a/")) and (not new or new.startswith("b/")):
        return 1
    first, _, rest = (new or old).partition("/")
    if not rest:
        return 0
    if old and new:
        other, _, other_rest = old.partition("/")
        if other != first and _BACKUP.sub("", other_rest) == rest:
            return 1
    known, below = first in _TOP, rest.partition("/")[0] in _TOP
    return None if known == below else 0 if known else 1


def strip_of(name: str, data: bytes, where: str) -> int:
    """Return the ``-p`` that the patch ``name`` takes: 0 for names without a/ and b/, 1 for names with them.

    Raise UserError, naming a file, if it does not show, if the patch has both kinds, or names are absolute.
    """
    found: dict[int, _Header] = {}
    for header in _headers(data):
        for shown in (header.old, header.new):
            if shown and (shown.startswith("/") or re.match(r"[A-Za-z]:[\\/]", shown)):
                raise UserError(
                    f"patch {name} names a file by an absolute path: {shown!r}",
                    where=where,
                    hint="names are relative to the tree's top: a/fs/overlayfs/super.c",
                )
        strip = _strip_of(header)
        if strip is None:
            raise UserError(
                f"patch {name} does not show where {header.shown!r} is: there is no a/ or b/ before it",
                where=where,
                hint="make it at the tree's top with git diff, or list it in a series file with -p0 or -p1",
            )
        found.setdefault(strip, header)
    if len(found) > 1:
        raise UserError(
            f"patch {name} has names with a/ and b/ and without: {found[1].shown!r}, {found[0].shown!r}",
            where=where,
            hint="make it anew, in one way for all files",
        )
    return next(iter(found), 1)


# -- reading -----------------------------------------------------------------------------------------
def _sources(data: bytes) -> set[str]:
    """Return the source files of the patch's copies and renames: git's list of touched files omits them."""
    return {_unquoted(raw) for raw in _SOURCE.findall(data)}


def read_patch(name: str, path: Path, data: bytes, *, where: str, strip: int | None = None) -> Patch:
    """Return the patch in ``data``; ``strip`` is the ``-p`` that a series file gives.

    Raise UserError if git cannot read it, if it touches a forbidden file, or if where it goes is not certain.
    """
    own = _strip_of_given(name, data, where, strip)
    touched: set[str] = set()
    # git lists a renamed file under its new name only: reading the patch in reverse gives the old one.
    renames = b"rename " in data or b"diff --git " not in data
    for direction in [(), ("--reverse",)] if renames else [()]:
        argv = ("apply", *direction, f"-p{own}", "--numstat", "-z", "-")
        done = git(Path("/"), *argv, stdin=data, check=False)
        if done.returncode != 0 or not done.stdout:
            raise _unreadable(name, where, done.tail if not done.stdout else "")
        rows = [row for row in done.stdout.split(b"\0") if row]
        touched |= {os.fsdecode(row.split(b"\t", 2)[2]) for row in rows}
    _refuse_odd(name, sorted(touched | _sources(data)), data, where)
    return Patch(name, path, hashlib.sha256(data).hexdigest(), tuple(sorted(touched)), data, own)


def _strip_of_given(name: str, data: bytes, where: str, given: int | None) -> int:
    """Return the ``-p`` of a patch; ``given`` is what a series file says. Raise UserError if they differ."""
    if given is None:
        return strip_of(name, data, where)
    shown = {found for header in _headers(data) if (found := _strip_of(header)) is not None}
    if shown and shown != {given}:
        has = "a/ and b/ before its names" if given == 0 else "no a/ and b/ before its names"
        raise UserError(f"patch {name} is listed with -p{given}, and has {has}", where=where)
    return given


def _unreadable(name: str, where: str, detail: str) -> UserError:
    return UserError(
        f"git cannot read patch {name}",
        where=where,
        detail=detail,
        hint="is it complete, and as git format-patch or diff -up made it?",
    )


def _refuse_odd(name: str, files: Sequence[str], data: bytes, where: str) -> None:
    """Raise UserError for a name or a mode that no kernel tree has."""
    for file in files:
        if "\\" in file:
            raise UserError(f"patch {name} names a file as Windows does: {file!r}", where=where)
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
