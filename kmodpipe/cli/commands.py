"""The commands behind tasks.py: each takes what was asked, does it, and returns an exit code.

Imports that cost time are made where they are needed: `invoke --list` and a cached `invoke build` are
expected to answer at once.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kmodpipe.cli.options import (
    Asking,
    asked_tries,
    cache_folder,
    chosen_cases,
    project_of,
    resolve,
    used_cache,
)
from kmodpipe.util import paths, process
from kmodpipe.util.errors import ExitCode, InfraError, KernelFailure, UserError, unknown_name
from kmodpipe.util.screen import Mode, Screen

if TYPE_CHECKING:
    from kmodpipe.pipeline.builder import Built, Tally
    from kmodpipe.publish.publisher import Office
    from kmodpipe.results import DeadAxis


# -- the machine ------------------------------------------------------------------------------------
def setup(asking: Asking) -> int:
    from kmodpipe.cache.share import open_share
    from kmodpipe.cache.store import Store
    from kmodpipe.host import setup as setting_up

    project, cache = project_of(asking), cache_folder()
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
    from kmodpipe.host import doctor as looking

    project = project_of(asking)
    findings = looking.examine(
        project.images, cache_folder(), asking.screen, project.trees, default_tree=project.tree
    )
    asking.screen.show(looking.table(findings))
    return ExitCode.OK if looking.healthy(findings) else ExitCode.INFRA


# -- the source -------------------------------------------------------------------------------------
def fetch(asking: Asking) -> int:
    from kmodpipe.pipeline import workspace

    asked = resolve(asking)
    with used_cache(asking) as cache:
        tree = workspace.fetch_tree(asked, cache, asking.screen)
    asking.screen.print(f"{tree.name}: Linux {tree.kernel_version}")
    for name, value in tree.provenance.items():
        asking.screen.print(f"  {name}: {value}")
    asking.screen.print(f"  path: {tree.path}")
    return ExitCode.OK


def patch(asking: Asking) -> int:
    from kmodpipe.pipeline import workspace

    asked = resolve(asking)
    with used_cache(asking) as cache:
        tree = workspace.fetch_tree(asked, cache, asking.screen)
        subjects = workspace.patch_tree(asked, tree, cache, asking.screen)
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
    from kmodpipe.pipeline import dry_run

    asking.screen.show(dry_run.table(dry_run.rows(resolve(asking), cache_folder())))
    return ExitCode.OK


def build(asking: Asking) -> int:
    from kmodpipe.pipeline import run
    from kmodpipe.pipeline.run_folder import RunFolder
    from kmodpipe.pipeline.workspace import set_up

    started = time.monotonic()
    asked = resolve(asking)
    with used_cache(asking) as cache:
        bench = set_up(asked, cache, asking.screen)
        with RunFolder(asked.request.out) as folder:
            asking.screen.log_to(folder.path / "events.jsonl")
            built, tally = run.build(bench, folder)
            dead = run.find_dead_axes(bench, built)
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
    asking = replace(asking, latest=True)
    if not asking.receivers:
        # Who publishes nothing does not wait for it.
        return _test(asking, scheduled=True)
    from kmodpipe.publish.publisher import published_at_the_end

    with published_at_the_end(_office(asking), asking.receivers) as ending:
        return _test(asking, scheduled=True, begun=ending.begin)


def _test(asking: Asking, *, scheduled: bool = False, begun: Callable[[Path], None] | None = None) -> int:
    # All of it now: a branch that is checked out meanwhile must not get into a run that has begun.
    from kmodpipe import results
    from kmodpipe.ci import if_changed
    from kmodpipe.logs import known_benign
    from kmodpipe.pipeline import run
    from kmodpipe.pipeline.run_folder import RunFolder
    from kmodpipe.pipeline.workspace import set_up
    from kmodpipe.report import command
    from kmodpipe.vm import accel

    asked, screen = resolve(asking), asking.screen
    cases, tries = chosen_cases(asked), asked_tries(asking)
    known = known_benign.load(asked.project.benign) if asked.project.benign else ()
    if asking.junit and paths.is_dir(Path(asking.junit)):
        raise UserError("--junit takes the name of a file, this is a folder", where=asking.junit)
    if asked.request.shuffle:
        screen.print(f"the cases' order is shuffled: --shuffle {asked.request.shuffle} gives the same again")
    typed = process.pasteable(["invoke", *sys.argv[1:]])
    with used_cache(asking) as cache:
        watch = if_changed.Watch(asked, cases, tries, cache, screen) if scheduled else None
        if watch and asking.if_changed and watch.unchanged():
            return watch.tell()
        proved = accel.probe(cache, screen)
        bench = set_up(asked, cache, screen)
        notes = watch.came_in(bench) if watch and asking.if_changed else {}
        with RunFolder(asked.request.out) as folder:
            if begun:
                begun(folder.path)
            screen.log_to(folder.path / "events.jsonl")
            deadlines = asked.project.deadlines
            trials = run.Trials(cases, proved, deadlines, typed, tries, known, notes)
            try:
                ran = run.test(bench, folder, trials)
            finally:
                command.hand_over(folder.path / "junit.xml", asking.junit)
            if watch:
                watch.remember(bench, ran)
    command.tell(ran, folder.path, screen, provenance=scheduled)
    return results.exit_code(ran)


def report(asking: Asking) -> int:
    from kmodpipe.report import command

    wanted = command.Wanted(
        cases=project_of(asking).cases,
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
    from kmodpipe.publish.publisher import Office

    project = project_of(asking)
    return Office(project.receivers, project.root, asking.screen)


def boot(asking: Asking) -> int:
    from kmodpipe.pipeline import shell
    from kmodpipe.pipeline.run_folder import RunFolder
    from kmodpipe.pipeline.workspace import set_up
    from kmodpipe.vm import accel

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
            return shell.shell(bench, folder, proved)


# -- clean ------------------------------------------------------------------------------------------
def clean(asking: Asking) -> int:
    from kmodpipe import source
    from kmodpipe.build import image_cleanup
    from kmodpipe.build.runtime import DockerRuntime, docker_engine
    from kmodpipe.cache import users
    from kmodpipe.cache.store import Store
    from kmodpipe.pipeline.run_folder import remove_runs
    from kmodpipe.util.files import size_mib

    cache, screen = cache_folder(), asking.screen
    with users.alone(cache, screen.say):
        freed = size_mib(cache)
        store = Store(cache)
        swept = old = 0
        try:
            client = docker_engine.connect()
            swept += DockerRuntime(client, "").sweep()
            old = image_cleanup.remove_old(client, project_of(asking).images, cache, screen)
        except InfraError as e:
            screen.warn(f"containers and builder images were not cleaned: {e.what}")
        swept += store.sweep()
        shutil.rmtree(store.root, ignore_errors=True)
        runs = remove_runs(Path(asking.out))
        if asking.all:
            source.remove_trees(cache)
            for name in ("git", "downloads"):
                shutil.rmtree(cache / name, ignore_errors=True)
        freed -= size_mib(cache)
    screen.print(
        f"{freed} MiB freed in {cache}; {swept} leftovers of dead runs, {runs} results and "
        f"{old} old builder images removed"
    )
    return ExitCode.OK
