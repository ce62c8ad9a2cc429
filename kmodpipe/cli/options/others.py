"""The commands that run no case: about the machine, the project, the results and the cache."""

from __future__ import annotations

from dataclasses import dataclass

from kmodpipe.cli.option import Values, option
from kmodpipe.cli.options.derived import JSON, JUNIT, NO_RUN, OUTPUT, Common


@dataclass(frozen=True)
class DoctorOptions(Common):
    """invoke doctor."""

    json: bool = option(False, JSON, exempt=OUTPUT)


@dataclass(frozen=True)
class ConfigOptions(Common):
    """invoke config, kmodpipe config check."""

    json: bool = option(False, JSON, exempt=NO_RUN)


@dataclass(frozen=True)
class InitOptions(Common):
    """invoke init."""

    yes: bool = option(False, "ask nothing: take what was found, and write it", exempt=NO_RUN)
    ci: str = option(
        "",
        "write a file for this CI as well: github, gitlab or none; else as found",
        exempt=NO_RUN,
        of=Values.CI_NAME,
    )


@dataclass(frozen=True)
class SetupOptions(Common):
    """invoke setup."""

    yes: bool = option(False, "do not ask before using sudo or installing", exempt=NO_RUN)
    tests: bool = option(
        False, "also what this project's own integration tests need: nginx, a browser …", exempt=NO_RUN
    )
    share: str = option(
        "",
        "a registry's repository to share built artifacts through, or none",
        exempt=NO_RUN,
        of=Values.SHARE,
    )


@dataclass(frozen=True)
class CollectOptions(Common):
    """invoke collect."""

    plan: str = option("", "a plan.json that invoke matrix wrote", exempt=NO_RUN, path=True)
    dir: tuple[str, ...] = option(
        (),
        "a folder with the jobs' results in or below it; patterns with * work; repeatable",
        exempt=NO_RUN,
        of=Values.FOLDER,
    )


@dataclass(frozen=True)
class ReportOptions(Common):
    """invoke report."""

    run: str = option(
        "", "a run's folder or its results.json, if not the latest", exempt=NO_RUN, of=Values.RUN
    )
    against: str = option(
        "",
        "compare with this run (folder, results.json, id), or with series:NAME of it",
        exempt=NO_RUN,
        of=Values.AGAINST,
    )
    format: str = option(
        "",
        "findings, text, markdown, mail, summary; without it what a run ends with on a screen, findings "
        "elsewhere, text with --against; of a module of its own source also support (a table of kernels) and "
        "badge (a picture)",
        exempt=NO_RUN,
        of=Values.REPORT_FORM,
    )
    fail_on: tuple[str, ...] = option(
        (), "exit 1 if the comparison has one: new, flaky, lost (3), skipped, changed, slower, vanished",
        exempt=NO_RUN, of=Values.CHANGE,
    )  # fmt: skip
    to: str = option("", "the file to write, instead of the screen", exempt=NO_RUN, path=True)
    html: str = option("", "write the HTML report to this file", exempt=NO_RUN, path=True)
    junit: str = option("", JUNIT, exempt=NO_RUN, path=True)
    strict: bool = option(False, "only what Jenkins' xunit schema takes", exempt=NO_RUN)
    json: bool = option(False, JSON, exempt=NO_RUN)
    open: bool = option(False, "show the HTML report in a browser, or print where it is", exempt=NO_RUN)
    series: tuple[str, ...] = option(
        (),
        "the series that --format mail replies to, if there are several",
        short="s",
        exempt=NO_RUN,
        of=Values.SERIES,
    )


@dataclass(frozen=True)
class PublishOptions(Common):
    """invoke publish."""

    to: tuple[str, ...] = option(
        (), "a receiver that the project declares; repeatable", exempt=NO_RUN, of=Values.RECEIVER
    )
    run: str = option(
        "", "a run's folder or its results.json, if not the latest", exempt=NO_RUN, of=Values.RUN
    )
    pending: bool = option(False, "send what could not be sent before, to all receivers", exempt=NO_RUN)
    dry_run: bool = option(
        False,
        "show what would be sent (with --pending: what is pending, and why); send nothing",
        exempt=NO_RUN,
    )
    again: bool = option(False, "send also what has arrived before, or may have", exempt=NO_RUN)


@dataclass(frozen=True)
class CleanOptions(Common):
    """invoke clean."""

    all: bool = option(False, "also the fetched trees and downloads", exempt=NO_RUN)
    results: bool = option(
        False, "instead of the cache: the runs below --out, which are listed first", exempt=NO_RUN
    )
    keep: int = option(0, "with --results: keep so many of the newest runs", exempt=NO_RUN)
    yes: bool = option(False, "do not ask before results are removed", exempt=NO_RUN)
    dry_run: bool = option(False, "list what would be removed, and remove nothing", exempt=NO_RUN)
