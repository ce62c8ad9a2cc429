"""What is shown of a cell that comes back, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe import results
from kmodpipe.ci.job_plan import Plan, PlannedCell
from kmodpipe.cluster import parcel
from kmodpipe.cluster.gathered import Gathered
from kmodpipe.cluster.parcel import Note
from kmodpipe.cluster.record import Record
from kmodpipe.cluster.sinks import BuildSink, TestSink
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.results import CellResult, Run, State, Verdict
from kmodpipe.util.errors import ExitCode
from tests.support.sample_run import INFOS, cell, failed, seen, skipped

CONTROL, SERIES, RULED_OUT = cell("unpatched", "y", "n"), cell("list", "y", "n"), cell("list", "n", "y")
# Of a series without a design: judged when the control's is there.
OPEN = replace(failed(0, "ESTALE", "mounted"), by_goal=True, goal_met=False)
Packed = Callable[..., bytes]


def nothing(worker: str, digest: str) -> bytes:
    return b""


@pytest.fixture
def packed(tmp_path: Path) -> Packed:
    """A parcel with a cell's results, or without any."""

    def pack(done: CellResult | None = None, **note: object) -> bytes:
        scratch = tmp_path / f"job-{len(list(tmp_path.iterdir()))}"
        scratch.mkdir()
        run = None
        if done is not None:
            run = scratch / "run"
            (run / done.cell).mkdir(parents=True)
            (run / done.cell / "build.log").write_text("CC [M]\n")
            results.save(Run("job", "now", INFOS, (done,), finished="now"), run / "results.json")
        said = {"exit_code": 0, "tail": "", "worker": "w3", "host": "h", "seconds": 2.0, **note}
        return parcel.wrap(Note(**said), run, scratch, tmp_path / "cache")  # type: ignore[arg-type]

    return pack


def record(folder: RunFolder) -> Record:
    cells = tuple(
        PlannedCell(c.cell, c.variant, c.design, dict(c.choice), {}, skip=skip)
        for c, skip in ((CONTROL, ""), (SERIES, ""), (RULED_OUT, "NOUUID depends on INDEX"))
    )
    return Record(folder.id, "now", "tcp://h:1", "lab", True, "p", "r", "b", Plan(cells, INFOS), ())


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "out")


@pytest.fixture
def sink(folder: RunFolder) -> Iterator[TestSink]:
    with closing(TestSink(Gathered(record(folder), folder), len(INFOS), {})) as found:
        yield found


def test_a_cell_reads_as_in_a_local_run(sink: TestSink, packed: Packed) -> None:
    assert sink.describe().startswith("0 of 2 cells, 0 of 8 results")
    good = (seen(0, "ESTALE"), seen(1, "EINVAL"), skipped(2), seen(3, "shared"))
    line = sink.take(CONTROL.cell, packed(replace(CONTROL, state=State.RAN, cases=good)), nothing)
    assert line == f"✓ {CONTROL.cell}: 3 as expected, 1 skipped (2.0 s on w3)"
    bad = (OPEN, failed(1, "EIO", "mounted"), replace(seen(2, "x"), verdict=Verdict.ERROR), seen(3, "shared"))
    line = sink.take(SERIES.cell, packed(replace(SERIES, state=State.RAN, cases=bad)), nothing)
    assert line == (
        f"✗ {SERIES.cell}: 1 as expected, 1 failed, 1 without verdict, 1 to be compared with the control "
        "(2.0 s on w3)"
    )
    assert not sink.open_cells and sink.describe().startswith("2 of 2 cells, 8 of 8 results")
    sink.finish()
    after = next(c for c in sink.run.cells if c.cell == SERIES.cell).cases[0]
    assert after.verdict is Verdict.PASS and "still failing as before" in after.message
    assert sink.run.finished and {c.state for c in sink.run.cells} == {State.RAN, State.SKIPPED}


def test_how_long_it_takes_is_guessed_from_the_workers_that_are_there(folder: RunFolder) -> None:
    last = {CONTROL.cell: 400.0, SERIES.cell: 400.0}
    with closing(TestSink(Gathered(record(folder), folder), len(INFOS), last)) as sink:
        assert sink.describe().endswith("about 13 min left")
        # Another one has joined.
        sink.slots = 2
        assert sink.describe().endswith("about 7 min left")


def test_a_cell_without_a_result_says_why(sink: TestSink, packed: Packed) -> None:
    assert "no engine" in sink.take(CONTROL.cell, packed(trouble="no engine"), nothing)
    assert sink.failed(SERIES.cell, "3 workers died") == f"✗ {SERIES.cell}: infra: 3 workers died"
    assert results.exit_code(replace(sink.run, finished="now")) == ExitCode.INFRA


def test_of_a_build_each_cell_ends_with_its_own_line(folder: RunFolder, packed: Packed) -> None:
    built = BuildSink(record(folder), folder)
    assert built.lines == [f"– {RULED_OUT.cell}: skipped, NOUUID depends on INDEX"]
    assert built.take(CONTROL.cell, packed(CONTROL), nothing) == f"✓ {CONTROL.cell}"
    assert (folder.path / CONTROL.cell / "build.log").is_file() and built.exit_code == 0
    tail = "  CC [M] super.o\nerror: super.c does not compile\n  where: super.c:7\n"
    line = built.take(SERIES.cell, packed(exit_code=1, tail=tail), nothing)
    assert line.startswith(f"✗ {SERIES.cell}: error: super.c does not compile")
    assert built.exit_code == ExitCode.FAILURE and not built.open_cells
    # What has no verdict does not hide a failure.
    assert "died" in built.failed(SERIES.cell, "3 workers died") and built.exit_code == ExitCode.FAILURE
