"""A finished run as receivers see it: its results, and the files in its folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kmodpipe import results
from kmodpipe.report import junit, junit_files, wording
from kmodpipe.results import CONTROL, CaseResult, CellResult, Run, State, Verdict
from kmodpipe.util.errors import UserError

_JUNIT = "junit.xml"
_MOST_FILE = 64 * 1024 * 1024


@dataclass(frozen=True)
class RunData:
    """A finished run, and the folder with its files."""

    run: Run
    folder: Path

    @cached_property
    def fields(self) -> Mapping[str, str]:
        """The values of `template.FIELDS`."""
        run = self.run
        variants = dict.fromkeys(cell.variant for cell in run.cells if cell.variant != CONTROL)
        return {
            "run": run.id,
            "tree": run.properties.get("tree", "") or "unknown",
            "kernel": wording.versions(run) or "unknown",
            "module": run.properties.get("module", "") or "unknown",
            "series": "+".join(variants) or "none",
            "date": run.started[:10] or "unknown",
        }

    @cached_property
    def junit(self) -> bytes:
        """The run as one JUnit file, made again if it is missing or was written in parts."""
        if len(junit_files.saved(self.folder / _JUNIT)) == 1:
            return self.file(_JUNIT)
        return junit.text(self.run).encode()

    def junit_parts(self) -> Iterator[bytes]:
        """Yield the run's JUnit files, made again if they are missing."""
        there = junit_files.saved(self.folder / _JUNIT)
        if there:
            yield from (self.file(path.name) for path in there)
        else:
            yield from (text.encode() for text in junit.files(self.run))

    def file(self, name: str) -> bytes:
        """Return a file of the run's folder. Raise UserError if it is missing, too large or outside."""
        path = self.folder / name
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise UserError("a file outside the run's folder is not published", where=str(path))
        try:
            if path.stat().st_size > _MOST_FILE:
                raise UserError(f"too large to publish: over {_MOST_FILE >> 20} MiB", where=str(path))
            return path.read_bytes()
        except OSError as e:
            raise UserError(f"cannot be read: {e.strerror}", where=str(path)) from None

    def excerpt(self, cell: CellResult, name: str, limit: int) -> bytes:
        """Return one of a cell's files, head and tail if it is over *limit* bytes; empty if there is none."""
        place = cell.artifacts.get(name)
        if not place or not (self.folder / place).is_file():
            return b""
        path = self.folder / place
        if not path.resolve().is_relative_to(self.folder.resolve()):
            return b""
        size = path.stat().st_size
        with path.open("rb") as f:
            if size <= limit:
                return f.read(limit)
            head = f.read(limit // 2)
            f.seek(-(limit // 2), os.SEEK_END)
            return head + f"\n[… {size - 2 * (limit // 2)} bytes left out …]\n".encode() + f.read()


def load(where: Path) -> RunData:
    """Return the run in a folder, or in the folder of a results.json.

    Raise UserError if there is none, or if it has not ended.
    """
    path = where if where.is_file() else where / "results.json"
    if not path.is_file():
        raise UserError(
            "no results here",
            where=str(path),
            hint="name a run's folder: --run out/<run>; invoke ci makes one",
        )
    run = results.load(path)
    if not run.finished:
        raise UserError(
            f"run {run.id} has not ended, so that there is nothing to publish yet",
            where=str(path),
            hint="publish it once it has; if it was killed, run it again",
        )
    return RunData(run, path.parent.resolve())


def judged(case: CaseResult, *, by_goal: bool) -> Verdict:
    """Return the verdict on a case, compared with what was expected or, *by_goal*, with what a user wants.

    By its goal an expected bug of the control, or a known defect of a design, is a failure.
    """
    if by_goal and case.verdict in (Verdict.PASS, Verdict.FAIL) and case.goal_met is not None:
        return Verdict.PASS if case.goal_met and not case.flaky else Verdict.FAIL
    return case.verdict


def case_log(case: CaseResult) -> str:
    """Return the text about a case for a receiver's page: its message first, then facts and evidence."""
    rows = [("observed", case.outcome), ("expected", case.expected), ("why", case.reason)]
    lines = [case.message or case.verdict.value, *(f"{name}: {value}" for name, value in rows if value)]
    if case.known_defect:
        lines.append("known issue: yes, expected of this design")
    if case.attempts > 1:
        lines.append(f"attempts: {case.attempts}, {case.failures} failed")
    return "\n".join([*lines, *([case.evidence] if case.evidence else [])])


def cell_verdict(cell: CellResult) -> Verdict:
    """Return whether the cell could be tested, as a verdict: fail if it did not build."""
    return {
        State.RAN: Verdict.PASS,
        State.SKIPPED: Verdict.SKIP,
        State.BUILD_FAILED: Verdict.FAIL,
    }.get(cell.state, Verdict.ERROR)


def dead_axes(run: Run) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """Yield the dead axes that are failures: variant, axis, message, and the cells with the same module."""
    for dead in run.dead_axes:
        if dead.failure:
            message = "\n".join([dead.message, *dead.clues])
            yield dead.variant, dead.axis, message, tuple(cell for group in dead.cells for cell in group)
