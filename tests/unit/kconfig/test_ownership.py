"""Which symbols are a module's own: every way in which vmlinux may read one, and what stays shared."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.kconfig import ownership
from kmodpipe.kconfig.ownership import Makefiles, Outside
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


def search_files(tree: Path, names: list[str]) -> Outside:
    return ownership.search_files(tree, FOLDER, SYMBOLS, names, frozenset())


def readers(found: Outside) -> dict[str, str]:
    """A file that reads each symbol, with a record of it or without."""
    return {**{symbol: files[0] for symbol, files in found.recorded.items()}, **found.readers}


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
    assert readers(ownership.search(tree, FOLDER, SYMBOLS))["TOY_FS_INDEX"] == name
    changed = search_files(tree, [name])
    assert name in (changed.reads_all, readers(changed).get("TOY_FS_INDEX"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("fs/namespace.c", '#include "toy/toy.h"\n'),
        ("mm/shmem.c", '#include "../fs/toy/super.c"\n'),
        ("include/trace/toy.h", "#define TRACE_INCLUDE_PATH ../../fs/toy\n"),
        ("mm/Makefile", "ccflags-y += -I$(srctree)/fs/toy\n"),
        ("fs/Makefile", "obj-y += toy/super.o\n"),
        ("arch/x86/blob.S", '.incbin "fs/toy/super.c"\n'),
        ("mm/Makefile", "ccflags-y += -I $(src)/../fs/toy/deep\n"),
        ("mm/Makefile", "ccflags-y += -Ifs/toy\n"),
        ("mm/Makefile", "ccflags-y += -I$(somewhere)/toy\n"),
        ("mm/Makefile", "obj-y += ../fs/toy/super.o\n"),
        ("mm/Makefile", "obj-y += $(fs)/toy/super.o\n"),
        ("arch/x86/Makefile", "core-y += fs/toy/super.o\n"),
        ("mm/shmem.c", '#  include \\\n  "../fs/toy/super.c"\n'),
    ],
)
def test_a_file_that_uses_the_folder_is_found(tree: Path, name: str, text: str) -> None:
    write(tree, {name: text})
    found = ownership.search(tree, FOLDER, SYMBOLS)
    assert name in (found.user, *found.included)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        # Another folder of the same name.
        ("mm/Makefile", "ccflags-y += -I$(srctree)/net/toy\n"),
        ("net/Makefile", "obj-y += toy/super.o\n"),
        ("include/trace/toy.h", "#define TRACE_INCLUDE_PATH ../../net/toy\n"),
        ("net/other.c", '#include "toy/toy.h"\n'),
        ("arch/arm/mm/x.c", '#include "../../../fs/toy/toy.h"\n'),
    ],
)
def test_what_is_no_use_of_the_folder(tree: Path, name: str, text: str) -> None:
    write(tree, {name: text, "net/toy/super.c": "", "net/toy/toy.h": ""})
    found = ownership.search(tree, FOLDER, SYMBOLS)
    assert not found.user and not found.included


@pytest.mark.parametrize(
    ("name", "text"),
    [
        # Nothing completes these words.
        ("include/uapi/linux/toy.h", "/* TOY_FS_INDEX: of requests */\n#define TOY_FS_INDEX (1 << 3)\n"),
        ("fs/namespace.c", 'pr_info("TOY_FS_INDEX");  // TOY_FS_INDEX\n'),
        ("fs/namespace.c", "/* #define ON(x) CONFIG_##x */ int TOY_FS_INDEX;\n"),
        (
            "fs/Makefile",
            "# TOY_FS_INDEX: see CONFIG_TOY_FS_INDEX\n\t# and CONFIG_TOY_FS_INDEX\nobj-y += a.o\n",
        ),
        # No build runs or reads these.
        ("scripts/checkpatch.pl", "CONFIG_TOY_FS_INDEX\n"),
        ("scripts/kconfig/lkc.h", "#define TOY CONFIG_TOY_FS_INDEX\n"),
        ("tools/perf/toy.c", "#ifdef CONFIG_TOY_FS_INDEX\n"),
        ("drivers/gpu/drm/ci/x86_64.config", "CONFIG_TOY_FS_INDEX=y\n"),
        ("fs/other/.kunitconfig", "CONFIG_TOY_FS_INDEX=y\n"),
        ("fs/other/README", "CONFIG_TOY_FS_INDEX\n"),
        ("arch/arm/kernel/setup.c", "#ifdef CONFIG_TOY_FS_INDEX\n"),
        ("arch/arm/Makefile", "obj-$(CONFIG_TOY_FS_INDEX) += x.o\n"),
    ],
)
def test_a_mention_that_no_build_reads_is_no_use(tree: Path, name: str, text: str) -> None:
    write(tree, {name: text})
    assert "TOY_FS_INDEX" not in readers(ownership.search(tree, FOLDER, SYMBOLS))


@pytest.mark.parametrize(
    "files",
    [
        # In a file that a macro's file includes, and where the macro may be anywhere.
        {"mm/a.c": '#define ON(x) CONFIG_##x\n#include "b.h"\n', "mm/b.h": "ON(TOY_FS_INDEX)\n"},
        {"mm/a.c": "#include <linux/c.h>\n#define P CONFIG_\n", "include/linux/c.h": "L(TOY_FS_INDEX)\n"},
        {"include/linux/on.h": "#define ON(x) CONFIG_ ## x\n", "mm/b.c": "ON(TOY_FS_INDEX)\n"},
        {"mm/a.c": "#define ON(x) CONFIG_##x\n#include LIST\n", "mm/b.h": "ON(TOY_FS_INDEX)\n"},
        {"mm/a.c": '#define ON(x) CONFIG_##x\n#include "made.h"\n', "mm/b.h": "ON(TOY_FS_INDEX)\n"},
        # As the preprocessor reads it.
        {"mm/a.c": "#define ON(x) CONFIG_##x\nint a = ON(TOY_FS_\\\nINDEX);\n"},
        {"mm/a.c": 'char *a = "/*";\n#define ON(x) CONFIG_##x\nint b = ON(TOY_FS_INDEX); /* */\n'},
        {"mm/a.c": "#define ON(x) CONFIG_TOY_ \\\n ## x\n"},
        # A comment for make, and a part of a string.
        {"mm/Makefile": "x := $(shell printf 'a \\\n# CONFIG_TOY_FS_INDEX')\n"},
        {"mm/list.inc": "TOY_FS_INDEX\n"},
        {"tools/objtool/check.c": "#ifdef CONFIG_TOY_FS_INDEX\n"},
        {"scripts/gen.sh": "# TOY_FS_INDEX\n"},
    ],
)
def test_what_leaves_no_record_counts_wherever_it_may_be_completed(tree: Path, files: dict[str, str]) -> None:
    write(tree, files)
    assert "TOY_FS_INDEX" in ownership.search(tree, FOLDER, SYMBOLS).readers


def test_of_a_header_that_others_include_its_own_symbols_are_read(tree: Path) -> None:
    write(tree, {
        "fs/toy/disk.h": '#include "deep.h"\n#define MAX CONFIG_TOY_FS_MAX\n',
        "fs/toy/deep.h": "#ifdef CONFIG_TOY_FS\n",
        "init/mounts.c": '#include "../fs/toy/disk.h"\n',
    })  # fmt: skip
    found = ownership.search(tree, FOLDER, SYMBOLS)
    assert found.included == {"init/mounts.c": ["fs/toy/deep.h", "fs/toy/disk.h"]} and not found.user
    assert found.recorded == {"TOY_FS_MAX": ["init/mounts.c"], "TOY_FS": ["init/mounts.c"]}
    # What such a header includes, and where from, has to be known.
    write(tree, {"fs/toy/deep.h": "#include WHATEVER\n"})
    assert ownership.search(tree, FOLDER, SYMBOLS).user == "init/mounts.c"


@pytest.mark.parametrize(
    ("name", "config", "may"),
    [
        ("drivers/toy/target/fc.c", {}, False),
        ("drivers/toy/target/deep/fc.h", {}, False),
        ("drivers/toy/target/fc.c", {"TOY_TARGET": "m"}, True),
        ("drivers/toy/target/fc.c", {"TOY_TARGET": "y"}, True),
        ("drivers/toy/always/x.c", {}, True),
        ("drivers/toy/modules/x.c", {}, True),
        ("drivers/toy/target/include/x.h", {}, True),
        ("drivers/x.c", {}, True),
        ("mm/x.c", {}, True),
        ("x.c", {}, True),
    ],
)
def test_a_file_of_a_folder_that_builds_nothing_is_not_compiled(
    tree: Path, name: str, config: dict[str, str], may: bool
) -> None:
    write(tree, {
        "drivers/toy/target/Makefile": "obj-$(CONFIG_TOY_TARGET) += target.o\ntarget-y := fc.o\n",
        "drivers/toy/always/Makefile": "obj-y += x.o\n",
        "drivers/toy/modules/Makefile": "obj-m += x.o\n",
    })  # fmt: skip
    assert Makefiles(tree).may_compile(name, config) is may


def test_a_link_into_the_folder_is_a_use_of_a_series(tree: Path) -> None:
    (tree / "fs/link.h").symlink_to("toy/toy.h")
    assert search_files(tree, ["fs/link.h"]).user == "fs/link.h"


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
    assert search_files(tree, [name]).reads_all == name


def test_only_files_outside_the_folder_count_in_a_series(tree: Path) -> None:
    names = ["fs/toy/super.c", "fs/toy/toy.h", "fs/Kconfig", "fs/gone.c", "fs/namespace.c"]
    assert search_files(tree, names) == ownership.Outside()


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
    assert Makefiles(tree).built_in(FOLDER, config) == ""
    write(tree, {"fs/toy/deep/Kbuild": f"{line}\n"})
    assert Makefiles(tree).built_in(FOLDER, config).startswith("fs/toy/deep/Kbuild: ")


def test_a_module_that_is_built_in_is_part_of_vmlinux(tree: Path) -> None:
    assert Makefiles(tree).built_in(FOLDER, {"TOY_FS": "y"})
    assert not Makefiles(tree).built_in(FOLDER, {"TOY_FS": "n"})


def test_flags_and_parts_of_a_module_are_not_linked_into_vmlinux(tree: Path) -> None:
    text = "ccflags-y += $(call cc-option,-Wx)\n# obj-y += no.o\nobj-m += toy.o\ntoy-objs-y := a.o\n"
    write(tree, {"fs/toy/Makefile": text})
    assert Makefiles(tree).built_in(FOLDER, {}) == ""


def test_a_tree_that_cannot_be_searched_is_no_empty_answer(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "bin").mkdir()
    (tree / "bin/grep").write_text("#!/bin/sh\necho 'input error' >&2\nexit 2\n")
    (tree / "bin/grep").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tree / 'bin'}:/usr/bin:/bin")
    with pytest.raises(InfraError, match="cannot be searched"):
        ownership.search(tree, FOLDER, SYMBOLS)
