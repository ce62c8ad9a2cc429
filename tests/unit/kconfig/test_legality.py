"""Kconfig: fragments, what a toy tree's language means, which cells are legal, and the matrix."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe import kconfig
from kmodpipe.kconfig import Asked, Index, Mismatch, Variant
from kmodpipe.kconfig.fragment import parse_fragment
from kmodpipe.kconfig.parser import parse_expr
from kmodpipe.util.errors import UserError
from tests.support import REPO

# -- fragments -----------------------------------------------------------------------------------


def test_a_fragment_asks_for_values_and_for_not_set_and_remembers_where() -> None:
    text = '# a comment\n\nCONFIG_A=y\n  CONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D="a = b"\nCONFIG_E=0x1f\n'
    assert parse_fragment(text, "x.config") == (
        Asked("A", "y", "x.config:3"),
        Asked("B", "m", "x.config:4"),
        Asked("C", "n", "x.config:5"),
        Asked("D", '"a = b"', "x.config:6"),
        Asked("E", "0x1f", "x.config:7"),
    )


@pytest.mark.parametrize("line", ["A=y", "CONFIG_A y", "CONFIG_A", "CONFIG-A=y", "# ok\nset CONFIG_A=y"])
def test_a_line_that_means_nothing_is_refused_with_its_place(line: str) -> None:
    with pytest.raises(UserError, match="not a configuration line") as caught:
        parse_fragment(line, "x.config")
    assert caught.value.where == f"x.config:{1 + line.count(chr(10))}"


def test_a_symbol_asked_twice_in_one_fragment_is_refused_with_both_places() -> None:
    with pytest.raises(UserError, match="A is asked twice") as caught:
        parse_fragment("CONFIG_A=y\n# CONFIG_A is not set\n", "x.config")
    assert caught.value.where == "x.config:1, x.config:2"


def test_later_layers_win_and_equal_requests_are_equal_bytes() -> None:
    merged = kconfig.merge(
        [parse_fragment("CONFIG_B=y\nCONFIG_A=y\n", "1"), parse_fragment("# CONFIG_B is not set\n", "2")]
    )
    assert merged["B"] == Asked("B", "n", "2:1")
    text = kconfig.render(merged)
    assert text == "CONFIG_A=y\n# CONFIG_B is not set\n"
    again = kconfig.merge([parse_fragment(text, "3")])
    assert kconfig.render(again) == text


def test_verify_compares_both_what_was_asked_for_and_what_was_asked_to_stay_off() -> None:
    asked = kconfig.merge(
        [
            parse_fragment(
                "CONFIG_KEPT=y\nCONFIG_LOST=y\nCONFIG_WEAKER=y\n# CONFIG_OFF is not set\n"
                '# CONFIG_SNEAKED is not set\nCONFIG_TEXT="a"\nCONFIG_HALF=m\n',
                "f",
            )
        ]
    )
    final = kconfig.parse_config(
        "#\n# Linux/x86 5.10.223 Kernel Configuration\n#\nCONFIG_KEPT=y\n# CONFIG_LOST is not set\n"
        'CONFIG_WEAKER=m\nCONFIG_SNEAKED=y\nCONFIG_TEXT="a"\nCONFIG_OTHER=y\n'
    )
    assert [str(m) for m in kconfig.verify(asked, final)] == [
        "HALF: asked m, got n (f:7)",
        "LOST: asked y, got n (f:2)",
        "SNEAKED: asked n, got y (f:5)",
        "WEAKER: asked y, got m (f:3)",
    ]


def test_a_digest_holds_unset_and_absent_equal_and_can_leave_symbols_out() -> None:
    base = kconfig.digest({"A": "y", "B": "n", "C": "m"})
    assert base == kconfig.digest({"C": "m", "A": "y"})
    assert base != kconfig.digest({"A": "y", "C": "y"})
    assert kconfig.digest({"A": "y", "C": "y"}, without=["C"]) == kconfig.digest({"A": "y"})


# -- expressions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A", 2),
        ("B", 1),
        ("C", 0),
        ("U", None),
        ("!A", 0),
        ("!B", 1),
        ("!U", None),
        ("A && B", 1),
        ("C && U", 0),
        ("A && U", None),
        ("A || U", 2),
        ("C || U", None),
        ("C || B || C", 1),
        ("A && !(B || C)", 1),
        ("C && C || A", 2),
        ("A = y", 2),
        ("B!=m", 0),
        ("A = B", 0),
        ("U = y", None),
        ('S = "text"', 2),
        ('S != "text"', 0),
        ('S="A"', 0),
        ("N = 1", 2),
        ("N != 1", 0),
        ("N >= 1", None),
        ("$(cc-option,-mretpoline)", None),
        ("$(success,test a = b && false) && C", 0),
        ('"$(ARCH)" = "x86"', None),
        ("y", 2),
    ],
)
def test_expressions_are_three_valued_and_unknown_where_something_unknown_decides(
    text: str, value: int | None
) -> None:
    known = {"A": "y", "B": "m", "C": "n", "S": '"text"', "N": "1"}
    assert parse_expr(text).value(known) == value


@pytest.mark.parametrize("text", ["A &&", "(A", "A)", "!", "A B", ""])
def test_an_expression_that_cannot_be_read_is_an_error_not_a_guess(text: str) -> None:
    with pytest.raises(ValueError):
        parse_expr(text)


def test_an_expression_reads_back_as_it_was_meant() -> None:
    expr = parse_expr('A&&(B||!C) && D="x"')
    assert str(expr) == 'A && (B || !C) && D = "x"'
    assert [str(part) for part in expr.conjuncts()] == ["A", "B || !C", 'D = "x"']
    assert expr.symbols() == {"A", "B", "C", "D"}


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


# -- legality: the matrix INDEX x NOUUID ---------------------------------------------------------

OVERLAY = """\
config OVERLAY_FS
\ttristate "Overlay filesystem support"
\tselect EXPORTFS

config OVERLAY_FS_INDEX
\tbool "index by default"
\tdepends on OVERLAY_FS
"""
NOUUID = """
config OVERLAY_FS_INDEX_NOUUID
\tbool "do not compare UUIDs"
\tdepends on OVERLAY_FS
\tdepends on OVERLAY_FS_INDEX
"""
SYMBOLS = ("OVERLAY_FS", "OVERLAY_FS_INDEX", "OVERLAY_FS_INDEX_NOUUID", "EXPORTFS")


def overlay_index(folder: Path, text: str) -> Index:
    folder.mkdir(exist_ok=True)
    (folder / "Kconfig").write_text(text)
    return kconfig.index_symbols(folder, SYMBOLS)


@pytest.fixture
def matrix(tmp_path: Path) -> kconfig.Matrix:
    (tmp_path / "overlay.config").write_text("CONFIG_OVERLAY_FS=m\nCONFIG_OVERLAY_FS_INDEX=y\n")
    path = tmp_path / "matrix.toml"
    path.write_text(
        'fragments = ["overlay.config"]\n'
        '[axes.INDEX]\nsymbol = "CONFIG_OVERLAY_FS_INDEX"\n'
        '[axes.NOUUID]\nsymbol = "OVERLAY_FS_INDEX_NOUUID"\nvalues = ["n", "y"]\n'
    )
    return kconfig.load_matrix(path)


PATCHED = Variant("index-nouuid", "index-nouuid", {})
CONTROL = Variant("unpatched", "none", {})


def test_the_patched_tree_rules_out_nouuid_without_index_and_nothing_else(
    tmp_path: Path, matrix: kconfig.Matrix
) -> None:
    index = overlay_index(tmp_path / "patched", OVERLAY + NOUUID)
    ruled_out = {c.id: kconfig.illegal(c.own, c.asked, index) for c in kconfig.expand(matrix, [PATCHED])}
    assert ruled_out == {
        "index-nouuid.INDEX=y.NOUUID=n": None,
        "index-nouuid.INDEX=y.NOUUID=y": None,
        "index-nouuid.INDEX=n.NOUUID=n": None,
        "index-nouuid.INDEX=n.NOUUID=y": (
            "OVERLAY_FS_INDEX_NOUUID depends on OVERLAY_FS_INDEX, but OVERLAY_FS_INDEX=n (Kconfig:9)"
        ),
    }


def test_a_tree_without_the_symbol_rules_out_asking_for_it_and_not_leaving_it_off(
    tmp_path: Path, matrix: kconfig.Matrix
) -> None:
    index = overlay_index(tmp_path / "control", OVERLAY)
    ruled_out = {c.id: kconfig.illegal(c.own, c.asked, index) for c in kconfig.expand(matrix, [CONTROL])}
    missing = "the tree has no symbol OVERLAY_FS_INDEX_NOUUID"
    assert ruled_out == {
        "unpatched.INDEX=y.NOUUID=n": None,
        "unpatched.INDEX=y.NOUUID=y": missing,
        "unpatched.INDEX=n.NOUUID=n": None,
        "unpatched.INDEX=n.NOUUID=y": missing,
    }


def test_why_not_names_every_unmet_part_once_and_believes_what_is_unknown(tmp_path: Path) -> None:
    index = overlay_index(tmp_path / "t", OVERLAY + NOUUID + "\tdepends on !OVERLAY_FS && (A || B)\n")

    def why(**known: str) -> str | None:
        return kconfig.why_not("OVERLAY_FS_INDEX_NOUUID", "y", index, known)

    assert why() is None
    assert why(OVERLAY_FS="m", OVERLAY_FS_INDEX="y", A="n") is None
    assert why(OVERLAY_FS="y", OVERLAY_FS_INDEX="n", A="n", B="n") == (
        "OVERLAY_FS_INDEX_NOUUID depends on OVERLAY_FS_INDEX, but OVERLAY_FS_INDEX=n; "
        "!OVERLAY_FS, but OVERLAY_FS=y; A || B, but A=n, B=n (Kconfig:9)"
    )


def test_a_second_definition_may_allow_what_the_first_forbids(tmp_path: Path) -> None:
    twice = OVERLAY + NOUUID + '\nconfig OVERLAY_FS_INDEX_NOUUID\n\tbool "also here"\n\tdepends on EXPERT\n'
    index = overlay_index(tmp_path / "t", twice)
    known = {"OVERLAY_FS": "y", "OVERLAY_FS_INDEX": "n"}
    assert kconfig.why_not("OVERLAY_FS_INDEX_NOUUID", "y", index, {**known, "EXPERT": "y"}) is None
    both = kconfig.why_not("OVERLAY_FS_INDEX_NOUUID", "y", index, {**known, "EXPERT": "n"})
    assert both is not None
    assert "(Kconfig:9) and " in both
    assert "EXPERT=n" in both


def test_a_symbol_without_a_prompt_is_told_as_such(tmp_path: Path) -> None:
    index = overlay_index(tmp_path / "t", "config EXPORTFS\n\ttristate\n" + OVERLAY)
    assert kconfig.why_not("EXPORTFS", "y", index, {}) == (
        "EXPORTFS has no prompt, only its defaults set it (Kconfig:1)"
    )


def test_explain_finds_the_dependency_that_the_final_configuration_lacks(tmp_path: Path) -> None:
    index = overlay_index(tmp_path / "t", OVERLAY + NOUUID)
    final = kconfig.parse_config("CONFIG_OVERLAY_FS=m\n# CONFIG_OVERLAY_FS_INDEX is not set\n")
    lost = Mismatch(Asked("OVERLAY_FS_INDEX_NOUUID", "y", "axis NOUUID=y"), "n")
    assert kconfig.explain(lost, index, final) == (
        "OVERLAY_FS_INDEX_NOUUID depends on OVERLAY_FS_INDEX, but OVERLAY_FS_INDEX=n (Kconfig:9)"
    )
    # What a final configuration does not mention is off.
    assert kconfig.explain(lost, index, {}) == (
        "OVERLAY_FS_INDEX_NOUUID depends on OVERLAY_FS, but OVERLAY_FS=n; "
        "OVERLAY_FS_INDEX, but OVERLAY_FS_INDEX=n (Kconfig:9)"
    )


def test_explain_does_not_blame_a_comparison_that_holds_or_cannot_be_known(tmp_path: Path) -> None:
    text = 'config OVERLAY_FS_INDEX\n\tbool "x"\n\tdepends on P="0" && N = 3 && "$(ARCH)" = "x86"\n'
    index = overlay_index(tmp_path / "t", text)
    lost = Mismatch(Asked("OVERLAY_FS_INDEX", "y", "f:1"), "n")
    assert kconfig.explain(lost, index, {"P": "0", "N": "3"}) is None
    blamed = kconfig.explain(lost, index, {"P": '"1"', "N": "3"})
    assert blamed == 'OVERLAY_FS_INDEX depends on P = "0", but P="1" (Kconfig:1)'


def test_explain_names_what_selects_a_symbol_that_should_stay_off(tmp_path: Path) -> None:
    index = overlay_index(tmp_path / "t", OVERLAY + "\nconfig EXPORTFS\n\ttristate\n")
    forced = Mismatch(Asked("EXPORTFS", "n", "f:1"), "m")
    reason = "EXPORTFS is selected by OVERLAY_FS (Kconfig:3)"
    assert kconfig.explain(forced, index, {"OVERLAY_FS": "m", "EXPORTFS": "m"}) == reason
    assert kconfig.explain(forced, index, {"EXPORTFS": "m"}) is None


@pytest.mark.parametrize(("known", "blamed"), [({"A": "y"}, True), ({"A": "n"}, False), ({}, False)])
def test_a_select_counts_only_where_its_condition_holds(
    tmp_path: Path, known: dict[str, str], blamed: bool
) -> None:
    text = OVERLAY.replace("select EXPORTFS", "select EXPORTFS if A") + "\nconfig EXPORTFS\n\ttristate\n"
    index = overlay_index(tmp_path / "t", text)
    reason = kconfig.why_not("EXPORTFS", "n", index, {"OVERLAY_FS": "m", **known})
    assert (reason is not None) == blamed


# -- the matrix file -----------------------------------------------------------------------------


def test_cells_have_stable_ids_in_a_stable_order_variant_by_variant(matrix: kconfig.Matrix) -> None:
    cells = kconfig.expand(matrix, [CONTROL, PATCHED])
    choices = ["INDEX=y.NOUUID=n", "INDEX=y.NOUUID=y", "INDEX=n.NOUUID=n", "INDEX=n.NOUUID=y"]
    assert [c.id for c in cells] == [f"{v}.{c}" for v in ("unpatched", "index-nouuid") for c in choices]
    last = cells[-1]
    assert last.choice == {"INDEX": "n", "NOUUID": "y"}
    # The axis wins over the fragment, and says so.
    assert last.asked["OVERLAY_FS_INDEX"] == Asked("OVERLAY_FS_INDEX", "n", "axis INDEX=n")
    assert last.asked["OVERLAY_FS"] == Asked("OVERLAY_FS", "m", "overlay.config:1")
    assert (cells[0].variant.is_control, last.variant.is_control) == (True, False)


def test_a_series_may_spell_an_axis_its_own_way(matrix: kconfig.Matrix) -> None:
    v1 = Variant("v1", "index-nouuid", {"NOUUID": "OVERLAY_FS_NOUUID"})
    cell = kconfig.expand(matrix, [v1])[1]
    assert cell.id == "v1.INDEX=y.NOUUID=y"
    assert cell.axes["NOUUID"].symbol == "OVERLAY_FS_NOUUID"
    assert cell.asked["OVERLAY_FS_NOUUID"].value == "y"
    assert "OVERLAY_FS_INDEX_NOUUID" not in cell.asked


def test_a_matrix_without_axes_is_one_cell_a_variant(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text("")
    matrix = kconfig.load_matrix(tmp_path / "m.toml")
    assert matrix.base == "tinyconfig"
    assert [c.id for c in kconfig.expand(matrix, [CONTROL])] == ["unpatched"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("axes = [", "not TOML"),
        ("bases = 1", "bases: "),
        ('base = "rm -rf"', "base: "),
        ('module = "/etc"', "module: "),
        ("[axes.INDEX]\nvalues = ['y']", "axes.INDEX.symbol: "),
        ("[axes.INDEX]\nsymbol = 'A B'", "axes.INDEX.symbol: "),
        ("[axes.INDEX]\nsymbol = 'A'\nvalues = []", "axes.INDEX.values: "),
        ("[axes.INDEX]\nsymbol = 'A'\nvalues = ['y', 'y']", "axes.INDEX.values: "),
        ("[axes.INDEX]\nsymbol = 'A'\nvalue = ['y']", "axes.INDEX.value: "),
        ("[axes.index]\nsymbol = 'A'", "'index' is not"),
        ("fragments = ['gone.config']", "gone.config does not exist"),
        ("fragments = ['.']", "not the name of a fragment: '.'"),
        ("fragments = ['../x']", "not the name of a fragment: '../x'"),
        ("[axes.A]\nsymbol = 'X'\n[axes.B]\nsymbol = 'CONFIG_X'", "X is on two axes, A and B"),
        ("[flavours.plain]\nsummary = 'what?'", "'plain' cannot be a flavour's name"),
        ("[flavours.all]\nsummary = 'what?'", "'all' cannot be a flavour's name"),
        ("[flavours.'a.b']\nsummary = 'what?'", "'a.b' cannot be a flavour's name"),
        ("[flavours.xfs]", "flavours.xfs.summary: "),
        ("[flavours.xfs]\nsummary = 'xfs'\nfragment = ['a']", "flavours.xfs.fragment: "),
        ("[flavours.xfs]\nsummary = 'xfs'\nfragments = ['gone.config']", "gone.config does not exist"),
        ("[flavours.xfs]\nsummary = 'xfs'\nenv = { fs = 'xfs' }", "flavours.xfs.env: "),
        ("[flavours.xfs]\nsummary = 'xfs'\nenv = { FS = '' }", "FS is empty"),
        ("[flavours.xfs]\nsummary = 'xfs'\ntools = ['../xfs']", "flavours.xfs.tools: "),
    ],
)
def test_a_bad_matrix_names_file_and_field(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "m.toml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        kconfig.load_matrix(path)
    assert told in str(caught.value)
    assert caught.value.where == str(path)


def test_a_bad_fragment_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "f.config").write_text("CONFIG_A=y\nnonsense\n")
    (tmp_path / "m.toml").write_text("fragments = ['f.config']")
    with pytest.raises(UserError) as caught:
        kconfig.load_matrix(tmp_path / "m.toml")
    assert caught.value.where == "f.config:2"


def test_a_matrix_that_cannot_be_read_is_a_user_error_too(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "gone.toml", tmp_path, tmp_path / "binary"):
        with pytest.raises(UserError) as caught:
            kconfig.load_matrix(path)
        assert caught.value.where == str(path)


def test_the_projects_own_matrix_loads() -> None:
    matrix = kconfig.load_matrix(REPO / "kconfigs" / "matrix.toml")
    assert {axis.symbol for axis in matrix.axes.values()} == {"OVERLAY_FS_INDEX", "OVERLAY_FS_INDEX_NOUUID"}
    assert {a.symbol: a.value for a in matrix.common}["OVERLAY_FS"] == "m"
    for name in ("xfs", "btrfs"):
        flavour = matrix.flavours[name]
        assert {a.symbol: a.value for a in flavour.asked}[f"{name.upper()}_FS"] == "y"
        assert (flavour.env, flavour.tools) == ({"KMODPIPE_FS": name}, (name,))
