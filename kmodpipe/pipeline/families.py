"""Make the modules of cells that may take each other's objects: one first, then the others with its own."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

from kmodpipe.build import shared_objects
from kmodpipe.build.configured import Buildable, Configured
from kmodpipe.build.recipes import WorkDir
from kmodpipe.build.shared_objects import Objects
from kmodpipe.build.stage import Stage
from kmodpipe.cache.store import Artifact, Store
from kmodpipe.kconfig import Cell
from kmodpipe.util.paths import is_dir

# To keep its objects costs the first one a fifth of its time more; each other one takes a third less.
_SEVERAL = 3


class Families:
    """The families of a command (`shared_objects.family`). Thread-safe."""

    def __init__(self, store: Store, ensure: Callable[[Stage], Artifact]) -> None:
        """``ensure`` returns a stage's artifact, and makes it if there is none."""
        self._store = store
        self._ensure = ensure
        self._lock = threading.Lock()
        # How many cells there are to build of a variant on a kernel in a flavour.
        self._alike = Counter[tuple[str, str, str]]()
        # Of each family whose first is made now: done when it was, or failed.
        self._first: dict[str, Future[None]] = {}
        # Those that leave no objects for others: too many, or too large.
        self._without: set[str] = set()

    def expect(self, cells: Iterable[Cell]) -> None:
        """Say which cells are going to be built."""
        self._alike = Counter(map(_kind, cells))

    def ensure(self, stage: Stage, cell: Cell) -> Artifact:
        """Return the artifact of a cell's module; make it if there is none, with another one's objects.

        Where there are no objects yet, and several cells are like it, the first keeps its own, and the others
        wait for it. Raises what the stage's ``make`` raises.
        """
        several = self._alike[_kind(cell)] >= _SEVERAL
        if stage.make_with is None:
            return self._ensure(stage)
        family = shared_objects.family(stage.inputs)
        while self._store.find(stage.kind, stage.inputs, stage.check) is None:
            seed = self._seed(stage.kind, family)
            if seed or not several or family in self._without:
                return self._ensure(_with(stage, Objects(seed)))
            with self._lock:
                first = self._first.get(family)
                if first is None:
                    self._first[family] = Future()
            if first is None:
                return self._make_first(stage, family)
            first.result()
        return self._ensure(stage)

    def _make_first(self, stage: Stage, family: str) -> Artifact:
        try:
            made = self._ensure(_with(stage, Objects(keep=True)))
            if is_dir(made.path / shared_objects.FOLDER):
                self._store.remember_as(family, made)
            if self._seed(stage.kind, family) is None:
                self._without.add(family)
            return made
        finally:
            with self._lock:
                self._first.pop(family).set_result(None)

    def _seed(self, kind: str, family: str) -> Path | None:
        found = self._store.remembered_as(kind, family)
        folder = found.path / shared_objects.FOLDER if found else None
        return folder if folder and is_dir(folder) else None


def order(rows: Sequence[Configured], awaited: Sequence[str]) -> Iterator[tuple[list[int], list[int]]]:
    """Yield which cells to build and then which to boot, by their numbers, turn by turn.

    First those ``awaited``. Of the others, where cells wait for the first of their family, it is built while
    the control's boot; else everything is built before anything boots.
    """
    cells = [one.cell for one in rows]
    first = [number for number, cell in enumerate(cells) if cell.id in awaited]
    first.sort(key=lambda number: awaited.index(cells[number].id))
    yield first, first
    rest = [number for number in range(len(cells)) if number not in set(first)]
    made = [number for number in rest if isinstance(rows[number], Buildable)]
    alike = Counter(_kind(cells[number]) for number in made)
    leading: dict[tuple[str, str, str], int] = {}
    for number in made:
        if alike[_kind(cells[number])] >= _SEVERAL:
            leading.setdefault(_kind(cells[number]), number)
    if not leading:
        yield rest, rest
        return
    leaders = list(leading.values())
    yield leaders, []
    for wanted in (True, False):
        part = [number for number in rest if cells[number].variant.is_control is wanted]
        yield [number for number in part if number not in leaders], part


def _kind(cell: Cell) -> tuple[str, str, str]:
    return cell.kernel, cell.variant.name, cell.flavour.name


def _with(stage: Stage, objects: Objects) -> Stage:
    """Return the stage with what it has to do with others' objects."""
    make = stage.make_with

    def made(work: WorkDir) -> None:
        if make:
            make(work, objects)

    return replace(stage, make=made)
