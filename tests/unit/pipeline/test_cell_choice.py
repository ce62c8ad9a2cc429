"""Which cells a run has: patterns, flavours, and the control's beside those of a series."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe.kconfig import Matrix, Variant, load_matrix
from kmodpipe.kconfig.matrix import CONTROL_VARIANT as CONTROL
from kmodpipe.pipeline import cell_choice
from kmodpipe.pipeline.cell_choice import Choice, choose_cells
from kmodpipe.source import Tree
from kmodpipe.util.errors import UserError

SERIES = Variant("s", "s", {})
MATRIX = """\
[axes.A]
symbol = "AAA"
[axes.B]
symbol = "BBB"
[flavours.big]
summary = "another guest"
"""


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    (tmp_path / "matrix.toml").write_text(MATRIX)
    return load_matrix(tmp_path / "matrix.toml")


def tree(folder: Path, *symbols: str) -> Tree:
    """A tree whose Kconfig has these symbols."""
    folder.mkdir(parents=True)
    text = "".join(f'config {name}\n\tbool "{name}"\n\n' for name in symbols)
    (folder / "Kconfig").write_text(text)
    return Tree(name="t", path=folder, identity="t", kernel_version="5.10.0", provenance={})


def choice(matrix: Matrix, *patterns: str, flavours: tuple[str, ...] = ()) -> Choice:
    return choose_cells(matrix, [CONTROL, SERIES], flavours, patterns)


def ids(found: Choice) -> list[str]:
    return [cell.id for cell in found.cells]


def settled(matrix: Matrix, found: Choice, of: Tree) -> list[str]:
    return ids(cell_choice.settle(cell_choice.with_controls(found, matrix, CONTROL), matrix, CONTROL, of))


def test_a_cell_brings_the_control_of_the_same_choice(matrix: Matrix, tmp_path: Path) -> None:
    whole = tree(tmp_path / "t", "AAA", "BBB")
    assert settled(matrix, choice(matrix, "s.A=y.B=n"), whole) == ["unpatched.A=y.B=n", "s.A=y.B=n"]
    big = choice(matrix, "s.A=y.B=y.big")
    assert settled(matrix, big, whole) == ["unpatched.A=y.B=y.big", "s.A=y.B=y.big"]


def test_an_axis_that_only_the_series_has_is_n_in_the_control(matrix: Matrix, tmp_path: Path) -> None:
    before = tree(tmp_path / "t", "AAA")
    assert settled(matrix, choice(matrix, "s.A=y.B=y"), before) == ["unpatched.A=y.B=n", "s.A=y.B=y"]
    found = settled(matrix, choice(matrix, "s.A=y.*"), before)
    assert found == ["unpatched.A=y.B=n", "s.A=y.B=y", "s.A=y.B=n"]


def test_without_any_axis_in_the_tree_there_is_one_control(matrix: Matrix, tmp_path: Path) -> None:
    found = settled(matrix, choice(matrix, "s.*"), tree(tmp_path / "t"))
    assert [cell for cell in found if cell.startswith("unpatched")] == ["unpatched.A=n.B=n"]


def test_what_was_chosen_is_not_brought_along(matrix: Matrix, tmp_path: Path) -> None:
    every = cell_choice.with_controls(choice(matrix), matrix, CONTROL)
    assert every.companions == () and len(every.cells) == 8
    both = cell_choice.with_controls(choice(matrix, "*.A=y.B=n"), matrix, CONTROL)
    kept = cell_choice.settle(both, matrix, CONTROL, tree(tmp_path / "t", "AAA", "BBB"))
    assert kept.companions == () and ids(kept) == ["unpatched.A=y.B=n", "s.A=y.B=n"]
    assert cell_choice.describe(kept) == ""
    alone = cell_choice.with_controls(choice(matrix, "unpatched.A=y.B=n"), matrix, CONTROL)
    assert ids(alone) == ["unpatched.A=y.B=n"]


def test_it_is_said_in_one_line(matrix: Matrix) -> None:
    found = cell_choice.with_controls(choice(matrix, "s.A=n.B=n"), matrix, CONTROL)
    text = cell_choice.describe(found)
    assert text == "to compare with: 1 cell of the unpatched tree as well (unpatched.A=n.B=n)"


def test_no_control_leaves_it_out_unless_its_cell_was_named(matrix: Matrix) -> None:
    assert ids(cell_choice.without_controls(choice(matrix))) == [
        "s.A=y.B=y", "s.A=y.B=n", "s.A=n.B=y", "s.A=n.B=n",
    ]  # fmt: skip
    assert ids(cell_choice.without_controls(choice(matrix, "*.A=y.B=y"))) == ["s.A=y.B=y"]
    named = choice(matrix, "unpatched.A=y.B=y", "s.A=y.B=y")
    assert cell_choice.without_controls(named) == named
    with pytest.raises(UserError, match="--no-control leaves no cell"):
        cell_choice.without_controls(choice(matrix, "unpatched.*"))


def test_many_cells_are_no_trouble(matrix: Matrix, tmp_path: Path) -> None:
    axes = {f"X{n}": replace_symbol(matrix, f"SYM{n}") for n in range(9)}
    large = replace(matrix, axes=axes)
    found = cell_choice.with_controls(choose_cells(large, [CONTROL, SERIES], (), ["s.*"]), large, CONTROL)
    assert len(found.cells) == 2 * 2**9


def replace_symbol(matrix: Matrix, symbol: str):  # type: ignore[no-untyped-def]
    return matrix.axes["A"].model_copy(update={"symbol": symbol})
