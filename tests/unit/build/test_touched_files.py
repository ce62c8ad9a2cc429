"""What a build does with the files of a series: what Kconfig may read, and what is only compiled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kmodpipe.build.sharing import Subject
from kmodpipe.build.touched_files import configuring_files, kconfig_runs_nothing, only_compiled, run_nothing
from kmodpipe.source import Tree
from tests.support.trees import write
from tests.unit.build.test_sharing import FOLDER, TREE, subject


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree("toy", write(tmp_path / "trees/toy", TREE), "dir:toy", "5.10.7")


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ({"fs/toy/toy.c": "", "Documentation/toy.rst": ""}, set()),
        ({"fs/toy/toy.c": "", "fs/toy/Kconfig": 'help\n  see "toy.c"\n'}, {"fs/toy/Kconfig"}),
        ({"fs/toy/toy.c": "", "fs/toy/options.in": "config A\n"}, {"fs/toy/options.in"}),
        (
            {"fs/toy/toy.c": "", "fs/toy/Kconfig": 'source "fs/toy/toy.c"\n'},
            {"fs/toy/Kconfig", "fs/toy/toy.c"},
        ),
        ({"fs/toy/toy.c": "", "fs/toy/Kconfig": 'source "$(srctree)/fs/a"\n'}, {"fs/toy/Kconfig"}),
        (
            {"fs/toy/toy.c": "", "fs/toy/Kconfig": 'F := fs/toy/toy.c\nsource "$(F)"\n'},
            {"fs/toy/Kconfig", "fs/toy/toy.c"},
        ),
        (
            {"fs/toy/toy.c": "", "fs/toy/Kconfig": "default $(shell,cat fs/toy/toy.c)\n"},
            {"fs/toy/Kconfig", "fs/toy/toy.c"},
        ),
        ({"fs/toy/toy.c": "", "scripts/gcc-x.sh": ""}, {"scripts/gcc-x.sh", "fs/toy/toy.c"}),
        ({"fs/toy/toy.c": "", "Makefile": ""}, {"Makefile", "fs/toy/toy.c"}),
    ],
)
def test_the_key_of_a_configuration_covers_what_kconfig_may_read(
    tree: Tree, changes: dict[str, str], counted: set[str]
) -> None:
    assert set(configuring_files(subject(tree, changes))) == counted
    # Where it may read more than Kconfig files, or run something, all files count.
    assert kconfig_runs_nothing(subject(tree, changes)) is (counted != set(changes) or len(changes) == 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"fs/toy/toy.c": "int more;\n"},
        {"fs/toy/toy.c": "", "fs/toy/sub/new.h": "", "fs/toy/Kconfig": "config TOY\n\ttristate\n"},
        {"fs/toy/Kconfig": 'source "fs/toy/Kconfig.more"\n', "fs/toy/Kconfig.more": "config MORE\n\tbool\n"},
        {"Documentation/toy.rst": "$(shell rm)\n", "fs/toy/toy.c": ""},
    ],
)
def test_c_of_the_module_kconfig_and_documentation_are_only_compiled(
    tree: Tree, changes: dict[str, str]
) -> None:
    assert only_compiled(subject(tree, changes), FOLDER)


def test_the_control_is_only_compiled(tree: Tree) -> None:
    assert only_compiled(subject(tree), FOLDER)


@pytest.mark.parametrize(
    "changes",
    [
        {"fs/toy/Makefile": "obj-m += toy.o\n"},
        {"fs/toy/Kbuild": ""},
        {"fs/Makefile": ""},
        {"scripts/mod/modpost.c": ""},
        {"fs/namespace.c": ""},
        {"fs/toys/toy.c": ""},
        {"include/linux/fs.h": ""},
        {"fs/toy/table.pl": ""},
        {"tools/arch/x86/lib/x86-opcode-map.txt": ""},
        {"scripts/a-Kconfig": ""},
        {"fs/toy/Kconfig.h": 'asm(".include \\"fs/toy/more.s\\"");\n'},
        {"fs/toy/entry.S": ""},
        {"fs/toy/Kconfig": "config TOY\n\tdef_bool $(shell,touch x)\n"},
        {"fs/toy/Kconfig": "config TOY\n\tdef_bool $(cc-option,-x)\n"},
        {"fs/toy/Kconfig": "X := $(Y)\n"},
        {"fs/toy/Kconfig": 'source "fs/toy/toy.c"\n', "fs/toy/toy.c": "A := $(shell,touch x)\n"},
        {"fs/toy/Kconfig": 'rsource "notes.txt"\n', "fs/toy/notes.txt": "A := $(shell,touch x)\n"},
        {"fs/toy/toy.c": 'asm(".include \\"fs/toy/more.s\\"");\n'},
        {"fs/toy/toy.h": 'asm(".incbin \\"/etc/passwd\\"");\n'},
    ],
)
def test_what_a_build_may_run_or_read_beside_the_compiler_is_more(
    tree: Tree, changes: dict[str, str]
) -> None:
    assert not only_compiled(subject(tree, changes), FOLDER)
    # One such file is enough.
    assert not only_compiled(subject(tree, {"fs/toy/other.c": "", **changes}), FOLDER)


PLACED: dict[str, Callable[[Path], object]] = {
    "a link": lambda path: path.symlink_to("/etc/passwd"),
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("placed", PLACED.values(), ids=PLACED.keys())
def test_only_files_are_compiled(tree: Tree, placed: Callable[[Path], object]) -> None:
    one: Subject = subject(tree, {"fs/toy/new.c": ""})
    (one.src / "fs/toy/new.c").unlink()
    assert only_compiled(one, FOLDER)
    placed(one.src / "fs/toy/new.c")
    assert not only_compiled(one, FOLDER)


@pytest.mark.parametrize(
    ("makefile", "expected"),
    [
        ("obj-$(CONFIG_TOY) += toy.o\ntoy-objs := a.o \\\n\t\tb.o\n", True),
        ("ifdef CONFIG_X\nccflags-y += -DX\nendif\n", True),
        ("hostprogs := table\n", False),
        ("hostprogs-y := table\n", False),
        ("userprogs := sample\n", False),
        ("X := $(shell date)\n", False),
        ("X := ${shell date}\n", False),
        ("table.h: table.pl\n\tperl $< > $@\n", False),
        ("$(obj)/table.h: $(src)/table.c\n\t$(HOSTCC) -o $@ $<\n", False),
    ],
)
@pytest.mark.parametrize("name", ["Makefile", "Kbuild", "sub/Makefile", "Makefile.inc"])
def test_makefiles_that_only_name_objects_run_nothing(
    tmp_path: Path, name: str, makefile: str, *, expected: bool
) -> None:
    folder = write(tmp_path / "toy", {"Makefile": "obj-m += toy.o\n", name: makefile})
    assert run_nothing(folder) is expected
