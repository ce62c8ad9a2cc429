"""`invoke clean`: free the cache; with --results remove runs, listed first and after a question."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from kmodpipe import results, source
from kmodpipe.build import image_cleanup
from kmodpipe.build.runtime import DockerRuntime, docker_engine
from kmodpipe.cache import trash, users
from kmodpipe.cache.place import cache_folder
from kmodpipe.cache.store import Store
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import CleanOptions
from kmodpipe.pipeline import run_folder
from kmodpipe.source import packaged
from kmodpipe.util import kept
from kmodpipe.util.errors import ExitCode, InfraError, UserError
from kmodpipe.util.files import size_mib
from kmodpipe.util.text import count, one_line


def clean(options: CleanOptions, call: Invocation) -> int:
    """Do what the options say; see `commands.clean`."""
    if options.keep < 0:
        raise UserError(f"--keep takes a number from 0 up, not {options.keep}")
    if not options.results and (options.keep or options.yes):
        given = "--keep" if options.keep else "--yes"
        raise UserError(f"{given} is for results", hint="clean --results removes those")
    if options.results:
        return _clean_results(options, call)
    return _preview_cache(options, call) if options.dry_run else _clean_cache(options, call)


# -- results ------------------------------------------------------------------------------------------
def _clean_results(options: CleanOptions, call: Invocation) -> int:
    out, screen = Path(options.out), call.screen
    if options.all:
        raise UserError("--all is for the cache, --results for runs", hint="call clean once for each")
    runs = run_folder.ended_runs(out, keep=options.keep)
    if not runs:
        screen.print(
            f"nothing to remove: no ended run below {out}{' beside those kept' * bool(options.keep)}"
        )
        return ExitCode.OK
    for run in runs:
        screen.print(f"{run}  {size_mib(run):6} MiB  {_described(run)}")
    if options.dry_run:
        screen.print(f"{count(len(runs), 'run')} would be removed; nothing was")
        return ExitCode.OK
    if not options.yes:
        if not sys.stdin.isatty():
            raise UserError(
                "no run is removed without a yes", hint="agree with: invoke clean --results --yes"
            )
        if not screen.confirm(f"remove {count(len(runs), 'run')}?"):
            screen.print("nothing was removed")
            return ExitCode.OK
    screen.print(f"{count(_removed(runs, out), 'run')} removed")
    return ExitCode.OK


def _removed(runs: Sequence[Path], out: Path) -> int:
    run_folder.remove(runs, out)
    return sum(not run.exists() for run in runs)


def _described(run: Path) -> str:
    """Return what a run was, from its results."""
    with suppress(UserError):
        known = results.load(run / "results.json")
        variants = ", ".join(dict.fromkeys(cell.variant for cell in known.cells))
        n = results.totals(known)
        text = f"{variants}: {n['pass']} passed, {n['fail']} failed, {n['error']} without verdict"
        return one_line(f"{text}, exit {int(results.exit_code(known))}")
    return "no results"


# -- the cache ----------------------------------------------------------------------------------------
def _places(options: CleanOptions, cache: Path) -> list[Path]:
    """Return the folders of the cache that are removed."""
    names = [
        "store",
        "cluster",
        trash.FOLDER,
        kept.FOLDER,
        *(("trees", "kernels", "git", "downloads") if options.all else ()),
    ]
    return [cache / name for name in names if (cache / name).is_dir()]


def _preview_cache(options: CleanOptions, call: Invocation) -> int:
    cache, screen = cache_folder(), call.screen
    places = _places(options, cache)
    for place in places:
        screen.print(f"{place}  {size_mib(place)} MiB")
    try:
        client = docker_engine.connect()
        images = image_cleanup.remove_old(
            client, call.project(required=False).images, cache, screen, dry_run=True
        )
    except InfraError as e:
        screen.warn(f"builder images were not looked at: {e.what}")
        images = 0
    screen.print(
        f"{count(len(places), 'folder')} and {count(images, 'old builder image')} would be removed, "
        "with what dead runs left; nothing was"
    )
    return ExitCode.OK


def _clean_cache(options: CleanOptions, call: Invocation) -> int:
    cache, screen = cache_folder(), call.screen
    with users.alone(cache, screen.say):
        freed = size_mib(cache)
        store = Store(cache)
        swept = old = 0
        try:
            client = docker_engine.connect()
            swept += DockerRuntime(client, "").sweep()
            old = image_cleanup.remove_old(client, call.project(required=False).images, cache, screen)
        except InfraError as e:
            screen.warn(f"containers and builder images were not cleaned: {e.what}")
        swept += store.sweep()
        for place in (store.root, cache / "cluster", cache / trash.FOLDER):
            shutil.rmtree(place, ignore_errors=True)
        if options.all:
            source.remove_trees(cache)
            packaged.remove_all(cache)
            for name in ("git", "downloads"):
                shutil.rmtree(cache / name, ignore_errors=True)
        freed -= size_mib(cache)
    screen.print(
        f"{freed} MiB freed in {cache}; {count(swept, 'leftover')} of dead runs and "
        f"{count(old, 'old builder image')} removed"
    )
    return ExitCode.OK
