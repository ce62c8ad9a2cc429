"""Distributions' kernels for real: Debian's archive through apt, kits that build modules, images."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kmodpipe.build import elf, module_file, module_folder
from kmodpipe.source import apt, packaged
from kmodpipe.source.packaged import PackagedKernel, PackagedKernelSpec, bzimage
from kmodpipe.util.errors import UserError
from kmodpipe.util.screen import Mode, Screen
from tests.integration.conftest import require

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(900)]

SUITES = {"debian-12": "bookworm", "debian-13": "trixie"}
EACH = pytest.mark.parametrize("name", ["debian-12", pytest.param("debian-13", marks=pytest.mark.kernels)])
HELLO = """\
#include <linux/module.h>
#include <generated/utsrelease.h>
static int __init hello_init(void) { pr_info("on %s\\n", UTS_RELEASE); return 0; }
static void __exit hello_exit(void) { }
module_init(hello_init);
module_exit(hello_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("hello");
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require(shutil.which("apt-get") is not None and apt.KEYRING.is_file(), "no apt with Debian's key ring")
    require(any(one.origin == "Debian" for one in apt.targets()), "this machine's apt has no Debian mirror")
    return tmp_path_factory.mktemp("packaged") / "cache"


def spec_of(name: str, **more: str) -> PackagedKernelSpec:
    suites = [f"{SUITES[name]}-security", SUITES[name]]
    given = {"name": name, "debian-kernel": "linux-image-amd64", "suites": suites, **more}
    return PackagedKernelSpec.model_validate(given)


def fetched(name: str, cache: Path) -> PackagedKernel:
    return packaged.fetch(spec_of(name), cache, Screen(Mode.QUIET, out=io.StringIO()))


@EACH
def test_a_kernel_is_fetched_verified_and_whole(name: str, cache: Path, tmp_path: Path) -> None:
    made = fetched(name, cache)
    assert made.suite == SUITES[name] and made.release.endswith("-amd64")
    assert f"CONFIG_GCC_VERSION={made.compiler.removeprefix('gcc-')}" in made.config.read_text()
    vmlinux = tmp_path / "vmlinux"
    bzimage.extract(made.vmlinuz, vmlinux)
    assert bzimage.release_of(made.vmlinuz) == made.release
    assert len(elf.build_id(vmlinux)) == 40 and elf.has_pvh_entry(vmlinux)
    order = module_folder.load_order([], made.modules, tmp_path, also=["dm-thin-pool", "ext4"])
    names = [module_file.name_of(path) for path in order]
    assert names.index("dm_mod") < names.index("dm_bufio") < names.index("dm_thin_pool")
    # By its soft dependency on an alias.
    assert names.index("crc32c_generic") < names.index("ext4")
    assert {module_file.info(path).vermagic.split()[0] for path in order} == {made.release}


@EACH
def test_the_second_time_needs_no_archive(
    name: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fetched(name, cache)
    for program in ("apt-get", "apt-cache", "dpkg-deb"):
        (tmp_path / program).write_text("#!/bin/sh\nexit 99\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert fetched(name, cache) == made == packaged.locate(spec_of(name), cache)


@EACH
def test_its_kit_builds_a_module_at_any_place(name: str, cache: Path, tmp_path: Path) -> None:
    made = fetched(name, cache)
    if shutil.which(made.compiler) is None:
        pytest.skip(f"no {made.compiler} on this machine; in the builder image of {made.suite} there is")
    modpost = made.kit / "scripts/mod/modpost.real-lsb-64"
    tried = subprocess.run([modpost], capture_output=True, text=True)
    if "not found" in tried.stderr:
        pytest.skip(f"its modpost is for another libc: {tried.stderr[:80]}")
    shutil.copytree(made.kit, tmp_path / "kit", symlinks=True)
    (tmp_path / "hello").mkdir()
    (tmp_path / "hello/hello.c").write_text(HELLO)
    (tmp_path / "hello/Kbuild").write_text("obj-m := hello.o\n")
    command = ["make", "-C", tmp_path / "kit", f"M={tmp_path}/hello", f"CC={made.compiler}", "modules"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert module_file.info(tmp_path / "hello/hello.ko").vermagic.startswith(f"{made.release} ")


def test_a_version_that_the_archive_never_had_is_named(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(UserError, match=r"no linux-image-amd64 6\.1\.999-1 in bookworm-security") as caught:
        packaged.fetch(
            spec_of("debian-12", version="6.1.999-1"), tmp_path, Screen(Mode.QUIET, out=io.StringIO())
        )
    assert "it has 6." in caught.value.hint
