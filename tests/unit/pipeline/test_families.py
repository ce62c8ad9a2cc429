"""Which cell is made first, and what the others take of whom."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe.build.configured import Buildable, RuledOut
from kmodpipe.build.neutral import NEUTRAL, OWN
from kmodpipe.build.recipes import WorkDir
from kmodpipe.build.reuse import OBJECTS, SETTINGS, Names, Reused
from kmodpipe.build.stage import Reusing, Stage
from kmodpipe.cache.store import Artifact, Store
from kmodpipe.kconfig import Cell, Variant
from kmodpipe.kconfig.matrix import CONTROL_VARIANT
from kmodpipe.pipeline.families import Families, order
from kmodpipe.util.errors import KernelFailure


class World:
    """A store, and stages that leave objects and settings."""

    def __init__(self, tmp_path: Path) -> None:
        self.store = Store(tmp_path)
        self.made: list[tuple[str, str]] = []
        self.fails: set[str] = set()
        self.leaves = {OBJECTS, SETTINGS, NEUTRAL, OWN}
        # Who took of its own state before, by the name and the source, and of which.
        self.same: dict[tuple[str, str], str] = {}
        self.led: list[str] = []
        self.before: Callable[[str], object] = lambda name: None
        self.suffices: Callable[[Path], bool] = lambda kindred: False
        self.families = Families(self.store, self.ensure)
        self.families.expect([*map(cell, "abc"), cell("a", "alone"), cell("b", "alone")])

    def ensure(self, stage: Stage) -> Artifact:
        return self.store.make(
            stage.kind, stage.inputs, stage.label, lambda folder: stage.make(WorkDir(folder, folder / "log"))
        )

    def stage(self, name: str, source: str = "s", family: str = "f") -> Stage:
        """The module of a configuration and a source; what it leaves tells from whom it is."""

        def make(work: WorkDir, reused: Reused) -> None:
            self.before(name)
            neutral = reused.kindred / NEUTRAL if reused.kindred else None
            taken = [
                f"{folder.name} of {(folder / 'from').read_text()}"
                for folder in (reused.objects, reused.settings, neutral) if folder
            ]  # fmt: skip
            self.made.append((name, ", ".join(taken)))
            if reused.leads:
                self.led.append(name)
            if reused.same:
                self.same[name, source] = (reused.same / OWN / "from").read_text()
            if name in self.fails:
                raise KernelFailure("does not compile")
            left = {OBJECTS, SETTINGS, OWN, *([NEUTRAL] if reused.leads else [])}
            for folder in left & self.leaves:
                (work.folder / folder).mkdir()
                (work.folder / folder / "from").write_text(f"{name} {source}")

        def plain(work: WorkDir) -> None:
            raise AssertionError("made without a word about others")

        inputs = {"source": source, "configuration": name, "family": family}
        names = Names(
            f"{family}-objects", f"{family}-{name}", f"{family}-from-{source}", f"{family}-{source[0]}…",
            f"{family}-{source[0]}-{name}",
        )  # fmt: skip
        return Stage(
            "module",
            name,
            inputs,
            plain,
            reusing=Reusing(make, lambda: names, suffices=lambda kindred: self.suffices(kindred)),
        )


FROM_A = ", neutral of a s"


def cell(name: str, variant: str = "fix") -> Cell:
    return Cell(name, Variant(variant, "", {}), {}, {}, {})


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_others_get_the_objects_that_were_left_last(world: World) -> None:
    for name in "abc":
        world.families.ensure(world.stage(name), cell(name))
    assert world.made == [("a", ""), ("b", f"objects of a s{FROM_A}"), ("c", f"objects of b s{FROM_A}")]
    world.families.ensure(world.stage("a"), cell("a"))
    assert len(world.made) == 3


def test_what_is_in_the_store_is_not_asked_for_its_family(world: World) -> None:
    def names() -> Names:
        raise AssertionError("the sources were looked at")

    stage = world.stage("a")
    made = world.families.ensure(stage, cell("a"))
    again = replace(stage, reusing=Reusing(lambda work, reused: None, names))
    assert world.families.ensure(again, cell("a")).key == made.key


def test_another_source_of_the_family_gets_the_settings_of_its_configuration(world: World) -> None:
    for name in "ab":
        world.families.ensure(world.stage(name), cell(name))
    world.families.ensure(world.stage("a", "edited"), cell("a"))
    world.families.ensure(world.stage("a", "else", "another"), cell("a"))
    assert world.made[2:] == [("a", "objects of b s, settings of a s"), ("a", "")]


def test_others_wait_for_the_first_and_another_family_does_not(world: World) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def before(name: str) -> None:
        if name == "a":
            begun.set()
            assert go_on.wait(10)

    world.before = before
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(world.families.ensure, world.stage("a"), cell("a"))
        assert begun.wait(10)
        others = [pool.submit(world.families.ensure, world.stage(n), cell(n)) for n in "bc"]
        # Of a variant with few cells, that would not be waited for.
        others.append(pool.submit(world.families.ensure, world.stage("d", "t"), cell("a", "alone")))
        pool.submit(world.families.ensure, world.stage("z", family="other"), cell("z")).result(10)
        assert [name for name, _ in world.made] == ["z"]
        go_on.set()
        for one in (first, *others):
            one.result(10)
    assert world.made[:2] == [("z", ""), ("a", "")]
    assert all(taken.startswith("objects of ") for _, taken in world.made[2:]) and len(world.made) == 5


def test_where_the_first_fails_the_next_is_the_first(world: World) -> None:
    world.fails = {"a"}
    with pytest.raises(KernelFailure):
        world.families.ensure(world.stage("a"), cell("a"))
    for name in "bc":
        world.families.ensure(world.stage(name), cell(name))
    assert world.made == [("a", ""), ("b", ""), ("c", "objects of b s, neutral of b s")]


def test_where_the_base_has_objects_nobody_waits_for_others(world: World, tmp_path: Path) -> None:
    base = tmp_path / "base" / OBJECTS
    base.mkdir(parents=True)
    (base / "from").write_text("the base")
    for name in "ab":
        stage = world.stage(name)
        assert stage.reusing
        world.families.ensure(
            replace(stage, reusing=replace(stage.reusing, objects=base)), cell(name, "alone")
        )
    assert world.made == [("a", "objects of the base"), ("b", "objects of a s")]


def test_where_none_are_left_the_others_wait_for_none(world: World) -> None:
    world.leaves = set()
    for name in "abc":
        world.families.ensure(world.stage(name), cell(name))
    assert world.made == [("a", ""), ("b", ""), ("c", "")]


def test_one_of_two_waits_for_nothing_and_leaves_its_own(world: World) -> None:
    for name in "ab":
        world.families.ensure(world.stage(name), cell(name, "alone"))
    later = Families(world.store, world.ensure)
    later.ensure(world.stage("c"), cell("c"))
    assert world.made == [("a", ""), ("b", "objects of a s"), ("c", "objects of b s")]


def test_a_source_has_a_first_too_where_there_are_objects_of_another(world: World) -> None:
    for name in "ab":
        world.families.ensure(world.stage(name), cell(name))
    begun, go_on = threading.Event(), threading.Event()

    def before(name: str) -> None:
        if name == "a":
            begun.set()
            assert go_on.wait(10)

    world.before = before
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(world.families.ensure, world.stage("a", "edited"), cell("a"))
        assert begun.wait(10)
        other = pool.submit(world.families.ensure, world.stage("b", "edited"), cell("b"))
        world.families.ensure(world.stage("c", "small"), cell("b", "alone"))
        go_on.set()
        for one in (first, other):
            one.result(10)
    assert world.made[-1] == ("b", "objects of a edited, settings of b s, neutral of a edited")


def test_after_an_edit_the_first_takes_of_the_state_before_and_the_others_of_it(world: World) -> None:
    for source in ("s", "s, edited"):
        for name in "abc":
            world.families.ensure(world.stage(name, source), cell(name))
    taken = [words.partition("neutral of ")[2] for _, words in world.made]
    assert taken == ["", "a s", "a s", "a s", "a s, edited", "a s, edited"]


def test_after_each_edit_a_cell_takes_of_its_own_state_before(world: World) -> None:
    for source in ("s", "s, edited", "s, again", "another"):
        for name in "ab":
            world.families.ensure(world.stage(name, source), cell(name))
    assert world.same == {
        ("a", "s, edited"): "a s", ("b", "s, edited"): "b s",
        ("a", "s, again"): "a s, edited", ("b", "s, again"): "b s, edited",
    }  # fmt: skip


def test_after_an_edit_of_what_each_compiles_itself_there_is_no_first(world: World) -> None:
    for name in "abc":
        world.families.ensure(world.stage(name), cell(name))
    asked: list[Path] = []
    world.suffices = lambda kindred: not asked.append(kindred)
    for name in "abc":
        world.families.ensure(world.stage(name, "s, edited"), cell(name))
    taken = [words.partition("neutral of ")[2] for _, words in world.made[3:]]
    assert taken == ["a s", "a s", "a s"]
    assert {(kindred / NEUTRAL / "from").read_text() for kindred in asked} == {"a s"}
    # An edit of something else has a first again, which takes of the first state.
    world.suffices = lambda kindred: False
    for name in "ab":
        world.families.ensure(world.stage(name, "s, and more"), cell(name))
    assert [words.partition("neutral of ")[2] for _, words in world.made[6:]] == ["a s", "a s, and more"]


def test_where_a_source_leaves_no_neutral_ones_its_others_wait_for_none(world: World) -> None:
    world.leaves = {OBJECTS, SETTINGS}
    for name in "abc":
        world.families.ensure(world.stage(name), cell(name))
    assert world.made == [("a", ""), ("b", "objects of a s"), ("c", "objects of b s")]


def test_after_an_edit_of_a_source_that_left_none_there_is_no_first(world: World) -> None:
    world.leaves = {OBJECTS, SETTINGS, OWN}
    leading: list[str] = []
    for source in ("s", "s, edited"):
        world.families = Families(world.store, world.ensure)
        world.families.expect(map(cell, "abc"))
        for name in "abc":
            world.families.ensure(world.stage(name, source), cell(name))
        leading.append(",".join(world.led))
        world.led.clear()
    assert leading == ["a", ""]
    assert set(world.same) == {(name, "s, edited") for name in "abc"}


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_what_was_damaged_in_the_cache_is_not_taken(world: World, damage: str) -> None:
    first = world.families.ensure(world.stage("a"), cell("a"))
    if damage == "gone":
        shutil.rmtree(first.path)
    else:
        (first.path / OBJECTS / "from").write_text("something else")
    world.families.ensure(world.stage("b"), cell("b"))
    world.families.ensure(world.stage("c"), cell("c"))
    assert world.made[1:] == [("b", ""), ("c", "objects of b s, neutral of b s")]


def test_what_takes_nothing_is_made_as_it_is(world: World) -> None:
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


def test_what_is_awaited_first_is_made_before_all_others() -> None:
    cells = [*CONTROL, *map(cell, "abcd")]
    assert flat(cells[:-1], ("c",)) == "+c c +x +y +a +b x y a b"
    assert flat([*map(cell, "ab")], ("b", "a")) == "+b b +a a"


def test_the_others_come_in_the_order_in_which_they_are_awaited() -> None:
    cells = [*CONTROL, *map(cell, "abcd")]
    assert flat(cells, ("d", "y", "c", "x", "b", "a")) == "+d d +c +y +x y x +b +a c b a"
    assert flat(cells[:-1], ("y", "b", "a", "c", "x")) == "+y y +b +x x +a +c b a c"
    # What is ruled out has no verdict to wait for.
    assert flat([*map(cell, "abc")], ("b", "c", "a"), ruled_out=("b",)) == "+c c +b +a b a"


def test_each_is_built_before_it_boots_and_once() -> None:
    control = [Cell(f"control-{n}", CONTROL_VARIANT, {}, {}, {}) for n in range(4)]
    cells = [cell(f"{variant}-{n}", variant) for variant in ("one", "two") for n in range(4)]
    words = flat([*cells[:3], *control, *cells[3:]], ("two-3", "control-1")).split()
    for one in (*control, *cells):
        assert words.count(one.id) == words.count(f"+{one.id}") == 1
        assert words.index(f"+{one.id}") < words.index(one.id)
