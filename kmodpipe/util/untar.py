"""Unpack an untrusted tar in one pass, within a folder and within limits.

``TarFile.extract`` is not used: for 75,000 files its ``data`` filter took three times as long as unpacking
itself, and in older releases of Python 3.11 it can be circumvented through links. Here files are written
before there are any links, each as a new file; the caller checks the links and makes them at the end.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self, cast

from kmodpipe.util import paths, process
from kmodpipe.util.errors import Interrupted
from kmodpipe.util.files import require_space

_CHUNK = 1024 * 1024
_GZIP = b"\x1f\x8b"
_MAGIC: Mapping[bytes, Callable[[IO[bytes]], IO[bytes]]] = {
    b"\xfd7zXZ\0": lambda f: cast(IO[bytes], lzma.LZMAFile(f)),  # noqa: SIM115
    _GZIP: lambda f: cast(IO[bytes], gzip.GzipFile(fileobj=f)),
    b"BZh": lambda f: cast(IO[bytes], bz2.BZ2File(f)),
}
_HEADER_BYTES = 1024 * 1024
# tarfile reads ahead by its own buffer, and to the end of a block.
_AHEAD_BYTES = 64 * 1024
_ALL_HEADERS_BYTES = 16 * 1024**2
_GLOBAL_RECORDS = 100
_HEADERS_OF_MEMBER_BYTES = 4096
_RESERVE_MIB = 512
_LOOK_AT_DISK_BYTES = 64 * 1024**2
_HEADER_TYPES = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip


class Refused(Exception):
    """A member that is not safe to unpack."""

    def __init__(self, member: str, why: str) -> None:
        self.member = member if len(member) <= 200 else f"{member[:200]}…"
        self.why = why
        super().__init__(f"{self.member!r} {why}")


class Damaged(Exception):
    """The tar is cut short, damaged, or none."""


@dataclass(frozen=True)
class Limits:
    """What a tar may hold. Linux 6.12 has 86,000 files and 1.5 GB, ten times the size of its .tar.xz."""

    members: int = 500_000
    total_bytes: int = 8 * 1024**3
    file_bytes: int = 1024**3
    name_bytes: int = 1024
    # How many times larger than the tar its contents may be, if they are larger than ``small_bytes``.
    times_larger: int = 200
    small_bytes: int = 64 * 1024**2
    # How many bytes may follow the end.
    behind_bytes: int = 256 * 1024**2
    # What ``total_bytes`` and ``file_bytes`` stand for, in messages.
    largest: str = "any kernel source"
    # Without hard links and sparse files, and compressed with gzip or not at all.
    simple: bool = False


@dataclass
class Content:
    """What was unpacked, by name. The links are not made yet."""

    members: int = 0
    files: dict[str, float] = field(default_factory=dict)  # times of modification
    folders: dict[str, float | None] = field(default_factory=dict)  # None if it is no member itself
    links: dict[str, str] = field(default_factory=dict)  # their targets


@dataclass
class _State:
    """A tar that is being unpacked. Names are relative to ``target``."""

    what: str  # for messages
    target: str
    limits: Limits
    packed: int | None  # the tar's size, if known
    wanted: Callable[[str], bool]
    # The size of the members so far, and what it was when disk space was checked last.
    total: int = 0
    written: int = 0
    content: Content = field(default_factory=Content)

    def taken(self, name: str) -> bool:
        return name in self.content.files or name in self.content.links


class _StrictInfo(tarfile.TarInfo):
    """A member that is read strictly.

    tarfile itself takes garbage or a cut between two members for the archive's end, and reads headers of any
    size.
    """

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as e:
            raise tarfile.ReadError(str(e)) from e

    def _block(self, count: int) -> int:
        # With a negative size, older releases of tarfile seek back and loop for ever.
        if count < 0:
            raise tarfile.ReadError(f"a size of {count} bytes")
        return int(super()._block(count))  # type: ignore[misc]

    def _proc_member(self, tarfile_: tarfile.TarFile) -> Any:
        if self.type in _HEADER_TYPES and self.size > _HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        if self.type == tarfile.XGLTYPE and len(tarfile_.pax_headers) > _GLOBAL_RECORDS:
            raise tarfile.ReadError(f"more than {_GLOBAL_RECORDS} records for all members")
        return super()._proc_member(tarfile_)  # type: ignore[misc]


class _Peeked:
    """A stream whose first bytes can be inspected (``magic``) before it is read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._head = stream.read(8)
        self.magic = self._head

    def read(self, size: int = -1) -> bytes:
        if not self._head:
            return self._stream.read(size)
        if size < 0:
            size = _CHUNK
        head, self._head = self._head[:size], self._head[size:]
        return head


class _Metered:
    """The tar's bytes, with a limit on how many of them are headers, of one member and of all.

    tarfile keeps names, pax records and the maps of sparse files in memory.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._read = 0
        self._content = 0
        self._members = 0
        self._limit = 0
        self.expect(0)

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._read += len(data)
        if self._read > self._limit:
            raise tarfile.ReadError(f"headers of more than {_HEADER_BYTES >> 20} MiB")
        return data

    def expect(self, content: int) -> None:
        """Allow reading a member's content and the headers of the next member."""
        self._limit = self._read + content + _HEADER_BYTES + _AHEAD_BYTES

    def count(self, member: tarfile.TarInfo, *, unread: int) -> None:
        """Count a member after its content was read, but for ``unread`` bytes, which come before the next."""
        self.expect(unread)
        self._members += 1
        # The holes of a sparse file were not read, and would allow headers of their size.
        self._content += member.size if member.isreg() and not member.issparse() else 0
        headers = self._read - self._content - self._members * _HEADERS_OF_MEMBER_BYTES
        if headers > _ALL_HEADERS_BYTES:
            raise tarfile.ReadError(f"headers of more than {_ALL_HEADERS_BYTES >> 20} MiB in all")


def extract(
    stream: IO[bytes],
    target: Path,
    *,
    what: str,
    packed: int | None = None,
    limits: Limits | None = None,
    on_count: Callable[[int], None] | None = None,
    wanted: Callable[[str], bool] = lambda name: True,
) -> Content:
    """Write the files and folders of the tar in ``stream`` into the empty folder ``target``.

    ``what`` names it in messages, ``packed`` is its size in bytes if known, and ``on_count`` is called now
    and then with the number of members unpacked. Members of which ``wanted`` is false are passed over.

    Raise Refused for a member that leads out of ``target``, is no file, folder or link, or exceeds
    ``limits``, Damaged for a damaged or truncated tar, and OSError.
    """
    state = _State(what, os.fspath(target), limits or Limits(), packed, wanted)
    plain = _decompressed(stream, simple=state.limits.simple)
    metered = _Metered(plain)
    try:
        with tarfile.open(fileobj=cast(IO[bytes], metered), mode="r|", tarinfo=_StrictInfo) as archive:
            for member in archive:
                metered.expect(member.size)
                kept = _take(state, archive, member)
                metered.count(member, unread=0 if kept else member.size)
                # In stream mode the list of members is not needed, and would grow with each one.
                archive.members = []  # type: ignore[attr-defined]
                if state.content.members % 256 == 0:
                    if process.stopping():
                        raise Interrupted("interrupted while an archive was unpacked", where=what)
                    if on_count:
                        on_count(state.content.members)
        _read_to_the_end(plain, state.limits.behind_bytes)
    except RecursionError as e:
        raise Damaged("its headers have headers without end") from e
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, gzip.BadGzipFile, ValueError) as e:
        if process.stopping():
            raise Interrupted("interrupted while an archive was unpacked", where=what) from e
        raise Damaged(str(e)) from e
    return state.content


def make_links(target: Path, links: Mapping[str, str]) -> None:
    """Make the links that `extract` returned. Raise Refused for one that cannot be made."""
    for name, to in links.items():
        try:
            (target / name).symlink_to(to)
        except (OSError, ValueError) as e:
            why = e.strerror if isinstance(e, OSError) else e
            raise Refused(name, f"is a link that cannot be made: {why}") from e


def _decompressed(stream: IO[bytes], *, simple: bool) -> IO[bytes]:
    peeked = cast(IO[bytes], _Peeked(stream))
    for magic, opener in _MAGIC.items():
        if cast(_Peeked, peeked).magic.startswith(magic) and (magic == _GZIP or not simple):
            return opener(peeked)
    return peeked


def _read_to_the_end(plain: IO[bytes], most: int) -> None:
    """Read the rest of the stream, so that the decompressor verifies its checksum."""
    behind = 0
    while data := plain.read(_CHUNK):
        behind += len(data)
        if behind > most:
            raise tarfile.ReadError(f"more than {most >> 20} MiB follow its end")


def _clean_name(state: _State, raw: str) -> str:
    """Return the member's name relative to the target; ``""`` for the target itself."""
    if raw.startswith("/"):
        raise Refused(raw, "has an absolute name")
    parts = [p for p in raw.split("/") if p not in ("", ".")]
    if ".." in parts:
        raise Refused(raw, "points out of the archive")
    if any(p.lower() == ".git" for p in parts):
        raise Refused(raw, "belongs to a git repository: git archive packs a tree without it")
    long = any(len(os.fsencode(p)) > paths.NAME_BYTES for p in parts)
    if "\0" in raw or long or len(os.fsencode(raw)) > state.limits.name_bytes:
        raise Refused(raw, "has an impossible name")
    return "/".join(parts)


def _count(state: _State, member: tarfile.TarInfo, size: int) -> None:
    """Count a member, with that many bytes, against the limits and the disk's free space."""
    limits = state.limits
    state.content.members += 1
    state.total += size
    if state.content.members > limits.members:
        raise Refused(member.name, f"is one more than the {limits.members} members allowed")
    if state.total > limits.total_bytes or size > limits.file_bytes:
        raise Refused(member.name, f"makes it larger than {limits.largest}")
    if state.packed is not None and state.total > max(limits.small_bytes, state.packed * limits.times_larger):
        raise Refused(member.name, f"makes it more than {limits.times_larger} times as large as the archive")
    if state.total - state.written >= _LOOK_AT_DISK_BYTES:
        state.written = state.total
        need_mib = _RESERVE_MIB + (size >> 20)
        require_space(Path(state.target), need_mib, f"unpacking {Path(state.what).name}")


def _take(state: _State, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bool:
    """Unpack one member, or raise Refused. Return False if it is passed over, with its content unread."""
    wanted = state.wanted(member.name.removeprefix("./"))
    _count(state, member, member.size if wanted else 0)
    if not wanted:
        return False
    content = state.content
    name = _clean_name(state, member.name)
    if not name:
        return True
    # Before isreg, which is true of files with holes as well.
    if state.limits.simple and (member.issparse() or member.islnk()):
        raise Refused(member.name, "is a hard link or has holes, which none of ours has")
    if member.isdir():
        _make_folders(state, name)
        content.folders[name] = member.mtime
    elif member.issym():
        _claim(state, name)
        content.links[name] = member.linkname
    elif member.isreg() and (source := archive.extractfile(member)):
        _claim(state, name)
        content.files[name] = member.mtime
        _write(os.path.join(state.target, name), source, member)  # noqa: PTH118
    elif member.islnk():
        original = _clean_name(state, member.linkname)
        if original not in content.files:
            raise Refused(member.name, f"is a hard link to {member.linkname!r}, which is no file before it")
        _claim(state, name)
        content.files[name] = member.mtime
        shutil.copy2(os.path.join(state.target, original), os.path.join(state.target, name))  # noqa: PTH118
        state.total += os.stat(os.path.join(state.target, name)).st_size  # noqa: PTH116, PTH118
    else:
        raise Refused(member.name, "is a device, pipe or something else that no such archive has")
    return True


def _make_folders(state: _State, name: str) -> None:
    if name in state.content.folders or not name:
        return
    # Links are made at the end only, so their names are free on the disk and have to be looked up here.
    if state.taken(name):
        raise Refused(name, "is used as a folder and is none")
    _make_folders(state, name.rpartition("/")[0])
    os.mkdir(os.path.join(state.target, name), 0o755)  # noqa: PTH102, PTH118
    state.content.folders[name] = None


def _claim(state: _State, name: str) -> None:
    """Check that the name of a new file or link is free, and make its folder."""
    if state.taken(name) or name in state.content.folders:
        raise Refused(name, "is there twice")
    _make_folders(state, name.rpartition("/")[0])


def _write(path: str, source: IO[bytes], member: tarfile.TarInfo) -> None:
    mode = 0o755 if member.mode & 0o100 else 0o644
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(fd, "wb", buffering=0) as out:
        written = 0
        while data := source.read(_CHUNK):
            written += out.write(data)
        if written != member.size:
            raise tarfile.ReadError(f"{member.name} is cut short")
