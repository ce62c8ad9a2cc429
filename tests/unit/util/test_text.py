"""Text from outside, made visible."""

from __future__ import annotations

import pytest

from kmodpipe.util.text import some, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\x9b31m\x85", r"\x9b31m\x85"),
        ("a\rb\x00\x7f", r"a\x0db\x00\x7f"),
        ("\u202eabc\u2066\u061c\u200f", r"\u202eabc\u2066\u061c\u200f"),
        ("a\u2028b\ufeff\u200bc", r"a\u2028b\ufeff\u200bc"),
        ("bad \udcff", r"bad \udcff"),
        ("plain: äöü 日本 ✓ [red]", "plain: äöü 日本 ✓ [red]"),
    ],
)
def test_what_would_act_on_a_terminal_is_shown_instead(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(text).encode()


def test_a_long_list_says_how_many_it_leaves_out() -> None:
    assert some([]) == ""
    assert some(["a", "b", "c"], 3) == "a, b, c"
    assert some(["a", "b", "c", "d", "e"], 3) == "a, b, c and 2 more"
