"""`invoke bisect`: which of the three questions it is, and the answer on the screen."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kmodpipe import source
from kmodpipe.analysis.bisect import commits, model, patches, symbols, wording
from kmodpipe.analysis.bisect.model import Answer, Result
from kmodpipe.analysis.bisect.probe import Choice, Probe
from kmodpipe.analysis.bisect.rates import Policy
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import BisectOptions, RunOptions, Use, command_line, taken_from
from kmodpipe.cli.resolve import resolve
from kmodpipe.kconfig.own_source import is_own
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.source import commit_range
from kmodpipe.source.commit_range import CommitRange
from kmodpipe.source.tree import ModuleSpec, TreeSpec
from kmodpipe.util import paths, process
from kmodpipe.util.errors import ExitCode, UserError
from kmodpipe.util.screen import Screen
from kmodpipe.util.text import some
from kmodpipe.vm import accel

_CODES = {Result.FOUND: ExitCode.OK, Result.SEVERAL: ExitCode.FAILURE}
_MOST_REPEATS = 100


@dataclass(frozen=True)
class _Asked:
    """A question, with every name resolved."""

    spec: RunSpec
    search: Callable[[Probe, Sequence[Choice], Policy], Answer]


def bisect(options: BisectOptions, call: Invocation) -> int:
    """Answer the question; write bisect.json; return the exit code."""
    policy, screen = _policy(options), call.screen
    kind = _kind(options)
    with call.cache() as cache:
        asked = kind(options, call, cache)
        choices = tuple(dict.fromkeys(Choice.of(cell) for cell in asked.spec.cells))
        proved = accel.probe(cache, screen)
        with RunFolder(asked.spec.out) as folder:
            screen.log_to(folder.path / "events.jsonl")
            answer = asked.search(Probe(asked.spec, cache, screen, proved, folder), choices, policy)
            model.save(answer, folder.path / "bisect.json")
    _show(answer, folder.path, screen)
    if options.json:
        screen.document(model.to_json(answer))
    return _CODES.get(answer.result, ExitCode.USAGE)


def _show(answer: Answer, folder: Path, screen: Screen) -> None:
    for number, line in enumerate(wording.lines(answer)):
        screen.print(line)
        if number == 0 and (table := wording.table(answer)):
            screen.print(wording.heading(answer))
            screen.show(table)
    if answer.result is Result.CHOOSE:
        names = list(dict.fromkeys(one.case for one in answer.differences))
        screen.print(f"choose the case: --case {names[0]}" + (f" (or {some(names[1:], 4)})"))
    screen.print(f"details: {os.path.relpath(folder)}/bisect.json, and runs/ with the evidence of each step")


def _policy(options: BisectOptions) -> Policy:
    """Return how often the case runs, and how sure the answer has to be. Raise UserError."""
    if not 1 <= options.repeat <= _MOST_REPEATS:
        raise UserError(f"--repeat takes a number from 1 to {_MOST_REPEATS}, not {options.repeat}")
    try:
        confidence = float(options.confidence)
    except ValueError:
        confidence = 0.0
    if not 0.5 < confidence < 1:
        raise UserError(
            f"--confidence takes a number between 0.5 and 1, not {options.confidence}",
            hint="--confidence 0.99: one answer of a hundred may be wrong",
        )
    return Policy(options.repeat, confidence)


# -- the three questions --------------------------------------------------------------------------------
def _kind(options: BisectOptions) -> Callable[[BisectOptions, Invocation, Path], _Asked]:
    """Return the question that is asked. Raise UserError for options that ask two."""
    ranges = [one for one in (*options.kernels, options.module) if _is_range(one)]
    configs = [one for one in (options.good_config, options.bad_config) if one]
    if options.no_control or options.sample:
        raise UserError("--no-control and --sample choose what is compared; bisect compares two ends")
    if len(ranges) > 1 or (ranges and configs) or ((ranges or configs) and _given(options.series)):
        raise UserError(
            "one question at a time: the patches of a series, the commits of a range, or two configurations",
            hint="leave out --series, the GOOD..BAD, or --good-config and --bad-config",
        )
    if len(configs) == 1:
        raise UserError("two configurations are compared", hint="--good-config FILE --bad-config FILE")
    if configs:
        return _of_symbols
    if ranges:
        return _of_module if _is_range(options.module) else _of_commits
    return _of_patches


def _given(series: Sequence[str]) -> bool:
    return any(name != "none" for name in series)


def _is_range(argument: str) -> bool:
    return ".." in argument.partition("#")[2]


def _of_patches(options: BisectOptions, call: Invocation, cache: Path) -> _Asked:
    """Return the question about the patches of the only series."""
    spec = resolve(options, call, cases_too=True, compared=False)
    whole = [one for one in spec.series if not one.partial]
    if len(whole) != 1:
        names = [one.name for one in whole]
        what = f"bisect takes one series, not {some(names, 4)}" if whole else "there is nothing to search"
        hint = "--series NAME, --tree URL#GOOD..BAD, or --good-config FILE --bad-config FILE"
        raise UserError(what, hint=hint)
    return _Asked(spec, lambda probe, c, policy: patches.search(probe, whole[0], c, spec.cases, policy))


def _of_symbols(options: BisectOptions, call: Invocation, cache: Path) -> _Asked:
    """Return the question about two configurations, in the first cell that was chosen."""
    symbols.read(options.good_config, options.bad_config)
    spec = resolve(replace(options, series=("none",)), call, cases_too=True, compared=False)
    files = options.good_config, options.bad_config
    return _Asked(spec, lambda probe, c, policy: symbols.search(probe, files, c[0], spec.cases, policy))


def _of_commits(options: BisectOptions, call: Invocation, cache: Path) -> _Asked:
    """Return the question about the commits of a tree."""
    argument = next(one for one in options.kernels if _is_range(one))
    if len(options.kernels) > 1:
        raise UserError("bisect takes one tree with a range", where=argument)
    found = _range(argument, call, cache, call.project().trees, "--tree")
    pinned = replace(options, tree=(f"{found.url}#{found.good}",), kernel=(), series=("none",), head=False)
    spec = resolve(pinned, call, cases_too=True, compared=False)
    tree = TreeSpec(name=spec.trees[0].name, git=found.url, commit=found.good)
    found.lend(tree, cache, call.screen)
    return _Asked(spec, lambda probe, c, policy: commits.search(probe, found, c, spec.cases, policy))


def _of_module(options: BisectOptions, call: Invocation, cache: Path) -> _Asked:
    """Return the question about the commits of a module of its own source."""
    location = options.module.partition("#")[0]
    if not is_own(location):
        raise UserError(
            "only a module of its own source has commits of its own", where=f"--module {options.module}",
            hint="--tree URL#GOOD..BAD searches the commits of a tree",
        )  # fmt: skip
    found = _range(options.module, call, cache, {}, "--module")
    module = f"{location}#{found.good}" if "://" in location else location
    # That there is no change to compare is true of the control alone.
    with call.screen.part():
        spec = resolve(
            replace(options, module=module, series=("none",)), call, cases_too=True, compared=False
        )
    if spec.own is None:
        raise UserError("this is no module of its own source", where=f"--module {options.module}")
    control = ModuleSpec(name=spec.own.name, git=found.url, commit=found.good)
    own = replace(spec.own, spec=control, control=found.good[:12])
    spec = replace(spec, own=own)
    if not own.folder:
        # A commit is named by its URL; below the top of a repository there is no such name.
        named = taken_from(RunOptions, replace(options, module=f"{found.url}#{found.good}"))
        words = [call.program, "test", *command_line(named, Use.REPEAT)]
        spec = replace(spec, repeat_command=process.pasteable(words))
    found.lend(control, cache, call.screen)
    return _Asked(spec, lambda probe, c, policy: commits.search(probe, found, c, spec.cases, policy))


def _range(
    argument: str, call: Invocation, cache: Path, declared: Mapping[str, TreeSpec], option: str
) -> CommitRange:
    """Return the commits that URL#GOOD..BAD names: of a URL, a folder, or a declared tree."""
    location, _, wanted = argument.partition("#")
    good, _, bad = wanted.partition("..")
    if bad.startswith("."):
        raise UserError(f"a range is GOOD..BAD, not {wanted}", where=argument, hint="with two dots")
    if not good:
        raise UserError("a range has a good end: GOOD..BAD", where=f"{option} {argument}")
    known = declared.get(location)
    if known and not known.git:
        raise UserError(f"tree {location} is not from git, and has no commits", where=f"{option} {argument}")
    place = known.git if known and known.git else location
    if "://" not in place and paths.is_dir(paths.expanded(place)):
        place = str(_top(paths.expanded(place).resolve()))
    urls = {source.resolve(f"{place}#{ref}", {}).git for ref in (good, bad or "HEAD")}
    url = next(iter(urls)) or place
    return commit_range.fetch(url, good, bad or "HEAD", cache, call.screen)


def _top(folder: Path) -> Path:
    """Return the top of the repository that a folder is in, or the folder itself."""
    return next((one for one in (folder, *folder.parents) if paths.exists(one / ".git")), folder)
