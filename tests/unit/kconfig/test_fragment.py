"""Fragments: what they ask for, layered, compared with the final configuration, digested."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe import kconfig
from kmodpipe.kconfig import SymbolRequest
from kmodpipe.kconfig.fragment import parse_fragment
from kmodpipe.util.errors import UserError


def test_a_fragment_asks_for_values_and_for_not_set_and_remembers_where() -> None:
    text = '# a comment\n\nCONFIG_A=y\n  CONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D="a = b"\nCONFIG_E=0x1f\n'
    assert parse_fragment(text, "x.config") == (
        SymbolRequest("A", "y", "x.config:3"),
        SymbolRequest("B", "m", "x.config:4"),
        SymbolRequest("C", "n", "x.config:5"),
        SymbolRequest("D", '"a = b"', "x.config:6"),
        SymbolRequest("E", "0x1f", "x.config:7"),
    )


@pytest.mark.parametrize("line", ["A=y", "CONFIG_A y", "CONFIG_A", "CONFIG-A=y", "# ok\nset CONFIG_A=y"])
def test_a_line_that_means_nothing_is_refused_with_its_place(line: str) -> None:
    with pytest.raises(UserError, match="not a configuration line") as caught:
        parse_fragment(line, "x.config")
    assert caught.value.where == f"x.config:{1 + line.count(chr(10))}"


def test_what_only_some_trees_know_is_a_comment_to_others() -> None:
    text = "# if known: CONFIG_A=y\n#if known:   # CONFIG_B is not set\nCONFIG_C=m\n# if known, then not\n"
    found = parse_fragment(text, "f")
    assert [(e.symbol, e.value, e.if_known) for e in found] == [
        ("A", "y", True),
        ("B", "n", True),
        ("C", "m", False),
    ]
    with pytest.raises(UserError, match="not a configuration line: 'A=y'"):
        parse_fragment("# if known: A=y\n", "f")


def test_a_symbol_asked_twice_in_one_fragment_is_refused_with_both_places() -> None:
    with pytest.raises(UserError, match="A is set twice") as caught:
        parse_fragment("CONFIG_A=y\n# CONFIG_A is not set\n", "x.config")
    assert caught.value.where == "x.config:1, x.config:2"


def test_later_layers_win_and_equal_requests_are_equal_bytes() -> None:
    merged = kconfig.merge(
        [parse_fragment("CONFIG_B=y\nCONFIG_A=y\n", "1"), parse_fragment("# CONFIG_B is not set\n", "2")]
    )
    assert merged["B"] == SymbolRequest("B", "n", "2:1")
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
        "HALF: requested m, got n (f:7)",
        "LOST: requested y, got n (f:2)",
        "SNEAKED: requested n, got y (f:5)",
        "WEAKER: requested y, got m (f:3)",
    ]


def test_a_number_of_nought_is_off_and_no_other() -> None:
    asked = kconfig.merge([parse_fragment("# CONFIG_A is not set\n# CONFIG_B is not set\nCONFIG_C=y\n", "f")])
    final = kconfig.parse_config("CONFIG_A=0\nCONFIG_B=1\nCONFIG_C=0\n")
    assert [m.requested.symbol for m in kconfig.verify(asked, final)] == ["B", "C"]


def test_a_digest_holds_unset_and_absent_equal_and_can_leave_symbols_out() -> None:
    base = kconfig.digest({"A": "y", "B": "n", "C": "m"})
    assert base == kconfig.digest({"C": "m", "A": "y"})
    assert base != kconfig.digest({"A": "y", "C": "y"})
    assert kconfig.digest({"A": "y", "C": "y"}, without=["C"]) == kconfig.digest({"A": "y"})


def test_an_option_is_a_symbol_or_a_fragment(tmp_path: Path) -> None:
    one = kconfig.requests_of("CONFIG_FOO=m")[0]
    assert (one.symbol, one.value, one.origin) == ("FOO", "m", "--config CONFIG_FOO=m")
    assert kconfig.requests_of('NAME="a=b"')[0].value == '"a=b"'
    path = tmp_path / "extra.config"
    path.write_text("CONFIG_A=y\n# CONFIG_B is not set\n")
    assert [(e.symbol, e.value) for e in kconfig.requests_of(str(path))] == [("A", "y"), ("B", "n")]
    for wrong, told in ((str(tmp_path), "is not a file"), ("FOO", "neither SYMBOL=VALUE nor a file")):
        with pytest.raises(UserError, match=told):
            kconfig.requests_of(wrong)
