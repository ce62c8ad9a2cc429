"""What an expression of Kconfig is worth."""

from __future__ import annotations

import pytest

from kmodpipe.kconfig.expression import parse_expr


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
