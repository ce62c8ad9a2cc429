"""Which symbols are a module's own: every way in which vmlinux may read one, and what stays shared."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.kconfig import ownership
from kmodpipe.util.errors import InfraError
from tests.support.trees import write

FOLDER = "fs/toy"
SYMBOLS = ("TOY_FS", "TOY_FS_INDEX", "TOY_FS_MAX")
TREE = {
    "fs/Makefile": "obj-$(CONFIG_TOY_FS) += toy/\n",
    "fs/Kconfig": 'source "fs/toy/Kconfig"\n\nconfig OTHER\n\tbool\n\tdefault y if TOY_FS_INDEX\n',
    "fs/toy/Kconfig": "".join(f"config {symbol}\n\tbool\n" for symbol in SYMBOLS),
    "fs/toy/Makefile": "obj-$(CONFIG_TOY_FS) += toy.o\ntoy-y := a.o\ntoy-$(CONFIG_TOY_FS_INDEX) += index.o\n",
    "fs/toy/super.c": '#include "toy.h"\n#ifdef CONFIG_TOY_FS_INDEX\n#endif\n',
    "fs/toy/toy.h": "int toy = CONFIG_TOY_FS_MAX;\n",
    "fs/namespace.c": "#ifdef CONFIG_TOY_FS_INDEX_OTHER\n#endif\nint my_TOY_FS_INDEX;\n",
    "arch/x86/configs/x86_64_defconfig": "CONFIG_TOY_FS_INDEX=y\n",
    "kernel/configs/toy.config": "CONFIG_TOY_FS_INDEX=y\n",
    "Documentation/toy.rst": "CONFIG_TOY_FS_INDEX makes an index. See fs/toy/super.c\n",
    "tools/testing/selftests/toy/config": "CONFIG_TOY_FS_INDEX=y\n",
    "include/toy/super.h": "int of_another_toy;\n",
    "net/other.c": "#include <toy/super.h>\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write(tmp_path, TREE)


def test_what_only_the_folder_reads_is_its_own(tree: Path) -> None:
    found = ownership.search(tree, FOLDER, SYMBOLS)
    # The Makefile above the folder reads its symbol: built in or not is vmlinux's affair.
    assert found == ownership.Outside({"TOY_FS": "fs/Makefile"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("fs/namespace.c", "#ifdef CONFIG_TOY_FS_INDEX\n"),
        ("fs/namespace.c", "if (IS_ENABLED(CONFIG_TOY_FS_INDEX))\n"),
        ("fs/namespace.c", "#if IS_MODULE(CONFIG_TOY_FS_INDEX) || defined(CONFIG_TOY_FS_INDEX_MODULE)\n"),
        ("fs/namespace.c", "#ifdef CONFIG_TOY_FS_INDEX_MODULE\n"),
        ("fs/namespace.c", "#define ON(x) IS_ENABLED(CONFIG_##x)\nint a = ON(TOY_FS_INDEX);\n"),
        ("fs/namespace.c", "#define ON(x) IS_ENABLED(CONFIG_TOY_ ## x)\nint a = ON(FS_INDEX);\n"),
        ("fs/namespace.c", "#define ON(x) IS_ENABLED(CONFIG_TOY_FS_##x)\nint a = ON(INDEX);\n"),
        ("fs/namespace.c", "\0binary\0 CONFIG_TOY_FS_INDEX\n"),
        ("fs/namespace.c", "\xff\xfe CONFIG_TOY_FS_INDEX\n"),
        ("include/linux/skbuff.h", "#if IS_REACHABLE(CONFIG_TOY_FS_INDEX)\n"),
        ("arch/x86/kernel/vmlinux.lds.S", "#ifdef CONFIG_TOY_FS_INDEX\n"),
        ("arch/x86/entry/entry.S", "#ifndef CONFIG_TOY_FS_INDEX\n"),
        ("fs/Makefile", "obj-$(CONFIG_TOY_FS_INDEX) += index.o\n"),
        ("fs/Makefile", "ifeq ($(CONFIG_TOY_FS_INDEX),y)\nobj-y += index.o\nendif\n"),
        ("fs/Makefile", "x := $(CONFIG_TOY_FS_$(which))\n"),
        ("Kbuild", "ifdef CONFIG_TOY_FS_INDEX\n"),
        ("scripts/link-vmlinux.sh", 'if [ -n "${CONFIG_TOY_FS_INDEX}" ]; then\n'),
        ("rust/kernel/lib.rs", "#[cfg(CONFIG_TOY_FS_INDEX)]\n"),
        ("kernel/gen.pl", "is_on('TOY_FS_INDEX')\n"),
        ("samples/toy.inc", "CONFIG_TOY_FS_INDEX\n"),
    ],
)
def test_a_symbol_that_is_read_outside_is_not_the_modules_own(tree: Path, name: str, text: str) -> None:
    write(tree, {})
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_bytes(text.encode("latin-1"))
    assert ownership.search(tree, FOLDER, SYMBOLS).readers["TOY_FS_INDEX"] == name
    assert ownership.search_files(tree, FOLDER, SYMBOLS, [name]).readers["TOY_FS_INDEX"] == name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("fs/namespace.c", '#include "toy/toy.h"\n'),
        ("mm/shmem.c", '#include "../fs/toy/super.c"\n'),
        ("include/trace/toy.h", "#define TRACE_INCLUDE_PATH ../../fs/toy\n"),
        ("mm/Makefile", "ccflags-y += -I$(srctree)/fs/toy\n"),
        ("fs/Makefile", "obj-y += toy/super.o\n"),
        ("arch/x86/blob.S", '.incbin "fs/toy/super.c"\n'),
    ],
)
def test_a_file_that_uses_the_folder_is_found(tree: Path, name: str, text: str) -> None:
    write(tree, {name: text})
    assert ownership.search(tree, FOLDER, SYMBOLS).user == name


def test_a_link_into_the_folder_is_a_use_of_a_series(tree: Path) -> None:
    (tree / "fs/link.h").symlink_to("toy/toy.h")
    assert ownership.search_files(tree, FOLDER, SYMBOLS, ["fs/link.h"]).user == "fs/link.h"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("fs/Makefile", "x := $(shell grep TOY_FS_ $(KCONFIG_CONFIG))\n"),
        ("fs/Makefile", "x := $(shell grep TOY_FS_ .config)\n"),
        ("kernel/gen.sh", "cat include/generated/autoconf.h\n"),
        ("kernel/gen.sh", ". include/config/auto.conf\n"),
        ("fs/namespace.c", "#define ON(x, y) IS_ENABLED(CONFIG_##x##y)\n"),
        ("fs/namespace.c", "#define ON(x) IS_ENABLED(x##CONFIG_)\n"),
        ("fs/Makefile", "x := $(CONFIG_$(which))\n"),
    ],
)
def test_a_series_that_may_read_any_symbol_makes_all_unsure(tree: Path, name: str, text: str) -> None:
    write(tree, {name: text})
    assert ownership.search_files(tree, FOLDER, SYMBOLS, [name]).reads_all == name


def test_only_files_outside_the_folder_count_in_a_series(tree: Path) -> None:
    names = ["fs/toy/super.c", "fs/toy/toy.h", "fs/Kconfig", "fs/gone.c", "fs/namespace.c"]
    assert ownership.search_files(tree, FOLDER, SYMBOLS, names) == ownership.Outside()


@pytest.mark.parametrize(
    "line",
    [
        "obj-y += super.o",
        "obj-$(CONFIG_TOY_FS_INDEX) += index.o",
        "obj-$(subst m,y,$(CONFIG_TOY_FS)) += super.o",
        "lib-y += super.o",
        "lib-$(CONFIG_TOY_FS) += super.o",
        "ifdef CONFIG_X\n  obj-y:=super.o\nendif",
        "obj-$(CONFIG_TOY_FS) += a.o \\\n  b.o\nobj-\\\ny += c.o",
        "$(eval obj-y += super.o)",
        "include $(src)/more.mk",
        "n := obj\n$(n)-y += super.o",
        "override obj-y += super.o",
    ],
)
def test_a_makefile_that_may_link_into_vmlinux_is_found(tree: Path, line: str) -> None:
    config = {"TOY_FS": "m", "TOY_FS_INDEX": "y"}
    assert ownership.built_in(tree, FOLDER, config) == ""
    write(tree, {"fs/toy/deep/Kbuild": f"{line}\n"})
    assert ownership.built_in(tree, FOLDER, config).startswith("fs/toy/deep/Kbuild: ")


def test_a_module_that_is_built_in_is_part_of_vmlinux(tree: Path) -> None:
    assert ownership.built_in(tree, FOLDER, {"TOY_FS": "y"})
    assert not ownership.built_in(tree, FOLDER, {"TOY_FS": "n"})


def test_flags_and_parts_of_a_module_are_not_linked_into_vmlinux(tree: Path) -> None:
    text = "ccflags-y += $(call cc-option,-Wx)\n# obj-y += no.o\nobj-m += toy.o\ntoy-objs-y := a.o\n"
    write(tree, {"fs/toy/Makefile": text})
    assert ownership.built_in(tree, FOLDER, {}) == ""


def test_a_tree_that_cannot_be_searched_is_no_empty_answer(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "bin").mkdir()
    (tree / "bin/grep").write_text("#!/bin/sh\necho 'input error' >&2\nexit 2\n")
    (tree / "bin/grep").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tree / 'bin'}:/usr/bin:/bin")
    with pytest.raises(InfraError, match="cannot be searched"):
        ownership.search(tree, FOLDER, SYMBOLS)
