"""What a change concerns: nothing that does not read it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kmodpipe.watch.inputs import Inputs, changed, in_words
from tests.support import toy
from tests.support.toy import World
from tests.support.watched import CONTROL, FIXED, inputs


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = toy.build(tmp_path)
    (made.root / "images/guest/cases/other.sh").write_text("#!/bin/sh\n")
    return made


def edit(world: World, name: str, old: str, new: str) -> None:
    path = world.root / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def due(before: Inputs, after: Inputs) -> set[tuple[str, str]]:
    return {pair for pair in after.pairs if before.of(pair) != after.of(pair)}


def series_and_case(found: set[tuple[str, str]]) -> tuple[set[str], set[str]]:
    return {cell.partition(".")[0] for cell, _ in found}, {case for _, case in found}


PATCH = "patches/toy-fix/0001-toy-mount.patch"


def test_a_line_of_a_patch_concerns_the_cells_of_its_series_alone(world: World) -> None:
    before = inputs(world)
    edit(world, PATCH, "+outcome: mounted", "+outcome: EINVAL")
    after = inputs(world)
    assert series_and_case(due(before, after)) == ({"toy-fix"}, {"remount", "other"})
    assert in_words(changed(before.parts, after.parts)) == "series toy-fix"
    edit(world, PATCH, "+outcome: EINVAL", "+outcome: mounted")
    assert due(before, inputs(world)) == set()


def test_the_first_edit_of_a_modules_own_source_concerns_no_control(world: World, tmp_path: Path) -> None:
    """It makes the first series there is; that it becomes the last commit concerns the control."""

    def git(*argv: str) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@localhost.invalid")
        subprocess.run(["git", *identity, *argv], cwd=source, check=True, capture_output=True)

    source = tmp_path / "hello"
    source.mkdir()
    (source / "Kbuild").write_text("obj-m += hello.o\n")
    (source / "hello.c").write_text("int hello;\n")
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-qm", "first")
    clean = inputs(world, module=str(source))
    (source / "hello.c").write_text("int hello = 1;\n")
    edited = inputs(world, module=str(source))
    assert {cell.partition(".")[0] for cell, _ in clean.pairs} == {"unpatched"}
    assert {cell.partition(".")[0] for cell, _ in due(clean, edited)} == {"worktree"}
    assert due(edited, clean) == set()
    git("commit", "-qam", "second")
    committed = inputs(world, module=str(source))
    assert due(clean, committed) == set(committed.pairs) != set()


def test_a_script_concerns_its_case_alone_in_every_cell(world: World) -> None:
    before = inputs(world)
    edit(world, "images/guest/cases/remount/run.sh", "observe-module", "observe outcome x")
    after = inputs(world)
    assert series_and_case(due(before, after)) == ({"toy-fix", "unpatched"}, {"remount"})
    assert in_words(changed(before.parts, after.parts)) == "case remount"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("images/guest/lib.sh", "", "true\n"),
        ("images/guest/recipe.sh", "mkdir", "mkdir -v"),
        ("kconfigs/guest.config", "CONFIG_TOY_FS=m", "CONFIG_TOY_FS=m\nCONFIG_64BIT2=y"),
        ("pyproject.toml", "silence_s = 2", "silence_s = 3"),
    ],
)
def test_what_every_case_reads_concerns_everything(world: World, name: str, old: str, new: str) -> None:
    before = inputs(world)
    edit(world, name, old, new)
    after = inputs(world)
    assert due(before, after) == set(after.pairs)
    assert in_words(changed(before.parts, after.parts))


def test_a_flavours_fragment_concerns_its_cells_alone(world: World) -> None:
    matrix = world.root / "kconfigs/matrix.toml"
    flavour = '[flavours.odd]\nsummary = "odd one"\nfragments = ["odd.config"]\n'
    matrix.write_text(matrix.read_text() + flavour)
    (world.root / "kconfigs/odd.config").write_text("CONFIG_64BIT=y\n")
    before = inputs(world, flavour=("all",))
    edit(world, "kconfigs/odd.config", "=y", "=n")
    found = due(before, inputs(world, flavour=("all",)))
    assert found and all(cell.endswith(".odd") for cell, _ in found)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("patches/toy-fix/series.toml", "makes it mount", "makes it mount at last"),
        ("images/guest/cases/remount/case.toml", "mounts again after the change", "mounts again"),
        ("kconfigs/matrix.toml", "", "# a remark\n"),
    ],
)
def test_text_for_people_concerns_nothing(world: World, name: str, old: str, new: str) -> None:
    before = inputs(world)
    edit(world, name, old, new)
    assert due(before, inputs(world)) == set()


def test_a_tree_that_changed_concerns_what_is_built_of_it(world: World) -> None:
    before, after = inputs(world), inputs(world, {"": "1"})
    assert due(before, after) == set(after.pairs)
    assert in_words(changed(before.parts, after.parts)) == "the tree"


def test_a_new_axis_has_new_cells(world: World) -> None:
    before = inputs(world)
    edit(world, "kconfigs/matrix.toml", '[axes.NOUUID]\nsymbol = "TOY_FS_NOUUID"\n', "")
    after = inputs(world)
    assert {cell for cell, _ in after.pairs}.isdisjoint(cell for cell, _ in before.pairs)
    assert before.of((CONTROL, "remount")) and before.of((FIXED, "remount"))
    assert after.of((CONTROL, "remount")) == "" and before.of((CONTROL, "gone")) == ""
