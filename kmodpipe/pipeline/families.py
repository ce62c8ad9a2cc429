"""Make the modules of cells that may take of each other: one first, then the others with what it left."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

from kmodpipe.build.configured import Buildable, Configured
from kmodpipe.build.neutral import NEUTRAL, OWN
from kmodpipe.build.reuse import OBJECTS, SETTINGS, Names, Reused
from kmodpipe.build.stage import Reusing, Stage
from kmodpipe.cache.store import Artifact, Store
from kmodpipe.kconfig import Cell
from kmodpipe.util.paths import is_dir

# Of two it would be as fast to build both at once.
_SEVERAL = 3


class Families:
    """The families of a command (`kmodpipe.build.reuse`). Thread-safe."""

    def __init__(self, store: Store, ensure: Callable[[Stage], Artifact]) -> None:
        """``ensure`` returns a stage's artifact, and makes it if there is none."""
        self._store = store
        self._ensure = ensure
        self._lock = threading.Lock()
        # How many cells there are to build of a variant on a kernel in a flavour.
        self._alike = Counter[tuple[str, str, str]]()
        # Of each family whose first is made now: done when it was, or failed.
        self._first: dict[str, Future[None]] = {}
        # Those that leave no objects for others.
        self._without: set[str] = set()

    def expect(self, cells: Iterable[Cell]) -> None:
        """Say which cells are going to be built."""
        self._alike = Counter(map(_kind, cells))

    def ensure(self, stage: Stage, cell: Cell) -> Artifact:
        """Return the artifact of a cell's module; make it if there is none, with what others left.

        Where several cells are like it, and there are no objects yet, others of the family wait for this one;
        those of its source do so where there are no neutral ones, unless an earlier state has all that
        it would leave. Raises what the stage's ``make`` raises.
        """
        if stage.reusing is None:
            return self._ensure(stage)
        names: Names | None = None
        several = self._alike[_kind(cell)] >= _SEVERAL
        while self._store.find(stage.kind, stage.inputs, stage.check) is None:
            # They take a look at the sources, which what is there already does without.
            names = names or stage.reusing.names()
            lacking = self._lacking(stage.kind, stage.reusing, names, several=several)
            with self._lock:
                first = self._first.get(lacking)
                leads = bool(lacking) and first is None and several
                if leads:
                    self._first[lacking] = Future()
            if first is None:
                if leads:
                    return self._make_first(stage, stage.reusing, names, lacking)
                return self._make(stage, stage.reusing, names)
            first.result()
        return self._ensure(stage)

    def _lacking(self, kind: str, reusing: Reusing, names: Names, *, several: bool) -> str:
        """Return the name of what is to be waited for, if somebody makes it; "" if nothing is."""
        if not reusing.objects and self._is_missing(kind, names.objects, OBJECTS):
            return names.objects
        if not (several and names.source and self._is_missing(kind, names.source, NEUTRAL)):
            return ""
        kindred = self._left(kind, names.kindred)
        if kindred is None:
            # Its state before left none either: mostly because each file reads a symbol.
            return "" if self._left(kind, names.same) else names.source
        return "" if reusing.suffices(kindred) else names.source

    def _is_missing(self, kind: str, name: str, folder: str) -> bool:
        return name not in self._without and self._left(kind, name, folder) is None

    def _make_first(self, stage: Stage, reusing: Reusing, names: Names, lacking: str) -> Artifact:
        try:
            made = self._make(stage, reusing, names, leads=True)
            for name, folder in ((names.objects, OBJECTS), (names.source, NEUTRAL)):
                if self._left(stage.kind, name, folder) is None:
                    self._without.add(name)
            return made
        finally:
            with self._lock:
                self._first.pop(lacking).set_result(None)

    def _make(self, stage: Stage, reusing: Reusing, names: Names, *, leads: bool = False) -> Artifact:
        reused = Reused(
            self._left(stage.kind, names.objects, OBJECTS) or reusing.objects,
            self._left(stage.kind, names.settings, SETTINGS),
            self._left(stage.kind, names.source) or self._left(stage.kind, names.kindred),
            self._left(stage.kind, names.same),
            leads,
        )
        made = self._ensure(replace(stage, make=lambda work: reusing.make(work, reused)))
        left = {
            names.objects: OBJECTS, names.settings: SETTINGS, names.source: NEUTRAL, names.kindred: NEUTRAL,
            names.same: OWN,
        }  # fmt: skip
        for name, folder in left.items():
            if name and is_dir(made.path / folder):
                self._store.remember_as(name, made)
        return made

    def _left(self, kind: str, name: str, folder: str = "") -> Path | None:
        """Return what was left last under a name; None if nothing was, or it is damaged."""
        found = self._store.remembered_as(kind, name) if name else None
        return found.path / folder if found and is_dir(found.path / folder) else None


def order(rows: Sequence[Configured], awaited: Sequence[str]) -> Iterator[tuple[list[int], list[int]]]:
    """Yield which cells to build and then which to boot, by their numbers, turn by turn.

    The first of those ``awaited`` that can be built is built and booted before the others, which come in that
    order: its verdict would be later if another one were built beside it. Where cells wait for the first
    of their family, that is built while the control's boot; else everything is built before anything boots.
    """
    cells = [one.cell for one in rows]
    places = {cell: place for place, cell in enumerate(awaited)}
    numbers = sorted(range(len(rows)), key=lambda number: places.get(cells[number].id, len(places)))
    made = [number for number in numbers if isinstance(rows[number], Buildable)]
    first = [number for number in made if cells[number].id in places][:1]
    yield first, first
    made, rest = ([number for number in part if number not in first] for part in (made, numbers))
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
