"""Read files as people keep patches in: compressed or not, a mailbox, a mail, a maildir, git show, or a diff.

What a file is shows in its content, not in its name.
"""

from __future__ import annotations

import bz2
import codecs
import lzma
import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from kmodpipe.series.diff import has_diff, may_have_diff
from kmodpipe.series.mail import Item, is_mail, read_mail, without_transport_cr
from kmodpipe.series.model import git
from kmodpipe.util import os_errors, paths
from kmodpipe.util.errors import InfraError, UserError
from kmodpipe.util.files import temporary

_MAX_BYTES = 64 * 1024 * 1024
_FREE_TMP = "free some space there, or set TMPDIR to a folder elsewhere"
_MAX_MESSAGES = 1000
_COMMIT = re.compile(rb"^commit [0-9a-f]{40,64}\b[^\n]*$", re.MULTILINE)
_PACKED = {b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip", b"7z\xbc\xaf": "7z"}
SUFFIXES = (".patch", ".diff", ".eml", ".mbox", ".mbx", ".mail", ".cover")
"""The files of a folder that are read as patches or mails; also with one of `_PACKED_SUFFIXES` behind."""
_PACKED_SUFFIXES = (".gz", ".xz", ".bz2")


def is_patch_name(name: str) -> bool:
    """Return whether a file of this name in a folder of a series is taken for a patch or a mail."""
    return not name.startswith(".") and _unpacked_name(name).lower().endswith(SUFFIXES)


def stem(name: str) -> str:
    """Return a file's name without the suffixes of its kind: ``v2`` for ``v2.mbox.gz``."""
    name = _unpacked_name(name)
    suffix = next((s for s in SUFFIXES if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)] or name


def _unpacked_name(name: str) -> str:
    suffix = next((s for s in _PACKED_SUFFIXES if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]


class _Stream(Protocol):
    """A decompressor of the standard library."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


# -- bytes -------------------------------------------------------------------------------------------
def read_bytes(path: Path) -> bytes:
    """Return a file's content. Raise UserError if it cannot be read, or is larger than any patch."""
    try:
        with path.open("rb") as f:
            data = f.read(_MAX_BYTES + 1)
    except OSError as e:
        raise UserError(f"{path.name} cannot be read: {e.strerror}", where=str(path)) from e
    if len(data) > _MAX_BYTES:
        raise too_large(str(path))
    return data


def too_large(where: str) -> UserError:
    """Return the error for a file that is larger than any patch."""
    return UserError(f"larger than {_MAX_BYTES >> 20} MiB: no patch is", where=where)


def plain(data: bytes, where: str) -> bytes:
    """Return the content of a file unpacked and in UTF-8 without a byte order mark.

    Raise UserError if it is damaged, unpacks to more than any patch, or is packed in a way that is not read.
    """
    for magic, kind in _PACKED.items():
        if data.startswith(magic):
            raise UserError(f"a file in {kind} is not read", where=where, hint="unpack it, or use gzip or xz")
    if data.startswith(b"\x1f\x8b"):
        data = _unpacked(data, lambda: zlib.decompressobj(31), zlib.error, where)
    elif data.startswith(b"\xfd7zXZ\x00"):
        data = _unpacked(data, lzma.LZMADecompressor, lzma.LZMAError, where)
    elif data.startswith(b"BZh"):
        data = _unpacked(data, bz2.BZ2Decompressor, OSError, where)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        # As PowerShell writes `git diff > x.patch`.
        try:
            return data.decode("utf-16").encode("utf-8")
        except UnicodeError as e:
            raise UserError(f"it begins as UTF-16, and is not: {e}", where=where) from e
    return data.removeprefix(codecs.BOM_UTF8)


def _unpacked(data: bytes, start: Callable[[], _Stream], failure: type[Exception], where: str) -> bytes:
    """Return unpacked bytes, of each of the streams in ``data``. Raise UserError as `plain` does."""
    found = bytearray()
    try:
        while data:
            stream = start()
            found += stream.decompress(data, _MAX_BYTES + 1 - len(found))
            if len(found) > _MAX_BYTES:
                raise too_large(where)
            if not stream.eof:
                raise UserError("it is packed, and cut off", where=where)
            # Zeros behind a stream are padding.
            data = stream.unused_data.lstrip(b"\0")
    except (failure, EOFError, MemoryError) as e:
        raise UserError(f"it is packed, and damaged: {e}", where=where) from e
    return bytes(found)


# -- files -------------------------------------------------------------------------------------------
def read_file(path: Path, name: str) -> list[Item]:
    """Return the patches and mails in a file. Raise UserError if it cannot be read."""
    raw = read_bytes(path)
    items = _read(plain(raw, str(path)), name, path, str(path), 0)
    if len(items) == 1 and (diff := items[0].diff) and diff in raw:
        before, _, after = raw.partition(diff)
        if not may_have_diff(before) and not after.strip():
            # A file that needs no decoding is applied as it is: its digest is that of the file on the disk.
            items = [replace(items[0], diff=raw)]
    return items


def is_maildir(folder: Path) -> bool:
    """Return whether a folder is a maildir."""
    return paths.is_dir(folder / "cur") and paths.is_dir(folder / "new")


def read_maildir(folder: Path) -> list[Item]:
    """Return the patches and mails of a maildir."""
    files = sorted(
        p for name in ("cur", "new") for p in (folder / name).iterdir() if not p.name.startswith(".")
    )
    if len(files) > _MAX_MESSAGES:
        raise UserError(f"it holds more than {_MAX_MESSAGES} messages", where=str(folder))
    found: list[Item] = []
    for path in files:
        if path.is_symlink() or not paths.is_file(path):
            raise UserError(f"{path.name} is not a file", where=str(folder))
        found += read_mail(plain(read_bytes(path), str(path)), path, str(path), _attachments(path, str(path)))
    return _normal(found)


def _read(data: bytes, name: str, path: Path, where: str, depth: int) -> list[Item]:
    attached = _attachments(path, where)
    begun = data.lstrip(b"\r\n")
    if begun.startswith(b"From "):
        found: list[Item] = []
        for message in _messages(begun, where):
            found += read_mail(message, path, where, attached, depth)
    elif is_mail(begun):
        found = read_mail(begun, path, where, attached, depth)
    else:
        found = _commits(data, name, path, where)
    return _normal(found)


def _attachments(path: Path, where: str) -> Callable[[bytes, str, int], list[Item]]:
    def read(data: bytes, name: str, depth: int) -> list[Item]:
        return _read(plain(data, f"{where}: {name}"), name, path, f"{where}: {name}", depth)

    return read


def _normal(items: list[Item]) -> list[Item]:
    return [replace(one, diff=without_transport_cr(one.diff)) for one in items]


def _messages(data: bytes, where: str) -> list[bytes]:
    """Return the mails of a mailbox, as ``git mailsplit`` finds them."""
    too_many = UserError(f"it holds more than {_MAX_MESSAGES} messages", where=where)
    if data.count(b"\nFrom ") > 20 * _MAX_MESSAGES:
        raise too_many
    with temporary("mbox") as folder:
        split = git(folder, "mailsplit", "--keep-cr", "-b", f"-o{folder}", stdin=data, check=False)
        failed = split.returncode != 0
        # git does not always look whether what it writes arrives.
        written = sum(p.stat().st_size for p in folder.iterdir())
        if os_errors.is_full(folder) if failed else written < len(data.strip()):
            raise InfraError("there is no room to take a mailbox apart", where=str(folder), hint=_FREE_TMP)
        if failed:
            raise UserError("git cannot read this mailbox", where=where, detail=split.tail)
        messages = sorted(folder.glob("[0-9]*"), key=lambda p: int(p.name))
        if len(messages) > _MAX_MESSAGES:
            raise too_many
        return [re.sub(rb"^From [^\n]*\n", b"", message.read_bytes(), count=1) for message in messages]


def _commits(data: bytes, name: str, path: Path, where: str) -> list[Item]:
    """Return a diff as one item, and the output of git show or git log -p as an item a commit."""
    starts = [match.start() for match in _COMMIT.finditer(data)]
    if not starts or has_diff(data[: starts[0]]):
        return [Item(name, path, where, diff=data if has_diff(data) else b"")]
    found = []
    for begin, end in zip(starts, [*starts[1:], len(data)], strict=True):
        shown = data[begin:end]
        match = re.search(rb"^\r?\n    ([^\r\n]*)", shown, re.MULTILINE)
        subject = " ".join(match[1].decode("utf-8", "replace").split()) if match else ""
        found.append(Item(subject or name, path, where, subject, diff=shown if has_diff(shown) else b""))
    return found
