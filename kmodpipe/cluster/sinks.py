"""What becomes of the cells' results, and what of them is shown: of a test run, and of a build."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from kmodpipe import results
from kmodpipe.cluster import parcel
from kmodpipe.cluster.gathered import Fetch, Gathered
from kmodpipe.cluster.parcel import Note
from kmodpipe.cluster.record import Record
from kmodpipe.pipeline.progress import Progress
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.results import CellResult, Run, State, Verdict
from kmodpipe.util import paths
from kmodpipe.util.errors import ExitCode, InfraError
from kmodpipe.util.files import part_of
from kmodpipe.util.text import count, one_line


class TestSink:
    """The results of cells that were booted."""

    __test__ = False  # not a test class: the name makes pytest think so

    def __init__(self, gathered: Gathered, cases: int, last: Mapping[str, float]) -> None:
        self._gathered = gathered
        self._cases = cases
        self._last = last
        self._done: dict[str, float] = {}
        self.slots = 1
        """How many guests the workers have at once."""
        self._progress: Progress | None = None

    @property
    def run(self) -> Run:
        """The run so far."""
        return self._gathered.run

    @property
    def open_cells(self) -> Collection[str]:
        """The cells without a result."""
        return self._gathered.open_cells

    def describe(self) -> str:
        """Return how far the run is."""
        if self._progress is None:
            cells = [cell.cell for cell in self._gathered.planned_cells if cell.state is not State.SKIPPED]
            self._progress = Progress(cells, self._cases, self.slots, self._last)
            for cell in set(cells) - set(self.open_cells):
                self._progress.finish(cell, 0.0)
        self._progress.at_once(self.slots)
        for cell, seconds in self._done.items():
            self._progress.finish(cell, seconds)
        self._done.clear()
        return self._progress.describe()

    def take(self, cell: str, data: object, fetch: Fetch) -> str:
        """Take a parcel of a cell; return a line for the screen."""
        return self._line(self._gathered.take(cell, data, fetch))

    def failed(self, cell: str, reason: str) -> str:
        """Record that a cell has no result; return a line for the screen."""
        return self._line(self._gathered.failed(cell, reason))

    def skipped(self, cell: str, reason: str) -> str:
        """Record that the tree rules a cell out; return a line for the screen."""
        return self._line(self._gathered.skipped(cell, reason))

    def note_logs(self, data: object, subject: str) -> Note:
        """Keep the logs of the base of these cells."""
        return self._gathered.note_logs(data, subject)

    def finish(self, interrupted: str = "") -> str:
        """Write the end of the run; return how far it came."""
        return self._gathered.finish(interrupted)

    def _line(self, found: CellResult) -> str:
        seconds = float(found.properties.get("worker.seconds", "0"))
        self._done[found.cell] = seconds
        who = f" ({seconds:.1f} s on {found.properties['worker']})" if "worker" in found.properties else ""
        if found.state is State.SKIPPED:
            return f"– {found.cell}: skipped, {one_line(found.reason)}"
        if found.state is not State.RAN:
            return f"✗ {found.cell}: {found.state.value}: {one_line(found.reason)[:400]}{who}"
        # Not compared with the control's yet, which another worker may have: as in a local run.
        bad = any(case.verdict in (Verdict.FAIL, Verdict.ERROR) for case in found.cases)
        return f"{'✗' if bad else '✓'} {found.cell}: {results.in_words(found.cases)}{who}"

    def close(self) -> None:
        """Close the run's files."""
        self._gathered.close()


class BuildSink:
    """The ends of builds."""

    def __init__(self, record: Record, folder: RunFolder) -> None:
        self._folder = folder
        self._open = [cell.cell for cell in record.plan.cells if not cell.skip]
        self._all = len(self._open)
        self.slots = 1
        self.lines = [f"– {cell.cell}: skipped, {cell.skip}" for cell in record.plan.cells if cell.skip]
        """What is printed at the end."""
        self.exit_code = int(ExitCode.OK)

    @property
    def open_cells(self) -> Collection[str]:
        """The cells whose build has not ended."""
        return self._open

    def describe(self) -> str:
        """Return how far the build is."""
        return f"{self._all - len(self._open)} of {count(self._all, 'cell')}"

    def take(self, cell: str, data: object, fetch: Fetch) -> str:
        """Take a parcel of a cell; return a line for the screen."""
        part = part_of(self._folder.path / "parcel")
        part.mkdir()
        try:
            note = parcel.unwrap(data, part)
            made = part / "run" / cell
            if made.is_dir():
                paths.remove(self._folder.path / cell)
                made.rename(self._folder.path / cell)
        except InfraError as e:
            return self.failed(cell, e.what)
        finally:
            paths.remove(part)
        if note.trouble:
            return self.failed(cell, f"worker {note.worker}: {note.trouble}")
        if not note.exit_code:
            return self._ended(cell, f"✓ {cell}", ExitCode.OK)
        last = note.tail[note.tail.rfind("error: ") :].strip()
        return self._ended(cell, f"✗ {cell}: {last}", ExitCode(note.exit_code))

    def failed(self, cell: str, reason: str) -> str:
        """Record that a cell could not be built, for no fault of its own."""
        return self._ended(cell, f"✗ {cell}: {reason}", ExitCode.INFRA)

    def skipped(self, cell: str, reason: str) -> str:
        """Record that the tree rules a cell out; return a line for the screen."""
        return self._ended(cell, f"– {cell}: skipped, {reason}", ExitCode.OK)

    def _ended(self, cell: str, line: str, code: ExitCode) -> str:
        if cell in self._open:
            self._open.remove(cell)
            self.lines.append(line)
            # A failure is a fact about the kernel, and stays.
            if self.exit_code != ExitCode.FAILURE and code != ExitCode.OK:
                self.exit_code = int(code)
        return one_line(line)

    def note_logs(self, data: object, subject: str) -> Note:
        """Return the note of the base of these cells."""
        part = part_of(self._folder.path / "parcel")
        part.mkdir()
        try:
            return parcel.unwrap(data, part)
        finally:
            paths.remove(part)

    def close(self) -> None:
        """Nothing is open."""

    def finish(self, interrupted: str = "") -> str:
        """Return how far the build came."""
        return f"after {self.describe()}" if interrupted else ""
