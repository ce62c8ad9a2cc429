"""The build id of an ELF file, and of files that are none."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from kmodpipe.build.elf import build_id, has_pvh_entry
from kmodpipe.util.errors import InfraError


def elf(*notes: tuple[bytes, int, bytes]) -> bytes:
    """A little-endian ELF64 with nothing but one section of notes (owner, type, bytes)."""
    body = b""
    for owner, kind, data in notes:
        owner += b"\0"
        body += struct.pack("<III", len(owner), len(data), kind)
        body += owner.ljust(-(-len(owner) // 4) * 4, b"\0") + data.ljust(-(-len(data) // 4) * 4, b"\0")
    names = b"\0.notes\0.shstrtab\0"
    header = struct.pack(
        "<4sBBBB8xHHIQQQIHHHHHH",
        b"\x7fELF", 2, 1, 1, 0, 1, 62, 1, 0, 0, 64 + len(body) + len(names), 0, 64, 0, 0, 64, 3, 2,
    )  # fmt: skip

    def section(name: int, kind: int, offset: int, size: int) -> bytes:
        return struct.pack("<IIQQQQIIQQ", name, kind, 0, 0, offset, size, 0, 0, 4, 0)

    sections = bytes(64) + section(1, 7, 64, len(body)) + section(8, 3, 64 + len(body), len(names))
    return header + body + names + sections


ID = bytes(range(20))


def test_the_build_id_is_read_from_among_other_notes(tmp_path: Path) -> None:
    file = tmp_path / "overlay.ko"
    file.write_bytes(elf((b"Linux", 0x100, b"\1\0\0\0"), (b"GNU", 3, ID)))
    assert build_id(file) == ID.hex()


def test_a_note_of_another_owner_is_no_build_id(tmp_path: Path) -> None:
    """As in the vmlinux of a distribution, whose notes begin with Xen's; 3 is XEN_ELFNOTE_VIRT_BASE."""
    file = tmp_path / "vmlinux"
    file.write_bytes(elf((b"Xen", 3, b"\0\0\0\x80\xff\xff\xff\xff"), (b"GNU", 3, ID)))
    assert build_id(file) == ID.hex()


@pytest.mark.parametrize(
    ("note", "bootable"),
    [((b"Xen", 18, bytes(8)), True), ((b"GNU", 18, bytes(8)), False), ((b"Xen", 17, bytes(4)), False)],
)
def test_a_pvh_entry_is_a_note_of_xen(tmp_path: Path, note: tuple[bytes, int, bytes], bootable: bool) -> None:
    file = tmp_path / "vmlinux"
    file.write_bytes(elf((b"GNU", 3, ID), note))
    assert has_pvh_entry(file) is bootable


def test_a_file_without_a_build_id_has_an_empty_one(tmp_path: Path) -> None:
    file = tmp_path / "overlay.ko"
    file.write_bytes(elf((b"Linux", 0x100, b"\1\0\0\0")))
    assert build_id(file) == ""


@pytest.mark.parametrize("cut", [0, 3, 16, 63, 64, 90, 130, -1, -64, -150])
def test_a_file_that_is_not_whole_is_our_trouble_and_never_a_traceback(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "overlay.ko"
    file.write_bytes(elf((b"GNU", 3, ID))[:cut])
    with pytest.raises(InfraError, match="ELF") as caught:
        build_id(file)
    assert caught.value.where == str(file)


@pytest.mark.parametrize("content", [b"#!/bin/sh\n", b"\x7fELF" + b"\xff" * 200, b"\x7fELF" + bytes(200)])
def test_a_file_that_is_no_elf_is_our_trouble(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "overlay.ko"
    file.write_bytes(content)
    with pytest.raises(InfraError, match="ELF"):
        build_id(file)
    with pytest.raises(InfraError, match="ELF"):
        build_id(tmp_path / "gone")
