"""Describe a file's format as JSON Schema (2020-12), from the model that reads or writes it.

The docstring below a field, of a pydantic model or a dataclass, is the field's description; the first
paragraph of the class' docstring that of the table.
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import re
import textwrap
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

Json = dict[str, Any]


def of(model: type, title: str, *, toml: bool) -> Json:
    """Return the schema of a file that ``model`` reads or writes.

    With ``toml`` no field can be null, since TOML has no such value.
    """
    made = TypeAdapter(model).json_schema(schema_generator=_OfToml if toml else _Described)
    # Those of enumerations still have a title.
    tables = {name: _retitled(one, "") for name, one in made.pop("$defs", {}).items()}
    whole = {"$schema": GenerateJsonSchema.schema_dialect, "title": title, **made}
    return {**whole, "$defs": tables} if tables else whole


class _Described(GenerateJsonSchema):
    """pydantic's generator, with descriptions for titles, and no field that is not declared."""

    def model_schema(self, schema: core_schema.ModelSchema) -> Json:
        return _described(super().model_schema(schema), schema["cls"])

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> Json:
        return _described(super().dataclass_schema(schema), schema["cls"])

    def field_title_should_be_set(self, schema: object) -> bool:
        return False

    def normalize_name(self, name: str) -> str:
        return super().normalize_name(name).strip("_").removesuffix("Table")


class _OfToml(_Described):
    def nullable_schema(self, schema: core_schema.NullableSchema) -> Json:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> Json:
        made = super().default_schema(schema)
        return {key: value for key, value in made.items() if key != "default" or value is not None}


def _described(made: Json, cls: type) -> Json:
    """Return the schema of a class with its docstrings as descriptions."""
    made = _retitled(made, inspect.getdoc(cls) or "")
    aliases = {name: one.alias or name for name, one in getattr(cls, "model_fields", {}).items()}
    for name, text in field_docs(cls).items():
        if (field := made["properties"].get(aliases.get(name, name))) is not None:
            field["description"] = text
    # What else a table may have, if it may have more than its fields, is in what was made.
    return {"additionalProperties": False, **made}


def _retitled(made: Json, docstring: str) -> Json:
    """Return a schema with the first paragraph of a docstring, or of what it has, for a title."""
    text = _first_paragraph(docstring or made.get("description", ""))
    rest = {key: value for key, value in made.items() if key not in ("title", "description")}
    return {"description": text, **rest} if text else rest


def field_docs(cls: type) -> Mapping[str, str]:
    """Return the docstrings below the fields of a class, those that it inherits included, by field."""
    return {name: text for base in reversed(cls.__mro__) for name, text in _own_docs(base).items()}


@functools.cache
def _own_docs(cls: type) -> Mapping[str, str]:
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    except (OSError, TypeError):
        # A class that is made by a program, or built in.
        return {}
    found: dict[str, str] = {}
    for field, below in itertools.pairwise(getattr(body, "body", ())):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = _first_paragraph(text)
    return found


def _first_paragraph(text: str) -> str:
    """Return the first paragraph on one line, in Markdown's spelling of code."""
    return " ".join(re.split(r"\n\s*\n", text.strip())[0].split()).replace("``", "`")
