"""Modules of a distribution's folder, with what they need."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from kmodpipe.build import module_folder
from kmodpipe.util.errors import KernelFailure, UserError
from tests.support import toy_kernel
from tests.support.toy_kernel import module


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    toy_kernel.write(
        tmp_path / "modules",
        {
            "modules.builtin": "kernel/fs/ext4/ext4.ko\nkernel/lib/lib-built.ko\n",
            "modules.builtin.modinfo": "sha_generic.license=GPL\0sha_generic.alias=crypto-sha\0",
            "kernel/crypto/sha-ssse3.ko": module(alias="crypto-sha"),
            "kernel/drivers/md/dm-mod.ko.xz": lzma.compress(module(depends="dax")),
            "kernel/drivers/md/dm-bufio.ko.xz": lzma.compress(module(depends="dm-mod")),
            "kernel/drivers/dax/dax.ko": module(depends=""),
            "kernel/lib/crc32c-intel.ko": module(alias="crypto-crc32c"),
            "kernel/lib/crc32c_generic.ko": module(alias=("crc32c", "crypto-crc32c")),
            "kernel/fs/ring-a.ko": module(depends="ring-b"),
            "kernel/fs/ring-b.ko": module(depends="ring-a"),
            "updates/dax.ko": module(depends="", version="newer"),
        },
    )
    return tmp_path / "modules"


def built(tmp_path: Path, name: str, **info: str) -> Path:
    path = tmp_path / f"{name}.ko"
    path.write_bytes(module(**info))
    return path


def order(found: tuple[Path, ...]) -> list[str]:
    return [path.name for path in found]


def test_what_a_module_needs_is_loaded_before_it(tmp_path: Path, modules: Path) -> None:
    mine = built(
        tmp_path, "hello", depends="dm-bufio,lib_built", softdep="pre: nosuch crypto-crc32c crypto-sha"
    )
    found = module_folder.load_order([mine], modules, tmp_path / "work")
    names = order(found)
    assert set(names) == {"dax.ko", "dm-mod.ko", "dm-bufio.ko", "crc32c_generic.ko", "hello.ko"}
    assert names.index("dax.ko") < names.index("dm-mod.ko") < names.index("dm-bufio.ko")
    assert names[-1] == "hello.ko" and found[-1] == mine
    assert found[names.index("dm-mod.ko")] == tmp_path / "work/dm-mod.ko"
    # An updated one wins over the kernel's own.
    assert found[names.index("dax.ko")] == modules / "updates/dax.ko"


def test_modules_under_test_win_over_those_of_the_folder(tmp_path: Path, modules: Path) -> None:
    own, user = built(tmp_path, "dm-mod", depends=""), built(tmp_path, "user", depends="dm-mod")
    assert module_folder.load_order([user, own], modules, tmp_path / "work") == (own, user)


def test_more_can_be_named(tmp_path: Path, modules: Path) -> None:
    found = module_folder.load_order([], modules, tmp_path / "work", also=["dm-mod", "ext4"])
    assert order(found) == ["dax.ko", "dm-mod.ko"]
    with pytest.raises(UserError, match="unknown module 'dm_mud'; did you mean dm_mod"):
        module_folder.load_order([], modules, tmp_path / "work", also=["dm-mud"])


def test_what_the_kernel_does_not_have_is_named(tmp_path: Path, modules: Path) -> None:
    mine = built(tmp_path, "hello", depends="gone")
    with pytest.raises(KernelFailure, match="module hello needs gone, which this kernel does not have"):
        module_folder.load_order([mine], modules, tmp_path / "work")
    with pytest.raises(KernelFailure, match="modules need each other"):
        module_folder.load_order([], modules, tmp_path / "work", also=["ring_a"])


def test_a_folder_without_a_list_has_nothing_built_in(tmp_path: Path, modules: Path) -> None:
    assert module_folder.builtin(modules) == {"ext4", "lib_built", "crypto_sha"}
    assert module_folder.builtin(tmp_path) == frozenset()
