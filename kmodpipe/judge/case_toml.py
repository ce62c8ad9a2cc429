"""The format of a `case.toml`.

The docstring below a field is its description in docs/reference and in the JSON Schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from kmodpipe.judge import precedence
from kmodpipe.judge.precedence import Setting
from kmodpipe.judge.script import is_program, is_symbol
from kmodpipe.kconfig.matrix_toml import tool_name
from kmodpipe.logs.watch import WatchName
from kmodpipe.util import toml


def _need(name: str) -> str:
    if not is_symbol(name) and not is_program(name):
        raise ValueError(f"neither a symbol nor a program: {name!r}; write USER_NS, CONFIG_USER_NS or bash")
    return name


_Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$")]
_Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,39}$")]
_Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3)]
_Need = Annotated[str, AfterValidator(_need)]
_Tool = Annotated[str, AfterValidator(tool_name)]
_Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f]+$")]
_Lines = Annotated[list[_Line], toml.one_or_more()]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ExpectTable(_Table):
    """A rule: the expected outcome in one kind of cell, and why. The first rule whose `when` matches
    applies."""

    outcome: _Word
    """The expected outcome."""
    reason: _Sentence
    """Why that outcome is expected."""
    when: dict[str, Annotated[_Lines, Field(min_length=1)]] = {}
    """The kind of cell: the allowed values of an axis, or of `variant`, `design` and `flavour`; for `kernel`,
    versions: `5.10`, `>=6.6`, `>=5.11 <6.6`. Without it, every cell."""
    defect: bool = False
    """The outcome is a known defect of the design."""
    kmsg: _Lines = []
    """Texts, each of which has to be in a kernel message during the case."""
    no_kmsg: _Lines = []
    """Texts that must not be in any."""
    observe: dict[str, str] = {}
    """Further observations that are expected, by name."""
    lacks: bool = False
    """The design lacks the feature of the case, and the outcome shows nothing but that."""


class SharedExpectTable(ExpectTable):
    """A rule for all cases of the file that have a text in an argument. It comes after a case's own rules."""

    mentions: Annotated[str, Field(min_length=1)]
    """The text that an argument of the case has."""


class DefaultTable(_Table):
    """The value of a setting by Kconfig. The first table whose `when` matches applies."""

    value: _Word
    """The value."""
    when: dict[str, Annotated[_Lines, Field(min_length=1)]] = {}
    """The allowed values of axes, by axis. Without it, every cell."""


class SettingTable(_Table):
    """A setting as some designs have it: mount option over module parameter over Kconfig. A case with
    settings has no rules: what each pair of a parameter's state and a mount option has to show is
    computed."""

    design: Annotated[_Lines, Field(min_length=1)]
    """The designs that have it so."""
    parameter: Annotated[str, StringConstraints(pattern=r"^\w+$")]
    """The name of the module parameter."""
    base: str = ""
    """Mount options that every mount has in addition."""
    defaults: Annotated[list[DefaultTable], Field(min_length=1)]
    """The value by Kconfig."""
    reads: dict[str, str]
    """By value: the text that reading the parameter gives."""
    accepts: dict[str, str]
    """By text that the parameter accepts: the value."""
    aliases: dict[str, str] = {}
    """More texts that the parameter accepts, tried without a mount option only."""
    refuses: list[str] = []
    """Texts that the parameter must refuse."""
    options: dict[str, str]
    """By mount option: the value."""
    rejects: list[str] = []
    """Mount options that the kernel must reject."""
    effects: dict[str, dict[str, str]]
    """By value: the effect of a mount with it, as `shown` in /proc/mounts unless the value is the default,
    `stored` and `after`."""

    def record(self) -> Setting:
        return Setting(
            designs=tuple(self.design), parameter=self.parameter, base=self.base,
            defaults=tuple(precedence.Default(d.value, tuples(d.when)) for d in self.defaults),
            reads=self.reads, accepts=self.accepts, aliases=self.aliases, refuses=tuple(self.refuses),
            options=self.options, rejects=tuple(self.rejects), effects=self.effects,
        )  # fmt: skip

    @model_validator(mode="after")
    def _sound(self) -> SettingTable:
        if found := list(precedence.faults(self.record())):
            raise ValueError("; ".join(found))
        return self


class CaseTable(_Table):
    """One reproducer."""

    id: _Id
    """Its name, as `--case` takes it."""
    summary: _Sentence
    """What it tries, in one line."""
    script: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")]
    """The script or program to run, beside this file."""
    goal: Annotated[list[_Word], toml.one_or_more(_Word), Field(min_length=1)]
    """The outcomes that a user wants to see, any of them."""
    args: list[_Line] = []
    """The script's arguments."""
    timeout_s: Annotated[int, Field(ge=1, le=3600)] = 30
    """Its time limit in seconds, of the time that the guest really had."""
    needs: list[_Need] = []
    """Programs of the guest, by name or absolute path: without one there is no verdict. Symbols of the
    kernel, with or without `CONFIG_`: without one the case is skipped."""
    tools: list[_Tool] = []
    """What its guests get: Debian packages, or sets of images/guest/toolset.sh."""
    files: list[_Line] = []
    """Files and folders beside the script that the guest has as well, at `$KMODPIPE_FILES`."""
    alone: bool = False
    """It gets a guest of its own, with no case before or after it."""
    watch: Annotated[list[WatchName], toml.one_or_more(WatchName)] = []
    """Groups of kernel messages that fail it."""
    expect: list[ExpectTable] = []
    """Rules, of which the first that matches the cell applies. Without any, the goal is expected
    everywhere."""
    proves: list[_Line] = []
    """The claims of claims.toml that it stands for."""
    setting: list[SettingTable] = []
    """The setting that it tries, as each design has it."""


class CaseToml(_Table):
    """One or more cases, with their scripts beside the file: `images/guest/cases/FOLDER/case.toml`."""

    case: Annotated[list[CaseTable], Field(min_length=1)]
    """The cases."""
    expect: list[SharedExpectTable] = []
    """Rules for several cases of the file."""


def tuples(table: Mapping[str, list[str]]) -> Mapping[str, tuple[str, ...]]:
    return {key: tuple(values) for key, values in table.items()}
