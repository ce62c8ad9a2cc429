"""Conditions on kernel versions, as `when`, `applies-to` and ports have them."""

from __future__ import annotations

import pytest

from kmodpipe.util import version


@pytest.mark.parametrize(
    ("of", "condition", "expected"),
    [
        ("5.10.223", "5.10", True),
        ("5.10", "5.10.223", False),
        ("5.100.1", "5.10", False),
        ("5.10.223", "5.1", False),
        ("6.6.0-rc1", ">=6.6", True),
        ("6.6-rc7+", ">= 6.6", True),
        ("6.5.13", ">=6.6", False),
        ("6.12.4-amd64", ">=6.6", True),
        ("5.10.223", "<=5.10", True),
        ("5.10.223", ">5.10", False),
        ("5.11", ">5.10", True),
        ("6.1.55", ">=5.11 <6.6", True),
        ("6.6.1", ">=5.11, <6.6", False),
        ("6.6", ">=6.6.1", False),
        ("7.0.0", "==7", True),
        ("next-20260101", ">=5", False),
        ("", ">=5", False),
    ],
)
def test_a_version_is_compared_as_far_as_the_condition_goes(of: str, condition: str, expected: bool) -> None:
    assert version.fits(of, condition) is expected


def test_one_of_several_conditions_is_enough() -> None:
    assert version.fits_any("6.1.2", ("5.10", ">=6.1"))
    assert not version.fits_any("5.15", ("5.10", ">=6.1"))
    assert not version.fits_any("5.15", ())


@pytest.mark.parametrize(
    "text", ["", "6.x", ">=", "=>6.6", "~6.6", "6.6 or 6.7", "v6.6", "6.6-rc1", ">=6.6<7.1x"]
)
def test_what_is_no_condition_is_refused(text: str) -> None:
    assert not version.is_condition(text)
    with pytest.raises(ValueError, match="not a condition"):
        version.fits("6.6", text)
