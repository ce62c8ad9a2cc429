"""What a toy tree's Kconfig means."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe import kconfig
from kmodpipe.kconfig.parser import index_tree
from kmodpipe.util.errors import UserError

# -- the language, in a toy tree -----------------------------------------------------------------

TOP = """\
mainmenu "Toy $(KERNELVERSION)"

comment "Compiler: $(CC_VERSION_TEXT)"
\tdepends on NEVER

source "arch/$(SRCARCH)/Kconfig"

menu "File systems"
\tdepends on BLOCK

if MISC_FILESYSTEMS || \\
   EXPERT
source "fs/toy/Kconfig"

if NESTED
config INNERMOST
\tbool "inner"
\tdepends on A && \\
\t\t!B
endif

endif # MISC_FILESYSTEMS

config AFTER_IF
\tbool "after"

endmenu

config AFTER_MENU
\tdef_bool y
"""

TOY = """\
# SPDX-License-Identifier: GPL-2.0-only
menuconfig TOY_FS
\ttristate "Toy file system"
\tselect EXPORTFS if FHANDLE && !TOY_PLAIN
\tselect CRC32
\thelp
\t  Text with keywords at the start of its lines:
\t  depends on LIES
\t    config NOT_A_SYMBOL
\t  endif

\t  source "/etc/passwd"

choice
\tprompt "Speed"
\tdepends on TOY_FS

config TOY_FAST
\tbool "fast"

config TOY_PLAIN
\tbool "plain"
\tdepends on $(cc-option,-fplain)

endchoice

comment "Careful"
\tdepends on ONLY_THE_COMMENT

config TOY_HIDDEN
\tbool
\tdefault y if TOY_FAST
"""


X86 = """\
config X86
\tdef_bool y

config TOY_HIDDEN
\tbool "shown here"
\tdepends on EARLY
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in {
        "Kconfig": TOP,
        "arch/x86/Kconfig": X86,
        "arch/arm/Kconfig": "config ARM\n\tdef_bool y\n",
        "fs/toy/Kconfig": TOY,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def definitions(tree: Path, symbol: str, srcarch: str = "x86") -> list[tuple[str, int, list[str], bool]]:
    index = kconfig.index_symbols(tree, [symbol], srcarch)
    return [(d.file, d.line, [str(e) for e in d.depends], d.prompt) for d in index.definitions[symbol]]


def test_what_encloses_an_entry_is_part_of_its_dependencies(tree: Path) -> None:
    fs = ["BLOCK", "MISC_FILESYSTEMS || EXPERT"]
    assert definitions(tree, "TOY_FS") == [("fs/toy/Kconfig", 2, fs, True)]
    assert definitions(tree, "TOY_FAST") == [("fs/toy/Kconfig", 18, [*fs, "TOY_FS"], True)]
    assert definitions(tree, "AFTER_IF") == [("Kconfig", 24, ["BLOCK"], True)]
    assert definitions(tree, "AFTER_MENU") == [("Kconfig", 29, [], False)]


def test_continuation_lines_belong_together_and_do_not_shift_the_numbers(tree: Path) -> None:
    depends = ["BLOCK", "MISC_FILESYSTEMS || EXPERT", "NESTED", "A && !B"]
    assert definitions(tree, "INNERMOST") == [("Kconfig", 16, depends, True)]


def test_help_text_is_text(tree: Path) -> None:
    assert definitions(tree, "NOT_A_SYMBOL") == []
    assert "LIES" not in str(definitions(tree, "TOY_FS"))


def test_a_comments_dependency_is_its_own(tree: Path) -> None:
    index = kconfig.index_symbols(tree, ["TOY_PLAIN", "TOY_HIDDEN", "X86", "AFTER_IF"])
    assert "ONLY_THE_COMMENT" not in str(index)
    assert "NEVER" not in str(index)


def test_a_symbol_may_have_two_definitions_and_a_macro_stays_unknown(tree: Path) -> None:
    fs = ["BLOCK", "MISC_FILESYSTEMS || EXPERT"]
    assert definitions(tree, "TOY_HIDDEN") == [
        ("arch/x86/Kconfig", 4, ["EARLY"], True),
        ("fs/toy/Kconfig", 30, fs, False),
    ]
    assert definitions(tree, "TOY_PLAIN")[0][2][-1] == "$(cc-option,-fplain)"
    on = dict.fromkeys(("BLOCK", "EXPERT", "TOY_FS"), "y")
    index = kconfig.index_symbols(tree, ["TOY_PLAIN"])
    assert kconfig.why_not("TOY_PLAIN", "y", index, on) is None


def test_selects_are_found_with_their_conditions_and_places(tree: Path) -> None:
    found = kconfig.index_symbols(tree, ["EXPORTFS", "CRC32"]).selections
    assert [(s.selector, str(s.condition), s.where) for s in found["EXPORTFS"]] == [
        ("TOY_FS", "FHANDLE && !TOY_PLAIN", "fs/toy/Kconfig:4")
    ]
    assert [(s.selector, s.condition) for s in found["CRC32"]] == [("TOY_FS", None)]


def test_a_file_that_only_leads_to_the_symbol_still_adds_its_conditions(tree: Path) -> None:
    (tree / "Kconfig").write_text('source "between"\nsource "beside"\n')
    (tree / "between").write_text('if OUTER\nmenu "m"\n\tdepends on INNER\nsource "leaf"\nendmenu\nendif\n')
    (tree / "beside").write_text("config OTHER\n\tbool\n\tdepends on NOTHING\n")
    (tree / "leaf").write_text("config LEAF\n\tbool\n")
    assert definitions(tree, "LEAF") == [("leaf", 1, ["OUTER", "INNER"], False)]
    assert definitions(tree, "OTHER") == [("beside", 1, ["NOTHING"], False)]


def test_the_architecture_decides_what_is_sourced(tree: Path) -> None:
    assert definitions(tree, "X86") and not definitions(tree, "ARM")
    assert definitions(tree, "ARM", "arm") and not definitions(tree, "X86", "arm")


def test_a_file_sourced_twice_counts_with_both_conditions_and_a_circle_ends(tree: Path) -> None:
    (tree / "Kconfig").write_text(
        'if A\nsource "shared"\nendif\nif B\nsource "$(srctree)/shared"\nendif\nsource "Kconfig"\n'
    )
    (tree / "shared").write_text('config SHARED\n\tbool "x"\nsource "shared"\n')
    assert [d[2] for d in definitions(tree, "SHARED")] == [["A"], ["B"]]


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "fs/../../outside", "link"])
def test_a_source_that_leaves_the_tree_is_refused(tmp_path: Path, target: str) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tmp_path / "outside").write_text("config STOLEN\n\tbool\n")
    (tree / "link").symlink_to("../outside")
    (tree / "Kconfig").write_text(f'source "{target}"\n')
    with pytest.raises(UserError, match="outside the tree") as caught:
        kconfig.index_symbols(tree, ["STOLEN"])
    assert target in caught.value.where


def test_the_modules_own_symbols_are_those_its_folder_defines(tree: Path) -> None:
    (tree / "fs/toy/deep").mkdir()
    (tree / "fs/toy/deep/Kconfig.debug").write_text('config TOY_DEBUG\n\tbool "debug"\n')
    (tree / "fs/toy/Kconfig.away").symlink_to("../../Kconfig")
    owned = kconfig.owned_symbols(tree, "fs/toy")
    assert {"TOY_FS", "TOY_FAST", "TOY_PLAIN", "TOY_HIDDEN", "TOY_DEBUG"} <= owned
    assert not owned & {"INNERMOST", "AFTER_IF", "X86"}


ATTRIBUTES = """\
config ONE
\ttristate "the \\"first\\" one" if EXPERT
\tdefault m if NET
\tdefault y
\tselect LIB if NET
\tselect CORE

choice
\tprompt "which"
\tdefault TWO

config TWO
\tbool "two"

endchoice

config THREE
\tdef_bool ONE = y
\tprompt 'three'

config FOUR
\tint
"""


def test_an_entry_has_its_type_prompt_defaults_and_selects(tmp_path: Path) -> None:
    (tmp_path / "Kconfig").write_text(ATTRIBUTES)
    found = {name: one for name, (one,) in index_tree(tmp_path).definitions.items()}
    assert list(found) == ["ONE", "TWO", "THREE", "FOUR"]
    one = found["ONE"]
    assert (one.kind, one.prompt, one.title, str(one.prompt_if)) == (
        "tristate",
        True,
        'the \\"first\\" one',
        "EXPERT",
    )
    assert [(str(value), str(condition)) for value, condition in one.defaults] == [
        ("m", "NET"),
        ("y", "None"),
    ]
    assert [(name, str(condition)) for name, condition in one.selects] == [("LIB", "NET"), ("CORE", "None")]
    assert [found[name].in_choice for name in found] == [False, True, False, False]
    assert (found["THREE"].kind, found["THREE"].title, str(found["THREE"].defaults[0][0])) == (
        "bool",
        "three",
        "ONE = y",
    )
    assert (found["FOUR"].kind, found["FOUR"].prompt) == ("int", False)
