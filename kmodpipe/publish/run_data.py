"""A run as receivers see it: the results, and the files beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kmodpipe import results
from kmodpipe.report import junit
from kmodpipe.results import CONTROL, CaseResult, CellResult, Run, State, Verdict
from kmodpipe.util.errors import UserError

_MOST_FILE = 64 * 1024 * 1024


@dataclass(frozen=True)
class Material:
    """A finished run; ``folder`` holds its files."""

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
            "kernel": run.properties.get("tree.kernel-version", "") or "unknown",
            "module": run.properties.get("module", "") or "unknown",
            "series": "+".join(variants) or "none",
            "date": run.started[:10] or "unknown",
        }

    @cached_property
    def junit(self) -> bytes:
        """The run's JUnit file, made anew where it is not there."""
        if (self.folder / "junit.xml").is_file():
            return self.file("junit.xml")
        return junit.text(self.run).encode()

    def file(self, name: str) -> bytes:
        """A file of the run's folder. Raises UserError for one that is not there or not in there."""
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
        """Head and tail of one of a cell's files, empty where it has none."""
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


def load(where: Path) -> Material:
    """The run in a folder, or in the folder of a results.json. Raises UserError for one that is not there, or
    that has not ended."""
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
            hint="publish once it has; a run that was killed can be had again by running it again",
        )
    return Material(run, path.parent.resolve())


def judged(case: CaseResult, *, by_goal: bool) -> Verdict:
    """The case's verdict: against what was expected, or, ``by_goal``, against what a user wants. By its goal
    an expected bug of the control, or a known defect of a design, is a failure."""
    if by_goal and case.verdict in (Verdict.PASS, Verdict.FAIL) and case.goal_met is not None:
        return Verdict.PASS if case.goal_met and not case.flaky else Verdict.FAIL
    return case.verdict


def story(case: CaseResult) -> str:
    """What a reader of a receiver's page needs of one case: the sentence first, then what stands behind."""
    rows = [("observed", case.outcome), ("expected", case.expected), ("why", case.reason)]
    lines = [case.message or case.verdict.value, *(f"{name}: {value}" for name, value in rows if value)]
    if case.known_defect:
        lines.append("known defect: yes, expected of this design")
    if case.attempts > 1:
        lines.append(f"attempts: {case.attempts}, {case.failures} failed")
    return "\n".join([*lines, *([case.evidence] if case.evidence else [])])


def cell_verdict(cell: CellResult) -> Verdict:
    """Whether the cell itself came to the point of being tested."""
    return {
        State.RAN: Verdict.PASS,
        State.SKIPPED: Verdict.SKIP,
        State.BUILD_FAILED: Verdict.FAIL,
    }.get(cell.state, Verdict.ERROR)


def dead_axes(run: Run) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """The failures that belong to no case: variant, axis, message, the cells that are one and the same."""
    for dead in run.dead_axes:
        if dead.failure:
            told = "\n".join([dead.message, *dead.clues])
            yield dead.variant, dead.axis, told, tuple(cell for group in dead.cells for cell in group)
