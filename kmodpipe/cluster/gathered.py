"""Put what workers hand back into one run folder and one run, as a local run leaves them.

A parcel is compared with the plan as `collect` compares a job's run: one that does not fit is no verdict. A
cell is taken once; its files stand where a local run has them. A shared file that differs from that of an
earlier cell goes with the cell's own files to ``jobs/<run of the job>/``, as `collect` has them.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from kmodpipe import results
from kmodpipe.ci import collect
from kmodpipe.ci.collect import Part
from kmodpipe.cluster import parcel
from kmodpipe.cluster.parcel import Note
from kmodpipe.cluster.record import Record
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.report import html, junit
from kmodpipe.results import CellResult, Run, Span, State, journal
from kmodpipe.results.journal import Journal
from kmodpipe.util import paths, signals
from kmodpipe.util.digest import digest_file
from kmodpipe.util.errors import InfraError, KmodpipeError
from kmodpipe.util.files import part_of, write_atomically

# A job's properties that are about its machine or its moment: they stand with the cell.
_OF_A_WORKER = re.compile(r"^(accel(\..*)?|speed\..*|load\..*|builder\.from)$")
_OF_A_JOB = re.compile(r"^(command|repeat-with|series\..*\.argument|allow-empty|ended-early)$")

Fetch = Callable[[str, str], bytes]
"""Returns the shared file of a digest from a worker, empty if it does not have it."""


class Gathered:
    """The run so far, and its folder.

    What is settled goes to the journal at a cost that does not grow with the run; results.json is written as
    planned, and at the end.
    """

    def __init__(self, record: Record, folder: RunFolder, known: Run | None = None) -> None:
        """``known`` is what an earlier command gathered of the same run."""
        self._record = record
        self._folder = folder
        plan = record.plan
        self._blank = {one.cell: collect.blank(one) for one in plan.cells}
        cells = tuple(
            replace(
                self._blank[one.cell], state=State.SKIPPED if one.skip else State.NOT_RUN, reason=one.skip
            )
            for one in plan.cells
        )
        self._begun = known or results.planned(
            Run(record.run, record.started, plan.cases, cells, {**plan.properties, **record.properties})
        )
        self.open_cells = {
            cell.cell: None for cell in self._begun.cells if cell.state in (State.NOT_RUN, State.INTERRUPTED)
        }
        """The cells that have no result yet."""
        self._settled: dict[str, CellResult] = {}
        self._ended: Run | None = None
        self._properties = dict(self._begun.properties)
        self._timeline = list(self._begun.timeline)
        # The digests of the files that cells share, and of which all have to have the same.
        self._shared: dict[str, str] = {}
        if known:
            self._shared = _comparable(_digests(folder.shared))
        results.save(self._begun, folder.path / "results.json")
        # Of an earlier command everything is in results.json now.
        (folder.path / journal.NAME).unlink(missing_ok=True)
        self._journal = Journal(self._begun, folder.path / journal.NAME)

    @property
    def run(self) -> Run:
        """The run so far, put together anew each time; at its end as it was written."""
        if self._ended:
            return self._ended
        known = replace(self._begun, properties=dict(self._properties), timeline=tuple(self._timeline))
        return results.judged_against_control(results.with_cells(known, self._settled.values()))

    @property
    def planned_cells(self) -> tuple[CellResult, ...]:
        """The cells as they were when this command began."""
        return self._begun.cells

    def close(self) -> None:
        """Close the journal, which stays for another command unless the run has ended."""
        self._journal.close()

    def take(self, cell: str, data: object, fetch: Fetch) -> CellResult:
        """Take what a worker handed back of a cell; return the cell's result.

        Raise OSError where this machine's disk is full, or it lacks something else: no fault of the cell.
        """
        part = part_of(self._folder.path / "parcel")
        part.mkdir()
        timeline: Sequence[Span] = ()
        try:
            note = parcel.unwrap(data, part)
            try:
                found, timeline = self._result(cell, note, part / "run", fetch)
            except KmodpipeError as e:
                found = self._without(cell, e.sentence if not e.detail else f"{e.sentence}: {e.detail}")
            who = {"worker": note.worker, "worker.host": note.host, "worker.seconds": f"{note.seconds:g}"}
            found = replace(found, properties={**found.properties, **who})
        except InfraError as e:
            found = self._without(cell, e.what)
        finally:
            paths.remove(part)
        self._record_cell(found, timeline)
        return found

    def failed(self, cell: str, reason: str) -> CellResult:
        """Record that a cell has no verdict, and why."""
        found = self._without(cell, reason)
        self._record_cell(found)
        return found

    def skipped(self, cell: str, reason: str) -> CellResult:
        """Record that the tree rules a cell out."""
        found = replace(self._blank[cell], state=State.SKIPPED, reason=reason)
        self._record_cell(found)
        return found

    def note_logs(self, data: object, subject: str) -> Note:
        """Keep the logs of what cells share, and who made it when; return the worker's note.

        ``subject`` names the cells. Raise InfraError for no parcel; OSError as `take`.
        """
        part = part_of(self._folder.path / "parcel")
        part.mkdir()
        try:
            note = parcel.unwrap(data, part)
            if (part / "run" / "shared").is_dir():
                _add_missing(part / "run" / "shared", self._folder.shared)
            if note.began:
                outcome = "failed" if note.exit_code or note.trouble else ""
                span = Span("base", subject, note.began, note.seconds, outcome, worker=note.worker)
                self._journal.learn({}, (span,))
                self._timeline.append(span)
            return note
        finally:
            paths.remove(part)

    # -- one cell --------------------------------------------------------------------------------
    def _result(self, cell: str, note: Note, made: Path, fetch: Fetch) -> tuple[CellResult, Sequence[Span]]:
        """Return the result in a parcel, and what was done for it when, after moving its files.

        Raise KmodpipeError if there is none.
        """
        if note.trouble:
            raise InfraError(f"worker {note.worker}: {note.trouble}", hint="invoke doctor on that machine")
        if not (made / "results.json").is_file():
            last = note.tail.strip().splitlines()[-12:]
            raise InfraError(
                f"its job on {note.worker} ended with status {note.exit_code} and left no result",
                detail="\n".join(last),
                hint="invoke doctor on that machine",
            )
        run = results.load(made / "results.json")
        if [one.cell for one in run.cells] != [cell]:
            raise InfraError(f"worker {note.worker} answered for another cell", hint="start the run again")
        if wrong := collect.disagreements(self._record.plan, [Part(made, run)]):
            raise InfraError(
                f"worker {note.worker} answered another question",
                detail="\n".join(wrong),
                hint="its kernel tree or builder image is another one; --share gives one to all",
            )
        (found,) = run.cells
        place = self._place(cell, run, note, made, fetch)
        own = {n: v for n, v in run.properties.items() if _OF_A_WORKER.match(n)}
        rest = {n: v for n, v in run.properties.items() if n not in own and not _OF_A_JOB.match(n)}
        new = {n: v for n, v in rest.items() if n not in self._properties}
        if new:
            self._journal.learn(new)
            self._properties |= new
        own |= {n: v for n, v in rest.items() if self._properties[n] != v}
        timeline = [replace(span, worker=note.worker) for span in run.timeline]
        files = {n: f"{place}{p}" for n, p in found.artifacts.items() if self._is_there(f"{place}{p}")}
        return replace(found, properties={**own, **found.properties}, artifacts=files), timeline

    def _is_there(self, path: str) -> bool:
        where = Path(os.path.normpath(self._folder.path / path))
        return where.is_relative_to(self._folder.path) and where.exists()

    def _place(self, cell: str, run: Run, note: Note, made: Path, fetch: Fetch) -> str:
        """Move a cell's files to where they stay; return that place below the run's folder, '' or NAME/."""
        compared = {**note.shared, **_comparable(_digests(made / "shared"))}
        apart = any(self._shared.get(n, d) != d for n, d in compared.items())
        prefix = f"{collect.folder_of(Part(made, run))}/" if apart else ""
        home = self._folder.path / prefix
        _add_missing(made / "shared", home / "shared")
        for name, digest in note.shared.items():
            self._fetch(home / "shared" / name, digest, note.worker, fetch)
        if not apart:
            self._shared |= compared
        target = home / cell
        paths.remove(target)
        if (made / cell).is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            (made / cell).rename(target)
        return prefix

    def _fetch(self, target: Path, digest: str, worker: str, fetch: Fetch) -> None:
        """Fetch a shared file that is not here yet. A file that cannot be had costs no verdict."""
        if not target.resolve().is_relative_to(self._folder.path.resolve()) or target.is_file():
            return
        data = fetch(worker, digest)
        if data:
            write_atomically(target, data)
            if digest_file(target) != digest:
                target.unlink()

    def _without(self, cell: str, reason: str) -> CellResult:
        return replace(self._blank[cell], state=State.INFRA, reason=reason)

    def _record_cell(self, cell: CellResult, timeline: Sequence[Span] = ()) -> None:
        self._journal.settle(cell, timeline)
        self._settled[cell.cell] = cell
        self._timeline += timeline
        self.open_cells.pop(cell.cell, None)

    # -- the end ---------------------------------------------------------------------------------
    def finish(self, interrupted: str = "") -> str:
        """Write the final results and reports; ``interrupted`` is why the run ended early.

        Return how far it came: ``after 12 of 144 results``.
        """
        after = ""
        with signals.held():
            run = self.run
            run = replace(run, dead_axes=collect.dead_axes_of(self._record.plan, run.cells))
            if interrupted:
                after = f"after {results.progress(run)}"
                run = results.judged_against_control(results.interrupted(run, interrupted, after))
            run = replace(run, finished=datetime.now(UTC).isoformat(timespec="seconds"))
            results.save(run, self._folder.path / "results.json")
            self._journal.remove()
            junit.save(run, self._folder.path / "junit.xml")
            html.save(run, self._folder.path / "report.html")
            self._ended = run
        return after


def _digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below a folder, by its path there."""
    return {path.relative_to(folder).as_posix(): digest_file(path) for path in _files(folder)}


def _comparable(files: Mapping[str, str]) -> dict[str, str]:
    """Return those of the shared files that are the same for all cells; a log has its times."""
    return {name: digest for name, digest in files.items() if not name.endswith(".log")}


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()] if folder.is_dir() else []


def _add_missing(source: Path, target: Path) -> None:
    """Copy the files below ``source`` that are not below ``target`` yet."""
    for path in _files(source):
        there = target / path.relative_to(source)
        if not there.exists():
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, there)
