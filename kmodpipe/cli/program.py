"""The program `kmodpipe`: Invoke's Program over the tasks of this package, with errors and help of our own.

What Invoke's parser sees was checked before (`usage`), so that it never has to say that it has no idea.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from functools import partial
from pathlib import Path

from invoke.config import Config
from invoke.exceptions import Exit
from invoke.program import Program as InvokeProgram

from kmodpipe import __version__
from kmodpipe.cli import commands, completion, usage
from kmodpipe.cli.exit import refuse
from kmodpipe.cli.options import COMMANDS, VERBS, Option, Values, options_of
from kmodpipe.cli.project_root import find_root
from kmodpipe.cli.tasks import collection
from kmodpipe.util.errors import UserError
from kmodpipe.util.screen import Screen, open_streams

_WIDTH = 100


class Program(InvokeProgram):
    """Our commands as a program of their own."""

    @classmethod
    def of(cls, name: str) -> Program:
        """Return the program of that name, for the project in or above the current folder."""
        open_streams()
        tasks = collection(find_root(_here()), program=name)
        # Lazily: the user's and the system's settings for Invoke are not ours.
        return cls(
            version=__version__,
            namespace=tasks,
            name=name,
            binary=name,
            config_class=partial(Config, lazy=True),  # type: ignore[arg-type]
        )

    def run(self, argv: list[str] | None = None, exit: bool = True) -> None:
        """Run a command line. Ends the process with an exit code, also 2 for a wrong word."""
        given = sys.argv if argv is None else argv
        try:
            words = usage.canonical(given[1:], self.binary)
        except UserError as e:
            sys.exit(refuse(e, Screen(), json="--json" in given))
        if usage.COMPLETION in words:
            Screen().print(completion.script(words[-1], self.binary).rstrip("\n"))
            return
        super().run([given[0], *words], exit)

    def parse_core(self, argv: list[str] | None) -> None:
        """Parse the program's own options; what commands import later is compiled only once all the same."""
        before = sys.dont_write_bytecode
        super().parse_core(argv)
        # Invoke has turned the writing of bytecode off.
        sys.dont_write_bytecode = before

    def parse_cleanup(self) -> None:
        """Print help or the list of commands, and end the process, if that was requested."""
        if self.args.list.value:
            self.print_help()
            raise Exit
        super().parse_cleanup()

    def print_version(self) -> None:
        Screen().print(f"{self.binary} {__version__}")

    def print_help(self) -> None:
        rows = [
            (_named(name), (inspect.getdoc(commands.of(name)) or "").splitlines()[0]) for name in COMMANDS
        ]
        core = [
            (", ".join(usage.HELP), "this help, or that of a command"),
            (", ".join(usage.VERSION), "print the version"),
            (f"{usage.COMPLETION} SHELL", f"print what completes words in {', '.join(completion.SHELLS)}"),
        ]
        lines = [f"usage: {self.binary} COMMAND [OPTION …]", "", "commands:", *_columns(rows)]
        lines += [
            "",
            "options:",
            *_columns(core),
            "",
            "exit codes: 0 all as expected, 1 a kernel or test failure,",
        ]
        lines += ["            2 usage, 3 infrastructure"]
        Screen().print("\n".join(lines))

    def print_task_help(self, name: str) -> None:
        text = inspect.getdoc(commands.of(name)) or ""
        rows = [(_spelled(one), one.help) for one in options_of(COMMANDS[name])]
        help_row = (", ".join(usage.HELP), "this help")
        lines = [f"usage: {self.binary} {_named(name)} [OPTION …]", "", text, "", "options:"]
        Screen().print("\n".join([*lines, *_columns([*rows, help_row])]))


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError:
        # The folder was removed: the command itself says what is missing.
        return Path("/nowhere")


def _named(command: str) -> str:
    """Return a command as the help shows it, with the word behind it."""
    return f"{command} {VERBS[command]}" if command in VERBS else command


def _spelled(one: Option) -> str:
    """Return an option as the help shows it: ``-j, --jobs N``."""
    short = f"-{one.short}, " if one.short else "    "
    value = "" if one.values is Values.FLAG else f" {one.values.value}"
    return f"{short}{one.flag}{value}"


def _columns(rows: list[tuple[str, str]]) -> list[str]:
    """Return two columns, the second one wrapped."""
    left = max(len(first) for first, _ in rows) + 2
    lines = []
    for first, second in rows:
        wrapped = textwrap.wrap(second, _WIDTH - left - 2) or [""]
        lines += [f"  {first:<{left}}{wrapped[0]}".rstrip()]
        lines += [f"  {'':<{left}}{more}" for more in wrapped[1:]]
    return lines
