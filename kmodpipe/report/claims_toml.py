"""The format of a `claims.toml`.

The docstring below a field is its description in docs/reference and in the JSON Schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ClaimTable(BaseModel):
    """Claims of one kind: the sentence of each by its name, `A1 = "…"`, which a case names in `proves`."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[
        str, Annotated[str, Field(description="The sentence of the claim of this name.")]
    ] = Field(init=False)

    title: str = ""
    """What these claims are about. Without it, the table's name."""

    @model_validator(mode="after")
    def _has_claims(self) -> ClaimTable:
        if not self.claims:
            raise ValueError('it has no claim; write A1 = "the sentence of one claim"')
        if bad := [name for name in self.claims if "@" in name]:
            raise ValueError(f"a claim's name has no @: {bad[0]!r}")
        return self

    @property
    def claims(self) -> Mapping[str, str]:
        """The sentence of each claim, by its name."""
        return self.__pydantic_extra__


class ClaimsToml(BaseModel):
    """What is claimed about a series, in a file beside the cases. The findings of a run set each claim beside
    the cases that stand for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tables: dict[str, ClaimTable] = Field(min_length=1)
    """The claims by kind."""
