"""`invoke cover`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from kmodpipe import kconfig, results
from kmodpipe.analysis.cover import ask, inject, page, text
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import CoverOptions
from kmodpipe.cli.resolve import resolve
from kmodpipe.pipeline import cell_choice, run
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.workspace import set_up
from kmodpipe.report import html
from kmodpipe.results import Run
from kmodpipe.results import cover_answer as answers
from kmodpipe.results.cover_answer import Answer
from kmodpipe.util import shipped
from kmodpipe.util.errors import ExitCode, UserError
from kmodpipe.util.screen import Screen
from kmodpipe.util.text import count
from kmodpipe.vm import accel

PLAIN, INJECT = "gcov", "gcov-inject"
"""The flavours that count; they are known whether the project's matrix has them or not."""


def cover(options: CoverOptions, call: Invocation) -> int:
    """Run the cases where their coverage is counted, and print the answer; return the exit code."""
    least, screen = _percent(options.fail_under), call.screen
    _refuse(options)
    known = kconfig.load_matrix(shipped.folder("kconfigs") / "matrix.toml").flavours
    wanted = options.flavour or (INJECT if options.inject else PLAIN,)
    spec = resolve(
        replace(options, flavour=wanted),
        call,
        cases_too=True,
        flavours={name: known[name] for name in (PLAIN, INJECT)},
    )
    series = ask.require_one(spec)
    # What the control executes is no part of the answer.
    spec = spec.with_choice(cell_choice.without_controls(spec.choice))
    if ask.compiles_nothing(series):
        screen.print(f"{series.name} changes nothing that is compiled: {', '.join(series.touched)}")
        return ExitCode.OK
    with call.cache() as cache:
        proved = accel.probe(cache, screen)
        workspace = set_up(spec, cache, screen)
        ask.asked(workspace)
        with RunFolder(spec.out) as folder:
            screen.log_to(folder.path / "events.jsonl")
            ran = run.test(workspace, folder, proved)
            more = inject.run_all(workspace, ran, folder.path, proved) if options.inject else None
            found, _ = ask.answer(workspace, ran, folder.path, more)
            page.save(found, ran, folder.path)
            # Once more, with a link to that page.
            html.save(ran, folder.path / "report.html")
    _show(found, ran, folder.path, screen)
    if options.json:
        screen.document(answers.to_json(found))
    return _judged(found, least, screen)


def _refuse(options: CoverOptions) -> None:
    """Raise UserError for options that mean nothing here."""
    if options.each_patch:
        raise UserError("cover looks at a series as a whole: --each-patch means nothing here")


def _percent(given: str) -> float | None:
    """Return what --fail-under says. Raise UserError if it is no percentage."""
    if not given:
        return None
    try:
        found = float(given)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 100:
        raise UserError(f"--fail-under takes a number from 0 to 100, not {given!r}", hint="--fail-under 80")
    return found


def _show(found: Answer, ran: Run, folder: Path, screen: Screen) -> None:
    first, *rest = text.lines(found)
    screen.print(first)
    for line in rest:
        screen.print(line)
    totals = results.totals(ran)
    if bad := totals.get("fail", 0) + totals.get("error", 0):
        screen.print(f"{count(bad, 'case')} not as expected there: the verdicts are in report.html")
    screen.print(
        f"results: {os.path.relpath(folder)}/{answers.PAGE_NAME}, {answers.FILE_NAME}, coverage.json, "
        "coverage.info (lcov), coverage.xml (Cobertura)"
    )


def _judged(found: Answer, least: float | None, screen: Screen) -> int:
    """Return the exit code: 1 if less is executed than is asked for."""
    if least is None or found.percent is None or found.percent >= least:
        return ExitCode.OK
    screen.print(f"--fail-under {least:g}: {found.percent:.1f} % of the changed lines are executed")
    return ExitCode.FAILURE
