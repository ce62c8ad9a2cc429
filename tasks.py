"""The commands: parse, call the package, exit code. No logic.

Everything a command does is in `kmodpipe.commands`; this file alone turns how it ended into an exit status.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from invoke import Context, Exit, Task, task

from kmodpipe.cli import commands
from kmodpipe.cli.exit import guarded
from kmodpipe.cli.options import Asking
from kmodpipe.util import signals
from kmodpipe.util.screen import open_streams

ROOT = Path(__file__).resolve().parent
open_streams()


class Flag(NamedTuple):
    """One command line flag; a list as default means that it may be repeated. ``field`` is where in `Asking`
    it goes, if not by its name."""

    name: str
    default: Any
    help: str
    field: str = ""


TREE = Flag("tree", "", "a declared tree, a folder, a git URL with #ref, or a tarball by path or URL")
HEAD = Flag("head", False, "the tree's moving branch head instead of its pinned commit")
SERIES = Flag("series", [], "a name under patches/, a folder of patches, an mbox, or none; repeatable")
MATRIX = Flag("matrix", "", "the matrix file, if not the one of pyproject.toml")
MODULE = Flag("module", "", "the module folder under test, where the series does not say it")
FLAVOUR = Flag("flavour", [], "only this flavour of the matrix; plain and all are known; repeatable")
CELL = Flag("cell", [], "only this cell; patterns with * work; repeatable")
CASE = Flag("case", [], "only this case, or a script of your own by its path; repeatable")
SHUFFLE = Flag("shuffle", "", "run the cases in another order, by this seed, or: random; 0 as declared")
ATTEMPTS = Flag("attempts", 1, "run a case that fails again in a fresh guest, up to so many times in all")
REPEAT = Flag("repeat", 1, "run each case so often, each in a fresh guest, and tell the rate of failure")
SHARE = Flag("share", "", "a registry's repository that what is built comes from and goes to, or none")
EACH_PATCH = Flag("each_patch", False, "the series after each of its patches as well, as NAME@1, NAME@2 …")
RUNTIME = Flag("runtime", "docker", "where builds run: docker, or host (own compiler, no isolation)")
JOBS = Flag("jobs", 0, "how many compilers or guests at once; 0 means one a processor")
OUT = Flag("out", "out", "the folder for results")
QUIET = Flag("quiet", False, "warnings, errors and final tables only")
YES = Flag("yes", False, "do not ask before using sudo or installing")
TESTS = Flag("tests", False, "what this project's own integration tests take as well: nginx, a browser …")
ALL = Flag("all", False, "the fetched trees and downloads as well")

IF_CHANGED = Flag(
    "if_changed", False, "do nothing where tree, series, matrix, cases and image are as they were"
)
MATRIX_FORMAT = Flag("format", "json", "for which CI: gitlab, github, or json, which collect reads")
PER_JOB = Flag("per_job", 0, "how many cells a job has; 0 means as few as the CI's limit on jobs allows")
PREPARE = Flag("prepare", False, "build what all cells share first: the kernel bases and the guest")
PLAN = Flag("plan", "", "a plan.json that invoke matrix wrote")
DIR = Flag("dir", [], "a folder with the jobs' results in or below it; patterns with * work; repeatable")
RUN = Flag("run", "", "a run's folder or its results.json, if not the latest")
TO = Flag("to", "", "the file to write, instead of the screen")
AGAINST = Flag("against", "", "compare with this run (folder, results.json, id), or with series:NAME of it")
FORMAT = Flag("format", "", "findings (without --against), text (with it), markdown, mail or summary")
FAIL_ON = Flag(
    "fail_on",
    [],
    "exit 1 where the comparison has one: new, flaky, lost (3), skipped, changed, slower, vanished",
)
HTML = Flag("html", "", "write the HTML report to this file")
JUNIT = Flag("junit", "", "write the JUnit file here as well")
STRICT = Flag("strict", False, "only what Jenkins' xunit schema takes")
OPEN = Flag("open", False, "show the HTML report in a browser, or say where it is")
MAIL_SERIES = Flag("series", [], "the series that --format mail replies to, where there are several")

TO_RECEIVER = Flag("to", [], "a receiver declared in pyproject.toml; repeatable", field="receivers")
PUBLISH = Flag("publish", [], "at the end, the results to this receiver; repeatable", field="receivers")
PENDING = Flag("pending", False, "what could not be sent before, to whichever receiver")
DRY_RUN = Flag(
    "dry_run", False, "show what would be sent (with --pending: what waits, and why); send nothing"
)
AGAIN = Flag("again", False, "what has arrived before, or may have, as well")

SOURCE = (TREE, HEAD, SERIES)
# Every command takes these, so that a script can pass the same ones to all.
COMMON = (JOBS, OUT, QUIET)
BUILD = (*SOURCE, EACH_PATCH, MATRIX, MODULE, FLAVOUR, CELL, RUNTIME, SHARE, *COMMON)


def command(*flags: Flag) -> Callable[[Callable[[Asking], int]], Task[Any]]:
    """Make a task of a function of `Asking`, with ``flags`` as its command line."""

    def decorate(body: Callable[[Asking], int]) -> Task[Any]:
        def run(c: Context, **given: Any) -> None:
            signals.install()
            asked = {f.field or f.name: given[f.name] for f in flags}
            code = guarded(body, Asking(root=ROOT, **asked))
            if code:
                raise Exit(code=code)

        keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter("c", keyword),
                *(inspect.Parameter(f.name, keyword, default=f.default) for f in flags),
            ]
        )
        run.__name__, run.__doc__ = body.__name__, body.__doc__
        repeatable = [f.name for f in flags if isinstance(f.default, list)]
        made: Task[Any] = task(help={f.name: f.help for f in flags}, iterable=repeatable)(run)
        return made

    return decorate


@command(YES, TESTS, SHARE, *COMMON)
def setup(asking: Asking) -> int:
    """Find what this machine lacks (Docker Engine, QEMU, the builder image) and install it."""
    return commands.setup(asking)


@command(*COMMON)
def doctor(asking: Asking) -> int:
    """Look at what this machine has and lacks, with the fix beside each problem; change nothing."""
    return commands.doctor(asking)


@command(TREE, HEAD, *COMMON)
def fetch(asking: Asking) -> int:
    """Fetch and verify a kernel tree."""
    return commands.fetch(asking)


@command(*SOURCE, *COMMON)
def patch(asking: Asking) -> int:
    """Apply each series strictly to the tree, and say where the patched trees are."""
    return commands.patch(asking)


@command(*BUILD)
def plan(asking: Asking) -> int:
    """Print every step as cached or to do, and why; fetch, build and boot nothing."""
    return commands.plan(asking)


@command(*BUILD)
def build(asking: Asking) -> int:
    """Build the kernel base, and the module of every legal cell."""
    return commands.build(asking)


@command(*BUILD)
def boot(asking: Asking) -> int:
    """Build one cell (--cell ID) and open a shell in its guest."""
    return commands.boot(asking)


@command(*BUILD, CASE, SHUFFLE, ATTEMPTS, REPEAT, JUNIT)
def test(asking: Asking) -> int:
    """Build every legal cell, boot it, run the cases, judge them, write the results."""
    return commands.test(asking)


@command(*BUILD, CASE, SHUFFLE, ATTEMPTS, REPEAT, IF_CHANGED, JUNIT, PUBLISH)
def ci(asking: Asking) -> int:
    """The whole job for a scheduler: test with plain output and the provenance on the screen."""
    return commands.ci(asking)


@command(PER_JOB, PREPARE, PLAN, MATRIX_FORMAT, TO, *BUILD, CASE, SHUFFLE, ATTEMPTS, REPEAT)
def matrix(asking: Asking) -> int:
    """Print which jobs would run which cells, in the form that a CI takes."""
    from kmodpipe.cli import fan_out as fanout

    return fanout.matrix(asking)


@command(PLAN, DIR, *COMMON)
def collect(asking: Asking) -> int:
    """Merge what the jobs of a plan found into one run; a cell that is missing or there twice fails it."""
    from kmodpipe.cli import fan_out as fanout

    return fanout.collect(asking)


@command(RUN, AGAINST, FORMAT, FAIL_ON, TO, HTML, JUNIT, STRICT, OPEN, MAIL_SERIES, *COMMON)
def report(asking: Asking) -> int:
    """Print what a run found, or what changed since another one (--against); write HTML and JUnit."""
    return commands.report(asking)


@command(TO_RECEIVER, RUN, PENDING, DRY_RUN, AGAIN, *COMMON)
def publish(asking: Asking) -> int:
    """Send a run's results to declared receivers, through an outbox that loses and doubles nothing.

    Exit code 0: all delivered; 3: something is pending still, and --pending sends it; 2: configuration.
    Tokens come from the environment or a file, as the receiver's declaration says; see Publish in README.md.
    """
    return commands.publish(asking)


@command(ALL, *COMMON)
def clean(asking: Asking) -> int:
    """Remove built artifacts and leftovers from the cache (--all: everything), results, old builder images.

    An old builder image is one that this cache has built in, and that neither this checkout now, nor another
    in the last two weeks, nor a container uses. The others are named with the reason, and left alone.
    """
    return commands.clean(asking)
