"""What a kernel would refuse is told before it is booted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from kmodpipe.build import loadable
from kmodpipe.util.errors import KernelFailure
from tests.support import toy_kernel

RELEASE = toy_kernel.RELEASE
VERSIONED = {"MODVERSIONS": "y"}


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    toy_kernel.write(
        tmp_path / "kit",
        {
            "include/config/kernel.release": f"{RELEASE}\n",
            "Module.symvers": "0x00000007\t_printk\tvmlinux\tEXPORT_SYMBOL\t\nnonsense\n",
        },
    )
    return tmp_path / "kit"


def built(folder: Path, release: str = RELEASE, versions: Mapping[str, int] | None = None) -> Path:
    path = folder / "my-hello.ko"
    path.write_bytes(toy_kernel.module(versions, vermagic=f"{release} SMP mod_unload modversions "))
    return path


@pytest.mark.parametrize(
    ("config", "versions", "release"),
    [
        ({}, None, RELEASE),
        (VERSIONED, {"_printk": 7}, RELEASE),
        # The kernel does so too: its symbols are the same. What other modules export is not known here.
        (VERSIONED, {"_printk": 7, "of_mine": 8}, "6.1.0-50-amd64"),
    ],
)
def test_a_module_of_this_kernel_is_taken(
    tmp_path: Path, kit: Path, config: Mapping[str, str], versions: Mapping[str, int] | None, release: str
) -> None:
    loadable.require_of_kernel(built(tmp_path, release, versions), kit, config, Path("/log"))


@pytest.mark.parametrize(
    ("config", "versions", "release", "said"),
    [
        ({}, None, "6.1.0-50-amd64", "it is for 6.1.0-50-amd64, and this kernel is 6.1.0-57-amd64"),
        ({}, {"_printk": 7}, "6.1.0-50-amd64", "it is for 6.1.0-50-amd64"),
        (VERSIONED, None, "6.1.0-50-amd64", "it is for 6.1.0-50-amd64"),
        (VERSIONED, {"_printk": 9}, RELEASE, "symbol _printk, 0x00000009 and not 0x00000007"),
    ],
)  # fmt: skip
def test_a_module_of_another_kernel_is_refused(
    tmp_path: Path,
    kit: Path,
    config: Mapping[str, str],
    versions: Mapping[str, int] | None,
    release: str,
    said: str,
) -> None:
    with pytest.raises(KernelFailure) as caught:
        loadable.require_of_kernel(built(tmp_path, release, versions), kit, config, Path("/log"))
    assert caught.value.what.startswith("the kernel would refuse the module my_hello: ")
    assert said in caught.value.what and "KDIR={kit}" in caught.value.hint


OF_THE_KERNEL = (
    "0x00000007\tset_mode\tdrivers/net/old\tEXPORT_SYMBOL_GPL\t\n"
    "0x00000003\tkfree\tvmlinux\tEXPORT_SYMBOL\t\n"
)


def exported(symbol: str) -> str:
    return f"0x00000009\t{symbol}\t/obj/module/core\tEXPORT_SYMBOL\t\n"


@pytest.mark.parametrize(
    ("beside", "versions", "said"),
    [
        # One that replaces modules of the kernel exports what they do, with other types.
        (exported("set_mode"), {"set_mode": 9}, ""),
        (exported("set_mode"), {"set_mode": 7}, "0x00000007 and not 0x00000009"),
        (exported("other"), {"set_mode": 9}, "0x00000009 and not 0x00000007"),
        ("", {"set_mode": 7}, ""),
        # What the kernel itself exports is nobody else's.
        (exported("kfree"), {"kfree": 9}, "0x00000009 and not 0x00000003"),
    ],
)
def test_what_a_module_beside_it_exports_is_that_modules(
    tmp_path: Path, kit: Path, beside: str, versions: Mapping[str, int], said: str
) -> None:
    (kit / "Module.symvers").write_text(OF_THE_KERNEL)
    path = built(tmp_path, RELEASE, versions)
    (path.parent / "Module.symvers").write_text(beside)
    if not said:
        loadable.require_of_kernel(path, kit, VERSIONED, Path("/log"))
        return
    with pytest.raises(KernelFailure) as caught:
        loadable.require_of_kernel(path, kit, VERSIONED, Path("/log"))
    assert said in caught.value.what


FORCED = {"MODULE_SIG": "y", "MODULE_SIG_FORCE": "y"}
LOCKED = {"SECURITY_LOCKDOWN_LSM": "y"}


@pytest.mark.parametrize(
    ("config", "cmdline", "why"),
    [
        (FORCED, "", "CONFIG_MODULE_SIG_FORCE=y"),
        (FORCED, "module.sig_enforce=0", "CONFIG_MODULE_SIG_FORCE=y"),
        ({"MODULE_SIG": "y"}, "quiet module.sig_enforce=1", "booted with module.sig_enforce=1"),
        ({"MODULE_SIG": "y"}, "module.sig_enforce", "booted with module.sig_enforce"),
        ({"MODULE_SIG": "y", "CMDLINE": '"module.sig-enforce=Y"'}, "", "booted with module.sig-enforce=Y"),
        ({**LOCKED, "LOCK_DOWN_KERNEL_FORCE_INTEGRITY": "y"}, "", "LOCK_DOWN_KERNEL_FORCE_INTEGRITY=y"),
        (LOCKED, "lockdown=confidentiality", "booted with lockdown=confidentiality"),
    ],
)
def test_a_module_without_a_signature_is_refused_where_one_is_wanted(
    tmp_path: Path, config: Mapping[str, str], cmdline: str, why: str
) -> None:
    path = built(tmp_path)
    with pytest.raises(KernelFailure, match="refuse the module my_hello: it is not signed, and") as caught:
        loadable.require_signed([path], config, cmdline, "kernel debian-12")
    assert why in caught.value.what and "sign-file" in caught.value.hint
    assert caught.value.where == "kernel debian-12"
    # Whether the kernel knows the key, it alone can say.
    path.write_bytes(path.read_bytes() + b"signature" + b"~Module signature appended~\n")
    loadable.require_signed([path], config, cmdline, "kernel debian-12")


@pytest.mark.parametrize(
    ("config", "cmdline"),
    [
        ({"MODULE_SIG": "y", "SECURITY_LOCKDOWN_LSM": "y"}, "lockdown=none"),
        ({"MODULE_SIG": "y"}, "module.sig_enforce=0 lockdown=integrity"),
        ({}, "module.sig_enforce=1"),
    ],
)
def test_other_kernels_take_it(tmp_path: Path, config: Mapping[str, str], cmdline: str) -> None:
    loadable.require_signed([built(tmp_path)], config, cmdline, "kernel debian-12")
