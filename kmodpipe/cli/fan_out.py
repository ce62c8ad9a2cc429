"""`invoke matrix` and `invoke collect`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from kmodpipe import results
from kmodpipe.ci import collect as collecting
from kmodpipe.ci import formats, job_plan
from kmodpipe.cli.options import Asking, asked_tries, chosen_cases, resolve, used_cache
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.workspace import set_up
from kmodpipe.util.errors import ExitCode, InfraError, UserError, unknown_name
from kmodpipe.util.files import write_atomically


def matrix(asking: Asking) -> int:
    """Print the plan: made now, or the one of ``--plan``."""
    form = asking.format or "json"
    if form not in formats.FORMATS:
        raise unknown_name("format", form, formats.FORMATS)
    if asking.per_job < 0:
        raise UserError("--per-job is a number from 1 up", hint="0 takes as few as fit")
    made = job_plan.load(Path(asking.plan)) if asking.plan else _plan(asking, form)
    most = job_plan.LIMITS[form]
    if len(made.jobs) > most:
        raise UserError(f"the plan has {len(made.jobs)} jobs, a {form} matrix {most} at most")
    text = formats.FORMATS[form](made)
    if asking.to:
        write_atomically(Path(asking.to), text + "\n")
        _tell(asking, made)
    else:
        asking.screen.print(text)
    return ExitCode.OK


def _plan(asking: Asking, form: str) -> job_plan.Plan:
    asked = resolve(asking)
    cases, tries = chosen_cases(asked), asked_tries(asking)
    arguments: list[str] = []
    for name, value in (
        ("tree", asking.tree),
        ("matrix", asking.matrix),
        ("module", asking.module),
        ("share", asking.share),
        ("runtime", asking.runtime if asking.runtime != "docker" else ""),
        # Drawn once: with an order of its own each, jobs would not be of one run.
        ("shuffle", str(asked.request.shuffle) if asked.request.shuffle else ""),
        ("attempts", str(tries.attempts) if tries.attempts > 1 else ""),
        ("repeat", str(tries.repeat) if tries.repeat > 1 else ""),
    ):
        arguments += [f"--{name}", value] if value else []
    arguments += ["--head"] if asking.head else []
    arguments += ["--each-patch"] if asking.each_patch else []
    arguments += _repeated("--series", asking.series) + _repeated("--case", asking.case)
    asked, arguments = job_plan.pin(asked, arguments)
    with used_cache(asking) as cache:
        if asking.prepare:
            ready = set_up(asked, cache, asking.screen)
            with RunFolder(asked.request.out) as folder:
                legality = job_plan.prepare(ready, folder)
        else:
            legality = job_plan.look(asked, cache)
    most = job_plan.LIMITS[form]
    return job_plan.make(asked, cases, tries, legality, arguments, asking.per_job, most)


def _repeated(flag: str, values: Sequence[str]) -> list[str]:
    return [word for value in values for word in (flag, value)]


def _tell(asking: Asking, made: job_plan.Plan) -> None:
    skipped = sum(bool(cell.skip) for cell in made.cells)
    known = f", {skipped} ruled out by the tree" if "tree.identity" in made.properties else ""
    asking.screen.say(f"{asking.to}: {len(made.cells)} cells{known}, in {len(made.jobs)} jobs")


def collect(asking: Asking) -> int:
    """Merge the runs of a plan's jobs, and hold them against it."""
    from kmodpipe.report import html, junit, terminal

    if not asking.plan:
        raise UserError(
            "collect takes the plan of the jobs: without it a cell that is missing is not missed",
            hint="invoke matrix --format json --to plan.json, before the jobs; then collect --plan plan.json",
        )
    made, screen = job_plan.load(Path(asking.plan)), asking.screen
    parts = collecting.find(asking.dir or (asking.out,), screen)
    if not parts:
        raise InfraError("no job left a result", where=", ".join(asking.dir or (asking.out,)))
    with RunFolder(Path(asking.out).absolute()) as folder:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        found = collecting.merge(made, parts, folder.id, now)
        collecting.keep(parts, folder.path)
        results.save(found.run, folder.path / "results.json")
        junit.save(found.run, folder.path / "junit.xml")
        html.save(found.run, folder.path / "report.html")
    screen.show(terminal.report(found.run))
    screen.print(
        f"{len(parts)} runs collected: {os.path.relpath(folder.path)}/report.html, junit.xml and results.json"
    )
    code = results.exit_code(found.run)
    if wrong := collecting.trouble(found, len(made.cells)):
        screen.error(wrong)
        # A regression beside it stays one: who tries again on 3 must not lose it.
        code = code if code == ExitCode.FAILURE else ExitCode.INFRA
    return code
