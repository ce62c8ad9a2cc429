"""A kernel's packages are laid out as one kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.source.packaged import contents
from kmodpipe.util.errors import InfraError, UserError
from tests.support import toy_kernel, toy_packages
from tests.support.toy_kernel import RELEASE
from tests.support.toy_packages import Archive


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    (tmp_path / "work").mkdir()
    return toy_packages.build(tmp_path / "archive", tmp_path / "programs")


def debs(archive: Archive) -> list[Path]:
    return sorted(
        path for path in (archive.folder / "available").iterdir() if "-image-amd64_" not in path.name
    )


def laid_out(made: Path) -> list[str]:
    return sorted(str(path.relative_to(made)) for path in made.rglob("*") if path.is_file())


def test_packages_become_a_kernel(archive: Archive, tmp_path: Path) -> None:
    toy_kernel.add_to(archive)
    made = contents.lay_out(debs(archive), RELEASE, tmp_path / "work")
    found = [name for name in laid_out(made) if not name.startswith("kit/")]
    # Neither the stub of System.map, nor links to headers, nor documentation.
    assert found == ["config", "modules/kernel/fs/toy.ko", "modules/modules.builtin", "vmlinuz"]
    assert (made / "kit/common/scripts/mod/modpost").read_text() == "modpost\n"


def test_a_kernel_in_parts_is_put_together_with_debugging_information(
    archive: Archive, tmp_path: Path
) -> None:
    modules, debug = f"usr/lib/modules/{RELEASE}", f"usr/lib/debug/lib/modules/{RELEASE}"
    for name, files in {
        "linux-binary-1": {f"{modules}/vmlinuz": "image"},
        "linux-base-1": {
            f"{modules}/config": "X=y",
            f"{modules}/System.map": "stub",
            f"{modules}/modules.order": "",
        },
        "linux-modules-1": {f"{modules}/kernel/a.ko.xz": "a"},
        "linux-image-1-dbg": {
            f"{debug}/vmlinux": "symbols",
            f"{debug}/System.map": "addresses",
            f"{debug}/kernel/a.ko.debug": "large",
            f"usr/lib/debug/vmlinux-{RELEASE}": f"-> lib/modules/{RELEASE}/vmlinux",
        },
        "linux-headers-1": {
            **toy_kernel.headers(),
            f"{modules}/build": f"-> ../../../src/linux-headers-{RELEASE}",
        },
    }.items():  # fmt: skip
        archive.add(name, files)
    made = contents.lay_out(debs(archive), RELEASE, tmp_path / "work")
    assert [name for name in laid_out(made) if not name.startswith("kit/")] == [
        "System.map", "config", "modules/kernel/a.ko.xz", "modules/modules.order", "vmlinux", "vmlinuz",
    ]  # fmt: skip
    assert (made / "System.map").read_text() == "addresses"


def test_packages_without_headers_are_named(archive: Archive, tmp_path: Path) -> None:
    archive.add("linux-image-1", toy_kernel.image())
    with pytest.raises(UserError, match=f"no headers of {RELEASE}"):
        contents.lay_out(debs(archive), RELEASE, tmp_path / "work")


@pytest.mark.parametrize(
    ("name", "target"),
    [
        (f"lib/modules/{RELEASE}/kernel/x", "/etc/passwd"),
        (f"usr/src/linux-headers-{RELEASE}/x", "../../../../x"),
    ],
)
def test_a_link_out_of_a_package_is_refused(archive: Archive, tmp_path: Path, name: str, target: str) -> None:
    archive.add("linux-image-1", {**toy_kernel.image(), name: f"-> {target}"})
    with pytest.raises(InfraError, match=f"{name}' is a link out of the package, to '{target}'"):
        contents.lay_out(debs(archive), RELEASE, tmp_path / "work")


def test_a_damaged_package_says_what_to_do(archive: Archive, tmp_path: Path) -> None:
    toy_kernel.add_to(archive)
    (deb,) = (archive.folder / "available").glob("linux-image-6*")
    deb.write_bytes(deb.read_bytes()[: deb.stat().st_size // 2])
    with pytest.raises(InfraError, match="the package cannot be unpacked") as caught:
        contents.lay_out(debs(archive), RELEASE, tmp_path / "work")
    assert caught.value.where == deb.name and "fetched anew" in caught.value.hint
