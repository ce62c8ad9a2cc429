"""The options' dataclasses: what is derived from them, and that no flag is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

from kmodpipe.cli import commands, options, usage
from kmodpipe.cli.options import COMMANDS, Common, Option, RunOptions, Use, command_line, options_of, question
from kmodpipe.cli.tasks import collection

GROUPS = sorted(set(COMMANDS.values()), key=lambda group: group.__name__)


def every() -> Iterator[tuple[type[Common], Option]]:
    for group in GROUPS:
        for one in options_of(group):
            yield group, one


def test_every_option_is_part_of_the_question_or_exempt_for_a_reason() -> None:
    for group, one in every():
        asked = Use.QUESTION in one.uses
        assert asked != bool(one.exempt), f"{group.__name__}.{one.name}: question or exempt, and not both"


def test_what_decides_a_verdict_travels_with_a_jobs_command_line() -> None:
    # A job names its cells, which are those of the flavours and of the sample.
    missing = {o.name for o in options_of(RunOptions) if Use.QUESTION in o.uses and Use.JOB not in o.uses}
    assert missing == {"cell", "flavour", "no_control", "sample"}


def test_every_option_has_help_and_one_short_form_everywhere() -> None:
    short: dict[str, str] = {}
    for _, one in every():
        assert one.help
        if one.short:
            assert short.setdefault(one.short, one.name) == one.name
    assert "h" not in short


def test_every_command_has_a_group_and_every_group_a_command() -> None:
    declared = {
        value
        for value in vars(options).values()
        if isinstance(value, type) and issubclass(value, Common) and value not in (Common, RunOptions)
    }
    assert set(GROUPS) == declared
    assert all(commands.of(name).__doc__ for name in COMMANDS)


def changed(one: Option) -> object:
    value = one.default
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return ("a b", "*") if isinstance(value, tuple) else "another 'word'"


def parsed(group: type[Common], words: list[str]) -> Common:
    """What a task of this group gets for these words, by Invoke's own parser."""
    from invoke.parser import Parser

    name = next(n for n, g in COMMANDS.items() if g is group)
    tasks = collection(Path("/nowhere"))
    (context,) = [c for c in tasks.to_contexts() if c.name == name]
    (found,) = Parser(contexts=[context]).parse_argv([name, *words])
    values = {
        key: tuple(arg.value) if isinstance(arg.value, list) else arg.value for key, arg in found.args.items()
    }
    return usage.values(group, {f.name: values[f.name.replace("_", "-")] for f in fields(group)})


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.__name__)
def test_a_command_line_that_is_written_anew_gives_the_same_values(group: type[Common]) -> None:
    for use in Use:
        values = group(**{o.name: changed(o) for o in options_of(group) if use in o.uses and not o.is_path})
        assert parsed(group, command_line(values, use)) == values
    assert command_line(group(), Use.QUESTION | Use.JOB | Use.REPEAT) == []


def test_another_value_of_an_option_is_another_question_unless_it_is_exempt() -> None:
    plain = RunOptions()
    for one in options_of(RunOptions):
        other = replace(plain, **{one.name: changed(one)})  # type: ignore[arg-type]
        assert (question(other) != question(plain)) == (Use.QUESTION in one.uses), one.name


def test_a_path_is_repeated_from_the_root() -> None:
    line = command_line(RunOptions(matrix="m.toml"), Use.REPEAT)
    assert line == ["--matrix", str(Path("m.toml").absolute())]
