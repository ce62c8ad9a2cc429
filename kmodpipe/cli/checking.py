"""`invoke check`."""

from __future__ import annotations

import json
import os
import secrets
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from kmodpipe import results
from kmodpipe.analysis.check import annotations as github
from kmodpipe.analysis.check import code_quality, run, sarif, screen
from kmodpipe.analysis.check.as_run import as_run
from kmodpipe.analysis.check.model import Report
from kmodpipe.cli import report as reporting
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import CheckOptions, Use, command_line
from kmodpipe.cli.resolve import resolve
from kmodpipe.pipeline import provenance
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.stage_maker import Tally
from kmodpipe.pipeline.workspace import Workspace, set_up
from kmodpipe.report import html, junit, terminal
from kmodpipe.results import Run
from kmodpipe.util import paths, process
from kmodpipe.util.errors import UserError, unknown_name
from kmodpipe.util.files import write_atomically
from kmodpipe.util.screen import Screen
from kmodpipe.util.text import count

ANNOTATE = ("github", "none")
_FILES = ("check.sarif", "code-quality.json", "junit.xml")


def check(options: CheckOptions, call: Invocation) -> int:
    """Check each patch, print what is new, and write the report in every form."""
    annotate, wanted = _checked(options)
    began, clock = datetime.now(UTC), time.monotonic()
    spec = resolve(replace(options, each_patch=True, no_control=False), call)
    if not spec.series:
        raise UserError("there is no patch to check", hint="name a series: invoke check --series NAME")
    again = process.pasteable([call.program, "check", *command_line(options, Use.REPEAT)])
    spec = replace(spec, repeat_command=again)
    with call.cache() as cache:
        workspace = set_up(spec, cache, call.screen)
        with RunFolder(spec.out) as folder:
            call.screen.log_to(folder.path / "events.jsonl")
            report, tally = run.check(workspace, folder, semantic=options.coccinelle)
            report = _with_paths(report, workspace, call.root)
            made = _as_run(report, workspace, began)
            _write(report, made, folder.path)
            folder.complete()
    for name, path in wanted.items():
        reporting.hand_over(folder.path / name, path)
    _show(report, made, folder.path, call.screen, tally, time.monotonic() - clock, annotate=annotate)
    if options.json:
        call.screen.document(report.to_json())
    return results.exit_code(made)


def _checked(options: CheckOptions) -> tuple[bool, dict[str, str]]:
    """Return whether to print annotations, and where files go. Raise UserError for what cannot be."""
    if options.annotate and options.annotate not in ANNOTATE:
        raise unknown_name("CI", options.annotate, ANNOTATE, where="--annotate")
    wanted = dict(zip(_FILES, (options.sarif, options.code_quality, options.junit), strict=True))
    for path in filter(None, wanted.values()):
        if paths.is_dir(Path(path)):
            raise UserError("this is a folder, a file's name is needed", where=path)
    by_itself = os.environ.get("GITHUB_ACTIONS") == "true" and not options.json
    return options.annotate == "github" or (not options.annotate and by_itself), wanted


def _with_paths(report: Report, workspace: Workspace, root: Path) -> Report:
    """Return the report with the files of patches that are in the project."""
    known = {
        (one.name, patch.name): patch.path.resolve()
        for one in workspace.spec.series
        for patch in one.every_patch
    }
    top = root.resolve()

    def place(series: str, name: str) -> str:
        path = known.get((series, name))
        inside = path is not None and path.is_relative_to(top) and paths.is_file(path)
        return path.relative_to(top).as_posix() if path and inside else ""

    return replace(
        report,
        series=tuple(
            replace(
                one,
                patches=tuple(replace(patch, path=place(one.series, patch.name)) for patch in one.patches),
            )
            for one in report.series
        ),
    )


def _as_run(report: Report, workspace: Workspace, began: datetime) -> Run:
    ended = datetime.now(UTC).isoformat(timespec="seconds")
    properties = provenance.of_run(workspace, None, {})
    return as_run(report, began.isoformat(timespec="seconds"), ended, properties)


def _write(report: Report, made: Run, folder: Path) -> None:
    for name, document in (
        ("check.json", report.to_json()),
        ("check.sarif", sarif.document(report)),
        ("code-quality.json", code_quality.document(report)),
    ):
        write_atomically(folder / name, json.dumps(document, indent=1, ensure_ascii=True))
    results.save(made, folder / "results.json")
    junit.save(made, folder / "junit.xml")
    html.save(made, folder / "report.html")


def _show(
    report: Report, made: Run, folder: Path, shown: Screen, tally: Tally, seconds: float, *, annotate: bool
) -> None:
    begin, end = github.stop(secrets.token_hex(16)) if annotate else ("", "")
    if annotate:
        shown.print(begin)
    for line in screen.first_lines(report):
        shown.print(line)
    shown.show(terminal.Matrix(made))
    for line in screen.details(report):
        shown.print(line)
    if annotate:
        shown.print(end)
        for line in github.commands(report):
            shown.print(line)
    shown.print("")
    shown.print(f"{count(len(tally.made), 'step')} made, {len(tally.cached)} cached, in {seconds:.1f} s")
    shown.print(
        f"look closer: {os.path.relpath(folder)}/report.html; check.json and check.sarif have each finding"
    )
    reporting.append_summary(lambda: reporting.job_summary(made), shown)
