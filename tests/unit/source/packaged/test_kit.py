"""Headers become a kit that works wherever it is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kmodpipe.source.packaged import kit
from kmodpipe.util.errors import UserError
from tests.support import toy_kernel
from tests.support.toy_kernel import RELEASE

COMMON = "linux-headers-6.1.0-57-common"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    toy_kernel.write(tmp_path / "root", toy_kernel.headers())
    return tmp_path / "root/usr"


def made_by(folder: Path) -> str:
    """What make says in a kit: where it is, its output folder, and what it has of kbuild."""
    done = subprocess.run(["make", "-s", "-C", folder], capture_output=True, text=True)
    return done.stdout + done.stderr


def test_debians_headers_work_at_any_place(root: Path, tmp_path: Path) -> None:
    made = tmp_path / "kit"
    kit.from_debian(
        root / f"src/linux-headers-{RELEASE}", root / f"src/{COMMON}", root / "lib/linux-kbuild-6.1", made
    )
    assert made_by(made) == f"{made}/common {made} modpost objtool\n"
    assert kit.release_of(made) == RELEASE
    moved = made.rename(tmp_path / "elsewhere")
    assert made_by(moved) == f"{moved}/common {moved} modpost objtool\n"


def test_headers_that_are_none_of_debians_are_refused(root: Path, tmp_path: Path) -> None:
    headers = root / f"src/linux-headers-{RELEASE}"
    (headers / "Makefile").write_text("all:\n")
    with pytest.raises(UserError, match="its Makefile includes no other one"):
        kit.from_debian(headers, root / f"src/{COMMON}", root / "lib/linux-kbuild-6.1", tmp_path / "kit")


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside"])
def test_a_link_that_leads_out_of_a_package_is_refused(root: Path, tmp_path: Path, target: str) -> None:
    headers = root / f"src/linux-headers-{RELEASE}"
    (headers / "include/more.h").symlink_to(target)
    with pytest.raises(UserError, match=f"a link that leads nowhere: include/more.h → {target}"):
        kit.from_debian(headers, root / f"src/{COMMON}", root / "lib/linux-kbuild-6.1", tmp_path / "kit")


def test_an_installed_kernels_headers_are_copied_with_what_they_lead_to(root: Path, tmp_path: Path) -> None:
    headers = root / f"src/linux-headers-{RELEASE}"
    toy_kernel.write(
        headers, {"Makefile": f"include {root}/src/{COMMON}/Makefile\n", "include/b.h": "-> a.h"}
    )
    (headers / "include/a.h").write_text("a")
    (headers / "include/gone.h").symlink_to("nowhere.h")
    kit.from_folder(headers, tmp_path / "kit")
    (tmp_path / "root").rename(tmp_path / "gone")
    assert made_by(tmp_path / "kit") == f"{tmp_path}/kit/common modpost objtool\n"
    assert str((tmp_path / "kit/include/b.h").readlink()) == "a.h"
    assert not (tmp_path / "kit/include/gone.h").is_symlink()


def test_headers_in_one_folder_are_copied_as_they_are(tmp_path: Path) -> None:
    files = {"Makefile": "all:\n\t@echo $(CURDIR)\n", "scripts/mod/modpost": "modpost"}
    toy_kernel.write(tmp_path / "headers", files)
    kit.from_folder(tmp_path / "headers", tmp_path / "kit")
    assert made_by(tmp_path / "kit") == f"{tmp_path}/kit\n"
    assert kit.release_of(tmp_path / "kit") == ""


def test_folders_of_which_no_kit_can_be_made(tmp_path: Path) -> None:
    headers = tmp_path / "headers"
    headers.mkdir()
    with pytest.raises(UserError, match="it has no Makefile"):
        kit.from_folder(headers, tmp_path / "one")
    (headers / "Makefile").write_text("include /nowhere/common/Makefile\n")
    with pytest.raises(UserError, match="includes include /nowhere/common/Makefile, which is not there"):
        kit.from_folder(headers, tmp_path / "two")
    (headers / "Makefile").write_text("all:\n")
    toy_kernel.write(tmp_path / "outside", {"deep/er/up": "-> ../../../outside"})
    (headers / "include").symlink_to("../outside")
    with pytest.raises(UserError, match="a link to a folder above it"):
        kit.from_folder(headers, tmp_path / "three")


def test_ubuntus_headers_work_at_any_place(tmp_path: Path) -> None:
    toy_kernel.write(tmp_path, toy_kernel.ubuntu_headers())
    of_version = tmp_path / "usr/src/linux-headers-6.8.0-50"
    kit.from_ubuntu(tmp_path / f"usr/src/linux-headers-{toy_kernel.UBUNTU}", [of_version], tmp_path / "kit")
    moved = (tmp_path / "kit").rename(tmp_path / "elsewhere")
    assert made_by(moved) == "modpost\nmodule.h\n"
    assert kit.release_of(moved) == toy_kernel.UBUNTU and not (moved / "rust").is_symlink()


def test_ubuntus_headers_without_those_of_their_version_are_refused(tmp_path: Path) -> None:
    toy_kernel.write(tmp_path, toy_kernel.ubuntu_headers())
    with pytest.raises(UserError, match="have no Makefile, and none of their version's either"):
        kit.from_ubuntu(tmp_path / f"usr/src/linux-headers-{toy_kernel.UBUNTU}", [], tmp_path / "kit")


def test_a_link_that_leads_out_of_ubuntus_headers_is_refused(tmp_path: Path) -> None:
    toy_kernel.write(tmp_path, toy_kernel.ubuntu_headers())
    headers = tmp_path / f"usr/src/linux-headers-{toy_kernel.UBUNTU}"
    (headers / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(UserError, match="a link that leads nowhere: passwd"):
        kit.from_ubuntu(headers, [tmp_path / "usr/src/linux-headers-6.8.0-50"], tmp_path / "kit")
