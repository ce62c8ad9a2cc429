"""Boot modules with an edit, or the whole series', and run cases on them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kmodpipe.judge.cases import Case, CellContext
from kmodpipe.kconfig import Variant
from kmodpipe.logs.known_benign import KnownBenign
from kmodpipe.pipeline.builder import BuiltCell, CellBuilder, GuestParts
from kmodpipe.pipeline.cell_folder import GuestCopies
from kmodpipe.pipeline.cell_job import CellJob
from kmodpipe.pipeline.cell_run import Execution
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.workspace import Workspace
from kmodpipe.results import CaseResult
from kmodpipe.vm.accel import Accel

Enough = Callable[[Sequence[CaseResult]], bool]


@dataclass
class Guests:
    """What guests of any edit are made of."""

    workspace: Workspace
    builder: CellBuilder
    folder: RunFolder
    copies: GuestCopies
    parts: GuestParts
    accel: Accel
    # How many times longer than on the reference machine everything takes here.
    speed: float
    _numbers: dict[str, itertools.count[int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(
        self, built: BuiltCell, judged_as: Variant, cases: Sequence[Case], enough: Enough | None = None
    ) -> tuple[CaseResult, ...]:
        """Run cases in guests of a built cell, and return what they came to; up to what was ``enough``.

        They are judged by the rules for ``judged_as``, the series, whatever the edited variant is called.
        """
        cell = built.cell
        files = self.copies.of(built, self.parts, self.builder.tools(built, self.parts))
        spec = self.workspace.spec
        version = self.workspace.kernel_of(cell).source.kernel_version
        context = CellContext(
            cell.id, judged_as.name, judged_as.design, dict(cell.choice), built.configured.final,
            cell.flavour.name, judged_as.partial, self.parts.root(cell.flavour), version,
        )  # fmt: skip
        with self._lock:
            number = next(self._numbers.setdefault(cell.id, itertools.count(1)))
        folder = self.folder.cell(cell.id) / f"guests-{number}"
        folder.mkdir()
        with self.workspace.store.scratch("boot-") as scratch:
            job = CellJob(
                context, tuple(cases), files, folder, scratch, self.accel, spec.project.deadlines,
                speed=self.speed,
                known_benign=KnownBenign(spec.benign, version),
                watch=spec.project.watch,
            )  # fmt: skip
            done = Execution(job, enough=enough).run()
        for boot in done.boots:
            # What was booted can be made again; what it said is kept.
            boot.cell_cpio.unlink(missing_ok=True)
        return done.results
