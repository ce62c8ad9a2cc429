"""Dead axes: which cells count as alike, what the source says of it, and the whole way in the toy world."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from junitparser import Failure, JUnitXml

from kmodpipe import kconfig
from kmodpipe.build.stages import Subject
from kmodpipe.judge import dead_axes
from kmodpipe.judge.dead_axes import Product
from kmodpipe.kconfig import Cell, Matrix, Variant
from kmodpipe.kconfig.matrix import Axis
from kmodpipe.results import DeadAxis
from tests.support import toy
from tests.support.toy import World

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


# -- what the source says ---------------------------------------------------------------------------
KCONFIG = """\
config X
\ttristate "x"
config X_INDEX
\tbool "index"
config X_UUID_OFF
\tbool "without X_NOUUID"
\tdepends on X_INDEX || \\
\t\tX
\thelp
\t  Unlike X_INDEX, it is off.
config X_MORE
\tbool "more" if X_UUID_OFF
\tselect X_INDEX
"""
SOURCE = """\
/* CONFIG_X_UUID_OFF in a comment is none */
static bool index = IS_ENABLED(CONFIG_X_INDEX); // CONFIG_X_UUID_OFF
static const char *told = "/* not a comment", *more = "*/";
static bool uuid = !IS_ENABLED(CONFIG_X_NOUUID_OFF);
#ifdef CONFIG_X_MODULE
#endif /* CONFIG_X_MORE */
"""


def tree(root: Path) -> Path:
    given = {
        "Kconfig": 'source "fs/x/Kconfig"\n',
        "fs/x/Kconfig": KCONFIG,
        "fs/x/super.c": SOURCE,
        "fs/x/Makefile": "obj-$(CONFIG_X) += x.o # CONFIG_X_UUID_OFF\n",
    }
    for name, text in given.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def places(root: Path, symbol: str) -> list[str]:
    return [f"{p}{'' if p.code else ' (Kconfig)'}" for p in kconfig.readers(root, symbol, "fs/x")]


def test_readers_of_a_symbol(tmp_path: Path) -> None:
    root = tree(tmp_path)
    assert places(root, "X_UUID_OFF") == ["fs/x/Kconfig:12 (Kconfig)"]
    assert places(root, "X_INDEX") == ["fs/x/Kconfig:7 (Kconfig)", "fs/x/super.c:2"]
    assert places(root, "X") == ["fs/x/Makefile:1", "fs/x/super.c:5"]
    assert places(root, "X_NOUUID") == places(root, "X_MORE") == []
    (root / "include").mkdir()
    (root / "include/x.h").write_text("int x = IS_BUILTIN(CONFIG_X_UUID_OFF);\n")
    (root / "include/link.h").symlink_to(root / "include/x.h")
    assert places(root, "X_UUID_OFF") == ["fs/x/Kconfig:12 (Kconfig)", "include/x.h:1"]


def test_tested_and_never_defined(tmp_path: Path) -> None:
    source = "#define CONFIG_X_LOCAL 1\n#if CONFIG_X_LOCAL && CONFIG_OTHER\n#endif\n"
    root = tree(tmp_path)
    (root / "fs/x/other.c").write_text(source)
    files = ["fs/x/super.c", "fs/x/other.c", "fs/x/Makefile", "fs/x/Kconfig", "gone.c"]
    found = kconfig.undefined(root, files, "X_UUID_OFF")
    assert [(str(p), p.symbol) for p in found] == [
        ("fs/x/super.c:4", "X_NOUUID_OFF"),
        ("fs/x/other.c:2", "OTHER"),
    ]
    assert kconfig.alike("X_NOUUID_OFF", "X_UUID_OFF") and not kconfig.alike("OTHER", "X_UUID_OFF")


# -- the two together -------------------------------------------------------------------------------
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


# -- the whole way ----------------------------------------------------------------------------------
@pytest.fixture
def mistaken(tmp_path: Path) -> World:
    """A series whose code tests another name than its Kconfig defines."""
    world = toy.build(tmp_path)
    patch = world.root / "patches/toy-fix/0001-toy-mount.patch"
    text = patch.read_text()
    patch.write_text(text.replace("+nouuid: CONFIG_TOY_FS_NOUUID", "+nouuid: CONFIG_TOY_NOUUID"))
    assert patch.read_text() != text
    return world


def run_of(world: World) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((world.latest / "results.json").read_text())["run"]
    return found


def test_green_cells_of_a_dead_axis_fail_the_run(mistaken: World) -> None:
    ran = mistaken.test()
    assert ran.code == 1, ran.text
    shown = " ".join(ran.text.split())
    assert "axis NOUUID (TOY_FS_NOUUID) is dead in toy-fix: nothing reads CONFIG_TOY_FS_NOUUID" in shown
    assert "fs/toy/toy.c:4 tests CONFIG_TOY_NOUUID, which no Kconfig file defines" in shown
    run = run_of(mistaken)
    (dead,) = run["dead_axes"]
    assert dead["cells"] == [["toy-fix.INDEX=y.NOUUID=y", "toy-fix.INDEX=y.NOUUID=n"]]
    assert {c["verdict"] for cell in run["cells"] for c in cell["cases"]} == {"pass", "skip"}
    suites = {s.name: list(s) for s in JUnitXml.fromfile(str(mistaken.latest / "junit.xml"))}
    (case,) = suites.pop("toy-fix")
    assert case.name == "(axis NOUUID)" and isinstance(case.result[0], Failure)
    assert len(suites) == 8


def test_build_alone_tells_a_dead_axis(mistaken: World) -> None:
    built = mistaken.invoke("build", "--runtime", "host")
    assert built.code == 1
    assert "is dead in toy-fix" in built.err and "was TOY_FS_NOUUID meant?" in built.err


def test_living_axes_are_not_mentioned(tmp_path: Path) -> None:
    world = toy.build(tmp_path)
    ran = world.test()
    assert ran.code == 0 and "axis" not in ran.text
    assert run_of(world)["dead_axes"] == []
