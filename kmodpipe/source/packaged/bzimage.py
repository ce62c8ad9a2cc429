"""Read a bzImage: the kernel's release, and the vmlinux in it.

Where things are is said by its own header, the x86 boot protocol (Linux' Documentation/arch/x86/boot.rst).
"""

from __future__ import annotations

import struct
from pathlib import Path

from kmodpipe.util import compressed, os_errors
from kmodpipe.util.errors import UserError
from kmodpipe.util.files import part_of

_SECTOR = 512
_HEADER_BYTES = 0x264
# 2.08, the first with payload_offset and payload_length: Linux 2.6.26.
_PROTOCOL = 0x0208
_RELEASE_BYTES = 512
_MOST_BYTES = 1 << 30


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
    packed, part = part_of(target), part_of(target)
    try:
        packed.write_bytes(payload if compressed.format_of(payload) == "gzip" else payload[:-4])
        compressed.unpack(packed, part, most=size)
        if part.stat().st_size != size:
            raise _refused(vmlinuz, f"it holds {part.stat().st_size} bytes, not {size} as it says")
        with part.open("rb") as f:
            if f.read(4) != b"\x7fELF":
                raise _refused(vmlinuz, "it holds no vmlinux")
        part.replace(target)
    except compressed.Damaged as e:
        raise _refused(vmlinuz, str(e)) from e
    except OSError as e:
        raise os_errors.failed("vmlinux cannot be unpacked", e, str(target)) from e
    finally:
        for left in (packed, part):
            left.unlink(missing_ok=True)


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
