"""A series whose Kconfig rules out its own cells, and axes that no cell can have, in the toy world."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kmodpipe.cli import commands
from tests.support import toy
from tests.support.toy import Ran, World

PATCH = "patches/toy-fix/0001-toy-mount.patch"
FAULT = (
    "series toy-fix: fs/toy/Kconfig:10: TOY_FS_NOUUID depends on TOY_FS_INDX, "
    "which no Kconfig file of the tree defines: "
    "is TOY_FS_INDEX meant (fs/toy/Kconfig:4)?"
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return toy.build(tmp_path)


def edit(world: World, file: str, old: str, new: str) -> None:
    path = world.root / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def misspell(world: World) -> None:
    edit(world, PATCH, "+\tdepends on TOY_FS_INDEX", "+\tdepends on TOY_FS_INDX")


def words(ran: Ran) -> str:
    return " ".join(ran.text.split())


def states(world: World) -> dict[str, str]:
    run = json.loads((world.latest / "results.json").read_text())["run"]
    return {cell["cell"]: cell["state"] for cell in run["cells"]}


def test_a_misspelt_dependency_fails_the_series_and_nothing_else(world: World) -> None:
    misspell(world)
    ran = world.test()
    assert ran.code == 1, ran.text
    assert FAULT in words(ran)
    found = states(world)
    assert {s for c, s in found.items() if c.startswith("toy-fix.")} == {"build-failed"}
    assert found["unpatched.INDEX=y.NOUUID=n"] == "ran"
    assert "fs/toy/toy.ko" in world.made() and FAULT in words(Ran(0, junit(world), ""))
    again = world.test()
    assert again.code == 1 and FAULT in words(again)


def junit(world: World) -> str:
    return (world.latest / "junit.xml").read_text()


def test_build_and_plan_say_it_once_and_a_plan_of_jobs_leaves_it_to_the_jobs(world: World) -> None:
    misspell(world)
    built = world.command(commands.build)
    assert built.code == 1 and words(built).count(FAULT) == 1, built.text
    assert (
        "fails" in words(world.command(commands.plan)) and "TOY_FS_INDX" in world.command(commands.plan).text
    )
    made = world.command(commands.matrix)
    plan = json.loads(made.text)["plan"]
    skipped = {cell["cell"] for cell in plan["cells"] if cell["skip"]}
    assert skipped == {"unpatched.INDEX=y.NOUUID=y", "unpatched.INDEX=n.NOUUID=y"}


def test_each_patch_may_refer_to_what_the_whole_series_defines(world: World) -> None:
    folder = world.root / "patches/toy-fix"
    (folder / "series").write_text("0001-toy-mount.patch\n0002.patch\n")
    misspell(world)
    (folder / "0002.patch").write_text(
        "--- a/fs/toy/Kconfig\n+++ b/fs/toy/Kconfig\n@@ -8,3 +8,6 @@\n config TOY_FS_NOUUID\n"
        ' \tbool "no uuid by default"\n \tdepends on TOY_FS_INDX\n+\n+config TOY_FS_INDX\n'
        '+\tbool "later"\n'
    )
    # The axis is at fault then: no fragment requests what the entry depends on.
    ran = world.command(commands.test, each_patch=True)
    assert ran.code == 2, ran.text
    assert "axis NOUUID=y (TOY_FS_NOUUID): no cell of any variant can have it" in words(ran)
    assert "which no Kconfig file" not in words(ran)


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        (
            "kconfigs/matrix.toml", '"TOY_FS_NOUUID"', '"TOY_FS_NOUUIDS"',
            ("TOY_FS_NOUUIDS does not exist; did you mean TOY_FS_NOUUID",),
        ),
        (
            PATCH, "+\tdepends on TOY_FS_INDEX", "+\tdepends on TOY_FS_INDEX && TOY_FS=n",
            ("axis NOUUID=y (TOY_FS_NOUUID): no cell", "toy-fix: TOY_FS_NOUUID depends on", "TOY_FS = n"),
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", [commands.test, commands.build])
def test_an_axis_value_that_no_cell_can_have_is_a_usage_error(
    world: World, command: object, file: str, old: str, new: str, told: tuple[str, ...]
) -> None:
    edit(world, file, old, new)
    ran = world.command(command)  # type: ignore[arg-type]
    assert ran.code == 2, ran.text
    assert all(text in words(ran) for text in told), ran.text
    assert "kconfigs/matrix.toml" in ran.text
    # The series is applied now, and a plan of jobs sees it as well.
    assert world.command(commands.matrix).code == 2


def test_what_only_another_series_of_the_project_brings_is_no_fault_of_the_matrix(world: World) -> None:
    edit(world, "kconfigs/matrix.toml", "base =", 'module = "fs/toy"\nbase =')
    assert world.test("--series", "none").code == 0
    edit(world, "kconfigs/matrix.toml", '"TOY_FS_NOUUID"', '"TOY_FS_SPELT"')
    edit(world, "patches/toy-fix/series.toml", "module", 'axes = { NOUUID = "TOY_FS_NOUUID" }\nmodule')
    assert world.test().code == 0
    # A selection may leave out the cells that have it.
    assert world.test("--cell", "unpatched.INDEX=y.NOUUID=n").code == 0
