"""The options of every command: one frozen dataclass a group, one field an option.

A field has the option's name, type and default; `option` adds its help, its short form, what its values are,
and where else it is used. Made from the fields are the Invoke tasks (`tasks.py`), the help and the check of
a command line (`usage.py`), its completion (`completion.py`), further command lines (`command_line`: that of
a fan-out job, and the one that runs a result again), and the question of --if-changed (`question`). A tuple
is an option that may be repeated. `COMMANDS`, at the end, says which command takes which group.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from kmodpipe.cli.option import EVERYWHERE, option
from kmodpipe.cli.option import Option as Option
from kmodpipe.cli.option import Use as Use
from kmodpipe.cli.option import Values as Values


def options_of(group: type[Common]) -> tuple[Option, ...]:
    """Return the options of a group, those that it inherits included."""
    return tuple(
        Option(
            f.name,
            f.default,
            f.metadata["help"],
            f.metadata["short"],
            f.metadata["uses"],
            f.metadata["exempt"],
            f.metadata["path"],
            f.metadata["values"],
        )
        for f in fields(group)
    )


def forms_of(group: type[Common]) -> dict[str, Option]:
    """Return the options of a group by each form in which they are typed: ``--jobs`` and ``-j``."""
    found = {one.flag: one for one in options_of(group)}
    return found | {f"-{one.short}": one for one in found.values() if one.short}


def _given(values: Common, use: Use) -> Iterator[tuple[Option, Any]]:
    """Yield the options with this use, and their values."""
    for one in options_of(type(values)):
        if use in one.uses:
            yield one, getattr(values, one.name)


def question(values: Common) -> Mapping[str, object]:
    """Return the part of a command line that its verdicts depend on, as plain JSON."""
    return {one.name: list(value) if one.repeatable else value for one, value in _given(values, Use.QUESTION)}


def command_line(values: Common, use: Use) -> list[str]:
    """Return the words of a command line with these values; defaults are left out."""
    words: list[str] = []
    for one, value in _given(values, use):
        if value == one.default:
            continue
        if one.is_path and use is Use.REPEAT:
            value = str(Path(value).absolute())
        if isinstance(value, bool):
            words.append(one.flag)
        else:
            words += [word for v in (value if one.repeatable else [value]) for word in (one.flag, str(v))]
    return words


_MACHINE = "how the work is done, not what is tested"
_OUTPUT = "where results go, not what they are"


@dataclass(frozen=True)
class Common:
    """The options that every command takes, so that a script can pass them to all."""

    jobs: int = option(
        0, "how many compilers or guests at once; 0 means one a processor", short="j", exempt=_MACHINE
    )
    out: str = option("out", "the folder for results", short="o", exempt=_OUTPUT, of=Values.FOLDER)
    quiet: bool = option(False, "warnings, errors and final tables only", short="q", exempt=_OUTPUT)
    verbose: bool = option(False, "show each command as it is run", short="v", exempt=_OUTPUT)


_JSON = "print one JSON document on stdout, and nothing else there"


@dataclass(frozen=True)
class DoctorOptions(Common):
    """invoke doctor."""

    json: bool = option(False, _JSON, exempt=_OUTPUT)


@dataclass(frozen=True)
class TreeOptions(Common):
    """Which kernels."""

    tree: tuple[str, ...] = option(
        (),
        "a declared tree, a folder, a git URL with #ref, or a tarball by path or URL; or NAME= and one of "
        "these; repeatable: each is a kernel to test",
        EVERYWHERE,
        short="t",
        of=Values.TREE,
    )
    kernel: tuple[str, ...] = option(
        (), "the same by another name: a distribution's own kernel such as debian-12, or a tree; repeatable",
        EVERYWHERE, short="k", of=Values.TREE,
    )  # fmt: skip
    head: bool = option(False, "the trees' moving branch heads instead of their pinned commits", EVERYWHERE)

    @property
    def kernels(self) -> tuple[str, ...]:
        """All kernels that are named."""
        return (*self.tree, *self.kernel)


@dataclass(frozen=True)
class SourceOptions(TreeOptions):
    """Which tree, and which series on it."""

    series: tuple[str, ...] = option(
        (), "a name under patches/, a folder, mailbox or patch, REPOSITORY#BASE..TOPIC, the "
        "Message-ID of a list, or none; repeatable",
        Use.QUESTION | Use.JOB, short="s", of=Values.SERIES,
    )  # fmt: skip


@dataclass(frozen=True)
class BuildOptions(SourceOptions):
    """Which cells are built, and where."""

    each_patch: bool = option(
        False, "the series after each of its patches as well, as NAME@1, NAME@2 …", EVERYWHERE
    )
    matrix: str = option("", "the matrix file, if not the one of pyproject.toml", EVERYWHERE, path=True)
    config: tuple[str, ...] = option(
        (),
        "a symbol for every cell, SYMBOL=y, over what the fragments say; or a fragment's path; repeatable",
        EVERYWHERE,
    )
    module: str = option(
        "",
        "the module under test, if the series does not name it: a folder, or one module of it "
        "(drivers/md/dm-snapshot.ko); or the source of one in no tree: a path such as . or a git URL",
        EVERYWHERE,
        of=Values.MODULE,
    )
    # A job names its cells, and with them their flavours.
    flavour: tuple[str, ...] = option(
        (),
        "only this flavour of the matrix; plain and all are known; repeatable",
        Use.QUESTION | Use.REPEAT,
        of=Values.FLAVOUR,
    )
    cell: tuple[str, ...] = option(
        (), "only this cell; patterns with * work; repeatable", Use.QUESTION, of=Values.CELL
    )
    sample: int = option(
        0,
        "of the cells, only so many that have every combination of so many axes' values: 2 for all pairs",
        Use.QUESTION,
    )
    no_control: bool = option(
        False, "leave the unpatched tree out: nothing is compared, and every report says so", Use.QUESTION
    )
    runtime: str = option(
        "docker",
        "where builds run: docker, or host (own compiler, no isolation)",
        EVERYWHERE,
        of=Values.RUNTIME,
    )
    share: str = option(
        "", "a registry's repository to share built artifacts through, or none", Use.JOB,
        exempt="artifacts from a registry are the same as built here, by key and digest", of=Values.SHARE,
    )  # fmt: skip


@dataclass(frozen=True)
class PlanOptions(BuildOptions):
    """invoke plan."""

    json: bool = option(False, _JSON, exempt=_OUTPUT)


@dataclass(frozen=True)
class RunOptions(BuildOptions):
    """Which cases run in the cells, and how often."""

    case: tuple[str, ...] = option(
        (),
        "only this case or those of a pattern, or a script of your own by its path; repeatable",
        Use.QUESTION | Use.JOB,
        short="c",
        of=Values.CASE,
    )
    design: str = option(
        "", "the design whose expectations hold for the series, if it declares none", EVERYWHERE
    )
    shuffle: str = option(
        "", "run the cases in another order, by this seed, or: random; 0 as declared", Use.JOB,
        exempt="the order of cases changes no verdict, and a random one would differ every night",
        of=Values.SEED,
    )  # fmt: skip
    allow_empty: bool = option(
        False, "exit 0 also if no case was judged, in the whole run or with a series", Use.QUESTION | Use.JOB
    )
    attempts: int = option(
        1, "run a failing case again in a fresh guest, up to this many times in all", Use.QUESTION | Use.JOB
    )
    repeat: int = option(
        1,
        "run each case this many times, each in a fresh guest, and report the rate of failure",
        Use.QUESTION | Use.JOB,
    )


_JUNIT = "write the JUnit file here as well"


@dataclass(frozen=True)
class TestOptions(RunOptions):
    """invoke test."""

    __test__ = False  # not a test class: the name makes pytest think so

    junit: str = option("", _JUNIT, exempt=_OUTPUT, path=True)
    json: bool = option(False, _JSON, exempt=_OUTPUT)


_FIRST = "what is tested is in the files that it writes"


@dataclass(frozen=True)
class TryOptions(TreeOptions):
    """invoke try."""

    series: tuple[str, ...] = option(
        (), "a series to try on the module as well, as for test; repeatable", Use.QUESTION, short="s",
        of=Values.SERIES,
    )  # fmt: skip
    module: str = option(
        "", "the folder of the tree, or one module of it: drivers/block/zram", exempt=_FIRST, of=Values.MODULE
    )
    symbol: tuple[str, ...] = option(
        (), "of a folder with many modules the one that this symbol makes; repeatable", exempt=_FIRST
    )
    to: str = option(
        "", "the folder for the files to edit, if not one of the module's name here", exempt=_OUTPUT,
        of=Values.FOLDER,
    )  # fmt: skip
    write_only: bool = option(False, "write the files; build and run nothing", exempt=_FIRST)
    runtime: str = option(
        "docker",
        "where builds run: docker, or host (own compiler, no isolation)",
        Use.QUESTION,
        of=Values.RUNTIME,
    )
    share: str = option(
        "", "a registry's repository to share built artifacts through, or none",
        exempt="artifacts from a registry are the same as built here, by key and digest", of=Values.SHARE,
    )  # fmt: skip


@dataclass(frozen=True)
class CiOptions(RunOptions):
    """invoke ci."""

    junit: str = option("", _JUNIT, exempt=_OUTPUT, path=True)
    if_changed: bool = option(
        False, "do nothing if tree, series, matrix, cases and image are unchanged",
        exempt="the question is what it compares",
    )  # fmt: skip
    publish: tuple[str, ...] = option(
        (), "at the end, send the results to this receiver; repeatable", exempt=_OUTPUT, of=Values.RECEIVER
    )


@dataclass(frozen=True)
class MatrixOptions(RunOptions):
    """invoke matrix."""

    format: str = option(
        "json",
        "for which CI: gitlab, github, or json, which collect reads",
        exempt=_OUTPUT,
        of=Values.PLAN_FORM,
    )
    per_job: int = option(
        0, "how many cells a job has; 0 means as few as the CI's limit on jobs allows", exempt=_MACHINE
    )
    prepare: bool = option(
        False, "build what all cells share first: the kernel bases and the guest", exempt=_MACHINE
    )
    plan: str = option("", "a plan.json that invoke matrix wrote", exempt="a finished plan", path=True)
    to: str = option("", "the file to write, instead of the screen", exempt=_OUTPUT, path=True)


_NO_RUN = "the command runs no case"


@dataclass(frozen=True)
class ConfigOptions(Common):
    """invoke config, kmodpipe config check."""

    json: bool = option(False, _JSON, exempt=_NO_RUN)


@dataclass(frozen=True)
class InitOptions(Common):
    """invoke init."""

    yes: bool = option(False, "do not ask before files are written", exempt=_NO_RUN)
    ci: str = option(
        "", "write a file for this CI as well: github or gitlab", exempt=_NO_RUN, of=Values.CI_NAME
    )


@dataclass(frozen=True)
class SetupOptions(Common):
    """invoke setup."""

    yes: bool = option(False, "do not ask before using sudo or installing", exempt=_NO_RUN)
    tests: bool = option(
        False, "also what this project's own integration tests need: nginx, a browser …", exempt=_NO_RUN
    )
    share: str = option(
        "",
        "a registry's repository to share built artifacts through, or none",
        exempt=_NO_RUN,
        of=Values.SHARE,
    )


@dataclass(frozen=True)
class CollectOptions(Common):
    """invoke collect."""

    plan: str = option("", "a plan.json that invoke matrix wrote", exempt=_NO_RUN, path=True)
    dir: tuple[str, ...] = option(
        (),
        "a folder with the jobs' results in or below it; patterns with * work; repeatable",
        exempt=_NO_RUN,
        of=Values.FOLDER,
    )


@dataclass(frozen=True)
class ReportOptions(Common):
    """invoke report."""

    run: str = option(
        "", "a run's folder or its results.json, if not the latest", exempt=_NO_RUN, of=Values.RUN
    )
    against: str = option(
        "",
        "compare with this run (folder, results.json, id), or with series:NAME of it",
        exempt=_NO_RUN,
        of=Values.AGAINST,
    )
    format: str = option(
        "",
        "findings (without --against), text (with it), markdown, mail, summary; of a module of its own "
        "source also support (a table of kernels) and badge (a picture)",
        exempt=_NO_RUN,
        of=Values.REPORT_FORM,
    )
    fail_on: tuple[str, ...] = option(
        (), "exit 1 if the comparison has one: new, flaky, lost (3), skipped, changed, slower, vanished",
        exempt=_NO_RUN, of=Values.CHANGE,
    )  # fmt: skip
    to: str = option("", "the file to write, instead of the screen", exempt=_NO_RUN, path=True)
    html: str = option("", "write the HTML report to this file", exempt=_NO_RUN, path=True)
    junit: str = option("", _JUNIT, exempt=_NO_RUN, path=True)
    strict: bool = option(False, "only what Jenkins' xunit schema takes", exempt=_NO_RUN)
    json: bool = option(False, _JSON, exempt=_NO_RUN)
    open: bool = option(False, "show the HTML report in a browser, or print where it is", exempt=_NO_RUN)
    series: tuple[str, ...] = option(
        (),
        "the series that --format mail replies to, if there are several",
        short="s",
        exempt=_NO_RUN,
        of=Values.SERIES,
    )


@dataclass(frozen=True)
class PublishOptions(Common):
    """invoke publish."""

    to: tuple[str, ...] = option(
        (), "a receiver declared in pyproject.toml; repeatable", exempt=_NO_RUN, of=Values.RECEIVER
    )
    run: str = option(
        "", "a run's folder or its results.json, if not the latest", exempt=_NO_RUN, of=Values.RUN
    )
    pending: bool = option(False, "send what could not be sent before, to all receivers", exempt=_NO_RUN)
    dry_run: bool = option(
        False,
        "show what would be sent (with --pending: what is pending, and why); send nothing",
        exempt=_NO_RUN,
    )
    again: bool = option(False, "send also what has arrived before, or may have", exempt=_NO_RUN)


@dataclass(frozen=True)
class CleanOptions(Common):
    """invoke clean."""

    all: bool = option(False, "also the fetched trees and downloads", exempt=_NO_RUN)
    results: bool = option(
        False, "instead of the cache: the runs below --out, which are listed first", exempt=_NO_RUN
    )
    keep: int = option(0, "with --results: keep so many of the newest runs", exempt=_NO_RUN)
    yes: bool = option(False, "do not ask before results are removed", exempt=_NO_RUN)
    dry_run: bool = option(False, "list what would be removed, and remove nothing", exempt=_NO_RUN)


def taken_from(group: type[RunOptions], values: Common) -> RunOptions:
    """Return *values* as a *group*; options that they do not have keep their defaults."""
    known: Sequence[str] = [f.name for f in fields(group)]
    return group(**{f.name: getattr(values, f.name) for f in fields(values) if f.name in known})


COMMANDS: Mapping[str, type[Common]] = {
    "init": InitOptions,
    "config": ConfigOptions,
    "setup": SetupOptions,
    "doctor": DoctorOptions,
    "fetch": TreeOptions,
    "patch": SourceOptions,
    "plan": PlanOptions,
    "build": BuildOptions,
    "boot": BuildOptions,
    "try": TryOptions,
    "test": TestOptions,
    "ci": CiOptions,
    "matrix": MatrixOptions,
    "collect": CollectOptions,
    "report": ReportOptions,
    "publish": PublishOptions,
    "clean": CleanOptions,
}
"""Each command, a function of `commands`, and the group of its options."""

VERBS: Mapping[str, str] = {"config": "check"}
"""What may stand behind the name of a command in the program; Invoke would take it for another task."""
