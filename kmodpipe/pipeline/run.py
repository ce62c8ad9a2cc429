"""Run the plan: build, boot and judge each cell, and write the results.

A cell that fails does not stop the others, and every planned case is in ``results.json`` from the start.

    OUT/<run>/results.json junit.xml report.html events.jsonl
    OUT/<run>/cells.jsonl                  while the run goes on: the cells that are done
    OUT/<run>/shared/…                     files of several cells: bzImage, guest.cpio, the base's log,
                                           and the cases' scripts as they ran
    OUT/<run>/<cell>/config build.log console.log verdict.log cell.cpio reproduce.sh
    OUT/latest -> <run>
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import assert_never

from kmodpipe import results
from kmodpipe.build.configured import RuledOut
from kmodpipe.build.runtime import Unready
from kmodpipe.build.sharing import Subject
from kmodpipe.judge.cases import CellContext
from kmodpipe.judge.script import add_programs
from kmodpipe.logs.known_benign import KnownBenign
from kmodpipe.pipeline import case_times, families, provenance, snapshot
from kmodpipe.pipeline.builder import (
    BuildFailed,
    Built,
    BuiltCell,
    CellBuilder,
    GuestParts,
    Row,
)
from kmodpipe.pipeline.building import find_dead_axes, write_configuration
from kmodpipe.pipeline.cell_folder import (
    GuestCopies,
    artifacts,
    write_reproduce_scripts,
)
from kmodpipe.pipeline.cell_job import CellJob
from kmodpipe.pipeline.cell_run import Execution
from kmodpipe.pipeline.planned_run import planned_run
from kmodpipe.pipeline.progress import Progress, last_times
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.soak import GuestSlots
from kmodpipe.pipeline.stage_maker import StageMaker
from kmodpipe.pipeline.workspace import Workspace
from kmodpipe.results import CellResult, Run, Span, State, Verdict, journal
from kmodpipe.results.journal import Journal
from kmodpipe.util import costs, os_errors, signals
from kmodpipe.util.errors import InfraError, Interrupted, KernelFailure, KmodpipeError
from kmodpipe.util.os_errors import from_system
from kmodpipe.util.workers import gather, workers
from kmodpipe.vm import accel, cpu_time, speed
from kmodpipe.vm.accel import Accel
from kmodpipe.vm.speed import Speed

Settled = Callable[[CellResult], None]
"""Called with the result of a cell, from any thread."""

# How many guests of one cell get a span in the timeline: a soak has thousands.
_TIMED_GUESTS = 50


def test(
    workspace: Workspace,
    folder: RunFolder,
    accel: Accel,
    notes: Mapping[str, str] | None = None,
    settled: Settled = lambda cell: None,
    *,
    measuring: Future[Speed] | None = None,
) -> Run:
    """Build, boot and judge every cell, write the results, and return them.

    ``accel`` is an accelerator that was proved to work; ``notes`` are properties to add to the run's own;
    ``settled`` is called with the result of each cell as it is there, before it is compared with the
    control's; ``measuring`` is the machine's speed with that accelerator, which is measured here otherwise.
    After Ctrl-C or an error that stops the run, the results are written with the rest marked as
    not run, and the exception is raised.
    """
    with _TestRun(workspace, folder, accel, notes or {}, settled, measuring) as test_run:
        return _to_its_end(test_run, workspace, folder)


def _to_its_end(test_run: _TestRun, workspace: Workspace, folder: RunFolder) -> Run:
    """Run the cells, write the results in any case, and return them."""
    try:
        test_run.run()
    except BaseException as e:
        shortage = e if isinstance(e, KmodpipeError) else from_system(e)
        if shortage is None and isinstance(e, OSError):
            shortage = os_errors.explain(e, workspace.places)
        stopped = "interrupted" if isinstance(e, KeyboardInterrupt) else f"a defect: {type(e).__name__}"
        after = test_run.finish(interrupted=shortage.what if shortage else stopped)
        if isinstance(e, KeyboardInterrupt):
            # For the message, which whoever ends the command writes.
            e.args = (after, str(folder.path))
        raise
    test_run.finish()
    folder.complete()
    return test_run.results


@dataclass(frozen=True)
class _Tasks:
    """What a run waits for."""

    builds: Sequence[Future[Built]]  # in the order of the rows
    boots: Sequence[Future[None]]


def _prepare_report() -> None:
    """Import and compile what the first report of a process needs."""
    from kmodpipe.report import html, junit  # noqa: F401

    html.prepare()


class _TestRun:
    """Runs the cells in a pool of workers, and keeps the results so far.

    A cell that is done goes to the journal, at a cost that does not grow with the run; the results as a whole
    are put together and written twice: as planned, and at the end.
    """

    def __init__(
        self,
        workspace: Workspace,
        folder: RunFolder,
        accel: Accel,
        notes: Mapping[str, str],
        settled: Settled,
        measuring: Future[Speed] | None,
    ) -> None:
        self._on_settled = settled
        self._workspace = workspace
        self._folder = folder
        self._builder = CellBuilder(workspace, StageMaker(workspace, folder))
        self._lock = threading.Lock()
        self._began, self._clock = datetime.now(UTC), time.monotonic()
        self._partial: dict[str, Execution] = {}
        # How long the guests of each cell took.
        self._seconds: dict[str, float] = {}
        self._guests: list[Span] = []
        self._accel = accel
        self._measuring = measuring
        self._speed: Future[Speed] = Future()
        self._slots = GuestSlots(workspace.spec.jobs)
        self._took = case_times.recall(workspace.store.cache, workspace.spec.project.root)
        lib = workspace.spec.project.images / "guest" / "lib.sh"
        self._snapshot = snapshot.take(workspace.spec.cases, lib, folder.shared)
        self._copies = GuestCopies(folder, self._snapshot.lib)
        self.results = planned_run(workspace, folder.id, self._began, self._snapshot, accel, notes)
        self._cells = {cell.cell: replace(cell, cases=()) for cell in self.results.cells}
        self._settled: dict[str, CellResult] = {}
        results.save(self.results, folder.path / "results.json")
        self._journal = Journal(self.results, folder.path / journal.NAME)
        spec = workspace.spec
        self._progress = Progress(
            [cell.id for cell in spec.cells], len(spec.cases), spec.jobs, last_times(spec.out)
        )

    def __enter__(self) -> _TestRun:
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()

    def run(self) -> None:
        """Build and test all cells."""
        with workers(self._workspace.spec.jobs) as pool:
            self._check_programs()
            store, measured = self._workspace.store, self._accel
            # Beside what is made, as guests run beside each other later; only they wait for it.
            self._speed = self._measuring or pool.submit(speed.of_machine, measured, store)
            rows = self._builder.prepare(pool, self._note_configured)
            guest = self._builder.guest()
            if self._builder.bases:
                proof = accel.ProofKernel(self._builder.bases[0].path / "out" / "bzImage", guest.rootfs)
                workspace = self._workspace
                self._accel = accel.confirm(self._accel, proof, workspace.store.cache, workspace.screen)
            if self._accel != measured:
                self._speed = pool.submit(speed.of_machine, self._accel, store)
            self._workspace.screen.progress(self._progress.describe())
            tasks = self._start(pool, rows, guest)
            self._copies.begin(guest)
            # The first worker that has nothing left to do.
            pool.submit(_prepare_report)
            self._note_speed(self._speed.result())
            gather([*tasks.builds, *tasks.boots])
        dead = find_dead_axes(self._workspace, [build.result() for build in tasks.builds])
        with self._lock:
            self.results = replace(self.results, dead_axes=dead)

    def _start(self, pool: Executor, rows: Sequence[Row], guest: GuestParts) -> _Tasks:
        """Begin to build and test each row.

        Each build is submitted before its boot, so that no boot waits for a build that has not begun. A build
        and a boot are two tasks: with shorter tasks fewer workers are idle at the end.
        """
        builds: dict[int, Future[Built]] = {}
        boots: list[Future[None]] = []
        for to_build, to_boot in families.order([row[1] for row in rows], self._workspace.spec.awaited):
            for number in to_build:
                builds[number] = pool.submit(self._build, rows[number])
            for number in to_boot:
                boots.append(pool.submit(self._test_cell, rows[number][0], builds[number], guest))
        return _Tasks([builds[number] for number in range(len(rows))], boots)

    def _check_programs(self) -> None:
        """Say before a kernel is built which cases need programs that their guests do not have.

        What the cases' tools bring counts: a package that does not exist is an error here.

        Raises InfraError if no case of any cell has what it needs.
        """
        cases = [case for case in self._snapshot.cases if case.beyond_the_shell]
        if not cases:
            return
        guest = self._builder.guest()
        roots = [guest.root(flavour) for flavour in self._workspace.spec.flavours]
        lacking = [
            (case.id, missing) for root in roots for case in cases if (missing := case.missing_from(root))
        ]
        for case_id, missing in dict.fromkeys(lacking):
            self._workspace.screen.say(f"no verdict on {case_id}: the guest has no {', '.join(missing)}")
        if len(lacking) < len(roots) * len(self._snapshot.cases):
            return
        names = tuple(dict.fromkeys(name for _, missing in lacking for name in missing))
        raise InfraError(
            f"no verdict: the guest has no {', '.join(names)}, and no case can do without",
            where=", ".join(dict.fromkeys(case_id for case_id, _ in lacking)),
            hint=add_programs(names),
        )

    def _note_configured(self, rows: Sequence[Row]) -> None:
        """Record the cells that the tree rules out, so that they are skipped even if the run is cut short."""
        for _, one in rows:
            if isinstance(one, RuledOut):
                planned = self._planned(one.cell.id)
                self._record(replace(planned, state=State.SKIPPED, reason=one.reason))
                self._progress.skip(one.cell.id)

    def _note_speed(self, measured: Speed) -> None:
        """Record the speed with which the limits are scaled."""
        self._workspace.screen.say(f"this machine's speed: {measured.describe()}")
        found = {**measured.properties(), "load.begin": cpu_time.load_average()}
        with self._lock:
            self._journal.learn(found)
            self.results = replace(self.results, properties={**self.results.properties, **found})

    def _build(self, row: Row) -> Built:
        began = time.monotonic()
        write_configuration(self._folder, row[1])
        built = self._builder.cell(*row)
        self._progress.built(built.cell.id, time.monotonic() - began)
        return built

    def _test_cell(self, subject: Subject, build: Future[Built], guest: GuestParts) -> None:
        """Wait for a cell's build, run its cases, and record the result."""
        built = build.result()
        planned = self._planned(built.cell.id)
        match built:
            case RuledOut(_, reason):
                ended = replace(planned, state=State.SKIPPED, reason=reason)
            case BuildFailed(_, failure):
                fault = isinstance(failure, KernelFailure)
                ended = self._unfinished(planned, State.BUILD_FAILED if fault else State.INFRA, failure)
            case BuiltCell():
                try:
                    with os_errors.explained(*self._workspace.places):
                        ended = self._run_cases(planned, subject, built, guest)
                except (Interrupted, Unready):
                    raise
                except KmodpipeError as e:
                    ended = self._unfinished(planned, State.INFRA, e)
            case _:
                assert_never(built)
        self._record(ended)
        if ended.state is not State.SKIPPED:
            self._progress.finish(ended.cell, self._seconds.get(ended.cell, 0.0))
            self._workspace.screen.progress(self._progress.describe())

    def _unfinished(self, planned: CellResult, state: State, error: KmodpipeError) -> CellResult:
        """Return the result of a cell that ``error`` stopped, with the files that are in its folder."""
        files = artifacts(self._folder, planned.cell)
        return replace(planned, state=state, reason=str(error), artifacts=files)

    def _planned(self, cell_id: str) -> CellResult:
        """Return the cell as it was planned, without its cases."""
        return self._cells[cell_id]

    def _run_cases(
        self, planned: CellResult, subject: Subject, built: BuiltCell, guest: GuestParts
    ) -> CellResult:
        """Run the cases of a cell in guests, write the reproduce scripts, and return the result."""
        cell_id, flavour = built.cell.id, built.cell.flavour
        folder = self._folder.cell(cell_id)
        with costs.step(costs.Part.PACK):
            files = self._copies.of(built, guest, self._builder.tools(built, guest))
        version = self._workspace.kernel_of(built.cell).source.kernel_version
        context = CellContext(
            cell_id, subject.variant.name, subject.variant.design, dict(planned.choice),
            built.configured.final, flavour.name, subject.variant.partial, guest.root(flavour), version,
        )  # fmt: skip
        with (
            self._workspace.screen.step(f"test {cell_id}") as step,
            self._workspace.store.scratch("boot-") as scratch,
        ):
            spec = self._workspace.spec
            job = CellJob(
                context, self._snapshot.cases, files, folder, scratch, self._accel, spec.project.deadlines,
                shuffle=spec.shuffle,
                retries=spec.retries,
                speed=self._speed.result().factor,
                known_benign=KnownBenign(spec.benign, version),
                watch=spec.project.watch,
                took=self._took,
            )  # fmt: skip
            # Processors that have no other cell left take cases of this one.
            at_once = spec.jobs // max(self._progress.left, 1)
            execution = Execution(job, step.update, self._slots, at_once)
            self._partial[cell_id] = execution
            try:
                done = execution.run()
            finally:
                self._note_guests(cell_id, execution)
                self._seconds[cell_id] = step.elapsed_s
            del self._partial[cell_id]
            bad = any(result.verdict in (Verdict.FAIL, Verdict.ERROR) for result in done.results)
            step.finish(results.in_words(done.results), failed=bad)
        comment = {"cell": cell_id, "flavour": str(flavour), **self.results.properties}
        with costs.step(costs.Part.REPORT):
            write_reproduce_scripts(folder, files, done.boots, comment)
            return replace(
                planned,
                state=State.RAN,
                cases=done.results,
                properties=provenance.of_cell(subject, built, guest, files, done, self._accel),
                artifacts=artifacts(self._folder, cell_id),
            )

    def _note_guests(self, cell_id: str, execution: Execution) -> None:
        """Add the times of the cell's first guests to the timeline."""
        spans = [
            Span(
                "guest", cell_id, round(boot.began, 3), round(own.duration_s, 3), own.end.value, own.to_init_s
            )
            for boot in execution.boots[:_TIMED_GUESTS]
            for own in [boot.record]
        ]
        with self._lock:
            self._guests += spans

    @costs.step(costs.Part.REPORT)
    def _record(self, cell: CellResult) -> None:
        """Keep a cell's result, on the disk too."""
        with self._lock:
            self._settled[cell.cell] = cell
            self._journal.settle(cell)
        self._on_settled(cell)

    @costs.step(costs.Part.REPORT)
    def finish(self, interrupted: str = "") -> str:
        """Write the final results and reports. ``interrupted`` is why the run ended early, '' if it did not.

        Cells that were running keep the verdicts that they had. Return how far the run came:
        ``after 12 of 144 results``.
        """
        after = ""
        with signals.held(), self._lock:
            self.results = results.with_cells(self.results, self._settled.values())
            if interrupted:
                partial = [
                    replace(self._planned(cell_id), cases=execution.results_so_far())
                    for cell_id, execution in self._partial.items()
                ]
                self.results = results.with_cells(self.results, partial)
                after = f"after {results.progress(self.results)}"
                self.results = results.interrupted(self.results, interrupted, after)
            steps = [
                Span(kind, subject, step.began, step.seconds, step.outcome)
                for step in self._workspace.screen.done
                for kind, _, subject in [step.name.partition(" ")]
            ]
            # By the monotonic clock: the system's time may have been set during the run.
            ended = self._began + timedelta(seconds=time.monotonic() - self._clock)
            properties = {**self.results.properties, "load.end": cpu_time.load_average()}
            self.results = replace(
                results.judged_against_control(self.results),
                finished=ended.isoformat(timespec="seconds"),
                properties=properties,
                timeline=(*steps, *self._guests),
            )
            results.save(self.results, self._folder.path / "results.json")
            self._journal.remove()
            place = self._workspace
            case_times.remember(place.store.cache, place.spec.project.root, self.results.cells)
            # Not before they are written: a build writes none.
            from kmodpipe.report import html, junit

            junit.save(self.results, self._folder.path / "junit.xml")
            html.save(self.results, self._folder.path / "report.html")
        return after
