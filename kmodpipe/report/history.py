"""The runs before this one: a strip of verdicts, how often they differ, and how long it took.

Runs count that stand beside it in the same folder and are about the same module and series. Those with the
same inputs, byte for byte (the property ``question``), tell of flakiness: only chance and the machine differ.

Pure except for `load`, which reads a bounded number of bytes and skips what it cannot read.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from kmodpipe.report import wording
from kmodpipe.report.wording import Mark, count
from kmodpipe.results import CONTROL, Run, exit_code

MOST_RUNS = 12
"""The most earlier runs that are shown."""
_MOST_READ, _MOST_BYTES, _MOST_RESULTS = 40, 24 * 1024 * 1024, 20_000
_STATES = {0: wording.PASS, 1: wording.FAIL}
_VERDICTS = {"pass": wording.PASS, "fail": wording.FAIL, "error": wording.ERROR, "skip": wording.SKIP}
_WIDTH, _HEIGHT = 120.0, 28.0


@dataclass(frozen=True)
class Past:
    """What is kept of an earlier run."""

    id: str
    mark: Mark
    seconds: float
    # Its inputs are the same as this run's, byte for byte.
    same: bool
    # Verdict and seconds by cell and case.
    results: Mapping[tuple[str, str], tuple[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Point:
    """One run in a strip."""

    run: str
    mark: Mark
    same: bool
    seconds: float
    # The run of this page.
    now: bool = False


@dataclass(frozen=True)
class Strip:
    """Some runs side by side, the oldest first."""

    points: tuple[Point, ...]
    # ``failed in 2 of 5 runs with the same inputs``; empty where there is one alone.
    steadiness: str
    # Failures and passes were seen with the same inputs.
    flaky: bool
    # The polyline of the durations in a picture of 120 by 28; empty where too few are known.
    line: str
    # ``0.8 s to 1.3 s, now 1.2 s``
    durations: str


# -- reading ------------------------------------------------------------------------------------------
def load(folder: Path, run: Run) -> tuple[Past, ...]:
    """Return the runs before *run*, whose folder is *folder*, the oldest first."""
    try:
        earlier = sorted(
            (p for p in folder.resolve().parent.iterdir() if p.name < run.id and not p.is_symlink()),
            reverse=True,
        )
    except OSError:
        return ()
    found: list[Past] = []
    room = _MOST_BYTES
    for one in earlier[:_MOST_READ]:
        path = one / "results.json"
        # What was written by another program, or by hand, is skipped like what is not there.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            size = path.stat().st_size
            if not path.is_file() or size > room:
                continue
            room -= size
            if past := _past(json.loads(path.read_bytes()), run):
                found.append(past)
        if len(found) == MOST_RUNS:
            break
    return tuple(reversed(found))


def _past(document: Mapping[str, Any], run: Run) -> Past | None:
    """Return what is kept of a results.json; None if it is about something else."""
    then = document["run"]
    properties, cells = then["properties"], then["cells"]
    if properties.get("module") != run.properties.get("module"):
        return None
    if {c["variant"] for c in cells} - {CONTROL} != {c.variant for c in run.cells} - {CONTROL}:
        return None
    if sum(len(c["cases"]) for c in cells) > _MOST_RESULTS:
        return None
    question = properties.get("question", "")
    results = {
        (str(c["cell"]), str(r["case"])): (str(r["verdict"]), _seconds(r.get("duration_s")))
        for c in cells
        for r in c["cases"]
    }
    return Past(
        str(then["id"]),
        _STATES.get(document.get("exit_code"), wording.ERROR),  # type: ignore[arg-type]
        between(str(then.get("started", "")), str(then.get("finished", ""))),
        bool(question) and question == run.properties.get("question"),
        results,
    )


def _seconds(value: object) -> float:
    known = isinstance(value, (int, float)) and math.isfinite(value) and 0 <= value < 1e9
    return float(value) if known else 0.0  # type: ignore[arg-type]


def between(began: str, ended: str) -> float:
    """Return the seconds between two moments in ISO 8601, 0 where they are not known."""
    try:
        return max((datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return 0.0


# -- strips -------------------------------------------------------------------------------------------
def of_runs(past: Sequence[Past], run: Run) -> Strip | None:
    """Return the strip of whole runs; None if this is the first."""
    if not past:
        return None
    now = Point(
        run.id,
        _STATES.get(int(exit_code(run)), wording.ERROR),
        True,
        between(run.started, run.finished),
        True,
    )
    return _strip([*(Point(p.id, p.mark, p.same, p.seconds) for p in past), now])


def of_case(past: Sequence[Past], run: Run, cell: str, case: str) -> Strip | None:
    """Return the strip of one case in one cell; None if no earlier run has it."""
    points = [
        Point(p.id, _VERDICTS.get(found[0], wording.ERROR), p.same, found[1])
        for p in past
        if (found := p.results.get((cell, case)))
    ]
    own = next((c.case(case) for c in run.cells if c.cell == cell), None)
    if not points or own is None:
        return None
    return _strip([*points, Point(run.id, wording.mark(own), True, own.duration_s, True)])


def unsteady(past: Sequence[Past], run: Run) -> tuple[tuple[str, str], ...]:
    """Return the cells and cases that both passed and failed with the same inputs."""
    same = [p for p in past if p.same]
    if not same:
        return ()
    found = []
    for cell, result in run.results():
        key = (cell.cell, result.case)
        verdicts = {result.verdict.value, *(p.results[key][0] for p in same if key in p.results)}
        if {"pass", "fail"} <= verdicts or result.flaky:
            found.append(key)
    return tuple(found)


def _strip(points: Sequence[Point]) -> Strip:
    same = [p for p in points if p.same]
    failed = sum(p.mark.key in ("fail", "flaky") for p in same)
    passed = sum(p.mark.key in ("pass", "unmet", "defect") for p in same)
    told = f"failed in {failed} of {count(len(same), 'run')} with the same inputs" if len(same) > 1 else ""
    seconds = [p.seconds for p in points if p.seconds > 0]
    durations = ""
    if len(seconds) > 1 and points[-1].seconds > 0:
        durations = f"{min(seconds):.1f} s to {max(seconds):.1f} s, now {points[-1].seconds:.1f} s"
    return Strip(tuple(points), told, bool(failed and passed), _line(seconds), durations)


def _line(seconds: Iterable[float]) -> str:
    """Return the points of a polyline, the longest at the top; empty for fewer than three."""
    values = list(seconds)
    if len(values) < 3:
        return ""
    top = max(values)
    step = (_WIDTH - 6) / (len(values) - 1)
    return " ".join(
        f"{3 + n * step:.1f},{_HEIGHT - 3 - (_HEIGHT - 6) * v / top:.1f}" for n, v in enumerate(values)
    )
