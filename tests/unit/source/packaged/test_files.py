"""A kernel from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.source import packaged
from kmodpipe.source.packaged import PackagedKernelSpec
from kmodpipe.util.errors import UserError
from kmodpipe.util.screen import Screen
from tests.support import toy_kernel

RELEASE = "6.8.5-301.fc40.x86_64"


@pytest.fixture
def spec(tmp_path: Path) -> PackagedKernelSpec:
    root = tmp_path / "given"
    toy_kernel.write(
        root,
        {
            "vmlinuz": toy_kernel.bzimage(RELEASE),
            "config": "CONFIG_GCC_VERSION=140001\n",
            f"modules/{RELEASE}/kernel/a.ko.xz": "a",
            f"modules/{RELEASE}/build": "-> /usr/src/kernels/x",
            "headers/Makefile": "all:\n",
            "headers/include/generated/utsrelease.h": f'#define UTS_RELEASE "{RELEASE}"\n',
        },
    )
    given = {"vmlinuz": root / "vmlinuz", "config": root / "config", "headers": root / "headers"}
    return PackagedKernelSpec.model_validate(
        {"name": "fedora", "modules": root / "modules" / RELEASE, **given}
    )


def test_files_become_a_kernel(spec: PackagedKernelSpec, cache: Path, screen: Screen) -> None:
    assert packaged.locate(spec, cache) is None
    made = packaged.fetch(spec, cache, screen)
    assert (made.name, made.release, made.kernel_version, made.suite, made.compiler) == (
        "fedora", RELEASE, "6.8.5", "", "gcc-14",
    )  # fmt: skip
    assert [path.name for path in made.modules.iterdir()] == ["kernel"]
    assert (made.kit / "Makefile").is_file() and made.provenance["config"] == str(spec.config)
    assert packaged.locate(spec, cache) == made == packaged.fetch(spec, cache, screen)


def test_changed_files_are_another_kernel(spec: PackagedKernelSpec, cache: Path, screen: Screen) -> None:
    made = packaged.fetch(spec, cache, screen)
    assert spec.headers
    (spec.headers / "Makefile").write_text("all:\n\techo\n")
    assert packaged.locate(spec, cache) is None
    assert packaged.fetch(spec, cache, screen).identity != made.identity


def test_files_that_are_not_there_or_of_two_kernels(
    spec: PackagedKernelSpec, cache: Path, screen: Screen, tmp_path: Path
) -> None:
    for name, path, what in (
        ("modules", tmp_path / "gone", "modules .*/gone does not exist"),
        ("headers", spec.vmlinuz, "headers .*/vmlinuz is no folder"),
        ("config", spec.headers, "config .*/headers is no file"),
        ("vmlinuz", spec.config, "not a bzImage"),
    ):
        with pytest.raises(UserError, match=what):
            packaged.fetch(spec.model_copy(update={name: path}), cache, screen)
    other = tmp_path / "other"
    other.write_bytes(toy_kernel.bzimage("6.9.0"))
    with pytest.raises(UserError, match=f"the image is 6.9.0, and the headers are those of {RELEASE}"):
        packaged.fetch(spec.model_copy(update={"vmlinuz": other}), cache, screen)


def test_a_link_out_of_the_modules_is_refused(spec: PackagedKernelSpec, cache: Path, screen: Screen) -> None:
    assert spec.modules
    (spec.modules / "updates").symlink_to("/etc")
    with pytest.raises(UserError, match="a link leads out of the modules: updates → /etc"):
        packaged.fetch(spec, cache, screen)
