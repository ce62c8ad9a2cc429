"""What `init` finds in a folder: modules and what builds them, a kernel tree, a CI."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.pipeline import first_look
from kmodpipe.pipeline.first_look import FoundModule
from tests.support.trees import git, make_tree, write

WRAPPER = """\
ifneq ($(KERNELRELEASE),)
obj-m := wrapped.o
wrapped-y := main.o other.o
else
KDIR ?= /lib/modules/$(shell uname -r)/build
all:
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules
endif
"""
DKMS = """\
PACKAGE_NAME=two
PACKAGE_VERSION=1
BUILT_MODULE_NAME[0]=one
BUILT_MODULE_NAME[1]="other"
BUILT_MODULE_LOCATION[1]=sub
"""


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"Kbuild": "obj-m := a.o b-c.o\n"}, [FoundModule(".", ("a", "b-c"))]),
        ({"Makefile": WRAPPER}, [FoundModule(".", ("wrapped",))]),
        ({"Makefile": "obj-$(CONFIG_A) := \\\n  a.o\n"}, [FoundModule(".", ("a",))]),
        ({"Makefile": "NAME := a\nobj-m := $(NAME).o\n"}, [FoundModule(".", ("a",))]),
        # A name that make alone knows is a module all the same.
        ({"Makefile": "obj-m := $(patsubst %.c,%.o,$(wildcard *.c))\n"}, [FoundModule(".", ())]),
        # A wrapper whose kbuild is in a folder below, deeper than one.
        (
            {
                "Makefile": "all:\n\tmake -C $(KDIR) M=$(PWD)/drivers/net\n",
                "drivers/net/Kbuild": "obj-m := a.o\n",
                "docs/Makefile": "html:\n",
            },
            [FoundModule("drivers/net", ("a",))],
        ),
        # One build of several folders is one module's source, several builds are several.
        (
            {"Kbuild": "obj-m := x/ y/\n", "x/Makefile": "obj-m += a.o\n", "y/Kbuild": "obj-m += b.o\n"},
            [FoundModule(".", ("a", "b"))],
        ),
        (
            {"z/Kbuild": "obj-m := z.o\n", "a/b/Kbuild": "obj-m := b.o\n"},
            [FoundModule("z", ("z",)), FoundModule("a/b", ("b",))],
        ),
        # DKMS says what is made, whatever the Makefile calls it on the way.
        ({"dkms.conf": DKMS, "Makefile": "obj-m := x.o\n"}, [FoundModule(".", ("one", "other"))]),
        ({".hidden/Kbuild": "obj-m := a.o\n", "Makefile": "all:\n"}, []),
    ],
)  # fmt: skip
def test_modules_are_found_by_what_builds_them(
    tmp_path: Path, files: dict[str, str], expected: list[FoundModule]
) -> None:
    write(tmp_path, files)
    seen = first_look.look(tmp_path)
    assert (list(seen.modules), seen.is_tree) == (expected, False)


def test_a_dkms_conf_that_only_a_shell_can_read_is_told_of(tmp_path: Path) -> None:
    write(tmp_path, {"dkms.conf": "PACKAGE_NAME=$(cat name)\n", "Kbuild": "obj-m := a.o\n"})
    (found,) = first_look.look(tmp_path).modules
    assert found.names == ("a",)
    assert "only a shell can compute" in found.note and "dkms.conf:1" in found.note
    # The build would refuse it otherwise.
    assert found.make == "-C {kit} M={obj} modules"


def test_a_makefile_that_goes_down_and_names_the_kernel_is_run_itself(tmp_path: Path) -> None:
    top = (
        "KERNELPATH ?= /lib/modules/$(shell uname -r)/build\nobj-y += net/mesh/\nall:\n\tmake CONFIG_MESH=m\n"
    )
    write(tmp_path, {"Makefile": top, "net/mesh/Makefile": "obj-$(CONFIG_MESH) += mesh.o\n"})
    assert first_look.look(tmp_path).modules == (FoundModule(".", ("mesh",), make="KERNELPATH={kit}"),)
    # Without the kernel's folder it is one of a tree, and so is one that has nothing to do with kbuild.
    write(tmp_path, {"Makefile": "obj-y += net/mesh/\n"})
    assert first_look.look(tmp_path).modules == (FoundModule("net/mesh", ("mesh",)),)
    write(tmp_path, {"Makefile": "KDIR := /lib/modules/x/build\nall:\n\tmake -C net/mesh\n"})
    assert first_look.look(tmp_path).modules == (FoundModule("net/mesh", ("mesh",)),)


def test_a_makefile_that_makes_a_header_first_is_run_itself(tmp_path: Path) -> None:
    rules = (
        "KDIR ?= /lib/modules/$(shell uname -r)/build\nobj-m := a.o\nall: ids.h\n\tmake -C $(KDIR)\nids.h:\n"
    )
    write(tmp_path, {"Makefile": rules})
    assert first_look.look(tmp_path).modules == (FoundModule(".", ("a",), make="all KDIR={kit}"),)
    # With another goal than kbuild's and no kernel to name, nothing is known of it.
    write(tmp_path, {"Makefile": "obj-m := a.o\nids.h:\n"})
    assert first_look.look(tmp_path).modules == (FoundModule(".", ("a",)),)


def test_a_kernel_tree_is_no_module(tmp_path: Path) -> None:
    make_tree(tmp_path)
    write(tmp_path, {"drivers/Makefile": "obj-$(CONFIG_A) += a.o\n"})
    seen = first_look.look(tmp_path)
    assert (seen.is_tree, seen.modules) == (True, ())


@pytest.mark.parametrize(
    ("origin", "files", "ci"),
    [
        ("git@github.com:me/m.git", {}, "github"),
        ("https://user@gitlab.example.org:8443/me/m.git", {}, "gitlab"),
        ("https://git.example.org/github/m.git", {}, ""),
        ("git@github.com:me/m.git", {".gitlab-ci.yml": ""}, "gitlab"),
        ("", {".github/dependabot.yml": ""}, "github"),
        ("", {}, ""),
    ],
)
def test_the_ci_is_the_one_that_is_used(tmp_path: Path, origin: str, files: dict[str, str], ci: str) -> None:
    write(tmp_path, files)
    git(tmp_path, "init", "-q")
    if origin:
        git(tmp_path, "remote", "add", "origin", origin)
    assert first_look.look(tmp_path).ci == ci


def test_a_folder_in_no_repository_has_no_ci(tmp_path: Path) -> None:
    assert first_look.look(tmp_path) == first_look.Look(False, (), "")


def test_below_a_dkms_conf_that_needs_a_shell_the_folders_are_looked_at(tmp_path: Path) -> None:
    write(tmp_path, {"dkms.conf": ". ./version\n", "src/mod/a/Kbuild": "obj-m := a.o\n"})
    assert first_look.look(tmp_path).modules == (FoundModule("src/mod/a", ("a",)),)
