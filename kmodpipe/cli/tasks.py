"""Invoke tasks, declared from the options' dataclasses.

A project's tasks.py has them with one line: ``from kmodpipe.cli.tasks import namespace``.
"""

from __future__ import annotations

import atexit
import gc
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task

from kmodpipe.cli import commands, options, usage
from kmodpipe.cli.exit import guarded, refuse
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.project_root import current_folder, find_root
from kmodpipe.util import process, signals
from kmodpipe.util.errors import UserError
from kmodpipe.util.screen import open_streams

# What is made while a command starts is there until it ends, and to look for garbage in it would take a tenth
# of the start: by default that is done after every 700 objects.
gc.set_threshold(100_000)
# At its end Python would look through all of it several times more.
atexit.register(gc.freeze)


def collection(root: Path, *, program: str = "invoke") -> Collection:
    """Return the tasks of the project in *root*, as the namespace of the Invoke program called *program*."""
    open_streams()
    # The short forms are those of `options`: Invoke's own would differ from command to command.
    return Collection(*(_task(name, group, root, program) for name, group in options.COMMANDS.items()))


def __getattr__(name: str) -> Collection:
    """Return ``namespace``: the tasks of the project in or above the current folder."""
    if name != "namespace":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return collection(find_root(current_folder()))


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
        if found.get("kind") is int:
            # Read by us: Invoke ends with a traceback where a number is none.
            found["kind"] = str
        if short := self._short.get(name):
            found["names"] = (*found.get("names", (name,)), short)
        return found


def _task(name: str, group: type[options.Common], root: Path, program: str) -> _Task:
    body = commands.of(name)

    def run(c: Context, **given: Any) -> None:
        taken = signals.install()
        command = process.pasteable([program, *sys.argv[1:]])
        call = Invocation(root, command, program=program, signals=taken)
        try:
            read = usage.values(group, given)
        except UserError as e:
            raise Exit(code=refuse(e, call.screen, json=bool(given.get("json")))) from None
        if code := guarded(body, read, call):
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
