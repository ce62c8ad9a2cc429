"""The format of a `series.toml`.

The docstring below a field is its description in docs/reference and in the JSON Schema.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from kmodpipe.util import toml, version

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_+-]*$")
"""The name of a series or of a design."""


class PortTable(BaseModel):
    """Patches for other kernels. The first port that is for a kernel applies there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: str
    """The folder, below the series' own, with patches that take the place of those of the same name."""
    kernel: Annotated[tuple[str, ...], toml.one_or_more()]
    """Versions of the kernel, of which one has to fit: `5.10`, `>=6.1`, `>=5.11 <6.6`."""

    @field_validator("kernel")
    @classmethod
    def _conditions(cls, kernel: tuple[str, ...]) -> tuple[str, ...]:
        if bad := [one for one in kernel if not version.is_condition(one)]:
            raise ValueError(f"no version of the kernel: {bad[0]!r}; write it as {version.FORMS}")
        return kernel


class UnnoticedTable(BaseModel):
    """A hunk that no case can notice, or a mistake in a line of it, and why that is right. `invoke ablate`
    takes it as explained, and reports an entry that fits nothing, or something that is noticed by now."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(min_length=1)
    """The file that the series changes: `fs/overlayfs/super.c`."""
    line: str = Field(min_length=1)
    """A line that the hunk adds or removes, without its sign; how it is indented does not count. So the entry
    stays right when the series is rebased."""
    mistake: Literal["condition", "error", "constant", "call"] | None = None
    """The kind of mistake in this line. Without it, the entry is about leaving the hunk out."""
    of: str = ""
    """Of a mistake: the part of the line that is changed, if the entry is not about all of its kind."""
    function: str = ""
    """Of a mistake: the function that it is in, if others that the series changes have the same line."""
    reason: str = Field(min_length=1)
    """Why no case notices."""

    @model_validator(mode="after")
    def _sound(self) -> UnnoticedTable:
        if self.mistake is None and (self.of or self.function):
            raise ValueError("of and function say which mistake is meant: name its kind, mistake = …")
        return self


class SeriesToml(BaseModel):
    """What a folder of patches says of itself, beside its `series` file. All of it is optional."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=lambda n: n.replace("_", "-"))

    summary: str = ""
    """What the series does, in one line. Without it, the subject of the cover letter."""
    module: str | None = Field(None, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./-]*$")
    """The module under test: a folder of the tree (`fs/overlayfs`), or one module of it."""
    design: str | None = Field(None, pattern=NAME.pattern)
    """The design whose expectations hold for it. Without it, that of the folder's name, if there is one."""
    applies_to: tuple[str, ...] = ()
    """Versions of the kernel that it is for: `5.10`, `>=5.4 <5.11`. Without any, all."""
    subject: str = ""
    """The subject of the mail to reply to. Without it, that of the cover letter."""
    message_id: str = ""
    """The Message-ID of the mail to reply to. Without it, that of the cover letter."""
    axes: dict[str, Annotated[str, Field(pattern=r"^\w+$")]] = Field(default_factory=dict)
    """By axis of the matrix, the symbol that this series has instead of the axis' own."""
    port: tuple[PortTable, ...] = ()
    """Patches for other kernels than those that the series was made for."""
    unnoticed: tuple[UnnoticedTable, ...] = ()
    """What no case can notice if it is left out, and why."""
