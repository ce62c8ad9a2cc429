"""The commands: each takes its options and its invocation, and returns an exit code.

Their docstrings are shown by --help. Slow imports are inside the functions, so that `invoke --list` and a
cached `invoke build` answer at once.
"""

from __future__ import annotations

import keyword
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import (
    AblateOptions,
    AttachOptions,
    BisectOptions,
    BootOptions,
    CheckOptions,
    CiOptions,
    CleanOptions,
    CollectOptions,
    ConfigOptions,
    CoverOptions,
    DoctorOptions,
    InitOptions,
    MakeOptions,
    MatrixOptions,
    PlanOptions,
    PublishOptions,
    ReportOptions,
    SetupOptions,
    SourceOptions,
    TestOptions,
    TreeOptions,
    TryOptions,
    WatchOptions,
)
from kmodpipe.util.errors import ExitCode
from kmodpipe.util.screen import Screen
from kmodpipe.util.text import spelled


def of(name: str) -> Callable[[Any, Invocation], int]:
    """Return the function of a command; the one of `try`, a word of Python's, is called ``try_``."""
    found: Callable[[Any, Invocation], int] = globals()[f"{name}_" if keyword.iskeyword(name) else name]
    return found


# -- the project ------------------------------------------------------------------------------------
def init(options: InitOptions, call: Invocation) -> int:
    """Look at this folder (a module's repository, a tree, an empty one), and write a project for it."""
    from kmodpipe.cli import first_questions

    first_questions.begin(options, call)
    return ExitCode.OK


def config(options: ConfigOptions, call: Invocation) -> int:
    """Check every file of the project (matrix, fragments, series, cases …) and fetch nothing."""
    from kmodpipe.cli import config_check

    found = config_check.check(call.root)
    code = ExitCode.USAGE if any(one.faults for one in found) else ExitCode.OK
    for line in config_check.lines(found):
        call.screen.print(spelled(line, call.program))
    if options.json:
        call.screen.document(config_check.document(found, int(code)))
    return code


# -- the machine ------------------------------------------------------------------------------------
def setup(options: SetupOptions, call: Invocation) -> int:
    """Find what this machine lacks (Docker Engine, QEMU, the builder image) and install it."""
    from kmodpipe.cache.place import cache_folder
    from kmodpipe.cache.share import open_share
    from kmodpipe.cache.store import Store
    from kmodpipe.host import setup as machine

    project, cache = call.project(required=False), cache_folder()
    share = open_share(options.share or project.share, Store(cache), call.screen)
    ask = _asker(call.screen, yes=options.yes)
    machine.run(project.images, cache, call.screen, ask, tests=options.tests, share=share)
    return ExitCode.OK


def _asker(screen: Screen, *, yes: bool) -> Callable[[str], bool] | None:
    """Return the function that asks before something is installed, None if no one can answer."""
    if yes:
        return lambda _: True
    return screen.confirm if sys.stdin.isatty() else None


def doctor(options: DoctorOptions, call: Invocation) -> int:
    """Check what this machine has and lacks, with a fix for each problem; change nothing."""
    from kmodpipe.cache.place import cache_folder
    from kmodpipe.host import doctor as checks
    from kmodpipe.pipeline import config

    project = call.project(required=False)
    findings = checks.examine(
        project.images, cache_folder(), call.screen, config.kernels_in_use(project), default_tree=project.tree
    )
    findings = tuple(replace(f, fix=spelled(f.fix, call.program)) for f in findings)
    call.screen.show(checks.table(findings))
    if options.json:
        call.screen.document(checks.document(findings))
    return ExitCode.OK if checks.healthy(findings) else ExitCode.INFRA


# -- the source -------------------------------------------------------------------------------------
def fetch(options: TreeOptions, call: Invocation) -> int:
    """Fetch and verify kernel trees."""
    from kmodpipe.cli import sources

    return sources.fetch(options, call)


def patch(options: SourceOptions, call: Invocation) -> int:
    """Apply each series strictly to each tree, and print where the patched trees are."""
    from kmodpipe.cli import sources

    return sources.patch(options, call)


# -- plan, build ------------------------------------------------------------------------------------
def plan(options: PlanOptions, call: Invocation) -> int:
    """Print every step as cached or to do, and why; fetch, build and boot nothing."""
    call.look_ahead()
    from kmodpipe.cache.place import cache_folder
    from kmodpipe.cli.resolve import resolve
    from kmodpipe.pipeline import dry_run, plan_rows

    found = dry_run.rows(resolve(options, call), cache_folder())
    call.screen.show(plan_rows.table(found))
    if options.json:
        call.screen.document(plan_rows.document(found))
    return ExitCode.OK


def build(options: MakeOptions, call: Invocation) -> int:
    """Build the kernel base, and the module of every legal cell."""
    call.look_ahead()
    from kmodpipe.cli import building

    return building.build(options, call)


# -- try --------------------------------------------------------------------------------------------
def try_(options: TryOptions, call: Invocation) -> int:
    """Begin with a module that has no matrix: write one, with a fragment and a case, and run them.

    The tree's Makefile and Kconfig files are asked for the module's symbols, and what these depend on. The
    files are yours to edit; what exists is never overwritten.
    """
    from kmodpipe.cli import first_try

    begun = first_try.begin(options, call)
    if options.write_only:
        return ExitCode.OK
    try:
        return test(begun.options, call)
    finally:
        call.screen.print(f"run it again: {begun.command}")


# -- test -------------------------------------------------------------------------------------------
def test(options: TestOptions, call: Invocation) -> int:
    """Build every legal cell, boot it, run the cases, judge them, write the results."""
    call.look_ahead()
    from kmodpipe.cli import running

    return running.test(options, call)


def watch(options: WatchOptions, call: Invocation) -> int:
    """Run the cases again after each change of a file, and show what turned red or green.

    After a change of the series, the cases, the fragments or the matrix, what reads it runs again, and first
    what failed last. Keys: a runs all, s opens a shell in a failing cell's guest, x stops the round, q quits.
    The exit code is that of the last verdicts.
    """
    from kmodpipe.cli import watching

    return watching.watch(options, call)


def ci(options: CiOptions, call: Invocation) -> int:
    """Run a whole CI job: as test, with plain output and the provenance printed."""
    call.look_ahead()
    from kmodpipe.cli import running

    return running.ci(options, call)


# -- what no case notices ---------------------------------------------------------------------------
def check(options: CheckOptions, call: Invocation) -> int:
    """Say of each patch what the lists' bots would say: what is new, compared with before the patch.

    Whether it builds in every cell, the compiler (W=1), sparse (C=2), the tree's checkpatch --strict and
    kernel-doc, tags, headers, stack, size, exported symbols. Exit code: 0 nothing new but notes, 1 something.
    """
    from kmodpipe.cli import checking

    return checking.check(options, call)


def boot(options: BootOptions, call: Invocation) -> int:
    """Build one cell and open a shell in its guest, with the module loaded and the cases to run by name.

    Without --cell it is that of the last series, if it has one cell. gdb attaches from another terminal.
    """
    from kmodpipe.cli import by_hand

    return by_hand.boot(options, call)


# -- questions that take several runs ----------------------------------------------------------------
def bisect(options: BisectOptions, call: Invocation) -> int:
    """Find the patch, the commit or the symbols that give a case another outcome.

    --series S searches its patches, --tree URL#GOOD..BAD (or --module) the commits of a range, by git bisect,
    --good-config and --bad-config the symbols in which two configurations differ. Exit code 0: found; 1: it
    is one of several; 2: the ends do not differ, or the case has to be chosen.
    """
    from kmodpipe.cli import bisect as bisecting

    return bisecting.bisect(options, call)


def ablate(options: AblateOptions, call: Invocation) -> int:
    """Leave each hunk of a series out, make small mistakes in its lines, and print what no case notices.

    Each is built in the cells of the series, and run with the cases that may notice. Exit code 0: all is
    noticed, or series.toml explains why not; 1: something is not; 3: of something it is not known.
    """
    from kmodpipe.cli import ablating

    return ablating.run(options, call)


# -- many machines ----------------------------------------------------------------------------------
def matrix(options: MatrixOptions, call: Invocation) -> int:
    """Print which jobs would run which cells, in the form of a CI system."""
    from kmodpipe.cli import fan_out

    return fan_out.matrix(options, call)


def attach(options: AttachOptions, call: Invocation) -> int:
    """Follow a run that --on began on a cluster, to its end: after --detach, or if its command was lost."""
    from kmodpipe.cluster.scheduler import require_dask

    require_dask()
    from kmodpipe.cli import far

    return far.attach(options, call)


def collect(options: CollectOptions, call: Invocation) -> int:
    """Merge the results of a plan's jobs into one run; a missing or doubled cell is an error."""
    from kmodpipe.cli import fan_out

    return fan_out.collect(options, call)


# -- questions about a change -----------------------------------------------------------------------
def cover(options: CoverOptions, call: Invocation) -> int:
    """Tell which of the lines that a series changes are executed, by which cases, in which cells."""
    from kmodpipe.cli import covering

    return covering.cover(options, call)


# -- results ----------------------------------------------------------------------------------------
def report(options: ReportOptions, call: Invocation) -> int:
    """Print what a run found, or what changed since another one (--against); write HTML and JUnit."""
    from kmodpipe.cli import report as reporting

    return reporting.report(options, call)


def publish(options: PublishOptions, call: Invocation) -> int:
    """Send a run's results to declared receivers, through an outbox, so that none is lost or sent twice.

    Exit code 0: all delivered; 3: something is still pending, --pending sends it; 2: configuration.
    Tokens come from the environment or a file, as the receiver's declaration says; see docs/publish.md.
    """
    from kmodpipe.cli import publishing

    return publishing.publish(options, call)


# -- clean ------------------------------------------------------------------------------------------
def clean(options: CleanOptions, call: Invocation) -> int:
    """Free the cache: built artifacts, leftovers, old builder images (--all: fetched trees, too).

    Results stay. --results removes runs instead: it lists them and asks first; --keep N keeps the newest, and
    the last complete one with them. --dry-run lists only.

    A builder image is old if this cache has used it, and it is not used now by this checkout or a container,
    nor was in the last two weeks by another checkout. The others are kept, and listed with the reason.
    """
    from kmodpipe.cli import clean as cleaning

    return cleaning.clean(options, call)
