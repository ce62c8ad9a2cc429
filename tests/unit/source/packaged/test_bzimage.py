"""What is read from a bzImage."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kmodpipe.source.packaged import bzimage
from kmodpipe.util.errors import InfraError, UserError
from tests.support.toy_kernel import RELEASE, VMLINUX
from tests.support.toy_kernel import bzimage as image

SIZE = struct.pack("<I", len(VMLINUX))


def xz_as_the_kernel_does(data: bytes) -> bytes:
    """Debian's, with the filter for x86 (scripts/xz_wrap.sh)."""
    filters = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]
    return lzma.compress(data, check=lzma.CHECK_CRC32, filters=filters) + SIZE


def by(*argv: str) -> Callable[[bytes], bytes]:
    """Compress with a program, as the kernel's build does."""

    def pack(data: bytes) -> bytes:
        if shutil.which(argv[0]) is None:
            pytest.skip(f"needs {argv[0]}")
        return subprocess.run(argv, input=data, capture_output=True, check=True).stdout + SIZE

    return pack


@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        xz_as_the_kernel_does,
        lambda data: lzma.compress(data, lzma.FORMAT_ALONE) + SIZE,
        lambda data: bz2.compress(data) + SIZE,
        by("zstd", "-q", "-22", "--ultra"),
        by("lz4", "-l", "-9", "-q", "-"),
    ],
    ids=["gzip", "xz", "lzma", "bzip2", "zstd", "lz4"],
)
def test_vmlinux_is_unpacked_in_each_format(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    given, target = tmp_path / "vmlinuz", tmp_path / "vmlinux"
    given.write_bytes(image(payload=pack(VMLINUX)))
    bzimage.extract(given, target)
    assert target.read_bytes() == VMLINUX
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vmlinux", "vmlinuz"]


def test_the_release_is_what_uname_prints(tmp_path: Path) -> None:
    (tmp_path / "vmlinuz").write_bytes(image("6.12.118+deb13-amd64"))
    assert bzimage.release_of(tmp_path / "vmlinuz") == "6.12.118+deb13-amd64"


WHOLE = image()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it has no header of the x86 boot protocol"),
        (b"\x7fELF" + bytes(4096), "it has no header of the x86 boot protocol"),
        (image(protocol=0x0207), "its boot protocol is 2.07, older than 2.08"),
        (WHOLE[: 1024 + 30], "it is cut short"),
        (image(payload=b"\1\2\3\4" + bytes(60)), "its format is not known"),
        (image(payload=gzip.compress(VMLINUX)[:20] + SIZE), "it is "),
        (image(payload=bz2.compress(VMLINUX)[:-9] + SIZE), "it is cut short"),
        (image(payload=lzma.compress(VMLINUX)[:40] + bytes(40) + SIZE), "it is damaged"),
        (image(payload=bz2.compress(VMLINUX) + struct.pack("<I", 40)), "it holds more than 40 bytes"),
        (image(payload=bz2.compress(VMLINUX) + struct.pack("<I", 4000)), "it holds 684 bytes, not 4000"),
        (image(payload=bz2.compress(VMLINUX) + b"\xff\xff\xff\xff"), "it claims to hold 4294967295 bytes"),
        (image(payload=gzip.compress(b"MZ" + bytes(100))), "it holds no vmlinux"),
    ],
    ids=[
        "empty",
        "elf",
        "old",
        "cut",
        "format",
        "gzip-cut",
        "bz2-cut",
        "xz",
        "more",
        "less",
        "huge",
        "no-elf",
    ],
)
def test_what_is_no_bzimage_or_damaged_is_said(tmp_path: Path, content: bytes, why: str) -> None:
    given, target = tmp_path / "vmlinuz", tmp_path / "vmlinux"
    given.write_bytes(content)
    with pytest.raises(UserError, match=f"not a bzImage that can be read: {why}"):
        bzimage.extract(given, target)
    assert [path.name for path in tmp_path.iterdir()] == ["vmlinuz"]


def test_a_file_that_is_gone_and_one_without_a_version(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        bzimage.release_of(tmp_path / "gone")
    content = bytearray(image())
    content[0x20E:0x210] = b"\0\0"
    (tmp_path / "vmlinuz").write_bytes(content)
    with pytest.raises(UserError, match="its header names no version"):
        bzimage.release_of(tmp_path / "vmlinuz")
    assert RELEASE in image().decode("latin-1")


def test_a_missing_program_says_which_package_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vmlinuz").write_bytes(image(payload=b"\x28\xb5\x2f\xfd" + bytes(40) + SIZE))
    monkeypatch.setenv("PATH", "/nowhere/sbin")
    with pytest.raises(InfraError, match="zstd is not installed") as caught:
        bzimage.extract(tmp_path / "vmlinuz", tmp_path / "vmlinux")
    assert "apt-get install zstd" in caught.value.hint
