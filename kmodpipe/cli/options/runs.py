"""The commands that boot guests, on this machine or on many."""

from __future__ import annotations

from dataclasses import dataclass

from kmodpipe.cli.option import Use, Values, option
from kmodpipe.cli.options.cells import BuildOptions, ClusterOptions, RunOptions, TreeOptions
from kmodpipe.cli.options.derived import JSON, JUNIT, MACHINE, NO_RUN, OUTPUT, Common

_WHICH = "each edit has an answer of its own"
_ANSWER = "it asks another question, of which --if-changed knows nothing"
_BY_HAND = "a guest that is used by hand gives no verdict"


@dataclass(frozen=True)
class BootOptions(BuildOptions):
    """invoke boot."""

    case: tuple[str, ...] = option(
        (),
        "run this case and stay, or a script of your own by its path; the others are there as well",
        exempt=_BY_HAND, short="c", of=Values.CASE,
    )  # fmt: skip
    folder: str = option(
        "", "a folder of this machine to have at /host in the guest, read-only", exempt=_BY_HAND,
        of=Values.FOLDER,
    )  # fmt: skip
    writable: bool = option(False, "let the guest write to the folder", exempt=_BY_HAND)
    gdb: bool = option(
        False, "let gdb attach: print its command, with the addresses of the modules", exempt=_BY_HAND
    )


@dataclass(frozen=True)
class TestOptions(RunOptions, ClusterOptions):
    """invoke test."""

    __test__ = False  # not a test class: the name makes pytest think so

    junit: str = option("", JUNIT, exempt=OUTPUT, path=True)
    json: bool = option(False, JSON, exempt=OUTPUT)


@dataclass(frozen=True)
class AttachOptions(Common):
    """invoke attach."""

    run: str = option(
        "", "the folder of a run that --on began, if not the newest", exempt=NO_RUN, of=Values.RUN
    )
    junit: str = option("", JUNIT, exempt=NO_RUN, path=True)
    json: bool = option(False, JSON, exempt=NO_RUN)


@dataclass(frozen=True)
class CoverOptions(RunOptions):
    """invoke cover."""

    inject: bool = option(
        False,
        "fail the first allocation of each case, then the second … until none is left; count that as well",
        exempt=_ANSWER,
    )
    fail_under: str = option(
        "", "exit 1 if fewer percent of the changed lines with code are executed", exempt=_ANSWER
    )
    json: bool = option(False, JSON, exempt=OUTPUT)


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
        "", "the folder for the files to edit, if not one of the module's name here", exempt=OUTPUT,
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
class CiOptions(RunOptions, ClusterOptions):
    """invoke ci."""

    junit: str = option("", JUNIT, exempt=OUTPUT, path=True)
    if_changed: bool = option(
        False, "do nothing if tree, series, matrix, cases and image are unchanged",
        exempt="the question is what it compares",
    )  # fmt: skip
    publish: tuple[str, ...] = option(
        (), "at the end, send the results to this receiver; repeatable", exempt=OUTPUT, of=Values.RECEIVER
    )


@dataclass(frozen=True)
class WatchOptions(RunOptions):
    """invoke watch."""

    whole: bool = option(
        False, "run everything after each change, also what the change does not concern", exempt=MACHINE
    )
    keep: int = option(10, "keep the runs of so many rounds, below OUT/watch", exempt=OUTPUT)


@dataclass(frozen=True)
class MatrixOptions(RunOptions):
    """invoke matrix."""

    format: str = option(
        "json",
        "for which CI: gitlab, github, or json, which collect reads",
        exempt=OUTPUT,
        of=Values.PLAN_FORM,
    )
    per_job: int = option(
        0, "how many cells a job has; 0 means as few as the CI's limit on jobs allows", exempt=MACHINE
    )
    prepare: bool = option(
        False, "build what all cells share first: the kernel bases and the guest", exempt=MACHINE
    )
    plan: str = option("", "a plan.json that invoke matrix wrote", exempt="a finished plan", path=True)
    to: str = option("", "the file to write, instead of the screen", exempt=OUTPUT, path=True)


@dataclass(frozen=True)
class AblateOptions(BuildOptions):
    """invoke ablate."""

    case: tuple[str, ...] = option(
        (),
        "only this case or those of a pattern, or a script of your own by its path; repeatable",
        Use.QUESTION,
        short="c",
        of=Values.CASE,
    )
    design: str = option(
        "", "the design whose expectations hold for the series, if it declares none", Use.QUESTION
    )
    kind: tuple[str, ...] = option(
        (), "only this: hunk (left out), or a mistake: condition, error, constant, call; repeatable",
        exempt=_WHICH, of=Values.EDIT_KIND,
    )  # fmt: skip
    only: tuple[str, ...] = option(
        (), "only what has this id or begins with it: 3 (a patch), 3.2 (a hunk), 3.2-constant-1; repeatable",
        exempt=_WHICH,
    )  # fmt: skip
    budget: str = option(
        "", "begin nothing after this time (90s, 10m, 2h), and the most telling first; a next run goes on",
        exempt=_WHICH,
    )  # fmt: skip
    coverage: str = option(
        "", "the run of invoke cover that says what each case executes, if not the newest that fits; or none",
        exempt="it spares work, and changes no answer", path=True, of=Values.RUN,
    )  # fmt: skip
    whole: bool = option(False, "print what was noticed as well, and by what", exempt=OUTPUT)
    json: bool = option(False, JSON, exempt=OUTPUT)
