"""The commands behind tasks.py: each takes what was asked, does it, and returns an exit code.

Imports that cost time are made where they are needed: `invoke --list` and a cached `invoke build` are
expected to answer at once.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kmodpipe import disk, paths, proc, signals
from kmodpipe.errors import (
    ExitCode,
    InfraError,
    KernelFailure,
    KmodpipeError,
    UserError,
    from_system,
    unknown_name,
)
from kmodpipe.progress import Mode, Screen

if TYPE_CHECKING:
    from kmodpipe.bench import Asked
    from kmodpipe.building import Built, Tally
    from kmodpipe.cases import Case
    from kmodpipe.config import Project
    from kmodpipe.publish.command import Office
    from kmodpipe.repeats import Tries
    from kmodpipe.results import DeadAxis


@dataclass(frozen=True)
class Asking:
    """What the command line said; empty means the project's default."""

    root: Path
    tree: str = ""
    head: bool = False
    series: Sequence[str] = ()
    matrix: str = ""
    module: str = ""
    flavour: Sequence[str] = ()
    cell: Sequence[str] = ()
    case: Sequence[str] = ()
    shuffle: str = ""
    attempts: int = 1
    repeat: int = 1
    runtime: str = "docker"
    jobs: int = 0
    out: str = "out"
    quiet: bool = False
    yes: bool = False
    tests: bool = False
    all: bool = False
    each_patch: bool = False
    share: str = ""
    run: str = ""
    to: str = ""
    receivers: Sequence[str] = ()
    pending: bool = False
    dry_run: bool = False
    again: bool = False
    against: str = ""
    format: str = ""
    fail_on: Sequence[str] = ()
    html: str = ""
    junit: str = ""
    strict: bool = False
    open: bool = False
    latest: bool = False
    if_changed: bool = False
    per_job: int = 0
    prepare: bool = False
    plan: str = ""
    dir: Sequence[str] = ()
    screen: Screen = field(default_factory=Screen)


def guarded(body: Callable[[Asking], int], asking: Asking) -> int:
    """Run a command; whatever it raises becomes a message and an exit code.

    An error that nobody foresaw is a bug of ours: it says so, and its traceback goes to a file.
    """
    screen = asking.screen
    if asking.quiet:
        screen.mode = Mode.QUIET
    try:
        signals.begin()
        proc.reset()
        # The builder's user is not ours: what we write must be readable for it, whatever the caller's umask.
        os.umask(0o022)
        return int(body(asking))
    except KeyboardInterrupt:
        proc.stop_all()
        told = f"interrupted by {signals.arrived()}; what was running is stopped"
        screen.error(InfraError(told, hint="the same command goes on"))
        return int(ExitCode.INFRA)
    except Exception as e:
        error = _told(e, asking)
        screen.error(error)
        return int(error.exit_code)
    finally:
        signals.end()
        screen.close_log()


def _told(error: Exception, asking: Asking) -> KmodpipeError:
    """What a user is to read of an exception."""
    if isinstance(error, KmodpipeError):
        return error
    if shortage := from_system(error):
        return shortage
    return (disk.explain(error, _places(asking)) if isinstance(error, OSError) else None) or _defect(error)


def _places(asking: Asking) -> tuple[Path, ...]:
    """Where a command writes, and may find no room."""
    from kmodpipe import config

    return (
        config.cache_place() or Path.cwd(),
        Path(asking.out).absolute(),
        Path(os.environ.get("TMPDIR", "/tmp")),
    )


def _defect(error: Exception) -> InfraError:
    """The error for what nobody foresaw, with its traceback in a file; in itself where none can be made."""
    import traceback
    from tempfile import NamedTemporaryFile

    lines = "".join(traceback.format_exception(error))
    what = f"a defect in kmodpipe: {type(error).__name__}: {error}"
    try:
        with NamedTemporaryFile("w", prefix="kmodpipe-", suffix=".traceback", delete=False) as f:
            f.write(lines)
    except OSError:
        return InfraError(what, detail=lines, hint="please report it with these lines")
    return InfraError(what, where=f.name, hint="please report it with that file")


def _project(asking: Asking) -> Project:
    from kmodpipe import config

    return config.load(asking.root)


def resolve(asking: Asking) -> Asked:
    """Every name of the command line turned into a record. Raises UserError with the near names."""
    from kmodpipe import bench
    from kmodpipe.config import Request

    project = _project(asking)
    if asking.jobs < 0:
        raise UserError("--jobs is a number from 1 up", hint="0 means one a processor")
    request = Request(
        tree=asking.tree or project.tree,
        series=tuple(asking.series) or project.series,
        matrix=Path(asking.matrix).absolute() if asking.matrix else project.matrix,
        out=Path(asking.out).absolute(),
        jobs=asking.jobs or project.jobs,
        runtime=asking.runtime,
        head=asking.head,
        module=asking.module or None,
        flavours=tuple(asking.flavour),
        cells=tuple(asking.cell),
        cases=tuple(c for c in asking.case if not _is_script(c)),
        case_files=tuple(Path(c) for c in asking.case if _is_script(c)),
        shuffle=_seed(asking.shuffle),
        each_patch=asking.each_patch,
        share=asking.share or project.share,
        latest=asking.latest,
    )
    return bench.resolve(project, request)


def _seed(shuffle: str) -> int:
    """The seed that --shuffle means. Raises UserError."""
    if shuffle == "random":
        return secrets.randbelow(999_999) + 1
    if not re.fullmatch(r"[0-9]{0,9}", shuffle, re.ASCII):
        raise UserError(
            f"--shuffle takes a number or the word random, not {shuffle!r}", hint="0 keeps the declared order"
        )
    return int(shuffle or "0")


def asked_tries(asking: Asking) -> Tries:
    """How often each case is to run. Raises UserError."""
    from kmodpipe.repeats import MOST_ATTEMPTS, MOST_REPEATS, Tries

    for name, value, most in (
        ("attempts", asking.attempts, MOST_ATTEMPTS),
        ("repeat", asking.repeat, MOST_REPEATS),
    ):
        if not 1 <= value <= most:
            raise UserError(f"--{name} takes a number from 1 to {most}, not {value}")
    if asking.attempts > 1 and asking.repeat > 1:
        raise UserError(
            "--attempts and --repeat exclude each other",
            hint="--repeat runs a case as often whether it fails or not, and tells the rate",
        )
    return Tries(asking.attempts, asking.repeat)


def _is_script(case: str) -> bool:
    return "/" in case or paths.is_file(Path(case))


def _cache() -> Path:
    from kmodpipe import config

    return config.cache_folder()


@contextmanager
def used_cache(asking: Asking) -> Iterator[Path]:
    """The cache, which nobody empties while the block runs."""
    from kmodpipe import usage

    cache = _cache()
    with usage.using(cache, asking.screen.say):
        yield cache


# -- the machine ------------------------------------------------------------------------------------
def setup(asking: Asking) -> int:
    from kmodpipe import setup as setting_up
    from kmodpipe.share import open_share
    from kmodpipe.store import Store

    project, cache = _project(asking), _cache()
    share = open_share(asking.share or project.share, Store(cache), asking.screen)
    setting_up.run(project.images, cache, asking.screen, _asker(asking), tests=asking.tests, share=share)
    return ExitCode.OK


def _asker(asking: Asking) -> Callable[[str], bool] | None:
    """How to ask before something is installed; None where nobody can be asked."""
    if asking.yes:
        return lambda _: True
    if not sys.stdin.isatty():
        return None
    return asking.screen.confirm


def doctor(asking: Asking) -> int:
    from kmodpipe import doctor as looking

    project = _project(asking)
    findings = looking.examine(
        project.images, _cache(), asking.screen, project.trees, default_tree=project.tree
    )
    asking.screen.show(looking.table(findings))
    return ExitCode.OK if looking.healthy(findings) else ExitCode.INFRA


# -- the source -------------------------------------------------------------------------------------
def fetch(asking: Asking) -> int:
    from kmodpipe import bench

    asked = resolve(asking)
    with used_cache(asking) as cache:
        tree = bench.fetch_tree(asked, cache, asking.screen)
    asking.screen.print(f"{tree.name}: Linux {tree.kernel_version}")
    for name, value in tree.provenance.items():
        asking.screen.print(f"  {name}: {value}")
    asking.screen.print(f"  path: {tree.path}")
    return ExitCode.OK


def patch(asking: Asking) -> int:
    from kmodpipe import bench

    asked = resolve(asking)
    with used_cache(asking) as cache:
        tree = bench.fetch_tree(asked, cache, asking.screen)
        subjects = bench.patch_tree(asked, tree, cache, asking.screen)
    for subject in subjects:
        if subject.series:
            asking.screen.print(
                f"{subject.series.name}: {len(subject.series.patches)} patches apply to {tree.name}"
            )
            for one in subject.series.patches:
                asking.screen.print(f"  {one.name}")
            asking.screen.print(f"  path: {subject.src}")
    return ExitCode.OK


# -- plan, build ------------------------------------------------------------------------------------
def plan(asking: Asking) -> int:
    from kmodpipe import planning

    asking.screen.show(planning.table(planning.rows(resolve(asking), _cache())))
    return ExitCode.OK


def build(asking: Asking) -> int:
    from kmodpipe import pipeline
    from kmodpipe.bench import set_up
    from kmodpipe.building import RunFolder

    started = time.monotonic()
    asked = resolve(asking)
    with used_cache(asking) as cache:
        bench = set_up(asked, cache, asking.screen)
        with RunFolder(asked.request.out) as folder:
            asking.screen.log_to(folder.path / "events.jsonl")
            built, tally = pipeline.build(bench, folder)
            dead = pipeline.dead_axes(bench, built)
    return _report_build(bench.screen, built, dead, tally, time.monotonic() - started)


def _report_build(
    screen: Screen, built: Sequence[Built], dead: Sequence[DeadAxis], tally: Tally, seconds: float
) -> int:
    code = ExitCode.OK
    for one in built:
        if one.skip:
            screen.print(f"– {one.id}: skipped, {one.skip}")
        elif one.failure:
            screen.error(one.failure)
            code = max(code, one.failure.exit_code) if code != ExitCode.FAILURE else code
            if one.failure.exit_code == ExitCode.FAILURE:
                code = ExitCode.FAILURE
        else:
            screen.print(f"✓ {one.id}")
    for axis in dead:
        if axis.failure:
            screen.error(KernelFailure(axis.message, detail="\n".join(axis.clues)))
            code = ExitCode.FAILURE
        else:
            screen.print(f"· {axis.message}")
    pulled = f"{len(tally.pulled)} pulled, " if tally.pulled else ""
    screen.print(f"{len(tally.made)} steps made, {pulled}{len(tally.cached)} cached, in {seconds:.1f} s")
    return code


# -- test -------------------------------------------------------------------------------------------
def test(asking: Asking) -> int:
    return _test(asking)


def ci(asking: Asking) -> int:
    if asking.screen.mode is Mode.LIVE:
        asking.screen.mode = Mode.PLAIN
    if asking.receivers:
        # A wrong name or a missing token is told now, and not after hours of building.
        _office(asking).couriers(asking.receivers)
    # A scheduler asks about a branch as it is today, not as it was when it was fetched first.
    return _test(replace(asking, latest=True), scheduled=True)


def chosen_cases(asked: Asked) -> tuple[Case, ...]:
    """The cases by name, and scripts by path; only the scripts where nothing else is named."""
    from kmodpipe import cases

    known = cases.load(asked.project.cases)
    cases.check_axes(known, asked.matrix.axes, asked.matrix.flavours)
    scripts = tuple(cases.from_script(path) for path in asked.request.case_files)
    named = cases.select(known, asked.request.cases) if asked.request.cases or not scripts else ()
    chosen = (*named, *scripts)
    ids = [c.id for c in chosen]
    if doubled := sorted({i for i in ids if ids.count(i) > 1}):
        raise UserError(f"two cases with one name: {', '.join(doubled)}", hint="rename the script")
    return chosen


def _test(asking: Asking, *, scheduled: bool = False) -> int:
    # All of it now: a branch that is checked out meanwhile must not get into a run that has begun.
    from kmodpipe import accel, benign, nightly, pipeline, results
    from kmodpipe.bench import set_up
    from kmodpipe.building import RunFolder
    from kmodpipe.report import command

    office = None
    if asking.receivers:
        # Who publishes nothing does not wait for it.
        from kmodpipe.publish.command import publish_at_the_end

        office = _office(asking)
    asked, screen = resolve(asking), asking.screen
    cases, tries = chosen_cases(asked), asked_tries(asking)
    known = benign.load(asked.project.benign) if asked.project.benign else ()
    if asking.junit and paths.is_dir(Path(asking.junit)):
        raise UserError("--junit takes the name of a file, this is a folder", where=asking.junit)
    if asked.request.shuffle:
        screen.print(f"the cases' order is shuffled: --shuffle {asked.request.shuffle} gives the same again")
    typed = proc.pasteable(["invoke", *sys.argv[1:]])
    with used_cache(asking) as cache:
        watch = nightly.Watch(asked, cases, tries, cache, screen) if scheduled else None
        if watch and asking.if_changed and watch.unchanged():
            return watch.tell()
        proved = accel.probe(cache, screen)
        bench = set_up(asked, cache, screen)
        notes = watch.came_in(bench) if watch and asking.if_changed else {}
        with RunFolder(asked.request.out) as folder:
            screen.log_to(folder.path / "events.jsonl")
            deadlines = asked.project.deadlines
            trials = pipeline.Trials(cases, proved, deadlines, typed, tries, known, notes)
            try:
                run = pipeline.test(bench, folder, trials)
            finally:
                command.hand_over(folder.path / "junit.xml", asking.junit)
            if watch:
                watch.remember(bench, run)
    try:
        command.tell(run, folder.path, screen, provenance=scheduled)
    finally:
        # A receiver wants the results whether the screen took them or not.
        if office:
            publish_at_the_end(office, asking.receivers, folder.path)
    return results.exit_code(run)


def report(asking: Asking) -> int:
    from kmodpipe.report import command

    wanted = command.Wanted(
        cases=_project(asking).cases,
        out=Path(asking.out),
        run=asking.run,
        against=asking.against,
        form=asking.format,
        to=asking.to,
        html=asking.html,
        junit=asking.junit,
        strict=asking.strict,
        open=asking.open,
        series=asking.series,
        fail_on=asking.fail_on,
    )
    return command.report(wanted, asking.screen)


# -- publish ----------------------------------------------------------------------------------------
def publish(asking: Asking) -> int:
    office = _office(asking)
    if asking.pending == bool(asking.receivers):
        known = ", ".join(office.receivers) or "none, see Publish in README.md"
        raise UserError("publish takes --to NAME or --pending", hint=f"receivers that are declared: {known}")
    if asking.pending:
        return office.waiting() if asking.dry_run else office.pending(again=asking.again)
    run = Path(asking.run) if asking.run else Path(asking.out) / "latest"
    if asking.dry_run:
        return office.rehearse(asking.receivers, run)
    return office.publish(asking.receivers, run, again=asking.again)


def _office(asking: Asking) -> Office:
    from kmodpipe.publish.command import Office

    project = _project(asking)
    return Office(project.receivers, project.root, asking.screen)


def boot(asking: Asking) -> int:
    from kmodpipe import accel, interactive
    from kmodpipe.bench import set_up
    from kmodpipe.building import RunFolder

    asked, screen = resolve(asking), asking.screen
    ids = [cell.id for cell in asked.cells]
    if not asking.cell or len(ids) != 1:
        raise (
            UserError(f"boot takes one cell, {len(ids)} match", hint="name one: --cell " + ids[0])
            if ids
            else unknown_name("cell", "", ids)
        )
    with used_cache(asking) as cache:
        proved = accel.probe(cache, screen)
        bench = set_up(asked, cache, screen)
        with RunFolder(asked.request.out) as folder:
            return interactive.shell(bench, folder, proved)


# -- clean ------------------------------------------------------------------------------------------
def clean(asking: Asking) -> int:
    from kmodpipe import engine, source, usage
    from kmodpipe.building import remove_runs
    from kmodpipe.container import DockerRuntime
    from kmodpipe.store import Store

    cache, screen = _cache(), asking.screen
    with usage.alone(cache, screen.say):
        freed = _size_mib(cache)
        store = Store(cache)
        swept = 0
        try:
            swept += DockerRuntime(engine.connect(), "").sweep()
        except InfraError as e:
            screen.warn(f"containers were not looked at: {e.what}")
        swept += store.sweep()
        shutil.rmtree(store.root, ignore_errors=True)
        runs = remove_runs(Path(asking.out))
        if asking.all:
            source.remove_trees(cache)
            for name in ("git", "downloads"):
                shutil.rmtree(cache / name, ignore_errors=True)
        freed -= _size_mib(cache)
    screen.print(f"{freed} MiB freed in {cache}, {swept} leftovers of dead runs and {runs} results removed")
    return ExitCode.OK


def _size_mib(path: Path) -> int:
    done = proc.run(["du", "-sm", path], timeout_s=120, check=False)
    return int(done.text.split()[0]) if done.text.split() else 0
