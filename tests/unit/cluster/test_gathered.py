"""Parcels put into one run: what fits the plan, and what does not."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe import results
from kmodpipe.ci.job_plan import Plan
from kmodpipe.cluster import parcel, record
from kmodpipe.cluster.gathered import Gathered
from kmodpipe.cluster.parcel import Note
from kmodpipe.cluster.record import Record
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.results import Run, State, journal
from kmodpipe.util.errors import UserError
from tests.support import toy
from tests.support.planned_jobs import planned
from tests.support.toy import World

FIXED, CONTROL = "toy-fix.INDEX=y.NOUUID=n", "unpatched.INDEX=y.NOUUID=n"
Handed = Callable[..., bytes]


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Plan, Run]:
    """A world after one whole run, that run, and the plan of the same."""
    world = toy.build(tmp_path_factory.mktemp("tested"))
    assert world.test().code == 0
    return world, planned(world, per_job=1), results.load(world.latest / "results.json")


@pytest.fixture
def begun(tested: tuple[World, Plan, Run], tmp_path: Path) -> tuple[Gathered, RunFolder, Record]:
    folder = RunFolder(tmp_path / "out")
    made = Record(
        folder.id, "2026-01-01T00:00:00+00:00", "tcp://h:1", "tcp://h:1", True, "p", "r", "b", tested[1], (),
        {"command": "invoke test --on tcp://h:1"},
    )  # fmt: skip
    return Gathered(made, folder), folder, made


@pytest.fixture
def handed(tested: tuple[World, Plan, Run], tmp_path: Path) -> Handed:
    """What a worker would hand back of a cell of that run."""
    world, _, run = tested

    def hand(cell: str, *, of: Run = run, add: str = "", **note: object) -> bytes:
        job = tmp_path / f"job-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(world.latest / cell, job / cell)
        shutil.copytree(world.latest / "shared", job / "shared")
        (job / "shared" / "bzImage-0").write_bytes(b"k" * 300_000 + add.encode())
        own = tuple(c for c in of.cells if c.cell == cell)
        done = tuple(span for span in of.timeline if span.subject == cell)
        made_of = replace(of, id=job.name, cells=own, dead_axes=(), timeline=done)
        results.save(made_of, job / "results.json")
        (job / "scratch").mkdir()
        scratch = job / "scratch"
        asked = replace(Note(0, "", "one", "host", 1.0), **note)  # type: ignore[arg-type]
        made = tmp_path / f"{job.name}-run"
        made.mkdir()
        for name in (cell, "shared", "results.json"):
            (job / name).rename(made / name)
        return parcel.wrap(asked, made, scratch, tmp_path / "cache")

    return hand


def fetching(tmp_path: Path, calls: list[str]) -> Callable[[str, str], bytes]:
    def fetch(worker: str, digest: str) -> bytes:
        calls.append(worker)
        return parcel.blob(tmp_path / "cache", digest)

    return fetch


def test_cells_of_workers_stand_as_those_of_a_local_run(
    begun: tuple[Gathered, RunFolder, Record], handed: Handed, tmp_path: Path, tested: tuple[World, Plan, Run]
) -> None:
    gathered, folder, _ = begun
    calls: list[str] = []
    for cell in (CONTROL, FIXED):
        found = gathered.take(cell, handed(cell), fetching(tmp_path, calls))
        assert found.state is State.RAN
        assert all((folder.path / path).exists() for path in found.artifacts.values())
    # What both share was fetched once.
    assert calls == ["one"]
    assert (folder.path / "shared/bzImage-0").stat().st_size == 300_000
    run = gathered.run
    here = {c.cell: c for c in tested[2].cells}
    for cell in (CONTROL, FIXED):
        (found,) = (c for c in run.cells if c.cell == cell)
        assert found.cases == here[cell].cases
        assert found.properties["worker"] == "one" and found.properties["accel"]
    assert run.properties["command"] == "invoke test --on tcp://h:1"
    assert not any(name.startswith(("accel", "speed.", "load.")) for name in run.properties)
    assert set(gathered.open_cells) == {c.cell for c in tested[1].cells if not c.skip} - {CONTROL, FIXED}
    # Kept each time: a client that is killed now is followed from there.
    killed = results.load(folder.path / "results.json")
    assert not killed.finished and killed.cells == run.cells and killed.properties == run.properties


def spans(run: Run) -> set[tuple[str, str, str]]:
    return {(span.kind, span.subject, span.worker) for span in run.timeline}


def test_who_did_what_is_kept_and_a_killed_client_is_followed_from_there(
    begun: tuple[Gathered, RunFolder, Record], handed: Handed, tmp_path: Path
) -> None:
    gathered, folder, made = begun
    note = gathered.note_logs(handed(CONTROL, worker="two", began=1000.0), "the base of all")
    assert note.worker == "two"
    gathered.take(CONTROL, handed(CONTROL), fetching(tmp_path, []))
    gathered.close()
    done = {("base", "the base of all", "two"), ("test", CONTROL, "one"), ("guest", CONTROL, "one")}
    killed = results.load(folder.path / "results.json")
    assert done <= spans(killed) and all(span.began > 0 for span in killed.timeline)
    # Killed again before anything else came; and of what both have, nothing stands twice.
    for _ in range(2):
        second = Gathered(made, folder, results.load(folder.path / "results.json"))
        second.close()
    assert CONTROL not in second.open_cells and FIXED in second.open_cells
    third = Gathered(made, folder, results.load(folder.path / "results.json"))
    apart = third.take(FIXED, handed(FIXED, add="another kernel"), fetching(tmp_path, []))
    assert apart.artifacts["reproduce.sh"].startswith("jobs/")
    third.finish()
    third.close()
    run = results.load(folder.path / "results.json")
    assert run.finished and not (folder.path / journal.NAME).exists()
    assert len(run.timeline) == len(set(run.timeline))
    assert spans(killed) | {("test", FIXED, "one"), ("guest", FIXED, "one")} <= spans(run)


def test_what_a_cell_writes_does_not_grow_with_the_run(
    begun: tuple[Gathered, RunFolder, Record], handed: Handed, tmp_path: Path
) -> None:
    gathered, folder, _ = begun
    whole = (folder.path / "results.json").stat()
    sizes = []
    for cell in (CONTROL, FIXED, CONTROL):
        before = (folder.path / journal.NAME).stat().st_size
        gathered.take(cell, handed(cell), fetching(tmp_path, []))
        sizes.append((folder.path / journal.NAME).stat().st_size - before)
    after = (folder.path / "results.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (whole.st_ino, whole.st_mtime_ns)
    # The first one has the run's properties as well.
    assert max(sizes[1:]) <= sizes[0] < 100_000


def test_a_full_disk_here_is_no_fault_of_a_cell(
    begun: tuple[Gathered, RunFolder, Record], handed: Handed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gathered, folder, _ = begun
    data = handed(FIXED)
    full = OSError(errno.ENOSPC, "No space left on device")
    for name in ("fsync", "rename"):
        with monkeypatch.context() as patched:
            patched.setattr(os, name, lambda *_: (_ for _ in ()).throw(full))
            with pytest.raises(OSError, match="No space left"):
                gathered.take(FIXED, data, fetching(tmp_path, []))
        assert FIXED in gathered.open_cells
    assert gathered.take(FIXED, data, fetching(tmp_path, [])).state is State.RAN
    states = {c.cell: c.state for c in results.load(folder.path / "results.json").cells}
    assert states[FIXED] is State.RAN


def test_shared_files_that_differ_stand_apart(
    begun: tuple[Gathered, RunFolder, Record], handed: Handed, tmp_path: Path
) -> None:
    gathered, folder, _ = begun
    gathered.take(CONTROL, handed(CONTROL), fetching(tmp_path, []))
    found = gathered.take(FIXED, handed(FIXED, add="other"), fetching(tmp_path, []))
    script = found.artifacts["reproduce.sh"]
    assert script.startswith("jobs/") and (folder.path / script).is_file()
    apart = (folder.path / script).parent.parent / "shared/bzImage-0"
    assert apart.read_bytes().endswith(b"other")
    assert not (folder.path / "shared/bzImage-0").read_bytes().endswith(b"other")


@pytest.mark.parametrize("name", ["tree.identity", "question.series", "series.toy-fix", "kmodpipe"])
def test_an_answer_to_another_question_is_no_verdict(
    name: str,
    begun: tuple[Gathered, RunFolder, Record],
    handed: Handed,
    tested: tuple[World, Plan, Run],
    tmp_path: Path,
) -> None:
    gathered, folder, _ = begun
    run = tested[2]
    other = replace(run, properties={**run.properties, name: "another"})
    found = gathered.take(FIXED, handed(FIXED, of=other), fetching(tmp_path, []))
    assert found.state is State.INFRA and name in found.reason
    assert not (folder.path / FIXED).exists()


def test_what_is_not_this_cells_result_is_no_verdict(
    begun: tuple[Gathered, RunFolder, Record], handed: Handed, tmp_path: Path
) -> None:
    gathered, _, _ = begun
    fetch = fetching(tmp_path, [])
    assert "another cell" in gathered.take(FIXED, handed(CONTROL), fetch).reason
    assert "something else" in gathered.take(FIXED, "a pickle", fetch).reason
    assert "no engine" in gathered.take(FIXED, handed(FIXED, trouble="no engine"), fetch).reason
    (tmp_path / "s").mkdir()
    empty = parcel.wrap(
        Note(3, "error: the disk is full", "one", "h", 1.0), None, tmp_path / "s", tmp_path / "c"
    )
    assert "the disk is full" in gathered.take(FIXED, empty, fetch).reason
    run = gathered.run
    assert [c.state for c in run.cells if c.cell == FIXED] == [State.INFRA]
    assert results.exit_code(replace(run, finished="now")) == 3


def test_a_file_that_no_worker_has_any_more_costs_no_verdict(
    begun: tuple[Gathered, RunFolder, Record], handed: Handed
) -> None:
    gathered, folder, _ = begun
    assert gathered.take(FIXED, handed(FIXED), lambda worker, digest: b"").state is State.RAN
    assert not (folder.path / "shared/bzImage-0").exists()
    lying = gathered.take(CONTROL, handed(CONTROL), lambda worker, digest: b"something else")
    assert lying.state is State.RAN and not (folder.path / "shared/bzImage-0").exists()


def test_a_run_that_ends_early_says_so_and_keeps_what_it_has(
    begun: tuple[Gathered, RunFolder, Record], handed: Handed, tmp_path: Path
) -> None:
    gathered, folder, _ = begun
    gathered.take(FIXED, handed(FIXED), fetching(tmp_path, []))
    after = gathered.finish(interrupted="the scheduler is gone")
    run = results.load(folder.path / "results.json")
    assert after.startswith("after 1 of ") and run.finished
    states = {c.cell: c.state for c in run.cells}
    assert states[FIXED] is State.RAN and states[CONTROL] is State.INTERRUPTED
    assert (folder.path / "junit.xml").is_file() and (folder.path / "report.html").is_file()


def test_the_record_of_a_run_is_read_again(begun: tuple[Gathered, RunFolder, Record]) -> None:
    _, folder, made = begun
    record.save(made, folder.path)
    assert record.load(folder.path) == made
    path = folder.path / record.NAME
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, "version": 99}))
    with pytest.raises(UserError, match="another version"):
        record.load(folder.path)
    path.unlink()
    with pytest.raises(UserError, match="on no cluster"):
        record.load(folder.path)
