"""`invoke report`, and the report at the end of a run."""

from __future__ import annotations

import os
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path

from kmodpipe import results
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import ReportOptions
from kmodpipe.judge import cases
from kmodpipe.report import (
    compare,
    findings,
    html,
    junit,
    junit_files,
    mail,
    markup,
    summary,
    support,
    terminal,
)
from kmodpipe.report.compare import Change, Comparison
from kmodpipe.results import CHECKED, OWN_MODULE, Run
from kmodpipe.util import costs, os_errors, paths, process
from kmodpipe.util.errors import ExitCode, KmodpipeError, UserError, unknown_name
from kmodpipe.util.files import write_atomically
from kmodpipe.util.screen import Screen
from kmodpipe.util.text import count

FORMATS = ("findings", "text", "markdown", "mail", "summary", "support", "badge")
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
"""The variable with which a CI system names the file for a job's summary."""
_SERIES = "series:"
# A comment on GitHub holds 65,536 characters, a step's summary 1 MiB.
_COMMENT_LIMIT, _SUMMARY_LIMIT = 60_000, 900_000


@costs.step(costs.Part.REPORT)
def show_end(run: Run, folder: Path, screen: Screen, *, provenance: bool) -> None:
    """Print the report at the end of a run, and append it to the summary of a CI job."""
    try:
        if provenance:
            for name, value in run.properties.items():
                screen.line(f"  {name}: {value}")
        screen.show(terminal.report(run))
        screen.print(f"results: {files_of(folder)}")
    finally:
        # Also if the terminal is gone.
        append_summary(lambda: job_summary(run), screen)


def files_of(folder: Path) -> str:
    """Return what a run's folder has, for the last line: ``out/latest/report.html, junit.xml and …``."""
    parts = junit_files.saved(folder / "junit.xml")
    last = f" to {parts[-1].name}" if len(parts) > 1 else ""
    return f"{os.path.relpath(folder)}/report.html, junit.xml{last} and results.json"


def hand_over(made: Path, wanted: str) -> None:
    """Copy the run's JUnit file *made* to the path *wanted*, if given; also after an unfinished run.

    Of a large run that is the first of several, and the others go beside it.
    """
    if wanted and made.is_file():
        try:
            junit_files.copy(made, Path(wanted).absolute())
        except OSError as e:
            raise _not_written(e, wanted) from None


def report(options: ReportOptions, call: Invocation) -> int:
    """Write and print the requested reports; return 0, or the exit code of --fail-on."""
    screen, out = call.screen, Path(options.out)
    _check(options)
    path = _results_file(options.run or "latest", out)
    run = results.load(path)
    write: Callable[[Path], Sequence[Path] | None]
    for file, write in (
        (options.html, lambda target: html.save(run, target, path.parent)),
        (options.junit, lambda target: junit.save(run, target, strict=options.strict)),
    ):
        if file:
            _written(Path(file), write, screen)
    if options.open:
        _open(run, path.parent, screen)
    found = _comparison(run, options, out)
    if options.json:
        screen.document(compare.document(found) if found else results.to_json(run))
    elif options.format or found or not (options.html or options.junit or options.open):
        _show(run, found, options, call)
    if not found:
        return ExitCode.OK
    bad = found.fails(options.fail_on)
    if bad:
        screen.line(f"--fail-on: {', '.join(f'{found.counts[c]} {c.value}' for c in bad)}")
    return ExitCode.OK if not bad else ExitCode.INFRA if set(bad) == {Change.LOST} else ExitCode.FAILURE


def _check(options: ReportOptions) -> None:
    """Raise UserError for options that do not fit together."""
    if options.format and options.format not in FORMATS:
        raise unknown_name("format", options.format, FORMATS, where="--format")
    for name in options.fail_on:
        if name not in compare.FAIL_ON:
            raise unknown_name("change", name, compare.FAIL_ON, where="--fail-on")
    if options.fail_on and not options.against:
        raise UserError("--fail-on needs something to compare with", hint="name a run: --against RUN")
    if options.format == "findings" and options.against:
        raise UserError("the page of findings is about one run", hint="--format text or markdown compares")
    if options.series and options.format != "mail":
        raise UserError("--series is for the mail about a series", hint="--format mail --series NAME")
    if options.json and (options.format or options.to):
        other = "--format" if options.format else "--to"
        raise UserError(f"--json and {other} exclude each other", hint="--json prints one document on stdout")
    if options.strict and not options.junit:
        raise UserError("--strict is a profile of the JUnit file", hint="--junit FILE --strict")


def _results_file(name: str, out: Path) -> Path:
    """Return the results.json of *name*: a file, a folder, or a run's id below *out*. Raise UserError."""
    for given in (Path(name), out / name):
        file = given if paths.is_file(given) else given / "results.json"
        if paths.is_file(file):
            return file.resolve()
    known = sorted((p.parent.name for p in out.glob("*/results.json")), reverse=True)
    hint = f"below {out} there are: {', '.join(known[:5])}" if known else "run first: invoke test"
    raise UserError(f"there is no run {name!r}", where=str(out), hint=hint)


def _comparison(run: Run, options: ReportOptions, out: Path) -> Comparison | None:
    if not options.against:
        return None
    if options.against.startswith(_SERIES):
        return compare.series(run, options.against.removeprefix(_SERIES))
    before = results.load(_results_file(options.against, out))
    if before.id == run.id:
        raise UserError(
            f"run {run.id} is compared with itself", hint="name an earlier one, or series:NAME of this one"
        )
    return compare.runs(before, run)


def _show(run: Run, found: Comparison | None, options: ReportOptions, call: Invocation) -> None:
    if not options.format and not options.to and not found and call.screen.has_reader:
        call.screen.show(terminal.report(run))
        return
    form = options.format or ("text" if found else "findings")
    page = _page(form, run, found, options, call)
    if options.to:
        _written(Path(options.to), lambda target: write_atomically(target, page), call.screen)
    elif form == "summary" and os.environ.get(STEP_SUMMARY):
        append_summary(lambda: page, call.screen)
    else:
        call.screen.print(page.rstrip("\n"))


def _page(form: str, run: Run, found: Comparison | None, options: ReportOptions, call: Invocation) -> str:
    if form == "findings" and CHECKED in run.properties:
        # It claims nothing of cases, and has a line for each finding.
        return markup.text(summary.whole(run, None))
    if form == "findings":
        folder = call.project().cases
        known = cases.load(folder)
        return findings.page(run, known, findings.load_claims(folder, known))
    if form == "mail":
        if len(options.series) > 1:
            raise UserError("a mail is about one series", hint="--series NAME")
        return mail.text(run, "".join(options.series), found, _tester())
    if form == "support":
        return markup.markdown(support.blocks(run), _COMMENT_LIMIT)
    if form == "badge":
        return support.badge(run)
    if form == "text":
        return markup.text(summary.whole(run, found))
    if form == "markdown":
        return markup.markdown(summary.whole(run, found, [summary.provenance(run)]), _COMMENT_LIMIT)
    return job_summary(run, found)


def job_summary(run: Run, found: Comparison | None = None) -> str:
    """Return the summary of a CI job, as Markdown."""
    extra = [summary.matrix(run), summary.provenance(run)]
    first = support.blocks(run) if OWN_MODULE in run.properties else []
    return markup.markdown([*first, *summary.whole(run, found, extra)], _SUMMARY_LIMIT)


def append_summary(page: Callable[[], str], screen: Screen) -> None:
    """Append the page to the file for the job's summary, if there is one. An error is only a warning."""
    path = os.environ.get(STEP_SUMMARY)
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8", errors="backslashreplace") as f:
            f.write(page())
    except OSError as e:
        screen.warn(f"the summary could not be written to {path}: {e.strerror}")
    else:
        screen.say(f"summary: added to {STEP_SUMMARY}")


def _tester() -> str:
    """Return ``Name <address>`` of git's user, empty if git does not know both."""
    user = [
        process.run(["git", "config", name], timeout_s=10, check=False).text.strip()
        for name in ("user.name", "user.email")
    ]
    return f"{user[0]} <{user[1]}>" if all(user) else ""


def _written(path: Path, write: Callable[[Path], Sequence[Path] | None], screen: Screen) -> None:
    if path.is_dir():
        raise UserError("this is a folder, a file's name is needed", where=str(path))
    try:
        made = write(path.absolute())
    except OSError as e:
        raise _not_written(e, str(path)) from None
    more = f" and {count(len(made) - 1, 'part')} more, to {made[-1].name}" if made and len(made) > 1 else ""
    screen.print(f"written: {path}{more}")


def _not_written(error: OSError, where: str) -> KmodpipeError:
    """Return InfraError for a machine error such as a full disk, else UserError: the path is unusable."""
    return os_errors.explain(error) or UserError(f"the file cannot be written: {error.strerror}", where=where)


def _open(run: Run, folder: Path, screen: Screen) -> None:
    """Show the report in a browser; print its path if there is none."""
    path = folder / "report.html"
    if not path.is_file():
        html.save(run, path)
    where_to = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    if any(os.environ.get(name) for name in where_to) and webbrowser.open(path.as_uri()):
        screen.print(f"opened: {path}")
    else:
        screen.print(f"there is no browser here, the report is {path}")
