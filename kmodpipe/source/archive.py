"""Unpack an untrusted source archive in one pass, within a folder and within limits.

``TarFile.extract`` is not used: for 75,000 files its ``data`` filter took three times as long as unpacking
itself, and in older releases of Python 3.11 it can be circumvented through links. Here files are written
before there are any links, each as a new file; the links are checked and made at the end.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self, cast

from kmodpipe.util import os_errors, paths, process
from kmodpipe.util.errors import InfraError, Interrupted, UserError
from kmodpipe.util.files import require_space

_CHUNK = 1024 * 1024
_MAGIC: tuple[tuple[bytes, Callable[[IO[bytes]], IO[bytes]]], ...] = (
    (b"\xfd7zXZ\0", lambda f: cast(IO[bytes], lzma.LZMAFile(f))),  # noqa: SIM115
    (b"\x1f\x8b", lambda f: cast(IO[bytes], gzip.GzipFile(fileobj=f))),
    (b"BZh", lambda f: cast(IO[bytes], bz2.BZ2File(f))),
)
_HEADER_BYTES = 1024 * 1024
_BEHIND_BYTES = 256 * 1024**2
_RESERVE_MIB = 512
_LOOK_AT_DISK_BYTES = 64 * 1024**2
_HEADER_TYPES = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What an archive may hold. Linux 6.12 has 86,000 files and 1.5 GB, ten times the size of its .tar.xz."""

    members: int = 500_000
    total_bytes: int = 8 * 1024**3
    file_bytes: int = 1024**3
    name_bytes: int = 1024
    # How many times larger than the archive its contents may be, if they are larger than ``small_bytes``.
    times_larger: int = 200
    small_bytes: int = 64 * 1024**2


@dataclass
class _State:
    """An archive that is being unpacked. Names are relative to ``target``."""

    # The archive, for messages.
    what: str
    target: str
    limits: Limits
    # The archive's size, if known.
    packed: int | None = None
    members: int = 0
    # The size of the members so far, and what it was when disk space was checked last.
    total: int = 0
    written: int = 0
    # Files and links; of them, files; folders.
    taken: set[str] = field(default_factory=set)
    regular: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    # Name and target of the links to make at the end.
    links: list[tuple[str, str]] = field(default_factory=list)


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


def unpack(
    stream: IO[bytes],
    target: Path,
    *,
    what: str,
    packed: int | None = None,
    limits: Limits | None = None,
    on_count: Callable[[int], None] | None = None,
) -> None:
    """Unpack the tar in ``stream`` (plain, gz, bz2 or xz) into the empty folder ``target``.

    A single top folder is stripped. ``what`` names the archive in messages, ``packed`` is its size in bytes
    if known, and ``on_count`` is called now and then with the number of members unpacked.

    Raise UserError for a damaged or truncated archive, and for a member (which it names) that leads out of
    ``target``, is no file, folder or link, or exceeds ``limits``.
    """
    state = _State(what, os.fspath(target), limits or Limits(), packed)
    peeked = _Peeked(stream)
    plain: IO[bytes] = cast(IO[bytes], peeked)
    for magic, opener in _MAGIC:
        if peeked.magic.startswith(magic):
            plain = opener(plain)
    try:
        with tarfile.open(fileobj=plain, mode="r|", tarinfo=_StrictInfo) as archive:
            for member in archive:
                _take(state, archive, member)
                # In stream mode the list of members is not needed, and would grow with each one.
                archive.members = []  # type: ignore[attr-defined]
                if state.members % 256 == 0:
                    if process.stopping():
                        raise Interrupted("interrupted while an archive was unpacked", where=what)
                    if on_count:
                        on_count(state.members)
        _read_to_the_end(plain)
    except RecursionError as e:
        raise UserError("the archive is damaged: its headers have headers without end", where=what) from e
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, gzip.BadGzipFile, ValueError) as e:
        if process.stopping():
            raise Interrupted("interrupted while an archive was unpacked", where=what) from e
        hint = "is it a .tar, .tar.gz, .tar.bz2 or .tar.xz, and complete?"
        raise UserError(f"the archive is damaged or cut short: {e}", where=what, hint=hint) from e
    except OSError as e:
        raise os_errors.explain(e, (target,)) or InfraError(f"could not unpack: {e}", where=what) from e
    if not state.members:
        raise UserError("the archive is empty", where=what)
    _finish(state)


def _read_to_the_end(plain: IO[bytes]) -> None:
    """Read the rest of the stream, so that the decompressor verifies its checksum."""
    behind = 0
    while data := plain.read(_CHUNK):
        behind += len(data)
        if behind > _BEHIND_BYTES:
            raise tarfile.ReadError(f"more than {_BEHIND_BYTES >> 20} MiB follow its end")


def _refuse(state: _State, member: str, why: str) -> UserError:
    shown = member if len(member) <= 200 else f"{member[:200]}…"
    return UserError(
        f"the archive is not safe to unpack: {shown!r} {why}",
        where=state.what,
        hint="a source archive holds files, folders, and links that stay in it",
    )


def _clean_name(state: _State, raw: str) -> str:
    """Return the member's name relative to the target; ``""`` for the target itself."""
    if raw.startswith("/"):
        raise _refuse(state, raw, "has an absolute name")
    parts = [p for p in raw.split("/") if p not in ("", ".")]
    if ".." in parts:
        raise _refuse(state, raw, "points out of the archive")
    if any(p.lower() == ".git" for p in parts):
        raise _refuse(state, raw, "belongs to a git repository: git archive packs a tree without it")
    long = any(len(os.fsencode(p)) > paths.NAME_BYTES for p in parts)
    if "\0" in raw or long or len(os.fsencode(raw)) > state.limits.name_bytes:
        raise _refuse(state, raw, "has an impossible name")
    return "/".join(parts)


def _take(state: _State, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    """Unpack one member, or raise UserError if it is not allowed."""
    state.members += 1
    state.total += member.size
    if state.members > state.limits.members:
        raise _refuse(state, member.name, f"is one more than the {state.limits.members} members allowed")
    if state.total > state.limits.total_bytes or member.size > state.limits.file_bytes:
        raise _refuse(state, member.name, "makes it larger than any kernel source")
    limits = state.limits
    if state.packed is not None and state.total > max(limits.small_bytes, state.packed * limits.times_larger):
        raise _refuse(
            state, member.name, f"makes it more than {limits.times_larger} times as large as the archive"
        )
    if state.total - state.written >= _LOOK_AT_DISK_BYTES:
        state.written = state.total
        need_mib = _RESERVE_MIB + (member.size >> 20)
        require_space(Path(state.target), need_mib, f"unpacking {Path(state.what).name}")
    name = _clean_name(state, member.name)
    if not name:
        return
    if member.isdir():
        _make_folders(state, name)
    elif member.issym():
        _claim(state, name)
        state.links.append((name, member.linkname))
    elif member.isreg() and (source := archive.extractfile(member)):
        _claim(state, name)
        state.regular.add(name)
        _write(os.path.join(state.target, name), source, member)  # noqa: PTH118
    elif member.islnk():
        original = _clean_name(state, member.linkname)
        if original not in state.regular:
            raise _refuse(
                state, member.name, f"is a hard link to {member.linkname!r}, which is no file before it"
            )
        _claim(state, name)
        state.regular.add(name)
        shutil.copy2(os.path.join(state.target, original), os.path.join(state.target, name))  # noqa: PTH118
        state.total += os.stat(os.path.join(state.target, name)).st_size  # noqa: PTH116, PTH118
    else:
        raise _refuse(state, member.name, "is a device, pipe or something else that no source tree has")


def _make_folders(state: _State, name: str) -> None:
    if name in state.folders or not name:
        return
    # Links are made at the end only, so their names are free on the disk and have to be looked up here.
    if name in state.taken:
        raise _refuse(state, name, "is used as a folder and is none")
    _make_folders(state, name.rpartition("/")[0])
    os.mkdir(os.path.join(state.target, name), 0o755)  # noqa: PTH102, PTH118
    state.folders.add(name)


def _claim(state: _State, name: str) -> None:
    """Reserve the name of a new file or link, and make its folder."""
    if name in state.taken or name in state.folders:
        raise _refuse(state, name, "is there twice")
    _make_folders(state, name.rpartition("/")[0])
    state.taken.add(name)


def _write(path: str, source: IO[bytes], member: tarfile.TarInfo) -> None:
    mode = 0o755 if member.mode & 0o100 else 0o644
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(fd, "wb", buffering=0) as out:
        written = 0
        while data := source.read(_CHUNK):
            written += out.write(data)
        if written != member.size:
            raise tarfile.ReadError(f"{member.name} is cut short")


def _finish(state: _State) -> None:
    """Make the links, which must not lead out of the final top folder, and strip a single top folder."""
    root = Path(state.target)
    tops = {n.partition("/")[0] for n in (*state.taken, *state.folders)}
    top = next(iter(tops)) if len(tops) == 1 and tops <= state.folders else None
    prefix = f"{top}/" if top else ""
    links = {name.removeprefix(prefix): target for name, target in state.links}
    if found := paths.escaping_link(links):
        raise _refuse(state, prefix + found[0], f"is a link out of the tree, to {found[1][:200]!r}")
    for name, target in state.links:
        try:
            (root / name).symlink_to(target)
        except OSError as e:
            raise _refuse(state, name, f"is a link that cannot be made: {e.strerror}") from e
    if top:
        # Renamed first: the top folder may contain an entry of its own name.
        aside = root / ".kmodpipe-top"
        (root / top).rename(aside)
        for entry in list(aside.iterdir()):
            entry.rename(root / entry.name)
        aside.rmdir()
