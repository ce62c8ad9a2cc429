"""Keep what a run has settled in cells.jsonl while it goes on: a line a cell, on the disk before the next.

    {"schema": "kmodpipe-cells", "version": 1, "run": ID, "plan": DIGEST}    the first line
    {"properties": {…}, "timeline": […]}                                    of the run, as they became known
    {"cell": {…}, "timeline": […]}                                          a cell with its results

results.json has the plan from the first moment, and the results at the end; then this file goes away. So what
a cell costs does not grow with the run. A killed run is read from both: what stands there in a whole line
counts, and a last line that the kill cut off is left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from kmodpipe.results.against_control import judged_against_control
from kmodpipe.results.filling import planned, with_cells
from kmodpipe.results.model import CellResult, Run, Span
from kmodpipe.results.plain import line
from kmodpipe.util import document
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import UserError

NAME = "cells.jsonl"
"""The name of the file, beside results.json."""
SCHEMA: Literal["kmodpipe-cells"] = "kmodpipe-cells"
VERSION: Literal[1] = 1
_MOST_BYTES = 512 * document.MIB


@dataclass(frozen=True)
class Head:
    """The first line: which run it is."""

    schema: Literal["kmodpipe-cells"]
    """What this document is."""
    version: Literal[1]
    """It is raised when a field gets another meaning."""
    run: str
    """The run's id."""
    plan: str
    """SHA-256 of what was planned: the run's id and beginning, its cases and its cells without results."""


@dataclass(frozen=True)
class Settled:
    """A cell that is done; of two lines about one cell the last counts."""

    cell: CellResult
    """The cell with its results, as results.json has them. Its planned cases that are not here have none."""
    timeline: tuple[Span, ...] = ()
    """Work that was done for it."""


@dataclass(frozen=True)
class Learned:
    """What became known of the run beside its cells; it is added to what results.json has."""

    properties: Mapping[str, str]
    """Properties of the run."""
    timeline: tuple[Span, ...] = ()
    """Work that was done for several cells."""


class Journal:
    """Writes the file of a run. Not thread-safe: a caller adds one line at a time."""

    def __init__(self, run: Run, path: Path) -> None:
        """Begin the file *path* of a planned run."""
        self._path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._size = 0
        self._add(Head(SCHEMA, VERSION, run.id, plan_digest(run)))

    def settle(self, cell: CellResult, timeline: Sequence[Span] = ()) -> None:
        """Add a cell with its results, and the work that was done for it.

        Raise OSError if it cannot be written; the file stays whole then.
        """
        self._add(Settled(cell, tuple(timeline)))

    def learn(self, properties: Mapping[str, str], timeline: Sequence[Span] = ()) -> None:
        """Add properties of the run, and work that was done for several cells. Raise OSError as `settle`."""
        self._add(Learned(properties, tuple(timeline)))

    def _add(self, record: Head | Settled | Learned) -> None:
        raw = memoryview(f"{line(record)}\n".encode())
        end = self._size + len(raw)
        try:
            while raw:
                raw = raw[os.write(self._fd, raw) :]
            os.fsync(self._fd)
        except BaseException:
            # Of a line that is not whole nothing stays, or the next one would be lost with it.
            os.ftruncate(self._fd, self._size)
            os.lseek(self._fd, self._size, os.SEEK_SET)
            raise
        self._size = end

    def remove(self) -> None:
        """Remove the file, since results.json has everything."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file, which stays if it was not removed."""
        os.close(self._fd)


def plan_digest(run: Run) -> str:
    """Return the SHA-256 (hex) of what was planned."""
    cells = [[c.cell, c.variant, c.design, dict(c.choice), c.flavour, c.kernel] for c in run.cells]
    cases = [[c.id, c.digest, c.question] for c in run.cases]
    return digest_of([run.id, run.started, cases, cells])


def settled(run: Run, path: Path) -> Run:
    """Return an unfinished *run* with what its file *path* holds; as it is if there is none.

    Raise UserError if the file cannot be read, is damaged before its last line, or belongs to another plan.
    """
    if not path.is_file():
        return run
    with document.given(NAME, str(path)):
        raw = document.read(path, most=_MOST_BYTES)
    cells: dict[str, Settled] = {}
    properties, timeline = dict(run.properties), list(run.timeline)
    for record in _records(raw, run, str(path)):
        if isinstance(record, Settled):
            cells[record.cell.cell] = record
        else:
            properties |= record.properties
            timeline += record.timeline
    timeline += (span for record in cells.values() for span in record.timeline)
    try:
        known = replace(run, properties=properties, timeline=tuple(dict.fromkeys(timeline)))
        merged = with_cells(known, (record.cell for record in cells.values()))
    except ValueError as e:
        raise UserError(f"{NAME} does not fit the run beside it: {e}", where=str(path)) from None
    return judged_against_control(planned(merged))


def _records(raw: bytes, run: Run, where: str) -> Iterator[Settled | Learned]:
    """Yield what stands in the whole lines behind the first; a file without a whole line has nothing."""
    *lines, _cut_off = raw.split(b"\n")
    for number, text in enumerate(lines, 1):
        place = f"{where}, line {number}"
        with document.given(NAME, place):
            found = document.parse(text)
        if number == 1:
            head = document.validated_text(Head, text, NAME, place)
            if (head.run, head.plan) != (run.id, plan_digest(run)):
                raise UserError(
                    f"{NAME} is of another plan than results.json beside it",
                    where=where,
                    hint="results of two runs were mixed up in this folder: run it again",
                )
        elif isinstance(found, dict) and "cell" in found:
            yield document.validated_text(Settled, text, NAME, place)
        else:
            yield document.validated_text(Learned, text, NAME, place)
