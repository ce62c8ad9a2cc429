"""The commands: each takes its options and its invocation, and returns an exit code.

Their docstrings are shown by --help. Slow imports are inside the functions, so that `invoke --list` and a
cached `invoke build` answer at once.
"""

from __future__ import annotations

import keyword
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

from kmodpipe.cli.invocation import Invocation, receivers_of
from kmodpipe.cli.options import (
    BuildOptions,
    CiOptions,
    CleanOptions,
    CollectOptions,
    ConfigOptions,
    DoctorOptions,
    InitOptions,
    MatrixOptions,
    PlanOptions,
    PublishOptions,
    ReportOptions,
    RunOptions,
    SetupOptions,
    SourceOptions,
    TestOptions,
    TreeOptions,
    TryOptions,
)
from kmodpipe.util import paths
from kmodpipe.util.errors import (
    ExitCode,
    InfraError,
    KernelFailure,
    KmodpipeError,
    UserError,
    unknown_name,
)
from kmodpipe.util.screen import Mode, Screen
from kmodpipe.util.text import count, spelled

if TYPE_CHECKING:
    from kmodpipe.pipeline.builder import Built, Tally
    from kmodpipe.publish.publisher import Publisher
    from kmodpipe.results import DeadAxis


def of(name: str) -> Callable[[Any, Invocation], int]:
    """Return the function of a command; the one of `try`, a word of Python's, is called ``try_``."""
    found: Callable[[Any, Invocation], int] = globals()[f"{name}_" if keyword.iskeyword(name) else name]
    return found


# -- the project ------------------------------------------------------------------------------------
def init(options: InitOptions, call: Invocation) -> int:
    """Look at this folder (a module's repository, a tree, an empty one), and write a project for it."""
    from kmodpipe.pipeline import first_project

    root, screen = Path.cwd(), call.screen
    if options.ci and options.ci not in first_project.CI:
        raise unknown_name("CI", options.ci, first_project.CI, where="--ci")
    made = first_project.propose(root, options.ci)
    screen.print(f"found: {made.found}")
    for name in made.files:
        screen.print(f"  {name}{' (is there, and left as it is)' if paths.exists(root / name) else ''}")
    if not options.yes and not (sys.stdin.isatty() and screen.confirm("write these files?")):
        raise UserError("nothing was written", hint="--yes writes them without a question")
    first_project.write(root, made)
    screen.print("written; what to run next:")
    width = max(len(command) for command in made.next)
    for command, what in made.next.items():
        screen.print(f"  {call.program} {command:<{width}}  {what}")
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

    project, cache = call.project(), cache_folder()
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

    project = call.project()
    findings = checks.examine(
        project.images, cache_folder(), call.screen, project.trees, default_tree=project.tree
    )
    findings = tuple(replace(f, fix=spelled(f.fix, call.program)) for f in findings)
    call.screen.show(checks.table(findings))
    if options.json:
        call.screen.document(checks.document(findings))
    return ExitCode.OK if checks.healthy(findings) else ExitCode.INFRA


# -- the source -------------------------------------------------------------------------------------
def fetch(options: TreeOptions, call: Invocation) -> int:
    """Fetch and verify kernel trees."""
    from kmodpipe.cli.resolve import resolve
    from kmodpipe.pipeline import workspace

    spec, screen = resolve(options, call), call.screen
    with call.cache() as cache:
        trees = workspace.fetch_kernels(spec, cache, screen)
    for tree in trees.values():
        screen.print(f"{tree.name}: Linux {tree.kernel_version}")
        for name, value in tree.provenance.items():
            screen.print(f"  {name}: {value}")
        screen.print(f"  path: {tree.path}")
    return ExitCode.OK


def patch(options: SourceOptions, call: Invocation) -> int:
    """Apply each series strictly to each tree, and print where the patched trees are."""
    from kmodpipe.cli.resolve import resolve
    from kmodpipe.pipeline import workspace

    spec, screen = resolve(options, call), call.screen
    with call.cache() as cache:
        trees = workspace.fetch_kernels(spec, cache, screen)
        parts = {kernel: spec.on(kernel) for kernel in trees}
        module = workspace.fetch_module(spec, cache, screen)
        patched = workspace.patch_trees(parts, trees, module, cache, screen)
    for kernel, found in patched.items():
        for subject in found.subjects:
            if subject.series:
                number = len(subject.series.patches)
                apply = f"{count(number, 'patch', 'patches')} {'applies' if number == 1 else 'apply'}"
                screen.print(f"{subject.series.name}: {apply} to {trees[kernel].name}")
                for one in subject.series.patches:
                    screen.print(f"  {one.name}")
                screen.print(f"  path: {subject.src}")
        for name, reason in found.reasons.items():
            screen.print(f"{name}: not applied to {trees[kernel].name}: {reason}")
    return ExitCode.OK


# -- plan, build ------------------------------------------------------------------------------------
def plan(options: PlanOptions, call: Invocation) -> int:
    """Print every step as cached or to do, and why; fetch, build and boot nothing."""
    from kmodpipe.cache.place import cache_folder
    from kmodpipe.cli.resolve import resolve
    from kmodpipe.pipeline import dry_run

    found = dry_run.rows(resolve(options, call), cache_folder())
    call.screen.show(dry_run.table(found))
    if options.json:
        call.screen.document(dry_run.document(found))
    return ExitCode.OK


def build(options: BuildOptions, call: Invocation) -> int:
    """Build the kernel base, and the module of every legal cell."""
    from kmodpipe.cli.resolve import resolve
    from kmodpipe.pipeline import run
    from kmodpipe.pipeline.run_folder import RunFolder
    from kmodpipe.pipeline.workspace import set_up

    started = time.monotonic()
    spec = resolve(options, call)
    with call.cache() as cache:
        workspace = set_up(spec, cache, call.screen)
        with RunFolder(spec.out) as folder:
            call.screen.log_to(folder.path / "events.jsonl")
            built, tally = run.build(workspace, folder)
            dead = run.find_dead_axes(workspace, built)
    return _report_build(call.screen, built, dead, tally, time.monotonic() - started)


def _report_build(
    screen: Screen, built: Sequence[Built], dead: Sequence[DeadAxis], tally: Tally, seconds: float
) -> int:
    """Print the result of each cell; return the exit code: failure before infrastructure."""
    from kmodpipe.build.configured import RuledOut
    from kmodpipe.pipeline.builder import BuildFailed, BuiltCell

    code = ExitCode.OK
    told: list[KmodpipeError] = []
    for one in built:
        match one:
            case RuledOut(cell, reason):
                screen.print(f"– {cell.id}: skipped, {reason}")
            case BuildFailed(_, failure):
                if failure not in told:
                    # One of the series stops all of its cells.
                    told.append(failure)
                    screen.error(failure)
                code = max(code, failure.exit_code) if code != ExitCode.FAILURE else code
                if failure.exit_code == ExitCode.FAILURE:
                    code = ExitCode.FAILURE
            case BuiltCell():
                screen.print(f"✓ {one.cell.id}")
            case _:
                assert_never(one)
    for variant, reason in _unbuilt(built):
        what = f"no cell of {variant} could be built: {reason}"
        screen.error(InfraError(what, hint="nothing was compiled for it, so nothing is proved"))
        code = code if code == ExitCode.FAILURE else ExitCode.INFRA
    for axis in dead:
        if axis.failure:
            screen.error(KernelFailure(axis.message, detail="\n".join(axis.clues)))
            code = ExitCode.FAILURE
        else:
            screen.print(f"· {axis.message}")
    pulled = f"{len(tally.pulled)} pulled, " if tally.pulled else ""
    screen.print(
        f"{count(len(tally.made), 'step')} made, {pulled}{len(tally.cached)} cached, in {seconds:.1f} s"
    )
    return code


def _unbuilt(built: Sequence[Built]) -> list[tuple[str, str]]:
    """Return each series of which the tree rules out every cell, with a reason; all variants if that is all.

    The first patches of a series (``NAME@2``) are steps on the way to it, and may be ruled out.
    """
    from kmodpipe.build.configured import RuledOut

    ruled_out: dict[str, list[str]] = {}
    for one in built:
        if isinstance(one, RuledOut):
            ruled_out.setdefault(one.cell.variant.name, []).append(one.reason)
    alive = {one.cell.variant.name for one in built if not isinstance(one, RuledOut)}
    own = {one.cell.variant.name for one in built if not one.cell.variant.is_control}
    whole = {one.cell.variant.name for one in built if not one.cell.variant.partial}
    wanted = (own & whole) - alive if alive else set(ruled_out)
    return [(name, reasons[0]) for name, reasons in ruled_out.items() if name in wanted]


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
    return _test(options, call, junit=options.junit, json=options.json)


def ci(options: CiOptions, call: Invocation) -> int:
    """Run a whole CI job: as test, with plain output and the provenance printed."""
    if call.screen.mode is Mode.LIVE:
        call.screen.mode = Mode.PLAIN
    if not options.publish:
        # The receivers' code is loaded only if it is needed.
        return _ci(options, call)
    from kmodpipe.publish.publisher import published_at_the_end

    publisher = _publisher(call)
    # Report a wrong name or a missing token now, and not after hours of building.
    publisher.senders(options.publish)
    with published_at_the_end(publisher, options.publish) as ending:
        return _ci(options, call, begun=ending.begin)


def _ci(options: CiOptions, call: Invocation, begun: Callable[[Path], None] | None = None) -> int:
    return _test(
        options,
        call,
        junit=options.junit,
        scheduled=True,
        if_changed=options.if_changed,
        begun=begun,
    )


def _test(
    options: RunOptions,
    call: Invocation,
    *,
    junit: str,
    json: bool = False,
    scheduled: bool = False,
    if_changed: bool = False,
    begun: Callable[[Path], None] | None = None,
) -> int:
    """Run `test` or, *scheduled*, `ci`; *begun* is called with the run's folder. Return the exit code."""
    # All imports now: a branch that is checked out during the run must not change its code.
    from kmodpipe import results
    from kmodpipe.ci.if_changed import Watch
    from kmodpipe.cli import report as reporting
    from kmodpipe.cli.resolve import resolve
    from kmodpipe.pipeline import run
    from kmodpipe.pipeline.run_folder import RunFolder
    from kmodpipe.pipeline.workspace import set_up
    from kmodpipe.vm import accel

    spec, screen = resolve(options, call, cases_too=True, skip_illegal=scheduled), call.screen
    if junit and paths.is_dir(Path(junit)):
        raise UserError("--junit takes the name of a file, this is a folder", where=junit)
    if spec.shuffle:
        screen.print(f"the cases' order is shuffled: --shuffle {spec.shuffle} gives the same again")
    with call.cache() as cache:
        watch = Watch(spec, cache, screen) if scheduled else None
        if watch and if_changed and (answer := watch.unchanged()):
            return watch.report(answer)
        proved = accel.probe(cache, screen)
        workspace = set_up(spec, cache, screen)
        notes = watch.changes(workspace) if watch and if_changed else {}
        with RunFolder(spec.out) as folder:
            if begun:
                begun(folder.path)
            screen.log_to(folder.path / "events.jsonl")
            try:
                ran = run.test(workspace, folder, proved, notes)
            finally:
                reporting.hand_over(folder.path / "junit.xml", junit)
            if watch:
                watch.record(workspace, ran)
    reporting.show_end(ran, folder.path, screen, provenance=scheduled)
    if json:
        screen.document(results.to_json(ran))
    return results.exit_code(ran)


def boot(options: BuildOptions, call: Invocation) -> int:
    """Build one cell and open a shell in its guest. Without --cell it is that of the last series, if it has
    one cell."""
    from kmodpipe.cli.resolve import resolve
    from kmodpipe.pipeline import shell
    from kmodpipe.pipeline.run_folder import RunFolder
    from kmodpipe.pipeline.workspace import set_up
    from kmodpipe.vm import accel

    spec = resolve(options, call, compared=False)
    if not options.cell:
        own = spec.cells_of(spec.cells[-1].variant.name)
        if len(own) == 1:
            spec = resolve(replace(options, cell=(own[0].id,)), call, compared=False)
    ids = [cell.id for cell in spec.cells]
    if len(ids) != 1:
        raise UserError(f"boot takes one cell, {len(ids)} match", hint=f"name one: --cell {ids[0]}")
    with call.cache() as cache:
        proved = accel.probe(cache, call.screen)
        workspace = set_up(spec, cache, call.screen)
        with RunFolder(spec.out) as folder:
            return shell.shell(workspace, folder, proved)


# -- many machines ----------------------------------------------------------------------------------
def matrix(options: MatrixOptions, call: Invocation) -> int:
    """Print which jobs would run which cells, in the form of a CI system."""
    from kmodpipe.cli import fan_out

    return fan_out.matrix(options, call)


def collect(options: CollectOptions, call: Invocation) -> int:
    """Merge the results of a plan's jobs into one run; a missing or doubled cell is an error."""
    from kmodpipe.cli import fan_out

    return fan_out.collect(options, call)


# -- results ----------------------------------------------------------------------------------------
def report(options: ReportOptions, call: Invocation) -> int:
    """Print what a run found, or what changed since another one (--against); write HTML and JUnit."""
    from kmodpipe.cli import report as reporting

    return reporting.report(options, call)


def publish(options: PublishOptions, call: Invocation) -> int:
    """Send a run's results to declared receivers, through an outbox, so that none is lost or sent twice.

    Exit code 0: all delivered; 3: something is still pending, --pending sends it; 2: configuration.
    Tokens come from the environment or a file, as the receiver's declaration says; see Publish in README.md.
    """
    publisher = _publisher(call)
    if options.pending == bool(options.to):
        known = ", ".join(publisher.receivers) or "none, see Publish in README.md"
        raise UserError("publish takes --to NAME or --pending", hint=f"receivers that are declared: {known}")
    if options.pending:
        return publisher.waiting() if options.dry_run else publisher.pending(again=options.again)
    run = Path(options.run) if options.run else Path(options.out) / "latest"
    if options.dry_run:
        return publisher.dry_run(options.to, run)
    return publisher.publish(options.to, run, again=options.again)


def _publisher(call: Invocation) -> Publisher:
    from kmodpipe.publish.publisher import Publisher

    project = call.project()
    return Publisher(receivers_of(project), project.root, call.screen)


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
