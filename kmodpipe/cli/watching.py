"""`invoke watch`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kmodpipe.cli import by_hand
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import BootOptions, BuildOptions, WatchOptions, taken_from
from kmodpipe.cli.resolve import resolve
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.util import kept, paths
from kmodpipe.util.errors import UserError
from kmodpipe.util.screen import Screen
from kmodpipe.watch.history import FOLDER
from kmodpipe.watch.loop import Loop
from kmodpipe.watch.state import Commands, Settings

_MOST_KEPT = 1000


def watch(options: WatchOptions, call: Invocation) -> int:
    """Run rounds until the user has had enough. Return what the last verdicts mean."""
    if options.sample:
        raise UserError(
            "watch takes no sample of the cells", where="--sample", hint="choose them: --cell PATTERN"
        )
    if not 1 <= options.keep <= _MOST_KEPT:
        raise UserError(f"--keep takes a number from 1 to {_MOST_KEPT}, not {options.keep}")
    out = Path(options.out).absolute() / FOLDER

    def read(screen: Screen) -> RunSpec:
        return resolve(options, replace(call, screen=screen), cases_too=True)

    def shell(cell: str) -> None:
        given = taken_from(BuildOptions, options)
        values = {one: getattr(given, one) for one in vars(given)}
        by_hand.boot(BootOptions(**{**values, "cell": (cell,), "out": str(out)}), call)

    named = [Path(one) for one in (*options.case, *options.config) if paths.is_file(Path(one))]
    files = tuple(named + ([Path(options.matrix)] if options.matrix else []))
    commands = Commands(read, files, shell, call.cache)
    loop = Loop(commands, call.screen, Settings(out, options.keep, options.whole))
    with kept.keeping():
        return int(loop.run(read(call.screen)))
