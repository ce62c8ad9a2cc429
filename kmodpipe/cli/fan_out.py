"""`invoke matrix` and `invoke collect`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from kmodpipe import results, source
from kmodpipe.ci import collect as collecting
from kmodpipe.ci import formats, job_plan
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import BuildOptions, CollectOptions, MatrixOptions, Use, command_line
from kmodpipe.cli.resolve import resolve, tree_arguments
from kmodpipe.pipeline import own_module
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.pipeline.workspace import set_up
from kmodpipe.source import TreeSpec, kernels
from kmodpipe.util.cell_id import KERNEL_NAME
from kmodpipe.util.errors import ExitCode, InfraError, UserError, unknown_name
from kmodpipe.util.files import write_atomically
from kmodpipe.util.text import count

_Options = TypeVar("_Options", bound=BuildOptions)


def matrix(options: MatrixOptions, call: Invocation) -> int:
    """Print a new plan, or the one of --plan, or write it to --to."""
    form = options.format
    if form not in formats.FORMATS:
        raise unknown_name("format", form, formats.FORMATS)
    if options.per_job < 0:
        raise UserError("--per-job is a number from 1 up", hint="0 takes as few as fit")
    made = job_plan.load(Path(options.plan)) if options.plan else _plan(options, call)
    most = job_plan.LIMITS[form]
    if len(made.jobs) > most:
        raise UserError(f"the plan has {count(len(made.jobs), 'job')}, a {form} matrix {most} at most")
    text = formats.FORMATS[form](made)
    if options.to:
        write_atomically(Path(options.to), text + "\n")
        _show_plan(options, call, made)
    else:
        call.screen.print(text)
    return ExitCode.OK


def _plan(options: MatrixOptions, call: Invocation) -> job_plan.Plan:
    # As a base's job on a cluster, which is handed cells of which the tree may rule out some.
    skip = options.prepare and options.allow_empty
    spec = resolve(options, call, cases_too=True, skip_illegal=skip)
    # The seed and the tree's head are fixed now, so that jobs that begin at different times use the same.
    if spec.shuffle:
        options = replace(options, shuffle=str(spec.shuffle))
    options, spec = pinned(options, spec)
    with call.cache() as cache:
        if options.prepare:
            workspace = set_up(spec, cache, call.screen)
            spec = workspace.spec
            with RunFolder(spec.out) as folder:
                legality = job_plan.prepare(workspace, folder)
        else:
            spec, legality = job_plan.from_cache(spec, cache)
            for line in spec.sample_notes:
                call.screen.say(line)
    most = job_plan.LIMITS[options.format]
    # A job may have cells without a case for them: the merged run is judged as a whole.
    arguments = command_line(replace(options, allow_empty=True), Use.JOB)
    return job_plan.make(spec, legality, arguments, options.per_job, most)


def pinned(options: _Options, spec: RunSpec) -> tuple[_Options, RunSpec]:
    """Return the options and the run with the commits that moving branches have now, for all jobs.

    Raise UserError for a tree that cannot be pinned.
    """
    arguments = _pinned_trees(options, spec)
    trees = tuple(kernels.resolve(one, spec.project.kernels) for one in arguments) or spec.trees
    options = replace(options, tree=arguments, kernel=(), head=False)
    if spec.own and (commit := source.tip(spec.own.spec)):
        module = own_module.at_commit(spec.own, commit)
        options, spec = replace(options, module=module.declared.source), replace(spec, own=module)
    return options, replace(spec, trees=trees, head=False)


def _pinned_trees(options: BuildOptions, spec: RunSpec) -> tuple[str, ...]:
    """Return what names the kernels for all jobs; empty if each finds it in the matrix or the project."""
    given = tree_arguments(options.kernels, spec.matrix, spec.project)
    pinned: list[str] = []
    for argument, tree in zip(given, spec.trees, strict=True):
        if isinstance(tree, TreeSpec) and (commit := source.tip(tree, head=spec.head)):
            name = f"{tree.name}=" if KERNEL_NAME.fullmatch(tree.name) else ""
            pinned.append(f"{name}{tree.git}#{commit}")
        elif spec.head:
            raise UserError(
                f"a plan cannot pin the newest package of tree {tree.name}",
                where="--head",
                hint=f"invoke fetch --tree {tree.name} --head on each machine, then plan without --head",
            )
        else:
            pinned.append(argument)
    return tuple(pinned) if tuple(pinned) != tuple(given) else options.kernels


def _show_plan(options: MatrixOptions, call: Invocation, made: job_plan.Plan) -> None:
    skipped = sum(bool(cell.skip) for cell in made.cells)
    looked = any(name.startswith("tree.") for name in made.properties)
    known = f", {skipped} ruled out by the tree" if looked else ""
    call.screen.say(
        f"{options.to}: {count(len(made.cells), 'cell')}{known}, in {count(len(made.jobs), 'job')}"
    )


def collect(options: CollectOptions, call: Invocation) -> int:
    """Merge the runs of a plan's jobs, and compare them with the plan."""
    from kmodpipe.cli.report import files_of
    from kmodpipe.report import html, junit, terminal

    if not options.plan:
        raise UserError(
            "collect needs the plan of the jobs: without it a missing cell goes unnoticed",
            hint="invoke matrix --format json --to plan.json, before the jobs; then collect --plan plan.json",
        )
    made, screen = job_plan.load(Path(options.plan)), call.screen
    parts = collecting.find(options.dir or (options.out,), screen)
    if not parts:
        raise InfraError(
            "no job left a result",
            where=", ".join(options.dir or (options.out,)),
            hint="--dir names the folders that the jobs left; look at the log of a job",
        )
    with RunFolder(Path(options.out).absolute()) as folder:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        found = collecting.merge(made, parts, folder.id, now)
        collecting.copy_parts(parts, folder.path)
        results.save(found.run, folder.path / "results.json")
        junit.save(found.run, folder.path / "junit.xml")
        html.save(found.run, folder.path / "report.html")
        folder.complete()
    screen.show(terminal.report(found.run))
    screen.print(f"{count(len(parts), 'run')} collected: {files_of(folder.path)}")
    code = results.exit_code(found.run)
    if wrong := collecting.problem(found, len(made.cells)):
        screen.error(wrong)
        # A failure stays the exit code: a CI job that retries on 3 must not lose it.
        code = code if code == ExitCode.FAILURE else ExitCode.INFRA
    return code
