"""One compressed file, within a bound."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kmodpipe.util import compressed
from kmodpipe.util.errors import InfraError

# Larger than what is read at a time.
DATA = b"".join(b"%d\n" % number for number in range(400_000))


def by(*argv: str) -> Callable[[bytes], bytes]:
    def pack(data: bytes) -> bytes:
        if shutil.which(argv[0]) is None:
            pytest.skip(f"needs {argv[0]}")
        return subprocess.run(argv, input=data, capture_output=True, check=True).stdout

    return pack


FORMATS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "bzip2": bz2.compress,
    "zstd": by("zstd", "-q"),
    "lz4": by("lz4", "-l", "-q", "-"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_known_and_unpacked(tmp_path: Path, name: str) -> None:
    packed = FORMATS[name](DATA)
    (tmp_path / "in").write_bytes(packed)
    compressed.unpack(tmp_path / "in", tmp_path / "out", most=len(DATA))
    assert (tmp_path / "out").read_bytes() == DATA and compressed.format_of(packed) == name


@pytest.mark.parametrize("name", FORMATS)
def test_a_bound_holds_and_a_cut_is_seen(tmp_path: Path, name: str) -> None:
    packed = FORMATS[name](DATA)
    (tmp_path / "in").write_bytes(packed)
    with pytest.raises(compressed.Damaged, match="it holds more than 1000000 bytes"):
        compressed.unpack(tmp_path / "in", tmp_path / "out", most=1_000_000)
    assert (tmp_path / "out").stat().st_size <= 1_000_000 + (1 << 20)
    (tmp_path / "cut").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(compressed.Damaged, match="it is "):
        compressed.unpack(tmp_path / "cut", tmp_path / "half", most=len(DATA))


@pytest.mark.parametrize("head", [b"", b"\x7fELF", b"PK\3\4"])
def test_another_format_is_refused(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "in").write_bytes(head + bytes(100))
    with pytest.raises(compressed.Damaged, match="its format is not known"):
        compressed.unpack(tmp_path / "in", tmp_path / "out", most=1000)
    assert compressed.format_of(head) == "" and not (tmp_path / "out").exists()


def test_a_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(40))
    monkeypatch.setenv("PATH", "/nowhere/sbin")
    with pytest.raises(InfraError, match="zstd is not installed") as caught:
        compressed.unpack(tmp_path / "in", tmp_path / "out", most=1000)
    assert "apt-get install zstd" in caught.value.hint
