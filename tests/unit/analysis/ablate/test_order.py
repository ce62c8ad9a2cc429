"""The order of trial, and the budget."""

from __future__ import annotations

import pytest

from kmodpipe.analysis.ablate import order
from kmodpipe.analysis.ablate.edits import HUNK, Edit
from kmodpipe.util.errors import UserError


def edit(name: str, kind: str = HUNK) -> Edit:
    patch, number = name.partition("-")[0].split(".")
    return Edit(name, kind, ((patch, int(number)),), {}, "a.c", 1, "f", "", "", (), {})


def test_free_ones_then_hunks_then_one_mistake_of_each_hunk_before_a_second() -> None:
    edits = [
        edit("1.1"), edit("1.2"), edit("1.3"),
        edit("1.1-constant-1", "constant"), edit("1.1-constant-2", "constant"),
        edit("1.1-condition-1", "condition"),
        edit("1.2-constant-1", "constant"), edit("1.2-call-1", "call"),
    ]  # fmt: skip
    assert [one.id for one in order.most_telling_first(edits, lambda one: one.id == "1.3")] == [
        "1.3", "1.1", "1.2", "1.1-condition-1", "1.1-constant-1", "1.2-constant-1", "1.2-call-1",
        "1.1-constant-2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("45", 45), ("", None)]
)
def test_a_budget(text: str, seconds: float | None) -> None:
    assert order.seconds(text) == seconds


@pytest.mark.parametrize("text", ["10 m", "ten", "-1m", "0", "1.5h", "10d", "٣m"])
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(UserError, match="--budget takes a time such as 90s"):
        order.seconds(text)
