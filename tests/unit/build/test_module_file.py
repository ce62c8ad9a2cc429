"""What a module says of itself, and how one is unpacked."""

from __future__ import annotations

import gzip
import lzma
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kmodpipe.build import module_file
from kmodpipe.util.errors import InfraError
from tests.support.toy_kernel import module

MODULE = module(vermagic="6.1.0-57-amd64 SMP mod_unload ", depends="dm-mod,libcrc32c")


def zstd(data: bytes) -> bytes:
    if shutil.which("zstd") is None:
        pytest.skip("needs zstd")
    return subprocess.run(["zstd", "-q"], input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".xz", lzma.compress), (".zst", zstd)])
def test_a_compressed_module_is_unpacked(tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]) -> None:
    given = tmp_path / f"dm-bufio.ko{suffix}"
    given.write_bytes(pack(MODULE))
    (tmp_path / "work").mkdir()
    found = module_file.unpack(given, tmp_path / "work")
    assert found == tmp_path / "work/dm-bufio.ko" and found.read_bytes() == MODULE
    assert module_file.name_of(given) == "dm_bufio"


def test_a_plain_one_stays_where_it_is(tmp_path: Path) -> None:
    assert module_file.unpack(tmp_path / "a.ko", tmp_path) == tmp_path / "a.ko"
    assert [module_file.name_of(n) for n in ("a-b.ko", "kernel/x.ko.xz", "modules.dep", "x.ko.bak")] == [
        "a_b", "x", "", "",
    ]  # fmt: skip


def test_it_says_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "a.ko").write_bytes(MODULE)
    said = module_file.info(tmp_path / "a.ko")
    assert said.vermagic == "6.1.0-57-amd64 SMP mod_unload"
    assert said.needs == said.depends == ("dm_mod", "libcrc32c")
    more = module(
        softdep=("pre: crc32c xts-ce post: later", "post: last"), depends="", alias=("fs-x", "crypto-y")
    )
    (tmp_path / "a.ko").write_bytes(more)
    said = module_file.info(tmp_path / "a.ko")
    assert said.before == said.needs == ("crc32c", "xts_ce") and said.aliases == ("fs-x", "crypto-y")


def test_a_damaged_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.ko.xz").write_bytes(lzma.compress(MODULE)[:-30])
    with pytest.raises(InfraError, match="a module cannot be unpacked: it is cut short") as caught:
        module_file.unpack(tmp_path / "a.ko.xz", tmp_path)
    assert caught.value.where.endswith("a.ko.xz") and [p.name for p in tmp_path.iterdir()] == ["a.ko.xz"]
    (tmp_path / "b.ko").write_bytes(b"junk")
    with pytest.raises(InfraError, match="not a readable module"):
        module_file.info(tmp_path / "b.ko")
