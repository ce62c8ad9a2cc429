"""Runs the plan: builds each cell, boots it, judges it, writes down what happened.

One bad cell never stops the others, and every planned case is in ``results.json`` from the first moment.

    OUT/<run>/results.json junit.xml report.html events.jsonl
    OUT/<run>/shared/…                     what cells have in common: bzImage, guest.cpio, the base's log,
                                           and the cases' scripts as they ran
    OUT/<run>/<cell>/config build.log console.log verdict.log cell.cpio reproduce.sh
    OUT/latest -> <run>
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import assert_never

from kmodpipe import results
from kmodpipe.build.configured import Buildable, Configured, RuledOut
from kmodpipe.build.elf import kernel_build_ids
from kmodpipe.build.stages import Subject
from kmodpipe.cache.store import Artifact, made_as
from kmodpipe.judge import dead_axes
from kmodpipe.judge.cases import CellContext
from kmodpipe.kconfig import Flavour
from kmodpipe.logs.known_benign import KnownBenign
from kmodpipe.pipeline import provenance, snapshot
from kmodpipe.pipeline.builder import (
    BuildFailed,
    Built,
    BuiltCell,
    CellBuilder,
    GuestParts,
    Row,
    StageMaker,
    Tally,
)
from kmodpipe.pipeline.cell_run import CellJob, Execution, GuestFiles
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.soak import GuestSlots
from kmodpipe.pipeline.workspace import Workspace
from kmodpipe.report import html, junit
from kmodpipe.results import CaseInfo, CaseResult, CellResult, DeadAxis, Run, Span, State
from kmodpipe.util import os_errors, signals
from kmodpipe.util.digest import digest_file
from kmodpipe.util.errors import InfraError, Interrupted, KernelFailure, KmodpipeError
from kmodpipe.util.files import write_atomically
from kmodpipe.util.os_errors import from_system
from kmodpipe.util.workers import gather, workers
from kmodpipe.vm import accel, cpu_time, reproduce_script, speed
from kmodpipe.vm.accel import Accel
from kmodpipe.vm.qemu import qemu_argv
from kmodpipe.vm.speed import Speed

_TIMED_GUESTS = 50
"""Guests of one cell whose times are kept: a soak has thousands."""


def build(workspace: Workspace, folder: RunFolder) -> tuple[tuple[Built, ...], Tally]:
    """Build every cell, boot none. Raises what stops everything; a cell's own failure is in its record."""
    maker = StageMaker(workspace, folder)
    builder = CellBuilder(workspace, maker)

    def one(row: Row) -> Built:
        _keep_configuration(folder, row[1])
        return builder.cell(*row)

    with workers(workspace.spec.jobs) as pool:
        builds = [pool.submit(one, row) for row in builder.prepare(pool)]
        gather(builds)
    return tuple(build.result() for build in builds), maker.tally


def find_dead_axes(workspace: Workspace, built: Iterable[Built]) -> tuple[DeadAxis, ...]:
    """The axes that make no difference to the modules of ``built``, the cells of a whole run."""
    by_id = {one.cell.id: one for one in built}
    products = [
        dead_axes.Product(cell, dead_axes.content(one.base, one.module) if isinstance(one, BuiltCell) else "")
        for cell in workspace.spec.cells
        if not isinstance(one := by_id[cell.id], RuledOut)
    ]
    subjects = {subject.variant.name: subject for subject in workspace.subjects}
    selected = workspace.spec.selected
    return dead_axes.find(products, subjects, workspace.spec.module, selected=selected)


def test(
    workspace: Workspace, folder: RunFolder, accel: Accel, notes: Mapping[str, str] | None = None
) -> Run:
    """Build, boot and judge every cell; return the run as it ended, complete on the disk too.

    ``accel`` is the accelerator that was proved; ``notes`` are properties that the run gets beyond its own.
    Ctrl-C and errors that stop everything leave the results written, the rest marked, and go through.
    """
    tester = _Tester(workspace, folder, accel, notes or {})
    try:
        tester.run()
    except BaseException as e:
        shortage = e if isinstance(e, KmodpipeError) else from_system(e)
        if shortage is None and isinstance(e, OSError):
            shortage = os_errors.explain(e, workspace.places)
        stopped = "interrupted" if isinstance(e, KeyboardInterrupt) else f"a defect: {type(e).__name__}"
        tester.close(interrupted=shortage.what if shortage else stopped)
        raise
    tester.close()
    return tester.results


class _Tester:
    """One test run: its workers, its results so far."""

    def __init__(
        self, workspace: Workspace, folder: RunFolder, accel: Accel, notes: Mapping[str, str]
    ) -> None:
        self._workspace = workspace
        self._folder = folder
        self._notes = notes
        self._builder = CellBuilder(workspace, StageMaker(workspace, folder))
        self._lock = threading.Lock()
        self._began, self._clock = datetime.now(UTC), time.monotonic()
        self._partial: dict[str, Execution] = {}
        self._guests: list[Span] = []
        self._accel = accel
        self._speed = Speed()
        self._slots = GuestSlots(workspace.spec.jobs)
        lib = workspace.spec.project.images / "guest" / "lib.sh"
        self._snapshot = snapshot.take(workspace.spec.cases, lib, folder.shared)
        self.results = results.planned(self._skeleton())
        self._save()

    def _skeleton(self) -> Run:
        workspace = self._workspace
        given = workspace.spec.case_arguments
        return Run(
            id=self._folder.id,
            started=self._began.isoformat(timespec="seconds"),
            cases=tuple(
                CaseInfo(c.id, c.summary, c.goal, self._snapshot.digest(c), given.get(c.id, ""))
                for c in self._snapshot.cases
            ),
            cells=tuple(
                CellResult(c.id, c.variant.name, c.variant.design, dict(c.choice), flavour=c.flavour.name)
                for c in workspace.spec.cells
            ),
            properties=provenance.of_run(workspace, self._accel, self._notes),
        )

    def run(self) -> None:
        with workers(self._workspace.spec.jobs) as pool:
            rows = self._builder.prepare(pool)
            guest = self._builder.guest()
            if self._builder.bases:
                self._accel = accel.confirm(
                    self._accel,
                    self._builder.bases[0].path / "out" / "bzImage",
                    guest.rootfs,
                    self._workspace.store.cache,
                    self._workspace.screen,
                )
            self._measure()
            # Builds before boots, each a task of its own: two short ones leave less of a processor idle at
            # the end than a long one. No boot waits for a build that has not begun.
            builds = [pool.submit(self._build, row) for row in rows]
            boots = [
                pool.submit(self._cell, subject, build, guest)
                for (subject, _), build in zip(rows, builds, strict=True)
            ]
            gather([*builds, *boots])
        found = find_dead_axes(self._workspace, [build.result() for build in builds])
        with self._lock:
            self.results = replace(self.results, dead_axes=found)

    def _measure(self) -> None:
        """How fast this machine is now, with the accelerator that will be used."""
        with self._workspace.store.scratch("speed-") as scratch:
            self._speed = speed.measure(self._accel, scratch)
        self._workspace.screen.say(f"this machine's speed: {self._speed.describe()}")
        with self._lock:
            found = {
                **self.results.properties,
                **self._speed.properties(),
                "load.begin": cpu_time.load_average(),
            }
            self.results = replace(self.results, properties=found)

    def _build(self, row: Row) -> Built:
        _keep_configuration(self._folder, row[1])
        return self._builder.cell(*row)

    def _cell(self, subject: Subject, build: Future[Built], guest: GuestParts) -> None:
        built = build.result()
        blank = self._blank(built.cell.id)
        match built:
            case RuledOut(_, reason):
                ended = replace(blank, state=State.SKIPPED, reason=reason)
            case BuildFailed(_, failure):
                fault = isinstance(failure, KernelFailure)
                ended = self._unfinished(blank, State.BUILD_FAILED if fault else State.INFRA, failure)
            case BuiltCell():
                try:
                    with os_errors.explained(*self._workspace.places):
                        ended = self._boot(blank, subject, built, guest)
                except Interrupted:
                    raise
                except KmodpipeError as e:
                    ended = self._unfinished(blank, State.INFRA, e)
            case _:
                assert_never(built)
        self._settle(ended)

    def _unfinished(self, blank: CellResult, state: State, error: KmodpipeError) -> CellResult:
        """The result of a cell that ``error`` stopped, with what its folder holds so far."""
        return replace(blank, state=state, reason=str(error), artifacts=self._artifacts(blank.cell))

    def _blank(self, cell_id: str) -> CellResult:
        """The cell as planned, without the places kept for its cases."""
        return replace(next(c for c in self.results.cells if c.cell == cell_id), cases=())

    def _boot(self, blank: CellResult, subject: Subject, built: BuiltCell, guest: GuestParts) -> CellResult:
        cell_id, flavour = built.cell.id, built.cell.flavour
        folder = self._folder.cell(cell_id)
        files = self._guest_files(built.base, built.module, guest, flavour)
        context = CellContext(
            cell_id, subject.variant.name, subject.variant.design, dict(blank.choice),
            built.configured.final, flavour.name, subject.variant.partial,
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
                speed=self._speed.factor,
                known_benign=KnownBenign(spec.benign, self._workspace.tree.kernel_version),
            )  # fmt: skip
            execution = Execution(job, step.update, self._slots)
            self._partial[cell_id] = execution
            try:
                done = execution.run()
            finally:
                self._remember(cell_id, execution)
            del self._partial[cell_id]
            step.finish(", ".join(f"{n} {word}" for word, n in _counts(done.results).items() if n))
        for boot in done.boots:
            if not boot.kept:
                continue
            reproduce_script.write(
                folder,
                argv=qemu_argv(
                    replace(boot.record.spec, kernel=Path("@KERNEL@"), initramfs=Path("@INITRAMFS@")),
                    channel="@CHANNEL@",
                ),
                kernel=os.path.relpath(files.kernel, folder),
                initramfs_parts=(
                    *(os.path.relpath(archive, folder) for archive in (files.rootfs, *files.tools)),
                    boot.cell_cpio.name,
                ),
                comment={"cell": cell_id, "flavour": str(flavour), **self.results.properties},
                guest=boot.number,
            )
        return replace(
            blank,
            state=State.RAN,
            cases=done.results,
            properties=provenance.of_cell(built, guest, files, done, self._accel),
            artifacts=self._artifacts(cell_id),
        )

    def _remember(self, cell_id: str, execution: Execution) -> None:
        """Note when the cell's guests ran; of many, the first."""
        spans = [
            Span(
                "guest", cell_id, round(boot.began, 3), round(own.duration_s, 3), own.end.value, own.to_init_s
            )
            for boot in execution.boots[:_TIMED_GUESTS]
            for own in [boot.record]
        ]
        with self._lock:
            self._guests += spans

    def _guest_files(
        self, base: Artifact, module: Artifact, guest: GuestParts, flavour: Flavour
    ) -> GuestFiles:
        shared = self._folder.shared
        kernel_id, module_ids = kernel_build_ids(base, module)
        modules = tuple(sorted((module.path / "out").glob("*.ko")))
        digests = {p.stem.replace("-", "_"): made_as(p) for p in modules}
        with self._lock:
            kernel = _copy(base.path / "out" / "bzImage", shared / f"bzImage-{base.key[:12]}")
            rootfs = _copy(guest.rootfs, shared / "guest.cpio")
            tools = tuple(
                _copy(guest.toolsets[name], shared / f"tools-{name}.cpio") for name in flavour.tools
            )
        return GuestFiles(
            kernel, rootfs, self._snapshot.lib, modules, kernel_id, module_ids, digests, tools, flavour.env,
            flavour.memory_mib, flavour.cpus, flavour.slow, base.path / "out" / "vmlinux",
        )  # fmt: skip

    def _artifacts(self, cell_id: str) -> Mapping[str, str]:
        folder = self._folder.cell(cell_id)
        return {p.name: f"{cell_id}/{p.name}" for p in sorted(folder.iterdir()) if p.is_file()}

    def _settle(self, cell: CellResult) -> None:
        with self._lock:
            self.results = results.with_cell(self.results, cell)
            self._save()

    def _save(self) -> None:
        results.save(self.results, self._folder.path / "results.json")

    def close(self, interrupted: str = "") -> None:
        """Write the last word: what was cut off keeps the verdicts it had."""
        with signals.held(), self._lock:
            if interrupted:
                for cell_id, execution in self._partial.items():
                    partial = replace(self._blank(cell_id), cases=execution.results_so_far())
                    self.results = results.with_cell(self.results, partial)
                self.results = results.interrupted(self.results, interrupted)
            steps = [
                Span(kind, subject, step.began, step.seconds, step.outcome)
                for step in self._workspace.screen.done
                for kind, _, subject in [step.name.partition(" ")]
            ]
            # Not by the clock, which may have been set meanwhile: a run takes the time that it takes.
            ended = self._began + timedelta(seconds=time.monotonic() - self._clock)
            properties = {**self.results.properties, "load.end": cpu_time.load_average()}
            self.results = replace(
                self.results,
                finished=ended.isoformat(timespec="seconds"),
                properties=properties,
                timeline=(*steps, *self._guests),
            )
            self._save()
            junit.save(self.results, self._folder.path / "junit.xml")
            html.save(self.results, self._folder.path / "report.html")


def _counts(found: Sequence[CaseResult]) -> Mapping[str, int]:
    words = {"pass": "as expected", "fail": "failed", "error": "without verdict", "skip": "skipped"}
    told = {words[v]: sum(r.verdict.value == v and not r.flaky for r in found) for v in words}
    return {**told, "flaky": sum(r.flaky for r in found)}


def _keep_configuration(folder: RunFolder, configured: Configured) -> None:
    if isinstance(configured, Buildable):
        write_atomically(folder.cell(configured.cell.id) / "config", configured.text)


def _copy(source: Path, target: Path) -> Path:
    """``target`` with the content of ``source``; a copy, so that nobody who edits results edits the cache."""
    if not target.exists():
        try:
            shutil.copyfile(source, target)
        except OSError as e:
            target.unlink(missing_ok=True)
            raise os_errors.explain(e, (target.parent,)) or InfraError(
                f"could not copy {source.name} to the results: {e.strerror}", where=str(target)
            ) from e
        if digest_file(target) != made_as(source):
            target.unlink()
            raise InfraError(
                f"{source.name} was changed in the cache after the run had begun",
                where=str(source),
                hint="run the same command again: what is damaged is made again",
            )
    return target
