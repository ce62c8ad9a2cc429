"""`invoke ablate`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from kmodpipe import results
from kmodpipe.analysis.ablate import order, records, show
from kmodpipe.analysis.ablate.edits import HUNK
from kmodpipe.analysis.ablate.operators import OPERATORS
from kmodpipe.analysis.ablate.run import Wanted, ablate, for_one_series
from kmodpipe.analysis.ablate.touching import Touching
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import AblateOptions
from kmodpipe.cli.resolve import resolve
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.pipeline.workspace import set_up
from kmodpipe.results import coverage
from kmodpipe.util import paths
from kmodpipe.util.errors import ExitCode, UserError, unknown_name
from kmodpipe.util.screen import Screen
from kmodpipe.vm import accel

KINDS = (HUNK, *OPERATORS)


def run(options: AblateOptions, call: Invocation) -> int:
    """Try the edits, print what no case notices, and return the exit code."""
    wanted = Wanted(_kinds(options.kind), options.only, order.seconds(options.budget))
    spec = for_one_series(resolve(options, call, cases_too=True, compared=False))
    screen = call.screen
    touching, notes = _coverage(options, spec, screen)
    with call.cache() as cache:
        proved = accel.probe(cache, screen)
        workspace = set_up(spec, cache, screen)
        with RunFolder(spec.out) as folder:
            screen.log_to(folder.path / "events.jsonl")
            answer = ablate(workspace, folder, proved, wanted, touching, notes)
    for line in show.lines(answer, os.path.relpath(folder.path), whole=options.whole, program=call.program):
        screen.print(line)
    if options.json:
        screen.document(records.to_json(answer))
    return ExitCode(answer.exit_code)


def _kinds(given: Sequence[str]) -> tuple[str, ...]:
    """Return the kinds of edits that are wanted. Raise UserError for one that there is not."""
    for one in given:
        if one not in KINDS:
            raise unknown_name("kind", one, KINDS, where="--kind")
    return tuple(given)


def _coverage(options: AblateOptions, spec: RunSpec, screen: Screen) -> tuple[Touching, list[str]]:
    """Return the coverage of the series, and what to say of it; none if no run has one that fits.

    Raise UserError if the one that --coverage names does not.
    """
    if options.coverage == "none":
        return Touching(), ["every case was tried on every edit: --coverage none"]
    if options.coverage:
        folder = Path(options.coverage)
        folder = folder if paths.is_dir(folder) else folder.parent
        if reason := _misfit(folder, spec):
            raise UserError(reason, where=str(folder), hint="take it anew: invoke cover")
        return _of(folder)
    runs = [path.parent for path in Path(spec.out).glob(f"*/{coverage.FILE_NAME}")]
    for folder in sorted((one for one in runs if not one.is_symlink()), reverse=True):
        if not _misfit(folder, spec):
            return _of(folder)
    return Touching(), ["every case was tried on every edit: no run of invoke cover fits this series"]


def _of(folder: Path) -> tuple[Touching, list[str]]:
    found = coverage.load(folder)
    then = {case.id: case.question for case in results.load(folder / "results.json").cases}
    return Touching(found, then), [f"cases were chosen by the coverage of {os.path.relpath(folder)}"]


def _misfit(folder: Path, spec: RunSpec) -> str:
    """Return why the coverage in a run's folder is not that of this series; empty if it is."""
    series = spec.series[0]
    if not paths.is_file(folder / coverage.FILE_NAME):
        return "this run has no coverage.json"
    try:
        properties = results.load(folder / "results.json").properties
    except UserError as e:
        return e.what
    if properties.get(f"series.{series.name}") != series.digest:
        return f"its coverage is not that of {series.name} as it is now"
    return ""
