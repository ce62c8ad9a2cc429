"""`invoke test` and `invoke ci`.

What a run imports is imported here, at once: a branch that is checked out during the run must not change
its code. Only the receivers' is not, unless it is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from kmodpipe import results
from kmodpipe.cache.store import Store
from kmodpipe.ci.if_changed import Watch
from kmodpipe.cli import report as reporting
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import CiOptions, RunOptions, TestOptions
from kmodpipe.cli.resolve import require_on, resolve
from kmodpipe.cluster.scheduler import require_dask
from kmodpipe.pipeline import run
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.runtimes import again_if_gone
from kmodpipe.pipeline.workspace import set_up
from kmodpipe.util import paths
from kmodpipe.util.errors import UserError
from kmodpipe.util.screen import Mode
from kmodpipe.util.workers import workers
from kmodpipe.vm import accel, speed


def test(options: TestOptions, call: Invocation) -> int:
    """Run the cases, and write what the options ask for."""
    if options.on:
        return _far(options, call, on=options.on, detach=options.detach, json=options.json)
    require_on(detach=options.detach)
    run_cases = partial(_test, options, call, junit=options.junit, json=options.json)
    return again_if_gone(run_cases, call.screen)


def ci(options: CiOptions, call: Invocation) -> int:
    """Run the cases with plain output, and publish at the end, also after a failure."""
    if call.screen.mode is Mode.LIVE:
        call.screen.mode = Mode.PLAIN
    if not options.publish:
        return _ci(options, call)
    from kmodpipe.cli.publishing import publisher_of
    from kmodpipe.publish.publisher import published_at_the_end

    publisher = publisher_of(call)
    # Report a wrong name or a missing token now, and not after hours of building.
    publisher.senders(options.publish)
    with published_at_the_end(publisher, options.publish) as ending:
        return _ci(options, call, begun=ending.begin)


def _far(
    options: TestOptions | CiOptions,
    call: Invocation,
    *,
    on: str,
    detach: bool,
    json: bool = False,
    scheduled: bool = False,
    begun: Callable[[Path], None] = lambda folder: None,
) -> int:
    require_dask()
    from kmodpipe.cli import far

    ask = far.Ask(options.junit, json, scheduled, begun)
    return far.run(options, call, on=on, detach=detach, ask=ask)


def _ci(options: CiOptions, call: Invocation, begun: Callable[[Path], None] | None = None) -> int:
    if options.on:
        if options.if_changed:
            raise UserError(
                "--if-changed does not go with --on", hint="without --on it compares with the last"
            )
        if options.detach and options.publish:
            raise UserError("--detach publishes nothing", hint="attach, then: invoke publish --to RECEIVER")
        return _far(
            options, call, on=options.on, detach=options.detach, scheduled=True,
            begun=begun or (lambda folder: None),
        )  # fmt: skip
    require_on(detach=options.detach)
    run_cases = partial(
        _test, options, call, junit=options.junit, scheduled=True, if_changed=options.if_changed, begun=begun
    )
    return again_if_gone(run_cases, call.screen)


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
    spec, screen = resolve(options, call, cases_too=True, skip_illegal=scheduled), call.screen
    if junit and paths.is_dir(Path(junit)):
        raise UserError("--junit takes the name of a file, this is a folder", where=junit)
    if spec.shuffle:
        screen.print(f"the cases' order is shuffled: --shuffle {spec.shuffle} gives the same again")
    with call.cache() as cache, workers(1) as aside:
        watch = Watch(spec, cache, screen) if scheduled else None
        if watch and if_changed and (answer := watch.unchanged()):
            return watch.report(answer)
        proved = accel.probe(cache, screen)
        # Beside the trees, which are looked at.
        measuring = aside.submit(speed.of_machine, proved, Store(cache))
        workspace = set_up(spec, cache, screen, engine_late=True)
        notes = watch.changes(workspace) if watch and if_changed else {}
        with RunFolder(spec.out) as folder:
            if begun:
                begun(folder.path)
            screen.log_to(folder.path / "events.jsonl")
            try:
                ran = run.test(workspace, folder, proved, notes, measuring=measuring)
            finally:
                reporting.hand_over(folder.path / "junit.xml", junit)
            if watch:
                watch.record(workspace, ran)
    reporting.show_end(ran, folder.path, screen, provenance=scheduled)
    if json:
        screen.document(results.to_json(ran))
    return results.exit_code(ran)
