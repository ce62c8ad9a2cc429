"""Print a JSON Schema as a page of Markdown: each table with its fields, what they take and what they are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

Json = Mapping[str, Any]

_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "null": "null",
    "object": "table",
}


def page(schema: Json, *, toml: bool, elsewhere: Mapping[str, str] | None = None) -> str:
    """Return the page of a schema as `json_schema.of` makes it.

    Tables of TOML are named as they are written there, and have a column for defaults; those of JSON by the
    way to them. ``elsewhere`` has the pages of tables that have one of their own, by name in the schema.
    """
    return _Page(schema, toml, elsewhere or {}).text()


class _Page:
    def __init__(self, schema: Json, toml: bool, elsewhere: Mapping[str, str]) -> None:
        self._schema = schema
        self._toml = toml
        self._elsewhere = elsewhere
        # By the name of a table in the schema, its heading.
        self._headings: dict[str, str] = {}

    def text(self) -> str:
        """Return the whole page."""
        found = list(self._sections(self._schema, ""))
        lines = [f"# {self._schema['title']}", ""]
        for heading, table in found:
            lines += [f"## {heading}", ""] if heading else []
            lines += [table["description"], "", *self._rows(table), ""]
        return "\n".join(lines)

    def _sections(self, table: Json, way: str) -> Iterator[tuple[str, Json]]:
        """Yield each table once, behind the first one that has it, with its heading."""
        yield self._headings.get(way, self._heading(way)) if way else "", table
        for name, field in table["properties"].items():
            for step, inner in self._tables(field):
                below = f"{way}.{name}{step}".lstrip(".")
                if inner in self._headings or inner in self._elsewhere:
                    continue
                found = self._schema["$defs"][inner]
                kind = _kind(found)
                self._headings[inner] = self._heading(below) + (f": {kind}" if kind else "")
                rest = list(self._sections(found, below))
                yield self._headings[inner], found
                yield from rest[1:]

    def _heading(self, way: str) -> str:
        if not self._toml:
            return f"`{way}`"
        name = way.replace("[]", "")
        return f"`[[{name}]]`" if way.endswith("[]") else f"`[{name}]`"

    def _tables(self, field: Json) -> Iterator[tuple[str, str]]:
        """Yield the tables that a field can hold, by name, with the steps to them: ``[]`` for a list."""
        if (name := _name(field)) and "properties" in self._schema["$defs"][name]:
            yield "", name
        for inner in (*field.get("anyOf", ()), *field.get("oneOf", ())):
            yield from self._tables(inner)
        for key, step in (("items", "[]"), ("additionalProperties", ".NAME")):
            if isinstance(field.get(key), Mapping):
                yield from ((f"{step}{more}", name) for more, name in self._tables(field[key]))

    # -- fields ---------------------------------------------------------------------------------------
    def _rows(self, table: Json) -> Iterator[str]:
        required = table.get("required", ())
        yield "| field | takes | default | what it is |" if self._toml else "| field | type | what it is |"
        yield "|---|---|---|---|" if self._toml else "|---|---|---|"
        for name, field in table["properties"].items():
            cells = [f"`{name}`", self._type(field), field["description"]]
            if self._toml:
                cells.insert(2, "required" if name in required else _default(field.get("default")))
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
        if isinstance(more := table.get("additionalProperties"), Mapping):
            default = ["–"] if self._toml else []
            yield f"| {' | '.join(['any other name', self._type(more), *default, more['description']])} |"

    def _type(self, field: Json, *, many: bool = False) -> str:
        """Return what a field takes, in words; as a plural with ``many``."""
        if name := _name(field):
            return self._reference(name, many)
        if given := [*field.get("anyOf", ()), *field.get("oneOf", ())]:
            kinds = dict.fromkeys(self._type(one, many=many) for one in given)
            return " or ".join(kinds)
        if "enum" in field or "const" in field:
            return _any_of(field.get("enum", [field.get("const")]))
        if field.get("type") == "array":
            return f"{'lists' if many else 'list'} of {self._type(field.get('items', {}), many=True)}"
        inner = field.get("additionalProperties")
        if isinstance(inner, Mapping) and inner:
            return f"{'tables' if many else 'table'} of {self._type(inner, many=True)}"
        return self._plain(field, many)

    def _reference(self, name: str, many: bool) -> str:
        found = self._schema["$defs"][name]
        if "properties" not in found:
            return self._type(found, many=many)
        to = self._elsewhere.get(name) or f"#{_anchor(self._headings[name])}"
        return f"[{_kind(found) or ('tables' if many else 'table')}]({to})"

    def _plain(self, field: Json, many: bool) -> str:
        kind = field.get("type", "object")
        word = "path" if field.get("format") == "path" else _WORDS[kind]
        text = f"{word}s" if many and kind not in ("boolean", "null") else word
        if "pattern" in field and self._toml and not many:
            text += f" of the form `{field['pattern']}`"
        return f"{text} {_bounds(field)}".rstrip() if self._toml else text


def _name(field: Json) -> str:
    """Return the name of the table or type that a field refers to, or ''."""
    return str(field.get("$ref", "")).rpartition("/")[2]


def _kind(table: Json) -> str:
    """Return the value of the field that tells a table from others at its place, or ''."""
    return str(table["properties"].get("kind", {}).get("const", ""))


def _any_of(values: list[object]) -> str:
    *first, last = [f"`{value}`" for value in values]
    return f"{', '.join(first)} or {last}" if first else last


def _bounds(field: Json) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None and high is not None:
        return f"from {low:g} to {high:g}"
    if low is not None:
        return f"from {low:g} up"
    return (
        f"above {field['exclusiveMinimum']:g}" + (f", up to {high:g}" if high is not None else "")
        if "exclusiveMinimum" in field
        else ""
    )


def _default(value: object) -> str:
    """Return a default as TOML has it; a dash for nothing."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "–" if value in (None, "", [], {}) else f"`{json.dumps(value, ensure_ascii=False)}`"


def _anchor(heading: str) -> str:
    """Return the fragment of a heading's address, as GitHub and GitLab make it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
