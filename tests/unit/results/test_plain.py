"""Records as JSON text: of every kind, and without what JSON readers refuse."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import pytest

from kmodpipe.results import plain


class Word(StrEnum):
    ONE = "one"


@dataclass(frozen=True)
class Record:
    name: str
    lines: Mapping[int, Word]
    parts: tuple[str, ...] = ("a", "b")


@pytest.mark.parametrize("write", [plain.line, plain.text])
@pytest.mark.parametrize(
    ("name", "read"),
    [("x", "x"), ("ü\n", "ü\n"), ("𝕏", "𝕏"), ("a\udc80b", "a\\udc80b"), ("\ud83d", "\\ud83d")],
)
def test_both_forms_hold_the_same_and_no_half_of_a_pair(write: object, name: str, read: str) -> None:
    assert callable(write)
    made = write(Record(name, {3: Word.ONE}))
    assert made.isascii()
    assert json.loads(made) == {"name": read, "lines": {"3": "one"}, "parts": ["a", "b"]}
