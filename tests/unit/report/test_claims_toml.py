"""What a claims.toml may have."""

from __future__ import annotations

import tomllib

import pytest
from pydantic import ValidationError

from kmodpipe.report.claims_toml import ClaimsToml


def read(text: str) -> ClaimsToml:
    return ClaimsToml.model_validate(tomllib.loads(text))


def test_claims_are_read_by_kind_and_name() -> None:
    found = read('[tables.A]\ntitle = "one"\nA1 = "it mounts"\n[tables.B]\nB1 = "it does not"\n').tables
    assert {name: (one.title, dict(one.claims)) for name, one in found.items()} == {
        "A": ("one", {"A1": "it mounts"}), "B": ("", {"B1": "it does not"}),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "tables"),
        ("[tables]\n", "at least 1"),
        ('[tables.A]\ntitle = "one"\n', "it has no claim"),
        ("[tables.A]\nA1 = 1\n", "A1"),
        ('[tables.A]\n"A1@x" = "text"\n', "a claim's name has no @: 'A1@x'"),
        ('[tables.A]\nA1 = "text"\n[table.B]\nB1 = "text"\n', "table"),
    ],
)
def test_what_is_wrong_is_named(text: str, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        read(text)
