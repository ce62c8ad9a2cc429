"""A schema as a page: tables by their headings, types in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from kmodpipe.util import json_schema, schema_page


class Leaf(BaseModel):
    """A leaf."""

    kind: Literal["leaf"]
    """What it is."""


class Twig(BaseModel):
    """A twig."""

    kind: Literal["twig"]
    """What it is."""
    leaves: list[Leaf] = []
    """Its leaves."""


class Tree(BaseModel):
    """A tree."""

    parts: dict[str, Annotated[Leaf | Twig, Field(discriminator="kind")]] = Field(default_factory=dict)
    """Its parts."""
    twigs: tuple[Twig, ...] = ()
    """More of them."""
    name: str = Field(pattern="^a|b$")
    """How it is called."""
    height: float = Field(default=3.0, gt=0, le=100)
    """In metres."""
    age: int = Field(default=1, ge=1)
    """In years."""
    marks: dict[str, list[str]] = Field(default_factory=dict)
    """What is carved into it."""
    colour: Literal["green", "red"] = "green"
    """As seen from afar."""


@dataclass(frozen=True)
class Forest:
    """A forest."""

    trees: tuple[Tree, ...]
    """Its trees."""
    owner: str | None = None
    """Who owns it."""


TREE = json_schema.of(Tree, "tree.toml", toml=True)


@pytest.mark.parametrize(
    "line",
    [
        "| `parts` | table of [leaf](#partsname-leaf) or [twig](#partsname-twig) | – | Its parts. |",
        "| `twigs` | list of [twig](#partsname-twig) | – | More of them. |",
        r"| `name` | text of the form `^a\|b$` | required | How it is called. |",
        "| `height` | number above 0, up to 100 | `3` | In metres. |",
        "| `age` | whole number from 1 up | `1` | In years. |",
        "| `marks` | table of lists of texts | – | What is carved into it. |",
        '| `colour` | `green` or `red` | `"green"` | As seen from afar. |',
    ],
)
def test_a_field_is_a_row(line: str) -> None:
    assert line in schema_page.page(TREE, toml=True).splitlines()


def headings(page: str) -> list[str]:
    return [line.lstrip("# ") for line in page.splitlines() if line.startswith("#")]


def test_each_table_stands_there_once() -> None:
    made = schema_page.page(TREE, toml=True)
    assert headings(made) == ["tree.toml", "`[parts.NAME]`: leaf", "`[parts.NAME]`: twig"]


def test_a_table_with_a_page_of_its_own_is_only_named() -> None:
    forest = json_schema.of(Forest, "forest.json", toml=False)
    made = schema_page.page(forest, toml=False, elsewhere={"Tree": "tree.md"})
    assert headings(made) == ["forest.json"]
    assert "| `trees` | list of [tables](tree.md) | Its trees. |" in made
    assert "| `owner` | text or null | Who owns it. |" in made


def test_json_is_named_by_the_way_to_it() -> None:
    forest = json_schema.of(Forest, "forest.json", toml=False)
    assert headings(schema_page.page(forest, toml=False))[1:] == [
        "`trees[]`",
        "`trees[].parts.NAME`: leaf",
        "`trees[].parts.NAME`: twig",
    ]
