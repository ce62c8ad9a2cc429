"""Dead axes: which cells count as alike, and what the source says of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from kmodpipe import kconfig
from kmodpipe.build.sharing import Subject
from kmodpipe.judge import dead_axes
from kmodpipe.judge.dead_axes import Product
from kmodpipe.kconfig import Cell, Matrix, Variant
from kmodpipe.kconfig.matrix import Axis
from kmodpipe.results import DeadAxis
from tests.support.sample_symbols import tree

AXES = {"INDEX": Axis(symbol="X_INDEX"), "NOUUID": Axis(symbol="X_NOUUID")}
MATRIX = Matrix("tinyconfig", "fs/x", (), AXES, Path("matrix.toml"))
CONTROL = Variant("unpatched", "none", {})
SERIES = Variant("fix", "fix", {"NOUUID": "X_UUID_OFF"})


def cells(variant: Variant, matrix: Matrix = MATRIX) -> dict[str, Cell]:
    """The cells by their choice: ``yn`` is INDEX=y, NOUUID=n."""
    return {"".join(cell.choice.values()): cell for cell in kconfig.expand(matrix, [variant])}


def products(contents: Mapping[str, str], variant: Variant = SERIES) -> list[Product]:
    return [Product(cells(variant)[choice], content) for choice, content in contents.items()]


@pytest.mark.parametrize(
    ("contents", "found"),
    [
        # The four cells, by what they run: is the axis dead, and which cells run the same.
        ({"yy": "a", "yn": "b", "ny": "c", "nn": "d"}, {"INDEX": (False, 0), "NOUUID": (False, 0)}),
        ({"yy": "a", "yn": "a", "ny": "b", "nn": "b"}, {"INDEX": (False, 0), "NOUUID": (True, 2)}),
        ({"yy": "a", "yn": "b", "ny": "c", "nn": "c"}, {"INDEX": (False, 0), "NOUUID": (False, 1)}),
        ({"yy": "a", "yn": "a", "ny": "a", "nn": "a"}, {"INDEX": (True, 2), "NOUUID": (True, 2)}),
        # Three legal cells: each axis has one pair.
        ({"yy": "a", "yn": "b", "nn": "c"}, {"INDEX": (False, 0), "NOUUID": (False, 0)}),
        ({"yy": "a", "yn": "a", "nn": "b"}, {"INDEX": (False, 0), "NOUUID": (True, 1)}),
        # Cells that differ in two axes say nothing about either, and neither does one that was not built.
        ({"yy": "a", "nn": "a"}, {}),
        ({"yy": "a", "yn": ""}, {}),
    ],
)
def test_cells_that_differ_in_one_axis_are_compared(
    contents: dict[str, str], found: dict[str, tuple[bool, int]]
) -> None:
    compared = dead_axes.compare(products(contents))
    assert {t.axis: (t.everywhere, len(t.cells)) for t in compared} == found
    assert {t.symbol for t in compared} <= {"X_INDEX", "X_UUID_OFF"}


def test_an_axis_of_three_values_is_alive_where_one_makes_a_difference() -> None:
    matrix = Matrix("tinyconfig", None, (), {"SIZE": Axis(symbol="X", values=("1", "2", "3"))}, Path("m"))
    made = cells(SERIES, matrix)
    (twins,) = dead_axes.compare([Product(made["1"], "a"), Product(made["2"], "a"), Product(made["3"], "b")])
    assert not twins.everywhere
    assert [[c.id for c in group] for group in twins.cells] == [["fix.SIZE=1", "fix.SIZE=2"]]


def found(
    root: Path,
    contents: Mapping[str, str],
    control: Mapping[str, str] | None = None,
    *,
    selected: bool = False,
) -> list[DeadAxis]:
    subjects = {v.name: Subject(v, None, root) for v in (CONTROL, SERIES)}
    made = [*products(control or {}, CONTROL), *products(contents)]
    return list(dead_axes.find(made, subjects, "fs/x", selected=selected))


ALL_DEAD = {"yy": "a", "yn": "a", "ny": "b", "nn": "b"}


def test_the_look_alike_is_named(tmp_path: Path) -> None:
    (dead,) = found(tree(tmp_path), ALL_DEAD)
    assert dead.failure
    assert dead.message == (
        "axis NOUUID (X_UUID_OFF) is dead in fix: no code reads CONFIG_X_UUID_OFF, Kconfig alone does; "
        "fix.INDEX=y.NOUUID=y and fix.INDEX=y.NOUUID=n run the same module (and 1 more such pair)"
    )
    assert dead.clues == (
        "fs/x/Kconfig:5 defines X_UUID_OFF",
        "fs/x/Kconfig:12 reads X_UUID_OFF",
        "fs/x/super.c:4 tests CONFIG_X_NOUUID_OFF, which no Kconfig file defines: was X_UUID_OFF meant?",
    )


def test_a_reader_that_changes_nothing_is_named(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "fs/x/super.c").write_text("#ifdef CONFIG_X_UUID_OFF\n#endif\n")
    (dead,) = found(root, ALL_DEAD)
    assert dead.failure and "what reads CONFIG_X_UUID_OFF makes no difference" in dead.message
    assert "fs/x/super.c:1 reads X_UUID_OFF" in dead.clues


def test_no_difference_in_some_cells_is_information(tmp_path: Path) -> None:
    (partly,) = found(tree(tmp_path), {"yy": "a", "yn": "b", "ny": "c", "nn": "c"})
    assert not partly.failure
    assert partly.message == (
        "axis NOUUID (X_UUID_OFF) makes no difference in fix where INDEX=n: "
        "fix.INDEX=n.NOUUID=y and fix.INDEX=n.NOUUID=n run the same module"
    )


@pytest.mark.parametrize("selected", [True, False])
def test_what_was_not_built_may_be_where_the_axis_matters(tmp_path: Path, selected: bool) -> None:
    contents = {"ny": "c", "nn": "c"} if selected else {"yy": "", "yn": "b", "ny": "c", "nn": "c"}
    root = tree(tmp_path)
    assert [d.failure for d in found(root, contents, selected=selected)] == [True]  # nothing reads it
    (root / "fs/x/super.c").write_text("#if defined(CONFIG_X_INDEX) && defined(CONFIG_X_UUID_OFF)\n#endif\n")
    (partly,) = found(root, contents, selected=selected)
    assert not partly.failure
    assert "no difference in the cells of fix that were built where INDEX=n" in partly.message


def test_an_axis_that_a_series_brings_to_life_fails_nothing(tmp_path: Path) -> None:
    root = tree(tmp_path)
    dead = {"yn": "a", "nn": "a"}
    (alone,) = found(root, {}, dead)
    assert (alone.variant, alone.axis, alone.failure) == ("unpatched", "INDEX", True)
    (repaired,) = found(root, {"yn": "b", "nn": "c"}, dead)
    assert not repaired.failure and repaired.message.endswith("a series of this run brings it to life")
    assert [d.failure for d in found(root, {"yn": "b", "nn": "b"}, dead)] == [True, True]
