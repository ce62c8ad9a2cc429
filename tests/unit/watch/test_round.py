"""What a round runs, as a command line would choose it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.watch.order import Part
from kmodpipe.watch.round import narrowed
from tests.support import toy
from tests.support.watched import CONTROL, FIXED, spec


@pytest.fixture
def whole(tmp_path: Path) -> RunSpec:
    world = toy.build(tmp_path)
    (world.root / "images/guest/cases/other.sh").write_text("#!/bin/sh\n")
    return spec(world)


def test_all_cells_are_no_choice_and_only_the_order_is_the_parts(whole: RunSpec) -> None:
    cells = tuple(cell.id for cell in reversed(whole.cells))
    made = narrowed(whole, Part(cells, ("other", "remount")))
    assert made.cells == whole.cells and not made.chosen
    assert [case.id for case in made.cases] == ["other", "remount"]
    assert made.awaited == cells


def test_some_cells_are_chosen_so_that_their_configurations_are_found(whole: RunSpec) -> None:
    made = narrowed(whole, Part((FIXED,), ("remount",)))
    assert [cell.id for cell in made.cells] == [FIXED] and made.selected
    assert [case.id for case in made.cases] == ["remount"]
    variant, flavour = made.cells[0].variant, made.cells[0].flavour
    assert made.to_configure(variant, flavour) == whole.to_configure(variant, flavour)
    # A cell that the tree rules out is skipped, and no usage error.
    assert made.skip_illegal and made.allow_empty


def test_controls_that_may_be_compared_with_stay_a_choice_of_the_tree(tmp_path: Path) -> None:
    world = toy.build(tmp_path)
    chosen = spec(world, cell=("toy-fix.INDEX=y.NOUUID=y",))
    assert len(chosen.companions) == 4
    some = (chosen.companions[0], "toy-fix.INDEX=y.NOUUID=y")
    made = narrowed(chosen, Part(some, ("remount",)))
    assert made.companions == some[:1] and made.chosen == {"*": some[1:]}
    alone = narrowed(chosen, Part(chosen.companions[:1], ("remount",)))
    assert alone.companions == () and alone.chosen == {"*": chosen.companions[:1]}
    assert CONTROL in chosen.companions
