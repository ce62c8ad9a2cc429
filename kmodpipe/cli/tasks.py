"""Invoke tasks, declared from the options' dataclasses."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task

from kmodpipe.cli import commands, options
from kmodpipe.cli.exit import guarded
from kmodpipe.cli.invocation import Invocation
from kmodpipe.util import process, signals
from kmodpipe.util.screen import open_streams

COMMANDS: Mapping[str, type[options.Common]] = {
    "setup": options.SetupOptions,
    "doctor": options.Common,
    "fetch": options.TreeOptions,
    "patch": options.SourceOptions,
    "plan": options.BuildOptions,
    "build": options.BuildOptions,
    "boot": options.BuildOptions,
    "test": options.TestOptions,
    "ci": options.CiOptions,
    "matrix": options.MatrixOptions,
    "collect": options.CollectOptions,
    "report": options.ReportOptions,
    "publish": options.PublishOptions,
    "clean": options.CleanOptions,
}
"""Each command, a function of `commands`, and the group of its options."""


def collection(root: Path) -> Collection:
    """Return the tasks of the project in *root*, as the namespace of an Invoke program."""
    open_streams()
    # The short forms are those of `options`: Invoke's own would differ from command to command.
    return Collection(*(_task(name, group, root) for name, group in COMMANDS.items()))


class _Task(Task):  # type: ignore[type-arg]
    """A task whose flags are the options of a group."""

    def __init__(self, body: Callable[..., None], group: type[options.Common]) -> None:
        self._short = {one.name: one.short for one in options.options_of(group)}
        known = options.options_of(group)
        super().__init__(
            body,
            help={one.name: one.help for one in known},
            iterable=[one.name for one in known if one.repeatable],
            auto_shortflags=False,
        )

    def arg_opts(self, name: str, default: Any, taken_names: set[str]) -> dict[str, Any]:
        """Return Invoke's description of a flag, with its short form."""
        found: dict[str, Any] = super().arg_opts(name, default, taken_names)
        if short := self._short.get(name):
            found["names"] = (*found.get("names", (name,)), short)
        return found


def _task(name: str, group: type[options.Common], root: Path) -> _Task:
    body = getattr(commands, name)

    def run(c: Context, **given: Any) -> None:
        taken = signals.install()
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
        call = Invocation(root, process.pasteable(["invoke", *sys.argv[1:]]), signals=taken)
        if code := guarded(body, group(**values), call):
            raise Exit(code=code)

    # For Invoke, a default that is a list means that the option may be repeated.
    defaults = {
        one.name: list(one.default) if isinstance(one.default, tuple) else one.default
        for one in options.options_of(group)
    }
    keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("c", keyword),
            *(inspect.Parameter(flag, keyword, default=default) for flag, default in defaults.items()),
        ]
    )
    run.__name__, run.__doc__ = name, body.__doc__
    return _Task(run, group)
