"""cells.jsonl: a killed run has all that was settled, at a cost that does not grow with the run."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe import results
from kmodpipe.results import CellResult, Run, Span, State, Verdict, journal
from kmodpipe.results.journal import Journal
from kmodpipe.util.errors import UserError
from tests.support.large_run import large
from tests.support.sample_run import INFOS, SKELETON, cell, finished

PLANNED = results.planned(replace(SKELETON, id="r"))
RAN = tuple(c for c in finished().cells if c.state is State.RAN)


def begun(folder: Path, cells: Sequence[CellResult] = (), run: Run = PLANNED) -> Path:
    """A run's folder as a killed process leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    results.save(run, folder / "results.json")
    written = Journal(run, folder / journal.NAME)
    for one in cells:
        written.settle(one)
    written.close()
    return folder / "results.json"


def states(run: Run) -> list[State]:
    return [c.state for c in run.cells]


def test_a_killed_run_reads_as_unfinished_with_all_that_was_settled(tmp_path: Path) -> None:
    run = results.load(begun(tmp_path, RAN[:3]))
    assert not run.finished and results.exit_code(run) == 3
    assert [c for c in run.cells if c.state is State.RAN] == list(RAN[:3])
    assert len(list(run.results())) == len(SKELETON.cells) * len(INFOS)
    assert {c.verdict for c in run.cells[-1].cases} == {Verdict.ERROR}
    # By itself, results.json has every planned case as well.
    alone = results.from_json((tmp_path / "results.json").read_text())
    assert alone == PLANNED


def test_cut_off_at_any_byte_the_whole_lines_count(tmp_path: Path) -> None:
    path = begun(tmp_path, RAN[:2])
    whole = (tmp_path / journal.NAME).read_bytes()
    ends = [n + 1 for n, byte in enumerate(whole) if byte == ord("\n")]
    near = {n + d for n in ends for d in (-2, -1, 0, 1, 2)}
    for size in sorted({0, 1, *range(0, len(whole), 97), *near} & set(range(len(whole) + 1))):
        (tmp_path / journal.NAME).write_bytes(whole[:size])
        ran = sum(state is State.RAN for state in states(results.load(path)))
        assert ran == max(sum(end <= size for end in ends) - 1, 0), size
    # What a file system may leave behind the last line after a power cut.
    (tmp_path / journal.NAME).write_bytes(whole + b"\0" * 512)
    assert states(results.load(path)).count(State.RAN) == 2


def test_a_line_that_is_damaged_before_the_end_is_told(tmp_path: Path) -> None:
    path = begun(tmp_path, RAN[:2])
    head, first, second, _ = (tmp_path / journal.NAME).read_bytes().split(b"\n")
    for bad in (first[:-9], b"[]", first.replace(b'"ran"', b'"walked"'), b'{"cell": {}}', b"\xff"):
        (tmp_path / journal.NAME).write_bytes(b"\n".join([head, bad, second, b""]))
        with pytest.raises(UserError) as told:
            results.load(path)
        assert "cells.jsonl" in told.value.what and "line 2" in told.value.where


def test_a_file_of_another_plan_is_refused(tmp_path: Path) -> None:
    path = begun(tmp_path / "a", RAN[:1])
    other = replace(PLANNED, cells=(*PLANNED.cells[:-1], cell("other", "y", "y")))
    for run in (other, replace(PLANNED, id="s"), replace(PLANNED, cases=INFOS[:-1], cells=())):
        stray = begun(tmp_path / run.id / str(len(run.cells)), RAN[:1] if run.cells else (), run)
        stray.with_name(journal.NAME).replace(path.with_name(journal.NAME))
        with pytest.raises(UserError, match="another plan"):
            results.load(path)
    # A cell that was not planned, under the right plan.
    begun(tmp_path / "b", (cell("stray", "y", "y"),))
    with pytest.raises(UserError, match="was not planned"):
        results.load(tmp_path / "b" / "results.json")


def test_of_a_finished_run_the_file_does_not_count(tmp_path: Path) -> None:
    path = begun(tmp_path, RAN[:1])
    results.save(finished(), path)
    assert results.load(path) == finished()


def test_the_last_line_about_a_cell_and_what_was_learned_count(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results.save(PLANNED, path)
    written = Journal(PLANNED, tmp_path / journal.NAME)
    written.settle(replace(RAN[0], state=State.SKIPPED, cases=(), reason="ruled out"))
    base, one, two = (Span(kind, "x", 9.0, 1.0, worker="w") for kind in ("base", "module", "test"))
    written.learn({"speed": "7"}, (base,))
    written.settle(RAN[0], (one,))
    written.settle(RAN[0], (two,))
    written.close()
    run = results.load(path)
    assert run.cells[0] == RAN[0] and run.properties == {**PLANNED.properties, "speed": "7"}
    assert run.timeline == (base, two)
    # As after a kill in the moment between the two: nothing of it counts twice.
    results.save(run, path)
    assert results.load(path) == run
    results.save(PLANNED, path)
    written.remove()
    assert results.load(path) == PLANNED


def test_a_series_without_a_design_is_judged_beside_the_control_here_too(tmp_path: Path) -> None:
    control, series = RAN[0], RAN[2]
    bad = replace(control.cases[0], verdict=Verdict.FAIL, goal_met=False)
    both = [
        replace(one, cases=(replace(bad, by_goal=one is series, expected="mounted"),))
        for one in (control, series)
    ]
    run = results.load(begun(tmp_path, both))
    after = next(c for c in run.cells if c.cell == series.cell).cases[0]
    assert after.verdict is Verdict.PASS and "still failing as before" in after.message


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.json"
    results.save(PLANNED, path)
    written = Journal(PLANNED, tmp_path / journal.NAME)
    real = os.write

    def full(fd: int, data: bytes) -> int:
        if len(data) < 100:
            raise OSError(28, "No space left on device")
        return real(fd, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        written.settle(RAN[0])
    monkeypatch.undo()
    written.settle(RAN[1])
    written.close()
    assert states(results.load(path)).count(State.RAN) == 1


def bytes_a_cell(tmp_path: Path, cells: int) -> int:
    """How many bytes of the folder change when one more cell of a run of so many cells is settled."""
    run = large(cells, 20, 3)
    blank = tuple(replace(c, cases=(), state=State.NOT_RUN) for c in run.cells)
    folder = tmp_path / str(cells)
    folder.mkdir()
    planned = results.planned(replace(run, cells=blank))
    results.save(planned, folder / "results.json")
    written = Journal(planned, folder / journal.NAME)
    for one in run.cells[1:]:
        written.settle(one)
    before = {p.name: (p.stat().st_size, p.stat().st_mtime_ns, p.stat().st_ino) for p in folder.iterdir()}
    written.settle(run.cells[0])
    written.close()
    after = {p.name: (p.stat().st_size, p.stat().st_mtime_ns, p.stat().st_ino) for p in folder.iterdir()}
    changed = [name for name in after if after[name] != before.get(name)]
    assert changed == [journal.NAME] and after[journal.NAME][2] == before[journal.NAME][2]
    return after[journal.NAME][0] - before[journal.NAME][0]


def test_what_a_settled_cell_writes_does_not_grow_with_the_run(tmp_path: Path) -> None:
    found = [bytes_a_cell(tmp_path, cells) for cells in (2, 20, 200)]
    assert len(set(found)) == 1 and found[0] > 20 * 300


def test_every_line_is_a_json_object(tmp_path: Path) -> None:
    begun(tmp_path, RAN)
    lines = (tmp_path / journal.NAME).read_text().splitlines()
    assert [set(json.loads(one)) for one in lines[1:]] == [{"cell", "timeline"}] * len(RAN)
    assert json.loads(lines[0]).keys() == {"schema", "version", "run", "plan"}
