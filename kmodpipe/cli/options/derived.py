"""The options that every command has, and what is derived from the fields of any group of options.

A field has the option's name, type and default; `option` adds its help, its short form, what its values are,
and where else it is used. A tuple is an option that may be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from kmodpipe.cli.option import Option, Use, Values, option

MACHINE = "how the work is done, not what is tested"
OUTPUT = "where results go, not what they are"
NO_RUN = "the command runs no case"
JSON = "print one JSON document on stdout, and nothing else there"
JUNIT = "write the JUnit file here as well; a large run has parts beside it"


@dataclass(frozen=True)
class Common:
    """The options that every command takes, so that a script can pass them to all."""

    jobs: int = option(
        0, "how many compilers or guests at once; 0 means one a processor", short="j", exempt=MACHINE
    )
    out: str = option("out", "the folder for results", short="o", exempt=OUTPUT, of=Values.FOLDER)
    quiet: bool = option(False, "warnings, errors and final tables only", short="q", exempt=OUTPUT)
    verbose: bool = option(False, "show each command as it is run", short="v", exempt=OUTPUT)


_Group = TypeVar("_Group", bound=Common)


def options_of(group: type[Common]) -> tuple[Option, ...]:
    """Return the options of a group, those that it inherits included."""
    return tuple(
        Option(
            f.name,
            f.default,
            f.metadata["help"],
            f.metadata["short"],
            f.metadata["uses"],
            f.metadata["exempt"],
            f.metadata["path"],
            f.metadata["values"],
        )
        for f in fields(group)
    )


def forms_of(group: type[Common]) -> dict[str, Option]:
    """Return the options of a group by each form in which they are typed: ``--jobs`` and ``-j``."""
    found = {one.flag: one for one in options_of(group)}
    return found | {f"-{one.short}": one for one in found.values() if one.short}


def _given(values: Common, use: Use) -> Iterator[tuple[Option, Any]]:
    """Yield the options with this use, and their values."""
    for one in options_of(type(values)):
        if use in one.uses:
            yield one, getattr(values, one.name)


def question(values: Common) -> Mapping[str, object]:
    """Return the part of a command line that its verdicts depend on, as plain JSON."""
    return {one.name: list(value) if one.repeatable else value for one, value in _given(values, Use.QUESTION)}


def command_line(values: Common, use: Use) -> list[str]:
    """Return the words of a command line with these values; defaults are left out."""
    words: list[str] = []
    for one, value in _given(values, use):
        if value == one.default:
            continue
        if one.is_path and use is Use.REPEAT:
            value = str(Path(value).absolute())
        if isinstance(value, bool):
            words.append(one.flag)
        else:
            words += [word for v in (value if one.repeatable else [value]) for word in (one.flag, str(v))]
    return words


def taken_from(group: type[_Group], values: Common) -> _Group:
    """Return *values* as a *group*; options that they do not have keep their defaults."""
    known: Sequence[str] = [f.name for f in fields(group)]
    return group(**{f.name: getattr(values, f.name) for f in fields(values) if f.name in known})
