"""The schema of a model: descriptions from docstrings, closed tables, and nothing that TOML does not have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from kmodpipe.util import json_schema, toml


class Base(BaseModel):
    """The base."""

    model_config = ConfigDict(extra="forbid", alias_generator=lambda name: name.replace("_", "-"))

    name: SkipJsonSchema[str] = ""
    """Set by the loader."""
    first_one: int = 1
    """What every
    ``table`` has."""


class _InnerTable(Base):
    """A table.

    What only a developer reads.
    """

    texts: Annotated[tuple[str, ...], toml.one_or_more()] = ()
    """Some texts."""
    maybe: str | None = None
    """A text, if there is one."""


class File(BaseModel):
    """The file."""

    inner: dict[str, _InnerTable] = Field(default_factory=dict)
    """Tables."""


class Word(StrEnum):
    """What can be said."""

    YES = "yes"


@dataclass(frozen=True)
class Record:
    """A record."""

    word: Word
    """One word."""
    number: float | None = None
    """A number; null if unknown."""
    names: Mapping[str, str] | None = None
    """Names."""


def test_a_field_is_described_by_its_docstring_also_an_inherited_one() -> None:
    made = json_schema.of(File, "a.toml", toml=True)
    assert made["title"] == "a.toml" and made["description"] == "The file."
    inner = made["$defs"]["Inner"]
    assert inner["description"] == "A table." and inner["additionalProperties"] is False
    assert inner["properties"] == {
        "first-one": {"default": 1, "description": "What every `table` has.", "type": "integer"},
        "texts": {
            "anyOf": [{"type": "string"}, {"items": {"type": "string"}, "type": "array"}],
            "default": [],
            "description": "Some texts.",
        },
        "maybe": {"description": "A text, if there is one.", "type": "string"},
    }


def test_a_dataclass_is_described_too_and_can_hold_null() -> None:
    made = json_schema.of(Record, "a.json", toml=False)
    assert made["additionalProperties"] is False and made["required"] == ["word"]
    assert made["properties"]["number"]["anyOf"] == [{"type": "number"}, {"type": "null"}]
    assert made["properties"]["word"] == {"$ref": "#/$defs/Word", "description": "One word."}
    assert made["$defs"]["Word"] == {"description": "What can be said.", "enum": ["yes"], "type": "string"}


def test_a_class_that_a_program_made_has_the_descriptions_of_its_bases() -> None:
    assert json_schema.field_docs(type("Made", (_InnerTable,), {}))["maybe"] == "A text, if there is one."
