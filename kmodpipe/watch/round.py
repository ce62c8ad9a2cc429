"""Run a round: an ordinary run, or two, of what is due, in a thread of its own that can be stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from kmodpipe.pipeline import run, runtimes, workspace
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.results import CellResult, State
from kmodpipe.series import unused
from kmodpipe.util import costs, kept
from kmodpipe.util.process import Children
from kmodpipe.util.screen import Screen, Step
from kmodpipe.util.workers import Thread, workers
from kmodpipe.vm import accel
from kmodpipe.watch.inputs import Inputs, Pair
from kmodpipe.watch.messages import CellSettled, Message, Redraw, RoundEnded
from kmodpipe.watch.order import Part

_NOT_NEEDED = "no cell is compared with it"


@dataclass
class Laps:
    """When a round came how far, by the monotonic clock; 0 for what has not come."""

    began: float = 0.0
    ready: float = 0.0
    first: float = 0.0
    ended: float = 0.0


@dataclass(frozen=True)
class Place:
    """What every round needs."""

    out: Path
    # Keeps others from emptying the cache, and yields its folder.
    cache: Callable[[], AbstractContextManager[Path]]
    post: Callable[[Message], None]
    # Called with each warning, and with what a run has to say.
    note: Callable[[str], None]


@dataclass
class Round:
    """One round. It begins with `start`, and ends with a RoundEnded."""

    number: int
    inputs: Inputs
    parts: tuple[Part, ...]
    place: Place
    # What changed, in words, and when the change was made.
    why: str
    saved: float
    laps: Laps = field(default_factory=Laps)
    folders: list[Path] = field(default_factory=list)
    stopped: str = ""

    def __post_init__(self) -> None:
        self._children = Children()
        self._screen = Screen.unseen()
        self._screen.on_event = self._take
        self._settled: set[Pair] = set()
        self._thread = Thread(self._work, f"round-{self.number}")

    def start(self) -> None:
        self.laps.began = time.monotonic()
        self._thread.start()

    def stop(self, why: str) -> None:
        """End its guests, containers and compilers; it ends itself then. Returns when they are ended."""
        self.stopped = self.stopped or why
        self._children.stop_all()

    def join(self) -> None:
        """Wait until it has ended, and has written its results."""
        if self._thread.ident:
            self._thread.join()

    @property
    def pairs(self) -> frozenset[Pair]:
        """What it gives a verdict."""
        return frozenset((cell, case) for part in self.parts for cell in part.cells for case in part.cases)

    @property
    def left(self) -> frozenset[Pair]:
        """What has no result yet."""
        return self.pairs - self._settled

    @property
    def steps(self) -> tuple[Step, ...]:
        """What goes on now."""
        return self._screen.running

    # -- in its thread ---------------------------------------------------------------------------
    def _work(self) -> None:
        error: BaseException | None = None
        # The round before has ended, and its series may be another now.
        unused.release()
        try:
            with self._children.collecting(), costs.collecting(), self.place.cache() as cache:
                for part in self.parts:
                    self._run(part, cache)
        except BaseException as e:
            error = e
            if not self.stopped:
                # The engine may be another one, or the image gone.
                kept.forget(runtimes.RUNTIME)
        self.laps.ended = time.monotonic()
        self.place.post(RoundEnded(self.number, error))

    def _run(self, part: Part, cache: Path) -> None:
        screen = self._screen
        spec = replace(narrowed(self.inputs.spec, part), out=self.place.out)
        with workers(1) as aside:
            proving = aside.submit(accel.probe, cache, screen)
            made = workspace.set_up(spec, cache, screen)
            proved = proving.result()
        self.laps.ready = self.laps.ready or time.monotonic()
        there = {cell.id for cell in made.spec.cells}
        for cell in spec.cells:
            if cell.id not in there:
                # Of the control's cells that it might be, another one is compared with.
                left_out = CellResult(
                    cell.id, cell.variant.name, cell.variant.design, dict(cell.choice), State.SKIPPED,
                    _NOT_NEEDED, flavour=cell.flavour.name, kernel=cell.kernel,
                )  # fmt: skip
                self._has(left_out, part)
        with RunFolder(spec.out) as folder:
            self.folders.append(folder.path)
            screen.log_to(folder.path / "events.jsonl")
            try:
                run.test(made, folder, proved, settled=lambda cell: self._has(cell, part))
            finally:
                screen.close_log()

    def _has(self, cell: CellResult, part: Part) -> None:
        now = time.monotonic()
        if cell.cases and not self.laps.first:
            self.laps.first = now
        self._settled.update((cell.cell, case) for case in part.cases)
        self.place.post(CellSettled(self.number, cell, part.cases, now))

    def _take(self, event: str, fields: Mapping[str, object]) -> None:
        if event == "warning":
            self.place.note(str(fields.get("text", "")))
        elif event in ("start", "end"):
            self.place.post(Redraw())


def narrowed(spec: RunSpec, part: Part) -> RunSpec:
    """Return the run of a part's cells and cases alone, in the part's order, as a command line would choose
    them.

    That its control is not among them is no reason to bring it: the verdicts are compared on the board.
    """
    cells = {cell.id: cell for cell in spec.cells}
    cases = {case.id: case for case in spec.cases}
    chosen = tuple(cells[one] for one in part.cells if one in cells)
    made = replace(
        spec,
        cases=tuple(cases[one] for one in part.cases if one in cases),
        awaited=part.cells,
    )
    if len(chosen) == len(cells):
        return made
    order = list(cells)
    own = tuple(sorted(chosen, key=lambda cell: order.index(cell.id)))
    companions = tuple(cell.id for cell in own if cell.id in spec.companions)
    # Nothing but what others are compared with is wanted for itself.
    companions = companions if len(companions) < len(own) else ()
    wanted = tuple(cell.id for cell in own if cell.id not in companions)
    return replace(
        made, cells=own, chosen={"*": wanted}, companions=companions, skip_illegal=True, allow_empty=True
    )
