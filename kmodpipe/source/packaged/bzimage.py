"""Read a bzImage: the kernel's release, and the vmlinux in it.

Where things are is said by its own header, the x86 boot protocol (Linux' Documentation/arch/x86/boot.rst).
"""

from __future__ import annotations

import bz2
import lzma
import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from kmodpipe.util import process
from kmodpipe.util.errors import InfraError, UserError
from kmodpipe.util.files import part_of

_SECTOR = 512
_HEADER_BYTES = 0x264
# 2.08, the first with payload_offset and payload_length: Linux 2.6.26.
_PROTOCOL = 0x0208
_RELEASE_BYTES = 512
_MOST_BYTES = 1 << 30
_CHUNK = 1 << 20
_LIMIT_S = 120.0
# Formats that Python 3.11 does not know, and the program for each. lz4 is in its old format.
_PROGRAMS = {b"\x28\xb5\x2f\xfd": "zstd", b"\x02\x21\x4c\x18": "lz4"}


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def release_of(vmlinuz: Path) -> str:
    """Return the kernel's release, as ``uname -r`` prints it. Raise UserError if it is no bzImage."""
    head = _header(vmlinuz)
    (offset,) = struct.unpack_from("<H", head, 0x20E)
    with vmlinuz.open("rb") as f:
        f.seek(_SECTOR + offset)
        text = f.read(_RELEASE_BYTES).partition(b"\0")[0].decode("ascii", "replace")
    if not offset or not text:
        raise _refused(vmlinuz, "its header names no version")
    return text.partition(" ")[0]


def extract(vmlinuz: Path, target: Path) -> None:
    """Write the vmlinux in a bzImage to ``target``. It has no symbols, but a build id.

    Raise UserError if it is no bzImage or damaged, InfraError if the program for its format is missing.
    """
    head = _header(vmlinuz)
    sectors = head[0x1F1] or 4
    offset, length = struct.unpack_from("<II", head, 0x248)
    with vmlinuz.open("rb") as f:
        f.seek((sectors + 1) * _SECTOR + offset)
        payload = f.read(length)
    if len(payload) < 8 or len(payload) != length:
        raise _refused(vmlinuz, "it is cut short")
    # The build appends the size to every format but gzip, which ends with it anyway.
    (size,) = struct.unpack("<I", payload[-4:])
    if size > _MOST_BYTES:
        raise _refused(vmlinuz, f"it claims to hold {size} bytes")
    part = part_of(target)
    try:
        if program := _PROGRAMS.get(payload[:4]):
            _run(program, payload[:-4], part)
        else:
            _unpack(payload, size, part, vmlinuz)
        if part.stat().st_size != size:
            raise _refused(vmlinuz, f"it holds {part.stat().st_size} bytes, not {size} as it says")
        with part.open("rb") as f:
            if f.read(4) != b"\x7fELF":
                raise _refused(vmlinuz, "it holds no vmlinux")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _refused(vmlinuz: Path, why: str) -> UserError:
    return UserError(f"not a bzImage that can be read: {why}", where=str(vmlinuz))


def _header(vmlinuz: Path) -> bytes:
    try:
        with vmlinuz.open("rb") as f:
            head = f.read(_HEADER_BYTES)
    except OSError as e:
        raise _refused(vmlinuz, e.strerror or str(e)) from e
    if len(head) < _HEADER_BYTES or head[0x202:0x206] != b"HdrS":
        raise _refused(vmlinuz, "it has no header of the x86 boot protocol")
    (protocol,) = struct.unpack_from("<H", head, 0x206)
    if protocol < _PROTOCOL:
        raise _refused(vmlinuz, f"its boot protocol is {protocol >> 8}.{protocol & 255:02}, older than 2.08")
    return head


def _unpack(payload: bytes, size: int, target: Path, vmlinuz: Path) -> None:
    try:
        with target.open("xb") as out:
            written = 0
            for data in _pieces(_decompressor(payload, vmlinuz), payload):
                written += out.write(data)
                if written > size:
                    raise _refused(vmlinuz, f"it holds more than {size} bytes, as it says")
    except (lzma.LZMAError, zlib.error, OSError, EOFError, ValueError) as e:
        raise _refused(vmlinuz, f"its content is damaged: {e}") from e


def _decompressor(payload: bytes, vmlinuz: Path) -> Any:
    if payload.startswith(b"\x1f\x8b"):
        return _Gzip()
    if payload.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_BYTES)
    if payload.startswith(b"\x5d\0\0"):
        return lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_MOST_BYTES)
    if payload.startswith(b"BZh"):
        return bz2.BZ2Decompressor()
    raise _refused(vmlinuz, f"its format is not known ({payload[:4].hex()})")


class _Gzip:
    """zlib's decompressor with the interface of the others."""

    def __init__(self) -> None:
        self._own = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._own.eof

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return self._own.decompress(data or self._own.unconsumed_tail, max_length)


def _pieces(decompressor: _Decompressor, payload: bytes) -> Iterator[bytes]:
    data = payload
    while not decompressor.eof:
        piece = decompressor.decompress(data, _CHUNK)
        if not piece and not data:
            raise EOFError("it is cut short")
        data = b""
        yield piece


def _run(program: str, payload: bytes, target: Path) -> None:
    if shutil.which(program) is None:
        hint = f"install it: apt-get install {program}"
        raise InfraError(
            f"{program} is not installed, which unpacks this kernel", where=str(target), hint=hint
        )
    packed = part_of(target)
    try:
        packed.write_bytes(payload)
        process.run(
            [program, "-d", "-q", "-f", packed, *(["-o"] if program == "zstd" else []), target],
            timeout_s=_LIMIT_S,
            hint="is the file whole?",
        )
    finally:
        packed.unlink(missing_ok=True)
