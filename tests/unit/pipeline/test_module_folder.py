"""Which module is tested, and what is refused before anything is built."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe.kconfig import Matrix
from kmodpipe.pipeline.module_folder import changed_folders, only_module, require_folder
from kmodpipe.series import Patch, Series
from kmodpipe.util.errors import UserError
from tests.support.sample_matrix import flavoured
from tests.support.trees import write


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    return replace(flavoured(tmp_path), module=None)


def changing(*files: str, module: str | None = None) -> Series:
    patch = Patch("1.patch", Path("1.patch"), "0", files)
    return Series("fix", "", "", module, (), (patch,), "fix")


def test_the_module_is_the_one_folder_that_the_series_changes(matrix: Matrix) -> None:
    zram = changing(
        "drivers/block/zram/zram_drv.c", "Documentation/x.rst", "include/linux/zram.h", "MAINTAINERS"
    )
    assert only_module([zram], matrix, "") == "drivers/block/zram"
    assert changed_folders(changing("fs/btrfs/a.c", "fs/btrfs/tests/b.c", "fs/btrfs/Kconfig")) == (
        "fs/btrfs",
    )
    assert only_module([zram], matrix, "fs/overlayfs/") == "fs/overlayfs"
    assert only_module([changing("mm/slab.c", module="fs/x")], matrix, "") == "fs/x"
    with pytest.raises(UserError, match="change several folders: fs/a, fs/b") as e:
        only_module([changing("fs/a/x.c", "fs/b/x.c")], matrix, "")
    assert "--module fs/a" in e.value.hint
    with pytest.raises(UserError, match="no module under test"):
        only_module([changing("Documentation/x.rst")], matrix, "")


def test_a_series_that_changes_nothing_of_the_matrix_module_is_refused(matrix: Matrix) -> None:
    own = replace(matrix, module="fs/overlayfs")
    assert only_module([changing("fs/overlayfs/super.c", "fs/namei.c")], own, "") == "fs/overlayfs"
    assert only_module([], own, "") == "fs/overlayfs"
    for files, hint in (
        (("drivers/block/zram/zram_drv.c",), "--module drivers/block/zram, with a --matrix"),
        (("fs/overlayfs2/x.c", "mm/y.c"), "--module fs/overlayfs2 or --module mm"),
        (("include/linux/fs.h",), "--module fs/overlayfs, if that is meant"),
    ):
        with pytest.raises(UserError, match="changes nothing of fs/overlayfs") as e:
            only_module([changing(*files)], own, "")
        assert hint in e.value.hint


def test_an_unknown_folder_has_near_names(tmp_path: Path) -> None:
    tree = write(tmp_path / "tree", {"fs/toy/Makefile": "", "fs/toy/tests/x.c": "", "drivers/x/Makefile": ""})
    patched = write(tmp_path / "patched", {"fs/new/Makefile": ""})
    require_folder("fs/toy", [tree], "toy")
    require_folder("fs/new", [tree, patched], "toy")
    with pytest.raises(UserError, match="unknown module folder 'fs/tyo'; did you mean fs/toy"):
        require_folder("fs/tyo", [tree], "toy")
    with pytest.raises(UserError, match="fs/toy/tests of the tree has no Makefile") as e:
        require_folder("fs/toy/tests", [tree], "toy")
    assert "--module fs/toy" in e.value.hint


@pytest.mark.parametrize("name", ["-x", "a b", "../x", "", "a//b", "$(x)"])
def test_what_cannot_be_a_folder(name: str, matrix: Matrix) -> None:
    with pytest.raises(UserError):
        only_module([], matrix, name)
