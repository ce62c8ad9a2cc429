"""Which modules a folder of the tree makes."""

from __future__ import annotations

import pytest

from kmodpipe.build.kbuild import (
    external_flags,
    made_by,
    module_targets,
    named_target,
    require_named,
    split,
    symbols_of,
)
from kmodpipe.util.errors import UserError
from tests.support.scripted_build import World

MAKEFILE = """\
# SPDX-License-Identifier: GPL-2.0-only
obj-$(CONFIG_TOY_FS) += toy.o   # the module.o itself
obj-$(CONFIG_TOY_EXTRA) := toy_crypt.o \\
\ttoy_zip.o
obj-$(CONFIG_TOY_FS) += sub/
obj-$(CONFIG_TOY_A) += both.o
obj-$(CONFIG_TOY_B) += both.o

toy-objs := super.o inode.o \\
\tdir.o
toy-$(CONFIG_TOY_XATTR) += xattr.o
ccflags-y += -DX
"""


@pytest.fixture
def makefile(world: World) -> World:
    (world.src / "fs/toy").mkdir(parents=True)
    (world.src / "fs/toy/Makefile").write_text(MAKEFILE)
    return world


@pytest.mark.parametrize(
    ("config", "targets"),
    [
        ({"TOY_FS": "m"}, ("toy",)),
        ({"TOY_FS": "m", "TOY_XATTR": "m"}, ("toy",)),
        ({"TOY_FS": "m", "TOY_EXTRA": "m"}, ("toy", "toy_crypt", "toy_zip")),
        ({"TOY_FS": "y", "TOY_EXTRA": "m"}, ("toy_crypt", "toy_zip")),
        ({"TOY_A": "m", "TOY_B": "n"}, ("both",)),
        ({"TOY_A": "m", "TOY_B": "y", "TOY_FS": "m"}, ("toy",)),
    ],
)
def test_the_modules_of_a_folder_are_those_whose_symbol_is_m(
    makefile: World, config: dict[str, str], targets: tuple[str, ...]
) -> None:
    assert module_targets(makefile.src, "fs/toy", config) == tuple(f"fs/toy/{t}.ko" for t in targets)


def test_a_folder_that_makes_no_module_says_what_its_symbols_are(makefile: World) -> None:
    with pytest.raises(UserError) as caught:
        module_targets(makefile.src, "fs/toy", {"TOY_FS": "y", "TOY_XATTR": "m"})
    assert "fs/toy makes no module" in caught.value.what
    assert "TOY_FS=y, TOY_EXTRA=n" in caught.value.what
    assert caught.value.where == str(makefile.src / "fs/toy/Makefile")
    assert "=m" in caught.value.hint


def test_a_folder_without_a_makefile_is_a_user_error(world: World) -> None:
    with pytest.raises(UserError, match="fs/none has no Makefile"):
        module_targets(world.src, "fs/none", {})


def test_what_a_makefile_does_not_show_is_known_from_the_base(makefile: World) -> None:
    text = MAKEFILE.replace("obj-$(CONFIG_TOY_FS) += sub/", "obj-$(subst m,m,$(CONFIG_TOY_X)) += hidden.o")
    (makefile.src / "fs/toy/Makefile").write_text(
        f"ifdef CONFIG_64BIT\n\tobj-$(CONFIG_TOY_Y) += in.o\nendif\n{text}"
    )
    built = ["fs/toy/hidden.ko", "fs/toy/sub/deep.ko", "fs/toy/both.ko", "fs/toyota/x.ko", "mm/zsmalloc.ko"]
    config = {"TOY_FS": "y", "TOY_Y": "m", "TOY_A": "n", "TOY_B": "n"}
    # What the Makefile names is for the cell's own configuration to say.
    found = module_targets(makefile.src, "fs/toy", config, built)
    assert found == ("fs/toy/in.ko", "fs/toy/hidden.ko", "fs/toy/sub/deep.ko")


def test_a_kbuild_file_is_read_in_place_of_the_makefile(makefile: World) -> None:
    (makefile.src / "fs/toy/Kbuild").write_text("obj-$(CONFIG_TOY_K) += kept.o\n")
    assert module_targets(makefile.src, "fs/toy", {"TOY_FS": "m", "TOY_K": "m"}) == ("fs/toy/kept.ko",)
    (makefile.src / "fs/toy/Makefile").unlink()
    assert module_targets(makefile.src, "fs/toy", {"TOY_K": "m"}) == ("fs/toy/kept.ko",)


def test_a_folder_tells_what_each_symbol_makes_in_it(makefile: World) -> None:
    assert made_by(makefile.src, "fs/toy") == {
        "TOY_FS": ("toy.o", "sub/"),
        "TOY_EXTRA": ("toy_crypt.o", "toy_zip.o"),
        "TOY_A": ("both.o",),
        "TOY_B": ("both.o",),
    }


def test_one_module_of_a_folder_is_named_as_make_has_it() -> None:
    assert split("/fs/toy/") == ("fs/toy", "")
    assert split("fs/toy/toy_zip.ko") == ("fs/toy", "fs/toy/toy_zip.ko")


def test_a_named_module_is_the_one_of_the_folder_with_a_dash_or_without(makefile: World) -> None:
    made = ("fs/toy/toy.ko", "fs/toy/toy-zip.ko")
    for name in made:
        assert named_target(makefile.src, name, {}, made) == name
    assert named_target(makefile.src, "fs/toy/toy_zip.ko", {}, made) == "fs/toy/toy-zip.ko"
    with pytest.raises(UserError, match=r"fs/toy makes no sub\.ko"):
        named_target(makefile.src, "fs/toy/sub.ko", {}, made)
    assert symbols_of(makefile.src, "fs/toy/toy-crypt.ko") == ["TOY_EXTRA"]
    assert symbols_of(makefile.src, "fs/toy/both.ko") == ["TOY_A", "TOY_B"]


@pytest.mark.parametrize(
    ("name", "config", "told"),
    [
        ("toy_crypt", {"TOY_EXTRA": "m"}, ""),
        ("toy-crypt", {"TOY_EXTRA": "m"}, ""),
        ("both", {"TOY_A": "m"}, ""),
        ("toy_crypt", None, ""),
        ("toy_crypt", {}, "fs/toy makes no toy_crypt.ko in this configuration: TOY_EXTRA=n"),
        ("both", {"TOY_A": "m", "TOY_B": "y"}, "TOY_A=m, TOY_B=y"),
        ("toy_crypto", {"TOY_EXTRA": "m"}, "fs/toy makes no toy_crypto.ko; did you mean toy_crypt.ko"),
        ("toy_crypto", None, "did you mean toy_crypt.ko"),
        # Of one of the module's objects.
        ("inode", None, "fs/toy makes no inode.ko"),
    ],
)
def test_what_a_makefile_says_of_a_name(
    makefile: World, name: str, config: dict[str, str] | None, told: str
) -> None:
    if not told:
        require_named(makefile.src, f"fs/toy/{name}.ko", config)
        return
    with pytest.raises(UserError) as caught:
        require_named(makefile.src, f"fs/toy/{name}.ko", config)
    assert told in caught.value.what and caught.value.where == str(makefile.src / "fs/toy/Makefile")


@pytest.mark.parametrize(
    "line",
    [
        "obj-$(subst m,m,$(CONFIG_TOY_X)) += hidden.o",
        "obj-$(CONFIG_TOY_X) += $(names)",
        "obj-m += hidden.o",
        "include $(src)/Makefile.more",
        "$(eval $(call each,hidden))",
    ],
)
def test_what_a_makefile_may_hide_is_not_refused(makefile: World, line: str) -> None:
    (makefile.src / "fs/toy/Makefile").write_text(f"{MAKEFILE}{line}\n")
    require_named(makefile.src, "fs/toy/hidden.ko", {})
    # What is named there is known all the same.
    with pytest.raises(UserError, match="TOY_EXTRA=n"):
        require_named(makefile.src, "fs/toy/toy_zip.ko", {})


@pytest.mark.parametrize(
    "line", ["obj-y += part.o", "$(obj)/made.h: $(src)/x", "# include all", "ccflags-y += -I."]
)
def test_what_makes_no_module_hides_none(makefile: World, line: str) -> None:
    (makefile.src / "fs/toy/Makefile").write_text(f"{MAKEFILE}{line}\n")
    with pytest.raises(UserError, match=r"fs/toy makes no hidden\.ko"):
        require_named(makefile.src, "fs/toy/hidden.ko", {})


def test_a_module_of_its_own_source_has_line_numbers_and_paths_of_its_own() -> None:
    with_lines = external_flags({}, of_tree=True)
    assert "-femit-struct-debug-baseonly" in with_lines["KCFLAGS"]
    assert "$(SRC)" in with_lines["KCFLAGS"]
    full = external_flags({"DEBUG_INFO": "y"}, of_tree=False)
    assert full["KCFLAGS"] == full["KAFLAGS"]
    # Where there is no tree, a map of it would be one of the root folder.
    assert "$(SRC)" not in full["KCFLAGS"]
    assert full["KCFLAGS"].endswith("-ffile-prefix-map=$(OBJ)/module/=")
