"""Symbols that a series' Kconfig refers to and nothing defines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from kmodpipe import kconfig
from tests.support.trees import write

TREE = {
    "Kconfig": "".join(
        f'source "{name}"\n'
        for name in ("fs/o/Kconfig", "arch/$(SRCARCH)/Kconfig", "lib/options", "drivers/d/Kconfig")
    ),
    "arch/x86/Kconfig": "config X86\n\tdef_bool y\n",
    "arch/arm64/Kconfig": "config ARM64_ERRATUM\n\tbool\n",
    "lib/options": "config LIB_OPTION\n\tbool\n",
    "Documentation/kbuild/Kconfig.example": "config EXAMPLE_ONLY\n\tbool\n",
    "fs/o/Kconfig": (
        'config OVERLAY_FS\n\ttristate "overlay"\n\tdepends on OLD_STALE\n\n'
        'config OVERLAY_FS_INDEX\n\tbool "index"\n\tdepends on OVERLAY_FS\n'
    ),
    "drivers/d/Kconfig": "config DRIVER\n\tbool\n\tselect OVERLAY_FS_INDEX\n",
}
ENTRY = '\nconfig NEW\n\tbool "new"\n'


def changed(folder: Path, now: Mapping[str, str | None]) -> kconfig.Undefined:
    """What is found where these files of the tree become others; None removes one."""
    before, after = folder / "before", folder / "after"
    write(before, TREE)
    write(after, {name: text for name, text in {**TREE, **now}.items() if text is not None})
    return kconfig.undefined_references(before, after, now)


def adding(folder: Path, lines: str) -> kconfig.Undefined:
    return changed(folder, {"fs/o/Kconfig": TREE["fs/o/Kconfig"] + ENTRY + lines})


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("\tdepends on OVERLAY_FS_INDX\n", "NEW depends on OVERLAY_FS_INDX"),
        ("\tdepends on OVERLAY_FS && !OVERLAY_FS_INDX\n", "NEW depends on OVERLAY_FS_INDX"),
        ("\tdepends on (X86||OVERLAY_FS_INDX)&&m\n", "NEW depends on OVERLAY_FS_INDX"),
        ("\tdepends on OVERLAY_FS && \\\n\t\tOVERLAY_FS_INDX\n", "NEW depends on OVERLAY_FS_INDX"),
        ("\tdepends on X86 if OVERLAY_FS_INDX\n", "NEW depends on OVERLAY_FS_INDX"),
        ("\tdepends on OVERLAY_FS_INDX = y # for the index\n", "NEW depends on OVERLAY_FS_INDX"),
        ("\tselect OVERLAY_FS_INDX\n", "NEW selects OVERLAY_FS_INDX"),
        ("\tselect X86 if OVERLAY_FS_INDX\n", "NEW selects OVERLAY_FS_INDX"),
        ("\timply OVERLAY_FS_INDX\n", "NEW implies OVERLAY_FS_INDX"),
        ("\tdefault y if OVERLAY_FS_INDX\n", "NEW has a default with OVERLAY_FS_INDX"),
        ("\tdefault OVERLAY_FS_INDX\n", "NEW has a default with OVERLAY_FS_INDX"),
        ("\tprompt \"it\" if OVERLAY_FS_INDX\n", "NEW has a prompt if OVERLAY_FS_INDX"),
        ("\trange 0 3 if OVERLAY_FS_INDX\n", "NEW has a range with OVERLAY_FS_INDX"),
        ("\nconfig TWO\n\tdef_bool OVERLAY_FS_INDX\n", "TWO has a default with OVERLAY_FS_INDX"),
        ('\nconfig TWO\n\tbool "x if y" if OVERLAY_FS_INDX\n', "TWO has a prompt if OVERLAY_FS_INDX"),
        ("\nif OVERLAY_FS_INDX\nendif\n", "what follows is under: if OVERLAY_FS_INDX"),
        ('\nmenu "m"\n\tdepends on OVERLAY_FS_INDX\nendmenu\n', "a menu depends on OVERLAY_FS_INDX"),
        ('\nmenu "m"\n\tvisible if OVERLAY_FS_INDX\nendmenu\n', "a menu is visible if OVERLAY_FS_INDX"),
        # An example in the documentation defines nothing.
        ("\tdepends on EXAMPLE_ONLY\n", "NEW depends on EXAMPLE_ONLY"),
    ],
)  # fmt: skip
def test_a_misspelt_symbol_is_named_with_its_line(tmp_path: Path, lines: str, told: str) -> None:
    (fault,) = adding(tmp_path, lines).faults
    assert told in fault and "which no Kconfig file of the tree defines" in fault
    file, line, _ = fault.split(":", 2)
    text = (tmp_path / "after" / file).read_text().split("\n")[int(line) - 1]
    assert text.split()[0] in ("depends", "select", "imply", "default", "prompt", "range", "def_bool", "bool",
                               "if", "visible")  # fmt: skip
    if "INDX" in told:
        assert fault.endswith("is OVERLAY_FS_INDEX meant (fs/o/Kconfig:5)?")


@pytest.mark.parametrize(
    "lines",
    [
        "\tdepends on OVERLAY_FS && OVERLAY_FS_INDEX && LIB_OPTION && m && !n\n",
        "\tdepends on m\n\tdefault 0x1F\n\trange 1 10\n\tdefault -1\n",
        '\tdefault "OVERLAY_FS_INDX"\n\tdepends on "INDX" != "Y" && X86 = \'Z\'\n',
        "\thelp\n\t  depends on OVERLAY_FS_INDX\n\n\t  select OVERLAY_FS_INDX\n",
        "\t# depends on OVERLAY_FS_INDX\n\tdepends on X86 # not OVERLAY_FS_INDX\n",
        "\tdepends on $(cc-option,-mFOO) && $(success,test $(shell,$(CC) -v) = A)\n\tdefault $CC\n",
        "\tdepends on X86 = enabled\n\toption env=\"FOO\"\n",
        "\tdepends on DRIVER\n",
        "\tbool \"this is off if FOO\"\n",
        "\nconfig LATER\n\tbool\n\tselect NEW\n",
        # The tree always had it.
        '\ncomment "MOVED"\n',
    ],
)  # fmt: skip
def test_what_is_defined_or_no_symbol_is_no_fault(tmp_path: Path, lines: str) -> None:
    assert adding(tmp_path, lines) == kconfig.Undefined()


def test_what_the_tree_always_had_is_not_the_series_fault(tmp_path: Path) -> None:
    old = TREE["fs/o/Kconfig"]
    for number, text in enumerate(
        (
            old.replace("OLD_STALE", "OLD_STALE && X86"),
            old.replace("\tdepends on OLD_STALE", "  depends   on  OLD_STALE"),
            old.replace("config OVERLAY_FS\n", "config OVERLAY_FS_NEW\n").replace(
                "on OVERLAY_FS\n", "on X86\n"
            ),
            "config FIRST\n\tbool\n\n" + old,
        )
    ):
        assert changed(tmp_path / str(number), {"fs/o/Kconfig": text}) == kconfig.Undefined(), text
    moved = {"fs/o/Kconfig": "", "fs/Kconfig": old}
    assert changed(tmp_path / "moved", moved) == kconfig.Undefined()
    # A new entry with the same dependency can never be had.
    (fault,) = adding(tmp_path / "again", "\tdepends on OLD_STALE\n").faults
    assert "NEW depends on OLD_STALE" in fault


def test_a_symbol_of_another_architecture_is_legal_and_named(tmp_path: Path) -> None:
    found = adding(tmp_path, "\tdepends on ARM64_ERRATUM\n")
    assert not found.faults
    (note,) = found.foreign
    assert "is defined (arch/arm64/Kconfig:1), but not for x86: here it is n" in note
    both = {**TREE, "fs/o/Kconfig": TREE["fs/o/Kconfig"] + ENTRY + "\tdepends on ARM64_NEW\n"}
    both["arch/arm64/Kconfig"] += "config ARM64_NEW\n\tbool\n"
    changes = {name: both[name] for name in ("fs/o/Kconfig", "arch/arm64/Kconfig")}
    assert len(changed(tmp_path / "both", changes).foreign) == 1


def test_a_definition_that_is_removed_leaves_no_reference_behind(tmp_path: Path) -> None:
    old = TREE["fs/o/Kconfig"]
    gone = {"fs/o/Kconfig": old.replace("config OVERLAY_FS_INDEX\n", "config OVERLAY_FS_INDEXES\n")}
    (fault,) = changed(tmp_path / "renamed", gone).faults
    assert fault.startswith(
        "drivers/d/Kconfig:3: DRIVER selects OVERLAY_FS_INDEX, which the series defines no"
    )
    whole = {**gone, "drivers/d/Kconfig": None}
    assert changed(tmp_path / "whole", whole) == kconfig.Undefined()


def test_a_file_of_another_name_counts_if_it_is_sourced(tmp_path: Path) -> None:
    text = TREE["lib/options"] + "\tdepends on NOTHING\n"
    (fault,) = changed(tmp_path / "sourced", {"lib/options": text}).faults
    assert fault.startswith("lib/options:3: LIB_OPTION depends on NOTHING")
    stray = {"notes.txt": text, "lib/stray": text, "lib/code.py": "if NOTHING:\n    pass\n"}
    assert changed(tmp_path / "stray", stray) == kconfig.Undefined()


def test_the_first_patches_may_refer_to_what_a_later_one_defines(tmp_path: Path) -> None:
    text = TREE["fs/o/Kconfig"] + ENTRY + "\tdepends on LATER\n"
    before, first, whole = (tmp_path / name for name in ("before", "first", "whole"))
    write(before, TREE)
    write(first, {**TREE, "fs/o/Kconfig": text})
    write(whole, {**TREE, "fs/o/Kconfig": text + "\nconfig LATER\n\tbool\n"})
    assert kconfig.undefined_references(before, first, ["fs/o/Kconfig"]).faults
    assert not kconfig.undefined_references(before, first, ["fs/o/Kconfig"], whole).faults


def test_a_conditional_dependency_rules_out_only_under_its_condition(tmp_path: Path) -> None:
    write(tmp_path, {"Kconfig": 'config A\n\tbool "a"\n\tdepends on B if C # since 6.19\n'})
    index = kconfig.index_symbols(tmp_path, ["A"])
    assert kconfig.why_not("A", "y", index, {"B": "n", "C": "n"}) is None
    assert kconfig.why_not("A", "y", index, {"B": "y", "C": "y"}) is None
    assert "A depends on B || !C" in str(kconfig.why_not("A", "y", index, {"B": "n", "C": "y"}))
