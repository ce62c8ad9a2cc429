"""Which module is tested, and what is refused before anything is built."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe.kconfig import Matrix
from kmodpipe.pipeline.module_folder import changed_folders, only_module, require_folder, require_module
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


def test_one_module_of_a_folder_can_be_named(matrix: Matrix) -> None:
    snap, own = "drivers/md/dm-snapshot.ko", changing("drivers/md/dm-bufio.c")
    assert only_module([own], matrix, f"/{snap}") == snap
    assert only_module([changing("mm/x.c", module=snap)], matrix, "") == snap
    named = replace(matrix, module=snap)
    # The folder is what a series has to touch, and what it may declare.
    assert only_module([own], named, "") == snap
    assert only_module([changing("mm/x.c", module="drivers/md")], named, "") == snap
    assert only_module([changing("mm/x.c", module="fs/x")], named, "") == "fs/x"
    assert only_module([own], named, "drivers/md") == "drivers/md"
    with pytest.raises(UserError, match="changes nothing of drivers/md"):
        only_module([changing("mm/x.c")], named, "")
    with pytest.raises(UserError, match="not a module of a folder") as e:
        only_module([own], matrix, "dm-snapshot.ko")
    assert "drivers/md/dm-snapshot.ko" in e.value.hint


def test_a_named_module_is_one_of_some_tree(tmp_path: Path) -> None:
    tree = write(tmp_path / "tree", {"fs/toy/Makefile": "obj-$(CONFIG_TOY) += toy-one.o\n"})
    patched = write(tmp_path / "patched", {"fs/toy/Makefile": "obj-$(CONFIG_TOY) += toy-two.o\n"})
    require_module("fs/toy", [tree], "toy")
    require_module("fs/toy/toy_one.ko", [tree], "toy")
    require_module("fs/toy/toy-two.ko", [tree, patched], "toy")
    with pytest.raises(UserError, match=r"fs/toy makes no toy-two\.ko; did you mean toy-one\.ko"):
        require_module("fs/toy/toy-two.ko", [tree], "toy")
    with pytest.raises(UserError, match="unknown module folder 'fs/tyo'"):
        require_module("fs/tyo/toy-one.ko", [tree], "toy")
    # Without .ko it reads as a folder.
    with pytest.raises(UserError, match="unknown module folder") as e:
        require_module("fs/toy/toy-one", [tree], "toy")
    assert "--module fs/toy/toy-one.ko" in e.value.hint


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
