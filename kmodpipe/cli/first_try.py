"""Begin with a module that has no matrix: `try` writes its files, and says what runs them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kmodpipe.build.kbuild import split
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import SourceOptions, TestOptions, TryOptions
from kmodpipe.cli.resolve import resolve
from kmodpipe.kconfig.suggest import MOST_AXES
from kmodpipe.pipeline import first_config, workspace
from kmodpipe.pipeline.first_config import FirstConfig
from kmodpipe.pipeline.first_files import Files
from kmodpipe.pipeline.module_folder import plain_folder, plain_module
from kmodpipe.source import Tree
from kmodpipe.util import process
from kmodpipe.util.errors import UserError
from kmodpipe.util.screen import Screen
from kmodpipe.util.text import count

# With more axes than this, the first run takes a cell for each pair of values only.
_WHOLE = 2


@dataclass(frozen=True)
class Begun:
    """What runs the files that were written."""

    options: TestOptions
    # The command line that does the same.
    command: str


def begin(options: TryOptions, call: Invocation) -> Begun:
    """Write the files for a module, and return what runs them. Trees are fetched if needed, nothing is built.

    Raise UserError if files exist, and as `first_config.find` does.
    """
    if not options.module:
        raise UserError(
            "try takes the folder of a module", hint=f"{call.program} try --module drivers/block/zram"
        )
    module = plain_module(options.module, "--module")
    if options.symbol and split(module)[1]:
        raise UserError("--symbol is for a folder", where=f"--module {module}", hint="one of them is enough")
    last = module.rpartition("/")[2].removesuffix(".ko")
    last = options.symbol[0].removeprefix("CONFIG_").lower() if options.symbol else last
    name = plain_folder(last, "--symbol")
    files = Files.of(Path(options.to or name), name)
    files.require_new()
    spec = resolve(
        SourceOptions(tree=options.kernels, head=options.head, series=options.series or ("none",)), call
    )
    with call.cache() as cache:
        fetched = workspace.fetch_kernels(spec, cache, call.screen).values()
    trees = [one for one in fetched if isinstance(one, Tree)]
    if len(trees) < len(fetched):
        raise UserError(
            "try needs the Kconfig files of a tree, which a distribution's kernel does not have",
            hint=f"{call.program} try --module {options.module} --kernel debian-6.12",
        )
    found = first_config.find(trees, module, options.symbol)
    files.write(found)
    begun = _run_of(options, call, files, found.module, sample=len(found.suggestion.axes) > _WHOLE)
    _tell(call.screen, found, files, begun)
    return begun


def _run_of(options: TryOptions, call: Invocation, files: Files, module: str, *, sample: bool) -> Begun:
    # A case without a slash would be a name of a declared one.
    case = str(files.case) if "/" in str(files.case) else f"./{files.case}"
    test = TestOptions(
        jobs=options.jobs,
        out=options.out,
        quiet=options.quiet,
        verbose=options.verbose,
        tree=options.kernels,
        head=options.head,
        series=options.series or ("none",),
        matrix=str(files.matrix),
        module=module,
        case=(case,),
        sample=2 if sample else 0,
        runtime=options.runtime,
        share=options.share,
    )
    return Begun(test, process.pasteable([call.program, "test", *_words(test)]))


def _words(test: TestOptions) -> list[str]:
    """Return the command line of a run; defaults are left out."""
    words: list[str] = []
    defaults = TestOptions()
    for name in ("tree", "head", "series", "matrix", "case", "sample", "runtime", "share", "out", "jobs"):
        value = getattr(test, name)
        if value == getattr(defaults, name):
            continue
        flag = f"--{name}"
        many = value if isinstance(value, tuple) else (value,)
        words += [flag] if value is True else [word for one in many for word in (flag, str(one))]
    return words


def _tell(screen: Screen, found: FirstConfig, files: Files, begun: Begun) -> None:
    """Print what was found, and where it was written."""
    one = found.suggestion
    screen.print(
        f"{found.module} of {found.tree}: {count(len(one.modules), 'module')}, {', '.join(found.names)}"
    )
    for symbol, reason in one.dropped.items():
        screen.print(f"  left out: {symbol}: {reason}")
    axes = ", ".join(axis.symbol for axis in one.axes) or "none"
    more = f"; {len(one.more)} more as comments" if one.more else ""
    limit = f" (at most {MOST_AXES})" if len(one.axes) == MOST_AXES else ""
    what = ("axes: " + axes + limit + more, f"{count(len(one.needs), 'symbol')}, with the reasons")
    notes = (*what, "loaded, unloaded and loaded again; what it brings")
    width = max(len(str(path)) for path in files.every)
    for path, note in zip(files.every, notes, strict=True):
        screen.print(f"  {path!s:<{width}}  {note}")
    screen.print(f"yours to edit; they are run by: {begun.command}")
