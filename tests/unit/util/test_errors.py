"""The errors: what they say, and the near names of a name that is not there."""

from __future__ import annotations

import pytest

from kmodpipe.util.errors import (
    InfraError,
    Interrupted,
    KernelFailure,
    KmodpipeError,
    UserError,
    unknown_name,
)


@pytest.mark.parametrize(
    ("kind", "status"), [(KernelFailure, 1), (UserError, 2), (InfraError, 3), (Interrupted, 3)]
)
def test_the_kind_decides_the_exit_code(kind: type[KmodpipeError], status: int) -> None:
    assert kind("x").exit_code == status


def test_an_error_shows_what_where_evidence_and_what_to_do() -> None:
    error = InfraError("it broke", where="step 3", hint="try again", detail="one\ntwo\n")
    assert str(error).splitlines() == [
        "it broke",
        "  where: step 3",
        "  | one",
        "  | two",
        "  hint: try again",
    ]
    assert str(InfraError("it broke")) == "it broke"


def test_a_misspelt_name_is_answered_with_the_near_one() -> None:
    error = unknown_name("tree", "overlayfs-nxt", ["debian-5.10", "overlayfs-next"], where="--tree")
    assert isinstance(error, UserError)
    assert error.what == "unknown tree 'overlayfs-nxt'; did you mean overlayfs-next?"
    assert error.where == "--tree"


def test_a_part_of_a_name_is_near_enough_in_any_case() -> None:
    error = unknown_name("cell", "nouuid=y", ["index-nouuid.INDEX=y.NOUUID=y", "unpatched.INDEX=n.NOUUID=n"])
    assert "did you mean index-nouuid.INDEX=y.NOUUID=y?" in error.what


def test_without_a_near_name_the_known_ones_are_listed_but_not_hundreds() -> None:
    assert unknown_name("series", "zzz", ["b", "a"]).what.endswith("known: a, b")
    many = unknown_name("symbol", "zzz", [f"S{n:03}" for n in range(300)]).what
    assert "300 in all" in many
    assert len(many) < 200


def test_where_nothing_is_known_it_says_so() -> None:
    assert unknown_name("series", "x", []).what == "unknown series 'x'; no series is defined"
