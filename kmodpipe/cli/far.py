"""`--on`, and `invoke attach`: a run whose cells are built and booted on a cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from kmodpipe import results
from kmodpipe.build import builder_image
from kmodpipe.ci import job_plan
from kmodpipe.ci.job_plan import Plan
from kmodpipe.cli import packing
from kmodpipe.cli import report as reporting
from kmodpipe.cli.fan_out import pinned
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import AttachOptions, BuildOptions, RunOptions, Use, command_line
from kmodpipe.cli.resolve import resolve
from kmodpipe.cluster import facts, graph, record, scheduler, settings
from kmodpipe.cluster.bundle import Bundle
from kmodpipe.cluster.facts import Wanted
from kmodpipe.cluster.far_run import FarRun
from kmodpipe.cluster.gathered import Gathered
from kmodpipe.cluster.greeting import greet
from kmodpipe.cluster.record import Record
from kmodpipe.cluster.scheduler import Place
from kmodpipe.cluster.sinks import BuildSink, TestSink
from kmodpipe.pipeline.progress import last_times
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.report.rerun import PROPERTY, argument_property
from kmodpipe.results import Run
from kmodpipe.util import document, os_errors, paths, process
from kmodpipe.util.errors import ExitCode, InfraError, KmodpipeError, UserError
from kmodpipe.util.files import write_atomically
from kmodpipe.util.os_errors import from_system

_BUNDLE = "cluster.bundle"
_MOST_JOBS = sys.maxsize


@dataclass(frozen=True)
class Begun:
    """What a run on a cluster is begun with."""

    spec: RunSpec
    plan: Plan
    bundle: Bundle
    command: str


@dataclass(frozen=True)
class Ask:
    """What the end of a run is to print and write."""

    junit: str = ""
    json: bool = False
    # ci rather than test: with the provenance.
    scheduled: bool = False
    begun: Callable[[Path], None] = lambda folder: None


def run(options: BuildOptions, call: Invocation, *, on: str, detach: bool, ask: Ask) -> int:
    """Run `test` and `ci`, or of other options `build`, on a cluster. Return the exit code."""
    place = _place(on, call, detach=detach)
    if ask.junit and paths.is_dir(Path(ask.junit)):
        raise UserError("--junit takes the name of a file, this is a folder", where=ask.junit)
    with call.cache() as cache:
        made = _begin(options, call, cache)
        with (
            scheduler.connected(place, cache, call.screen) as client,
            RunFolder(made.spec.out) as folder,
            ExitStack() as stack,
        ):
            ask.begun(folder.path)
            call.screen.log_to(folder.path / "events.jsonl")
            address = str(client.scheduler.address)
            known = _record(made, folder, place, address, scheduled=ask.scheduled)
            sink = stack.enter_context(closing(_sink(known, folder, None)))
            far = None
            try:
                greeted = greet(client, known, _wanted(made), place.patience_s, call.screen)
                sink.slots = greeted.slots
                again = partial(scheduler.client_of, address, place)
                far = FarRun(known, client, greeted, again, sink, call.screen)
                record.save(known, folder.path)
                write_atomically(folder.path / _BUNDLE, made.bundle.data)
                far.begin(made.bundle)
            except BaseException as e:
                _end_early(e, far, sink, folder, ask)
                raise
            if detach:
                line = process.pasteable([call.program, "attach", "--run", os.path.relpath(folder.path)])
                call.screen.print(f"the run goes on without this command; follow it: {line}")
                return ExitCode.OK
            code = _follow(far, sink, folder, call, ask)
    return code


def attach(options: AttachOptions, call: Invocation) -> int:
    """Follow a run that an earlier command has begun, to its end."""
    path = _folder_of(options)
    known = record.load(path)
    before = None if known.builds else results.load(path / "results.json")
    if before and before.finished:
        hint = f"invoke report --run {known.run}"
        raise UserError(f"run {known.run} has ended", where=str(path), hint=hint)
    if known.program != facts.own_program():
        hint = "attach with that one"
        raise UserError("another version of kmodpipe began this run", where=str(path), hint=hint)
    if not known.lasts:
        raise InfraError(
            "the workers of this run were processes of the command that began it, and ended with it",
            where=str(path),
            hint="the same command again: bases and modules that were built are kept",
        )
    place = replace(_place(known.on, call, detach=False), address=known.address)
    with document.given("the bundle of the run", str(path / _BUNDLE)):
        bundle = Bundle(known.bundle, (path / _BUNDLE).read_bytes())
    ask = Ask(options.junit, options.json, known.scheduled)
    with (
        call.cache() as cache,
        RunFolder.reopened(path) as folder,
        scheduler.connected(place, cache, call.screen) as client,
        closing(_sink(known, folder, before)) as sink,
    ):
        call.screen.log_to(folder.path / "events.jsonl")
        wanted = Wanted(known.program, boots=not known.builds, runtime=known.runtime, image=known.image)
        greeted = greet(client, known, wanted, place.patience_s, call.screen)
        sink.slots = greeted.slots
        again = partial(scheduler.client_of, known.address, place)
        far = FarRun(known, client, greeted, again, sink, call.screen)
        far.resume(bundle)
        return _follow(far, sink, folder, call, ask)


def _sink(known: Record, folder: RunFolder, before: Run | None) -> TestSink | BuildSink:
    if known.builds:
        return BuildSink(known, folder)
    return TestSink(Gathered(known, folder, before), len(known.plan.cases), last_times(folder.path.parent))


def _follow(far: FarRun, sink: TestSink | BuildSink, folder: RunFolder, call: Invocation, ask: Ask) -> int:
    """Take results until there are all, and write the end of the run. Return the exit code."""
    try:
        far.watch(sink.describe)
    except BaseException as e:
        _end_early(e, far, sink, folder, ask)
        raise
    far.forget()
    sink.finish()
    if isinstance(sink, BuildSink):
        for line in sink.lines:
            call.screen.print(line)
        return sink.exit_code
    folder.complete()
    reporting.hand_over(folder.path / "junit.xml", ask.junit)
    reporting.show_end(sink.run, folder.path, call.screen, provenance=ask.scheduled)
    if ask.json:
        call.screen.document(results.to_json(sink.run))
    return results.exit_code(sink.run)


def _end_early(
    error: BaseException, far: FarRun | None, sink: TestSink | BuildSink, folder: RunFolder, ask: Ask
) -> None:
    """Stop what is ours on the workers, and write what there is of the run."""
    if far:
        far.stop()
    shortage = error if isinstance(error, KmodpipeError) else from_system(error)
    if shortage is None and isinstance(error, OSError):
        shortage = os_errors.explain(error, (folder.path,))
    stopped = "interrupted" if isinstance(error, KeyboardInterrupt) else f"a defect: {type(error).__name__}"
    after = sink.finish(interrupted=shortage.what if shortage else stopped)
    reporting.hand_over(folder.path / "junit.xml", ask.junit)
    if isinstance(error, KeyboardInterrupt):
        # For the message, which whoever ends the command writes.
        error.args = (after, str(folder.path))


# -- before it begins ---------------------------------------------------------------------------------
def _place(on: str, call: Invocation, *, detach: bool) -> Place:
    """Return where --on leads. Raise UserError, before anything is fetched."""
    project = call.project()
    place = scheduler.parse(on, settings.parse(project.clusters, project.file, project.at))
    scheduler.require_dask()
    if detach and not place.lasts:
        raise UserError(
            f"--detach needs a scheduler that stays: what --on {on} starts ends with the command",
            hint="dask scheduler, and --on tcp://HOST:8786",
        )
    return place


def _begin(options: BuildOptions, call: Invocation, cache: Path) -> Begun:
    """Return the plan, and the project's files as they are now."""
    runs = isinstance(options, RunOptions)
    spec = resolve(options, call, cases_too=runs, skip_illegal=True)
    if isinstance(options, RunOptions) and spec.shuffle:
        options = replace(options, shuffle=str(spec.shuffle))
        call.screen.print(f"the cases' order is shuffled: --shuffle {spec.shuffle} gives the same again")
    options, spec = pinned(options, spec)
    there, spec, bundle = packing.pack(options, spec, cache, call.screen)
    spec, legality = job_plan.from_cache(spec, cache)
    for line in spec.sample_notes:
        call.screen.say(line)
    if isinstance(there, RunOptions):
        # A job may have cells without a case for them: the merged run is judged as a whole.
        there = replace(there, allow_empty=True)
    words = command_line(replace(there, share=""), Use.JOB)
    words += ["--share", spec.share or "none"]
    plan = job_plan.make(spec, legality, words, per_job=1, most=_MOST_JOBS)
    return Begun(spec, plan, bundle, "ci" if runs else "build")


def _wanted(made: Begun) -> Wanted:
    spec = made.spec
    image = builder_image.tag(spec.project.images) if spec.runtime != "host" else ""
    return Wanted(facts.own_program(), runtime=spec.runtime, boots=made.command != "build", image=image)


def _record(made: Begun, folder: RunFolder, place: Place, address: str, *, scheduled: bool) -> Record:
    spec, wanted = made.spec, _wanted(made)
    own = graph.Settings(
        folder.id,
        made.bundle.digest,
        wanted.program,
        wanted.resource,
        requires=place.requires,
        command=made.command,
    )
    memory = {cell.id: cell.flavour.memory_mib for cell in spec.cells}
    arguments = {argument_property(name): given for name, given in spec.series_arguments.items()}
    return Record(
        run=folder.id,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        address=address,
        on=place.name,
        lasts=place.lasts,
        program=wanted.program,
        resource=wanted.resource,
        bundle=made.bundle.digest,
        plan=made.plan,
        tasks=tuple(graph.tasks(made.plan, own, memory, last_times(spec.out))),
        properties={"command": spec.command, PROPERTY: spec.repeat_command, **arguments,
                    "cluster": place.name},
        scheduled=scheduled,
        builds=made.command == "build",
        carries=not place.local and spec.share in ("", "none"),
        runtime=spec.runtime,
        image=wanted.image,
    )  # fmt: skip


def _folder_of(options: AttachOptions) -> Path:
    """Return the run folder that --run names, else the newest on a cluster. Raise UserError."""
    out = Path(options.out)
    if not options.run:
        newest = max(out.glob(f"2*/{record.NAME}"), default=None)
        if newest is None:
            raise UserError(
                "no run on a cluster is here", where=str(out), hint="name it: attach --run FOLDER"
            )
        return newest.parent.resolve()
    for path in (Path(options.run), out / options.run):
        if paths.is_dir(path):
            return path.resolve()
    raise UserError(f"there is no run {options.run!r}", where=str(out), hint="name its folder")
