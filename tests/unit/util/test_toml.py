"""Errors of TOML files: file, line and field, in words, with the nearest name and no value."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from kmodpipe.util import toml
from kmodpipe.util.errors import UserError

NO_FIELD = "there is no such field; did you mean"


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: str
    outcome: str = ""
    applies: tuple[str, ...] = Field(default=(), alias="applies-to")


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int = Field(default=1, ge=1, le=9)
    whole: bool = True
    names: list[str] = []
    kind: Literal["a", "b"] = "a"
    word: str = Field(default="abc", min_length=3)
    case: list[Inner] = []
    tables: dict[str, Inner] = {}


TEXT = """\
# a comment
size = 3

[[case]]
id = "first"

[[case]]
id = "second"
applies-to = [
  "x",
  "y",
]

[tables.one]
id = "one"
"""


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("size",), 2),
        (("case",), 4),
        (("case", 1), 7),
        (("case", 1, "applies-to"), 9),
        (("case", 1, "applies-to", 1), 9),
        (("case", 1, "nothing"), 7),
        (("tables", "one", "id"), 15),
        (("tables", "two"), 14),
        (("nothing",), 0),
    ],
)
def test_the_line_of_a_field_is_found(place: tuple[str | int, ...], line: int) -> None:
    assert toml.line_of(TEXT, place) == line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sise = 3", "line 1: sise: there is no such field; did you mean size or case?"),
        ("\nsize = 'x'", "line 2: size: takes a whole number, not text"),
        ("size = 0", "line 1: size: takes a number from 1 up"),
        ("size = 10", "line 1: size: takes a number up to 9"),
        ("whole = 'maybe'", "line 1: whole: takes true or false, not text"),
        ("names = 'secret'", "line 1: names: takes a list of names, not text"),
        ("names = [1]", "line 1: names[1]: takes text, not a number"),
        ("kind = 'c'", "line 1: kind: takes one of: 'a' or 'b'"),
        ("word = 'a'", "line 1: word: takes at least 3 characters"),
        ("[case]\nid = 'x'", "line 1: case: takes a list, not a table"),
        ("[[case]]\noutcome = 'x'", "line 1: case[1].id: is missing"),
        ("[[case]]\nid = 'x'\napplies_to = ['x']", f"line 3: case.x.applies_to: {NO_FIELD} applies-to?"),
        ("[tables]\none = 3", "line 2: tables.one: takes a table, not a number"),
        ("[tables.one]\nid = 'x'\noutcum = 'secret'", f"line 3: tables.one.outcum: {NO_FIELD} outcome?"),
    ],
)  # fmt: skip
def test_a_fault_is_said_in_words(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(UserError, match="the file is not valid") as raised:
        toml.load(path, Outer, "the file")
    assert raised.value.detail == said
    assert raised.value.where == f"{path}:{said.split(':')[0].removeprefix('line ')}"
    assert "secret" not in str(raised.value)


def test_a_table_inside_a_file_has_the_files_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("[tool.other]\n[tool.mine]\nid = 'x'\noutcomes = 3\n")
    with pytest.raises(UserError) as raised:
        toml.validate(Inner, {"id": "x", "outcomes": 3}, "[tool.mine]", path, at=("tool", "mine"))
    assert raised.value.detail == "line 4: outcomes: there is no such field; did you mean outcome?"
    assert toml.place(path, ("tool", "mine", "id")) == f"{path}:3"
    assert toml.place(tmp_path / "none", ("x",)) == str(tmp_path / "none")


def test_a_field_is_found_in_whatever_table_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "case.toml"
    path.write_text(
        '[[case]]\nid = "a"\n[[case.expect]]\nwhen = { flavour = "kasan" }\n'
        '[[expect]]\noutcome = "x"\nwhen = { flavour = ["xfs", "lockdep"], INDX = "y" }\n'
    )
    assert toml.place_within(path, "when", "INDX") == f"{path}:7"
    assert toml.place_within(path, "when", "flavour") == f"{path}:4"
    assert toml.place_within(path, "when", "flavour", "lockdep") == f"{path}:7"
    assert toml.place_within(path, "when", "flavour", "lock") == str(path)
    assert toml.place_within(path, "case", "INDX") == str(path)
    assert toml.place_within(tmp_path / "none", "when", "INDX") == str(tmp_path / "none")
