"""Which cells are legal, and why the others are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe import kconfig
from kmodpipe.kconfig import Index, Mismatch, SymbolRequest
from tests.support.sample_matrix import CONTROL, PATCHED

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


def test_the_patched_tree_rules_out_nouuid_without_index_and_nothing_else(
    tmp_path: Path, matrix: kconfig.Matrix
) -> None:
    index = overlay_index(tmp_path / "patched", OVERLAY + NOUUID)
    ruled_out = {
        c.id: kconfig.illegal(c.own_requests, c.requested, index) for c in kconfig.expand(matrix, [PATCHED])
    }
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
    ruled_out = {
        c.id: kconfig.illegal(c.own_requests, c.requested, index) for c in kconfig.expand(matrix, [CONTROL])
    }
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
    # As DEBUG_INFO is of one kernel's choice of formats, which the next has a prompt for.
    asked = 'config FORMAT\n\tbool "format"\n\tselect EXPORTFS if WANTED\n'
    index = overlay_index(tmp_path / "u", f"config EXPORTFS\n\tbool\n{asked}{OVERLAY}")
    assert kconfig.why_not("EXPORTFS", "y", index, {"FORMAT": "y", "WANTED": "y"}) is None
    for known in ({}, {"FORMAT": "n", "WANTED": "y"}, {"FORMAT": "y", "WANTED": "n"}):
        assert kconfig.why_not("EXPORTFS", "y", index, known) is not None


def test_explain_finds_the_dependency_that_the_final_configuration_lacks(tmp_path: Path) -> None:
    index = overlay_index(tmp_path / "t", OVERLAY + NOUUID)
    final = kconfig.parse_config("CONFIG_OVERLAY_FS=m\n# CONFIG_OVERLAY_FS_INDEX is not set\n")
    lost = Mismatch(SymbolRequest("OVERLAY_FS_INDEX_NOUUID", "y", "axis NOUUID=y"), "n")
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
    lost = Mismatch(SymbolRequest("OVERLAY_FS_INDEX", "y", "f:1"), "n")
    assert kconfig.explain(lost, index, {"P": "0", "N": "3"}) is None
    blamed = kconfig.explain(lost, index, {"P": '"1"', "N": "3"})
    assert blamed == 'OVERLAY_FS_INDEX depends on P = "0", but P="1" (Kconfig:1)'


def test_explain_names_what_selects_a_symbol_that_should_stay_off(tmp_path: Path) -> None:
    index = overlay_index(tmp_path / "t", OVERLAY + "\nconfig EXPORTFS\n\ttristate\n")
    forced = Mismatch(SymbolRequest("EXPORTFS", "n", "f:1"), "m")
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
