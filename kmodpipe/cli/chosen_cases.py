"""Resolve what a command line says of cases: which run, how often, and whose expectations hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kmodpipe.cli.options import RunOptions
from kmodpipe.judge import cases
from kmodpipe.judge.cases import Case
from kmodpipe.judge.retries import MOST_ATTEMPTS, MOST_REPEATS, RetryPolicy
from kmodpipe.logs import known_benign
from kmodpipe.pipeline.config import Project
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.series import Series
from kmodpipe.util import paths
from kmodpipe.util.errors import UserError, unknown_name
from kmodpipe.util.screen import Screen


def declared(project: Project, given: RunOptions) -> Sequence[Case]:
    """Return the cases of the project. Raise UserError if there is none, and none is named by its path."""
    if not (given.case or project.has_cases):
        hint = 'cases = "FOLDER" in it, with a script or more; or --case SCRIPT'
        raise UserError("the project has no cases", where=str(project.file), hint=hint)
    return cases.load(project.cases)


def with_design(one: Series, option: str, known_cases: Sequence[Case], screen: Screen) -> Series:
    """Return a series with the design whose expectations hold for it; with none if no case has any.

    Raise UserError if the option names a design that no case knows.
    """
    known = cases.designs(known_cases)
    if option and option not in known:
        hint = "a design is what the cases' expectations are given for"
        raise unknown_name("design", option, known, where="--design", hint=hint)
    design = option or one.design
    if design and design not in known:
        if known and design != one.name:
            screen.warn(f"series {one.name}: no case has expectations for the design {design!r}")
        design = ""
    return replace(one, design=design)


def with_cases(spec: RunSpec, known_cases: Sequence[Case], given: RunOptions) -> RunSpec:
    """Return *spec* with cases: those named and the scripts; all *known_cases* if neither is given.

    Raise UserError for an unknown or a doubled one, and for a number of runs that cannot be.
    """
    retries = _retries(given)
    known = [name for name in given.case if not _is_script(name)]
    scripts = [name for name in given.case if _is_script(name)]
    own = [cases.from_script(Path(name)) for name in scripts]
    named = cases.select(known_cases, known) if known or not own else ()
    cases.check_axes(named, spec.matrix.axes, spec.matrix.flavours)
    chosen = (*named, *own)
    if doubled := sorted({case.id for case in chosen if [c.id for c in chosen].count(case.id) > 1}):
        raise UserError(f"two cases with one name: {', '.join(doubled)}", hint="rename the script")
    return replace(
        spec,
        cases=chosen,
        case_arguments={case.id: name for case, name in zip(own, scripts, strict=True)},
        retries=retries,
        benign=known_benign.load(spec.project.benign) if spec.project.benign else (),
    )


def _is_script(case: str) -> bool:
    return "/" in case or paths.is_file(Path(case))


def _retries(given: RunOptions) -> RetryPolicy:
    """Return how often each case is to run. Raise UserError."""
    for name, value, most in (
        ("attempts", given.attempts, MOST_ATTEMPTS),
        ("repeat", given.repeat, MOST_REPEATS),
    ):
        if not 1 <= value <= most:
            raise UserError(f"--{name} takes a number from 1 to {most}, not {value}")
    if given.attempts > 1 and given.repeat > 1:
        raise UserError(
            "--attempts and --repeat exclude each other",
            hint="--repeat runs a case that often whether it fails or not, and reports the rate",
        )
    return RetryPolicy(given.attempts, given.repeat)
