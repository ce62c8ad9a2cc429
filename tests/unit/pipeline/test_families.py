"""Which cell is made first, and whose objects the others get."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kmodpipe.build.configured import Buildable, RuledOut
from kmodpipe.build.recipes import WorkDir
from kmodpipe.build.shared_objects import FOLDER, Objects
from kmodpipe.build.stage import Stage
from kmodpipe.cache.store import Artifact, Store
from kmodpipe.kconfig import Cell, Variant
from kmodpipe.kconfig.matrix import CONTROL_VARIANT
from kmodpipe.pipeline.families import Families, order
from kmodpipe.util.errors import KernelFailure


class World:
    """A store, and stages that leave objects where they are asked to."""

    def __init__(self, tmp_path: Path) -> None:
        self.store = Store(tmp_path)
        self.made: list[tuple[str, Objects]] = []
        self.fails: set[str] = set()
        self.leaves = True
        self.before: Callable[[str], object] = lambda name: None
        self.families = Families(self.store, self.ensure)
        self.families.expect([*map(cell, "abc"), cell("a", "alone"), cell("b", "alone")])

    def ensure(self, stage: Stage) -> Artifact:
        return self.store.make(
            stage.kind, stage.inputs, stage.label, lambda folder: stage.make(WorkDir(folder, folder / "log"))
        )

    def stage(self, name: str, source: str = "s") -> Stage:
        def make(work: WorkDir, objects: Objects) -> None:
            self.before(name)
            self.made.append((name, objects))
            if name in self.fails:
                raise KernelFailure("does not compile")
            if objects.seed:
                assert (objects.seed / "a.o").read_text() == f"objects of {source}"
            if objects.keep and self.leaves:
                (work.folder / FOLDER).mkdir()
                (work.folder / FOLDER / "a.o").write_text(f"objects of {source}")

        def plain(work: WorkDir) -> None:
            raise AssertionError("made without a word about objects")

        inputs = {"source": source, "configuration": name}
        return Stage("module", name, inputs, plain, make_with=make)


def cell(name: str, variant: str = "fix") -> Cell:
    return Cell(name, Variant(variant, "", {}), {}, {}, {})


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_first_keeps_its_objects_and_the_others_get_them(world: World) -> None:
    for name in "abc":
        world.families.ensure(world.stage(name), cell(name))
    (a, first), (b, second), (c, third) = world.made
    assert (a, b, c) == ("a", "b", "c") and first == Objects(keep=True)
    assert second.seed == third.seed and second.seed and not second.keep
    world.families.ensure(world.stage("a"), cell("a"))
    assert len(world.made) == 3


def test_others_wait_for_the_first_and_another_source_does_not(world: World) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def before(name: str) -> None:
        if name == "a":
            begun.set()
            assert go_on.wait(10)

    world.before = before
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(world.families.ensure, world.stage("a"), cell("a"))
        assert begun.wait(10)
        others = [pool.submit(world.families.ensure, world.stage(n), cell(n)) for n in "bc"]
        pool.submit(world.families.ensure, world.stage("z", "other"), cell("z")).result(10)
        assert [name for name, _ in world.made] == ["z"]
        go_on.set()
        for one in (first, *others):
            one.result(10)
    assert [objects.keep for _, objects in world.made] == [True, True, False, False]
    assert {name for name, objects in world.made if objects.seed} == {"b", "c"}


def test_where_the_first_fails_the_next_is_the_first(world: World) -> None:
    world.fails = {"a"}
    with pytest.raises(KernelFailure):
        world.families.ensure(world.stage("a"), cell("a"))
    for name in "bc":
        world.families.ensure(world.stage(name), cell(name))
    assert [objects.keep for _, objects in world.made] == [True, True, False]


def test_where_none_are_left_the_others_wait_for_none(world: World) -> None:
    world.leaves = False
    for name in "abc":
        world.families.ensure(world.stage(name), cell(name))
    assert [objects for _, objects in world.made] == [Objects(keep=True), Objects(), Objects()]


def test_one_of_two_keeps_nothing_but_takes_what_is_there(world: World) -> None:
    world.families.ensure(world.stage("a"), cell("a", "alone"))
    assert world.made == [("a", Objects())]
    world.families.ensure(world.stage("b"), cell("b"))
    later = Families(world.store, world.ensure)
    later.ensure(world.stage("c"), cell("c"))
    assert world.made[1][1].keep and world.made[2][1].seed


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_objects_that_were_damaged_in_the_cache_are_not_taken(world: World, damage: str) -> None:
    first = world.families.ensure(world.stage("a"), cell("a"))
    if damage == "gone":
        shutil.rmtree(first.path)
    else:
        (first.path / FOLDER / "a.o").write_text("something else")
    world.families.ensure(world.stage("b"), cell("b"))
    assert world.made[-1] == ("b", Objects(keep=True))
    world.families.ensure(world.stage("c"), cell("c"))
    assert world.made[-1][1].seed


def test_what_has_no_objects_is_made_as_it_is(world: World) -> None:
    made: list[str] = []
    stage = Stage("module", "x", {"x": 1}, lambda work: made.append("x"))
    world.families.ensure(stage, cell("x"))
    assert made == ["x"]


def flat(cells: list[Cell], awaited: tuple[str, ...] = (), ruled_out: tuple[str, ...] = ()) -> str:
    """The order in words: ``+a`` is built, ``a`` booted."""
    rows = [RuledOut(one, "why") if one.id in ruled_out else Buildable(one, "") for one in cells]
    words: list[str] = []
    for build, boot in order(rows, awaited):
        words += [f"+{cells[number].id}" for number in build] + [cells[number].id for number in boot]
    return " ".join(words)


CONTROL = [Cell(name, CONTROL_VARIANT, {}, {}, {}) for name in "xy"]


def test_the_first_of_a_family_is_built_while_the_control_boots() -> None:
    cells = [*CONTROL, *map(cell, "abc")]
    assert flat(cells) == "+a +x +y x y +b +c a b c"


def test_what_is_ruled_out_is_no_first() -> None:
    cells = [*CONTROL, *map(cell, "abcd")]
    assert flat(cells, ruled_out=("a",)) == "+b +x +y x y +a +c +d a b c d"


def test_without_families_all_is_built_before_anything_boots() -> None:
    assert flat([*CONTROL, *map(cell, "ab")]) == "+x +y +a +b x y a b"
    assert flat([*CONTROL, *map(cell, "abc")], ruled_out=("c",)) == "+x +y +a +b +c x y a b c"
    assert flat([]) == ""


def test_what_is_awaited_comes_before_all_others() -> None:
    cells = [*CONTROL, *map(cell, "abcd")]
    assert flat(cells, ("b", "x")) == "+b +x b x +a +y y +c +d a c d"
    assert flat(cells[:-1], ("c",)) == "+c c +x +y +a +b x y a b"


def test_each_is_built_before_it_boots_and_once() -> None:
    control = [Cell(f"control-{n}", CONTROL_VARIANT, {}, {}, {}) for n in range(4)]
    cells = [cell(f"{variant}-{n}", variant) for variant in ("one", "two") for n in range(4)]
    words = flat([*cells[:3], *control, *cells[3:]], ("two-3", "control-1")).split()
    for one in (*control, *cells):
        assert words.count(one.id) == words.count(f"+{one.id}") == 1
        assert words.index(f"+{one.id}") < words.index(one.id)
