"""What guests get beyond their root: Debian packages, and the files that a case brings. In the toy world."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import oci, toy, toy_packages
from tests.support.toy import World
from tests.support.toy_packages import Archive
from tests.support.trees import commit_all, git

CELL = "toy-fix.INDEX=y.NOUUID=n"
RELEASE = """\
mkdir "$OUT/etc" "$OUT/usr"
ln -s ../bin "$OUT/usr/bin"
printf 'ID=debian\\nVERSION_CODENAME=bookworm\\n' > "$OUT/etc/os-release"
"""
FLAVOUR = """\
[flavours.tooled]
summary = "with a tool"
tools = ["toytool"]
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = toy.build(tmp_path)
    (world.root / "images/guest/recipe.sh").write_text(toy.RECIPE + RELEASE)
    return world


@pytest.fixture
def archive(tmp_path: Path, world: World) -> Archive:
    made = toy_packages.build(tmp_path / "archive", world.root / "bin")
    made.add("libtoy1", {"usr/lib/libtoy.so.1": "the library"})
    made.add("toytool", {"usr/bin/toytool": "the program"}, depends=("libtoy1",))
    return made


def declare(world: World, line: str) -> Path:
    """Add a line to the declared case; returns the case's folder."""
    folder = world.root / "images/guest/cases/remount"
    (folder / "case.toml").write_text(toy.CASE_TOML.replace("goal", f"{line}\ngoal", 1))
    return folder


def only_cell(world: World) -> Any:
    (cell,) = json.loads((world.latest / "results.json").read_text())["run"]["cells"]
    return cell


def test_a_case_gets_the_package_that_it_names(world: World, archive: Archive) -> None:
    declare(world, 'tools = ["toytool"]\nneeds = ["toytool", "CONFIG_TOY_FS"]')
    ran = world.test("--cell", CELL)
    assert ran.code == 0, ran.text
    assert "fetch tools toytool: 2 packages of bookworm, signatures verified" in ran.text
    packed = (world.latest / "shared/tools-toytool.cpio").read_bytes()
    assert b"bin/toytool" in packed and b"the library" in packed and b"usr/bin" not in packed
    assert "tools-toytool.cpio" in (world.latest / CELL / "reproduce.sh").read_text()
    assert only_cell(world)["properties"]["tools.toytool"] == "1.0-1"
    # The second time, without a network, nothing is fetched, looked up or made.
    calls = len(archive.calls)
    archive.go_offline()
    again = world.test("--cell", CELL)
    assert again.code == 0 and "fetch tools" not in again.text and "toolset" not in again.text
    assert len(archive.calls) == calls
    # Not for a guest whose cases do not ask for it.
    world.test("--cell", CELL, "--case", world.script("other.sh", "exit 0"))
    assert not (world.latest / "shared/tools-toytool.cpio").exists()


def test_without_its_tools_there_is_no_verdict_before_a_kernel_is_built(world: World) -> None:
    declare(world, 'needs = ["toytool"]')
    ran = world.test("--cell", CELL)
    assert ran.code == 3, ran.text
    assert "no verdict on remount: the guest has no toytool" in ran.text
    assert 'tools = ["PACKAGE"] to the case' in ran.text
    assert not [target for target in world.made() if "bzImage" in target]


def test_a_scripts_comment_names_tools_too(world: World, archive: Archive) -> None:
    script = Path(world.script("a.sh", "exit 0"))
    script.write_text("#!/usr/bin/toytool\n# tools: toytool\n# toy: exit 0\n")
    ran = world.test("--cell", CELL, "--case", str(script))
    assert ran.code == 0, ran.text
    assert (world.latest / "shared/tools-toytool.cpio").is_file()


def test_a_flavours_tools_are_of_its_guests_alone(world: World, archive: Archive) -> None:
    matrix = world.root / "kconfigs/matrix.toml"
    matrix.write_text(toy.MATRIX + FLAVOUR)
    ran = world.test("--flavour", "plain", "--flavour", "tooled", "--cell", f"{CELL}*")
    assert ran.code == 0, ran.text
    scripts = {p.parent.name: p.read_text() for p in world.latest.glob("*/reproduce.sh")}
    assert {name: "tools-toytool.cpio" in text for name, text in scripts.items()} == {
        CELL: False,
        f"{CELL}.tooled": True,
    }
    planned = world.invoke("plan", "--runtime", "host", "--flavour", "tooled")
    line = next(line for line in planned.out.splitlines() if "guest tools toytool" in line)
    assert " cached " in line


def test_what_is_no_package_is_refused_with_its_line_before_a_kernel_is_built(
    world: World, archive: Archive
) -> None:
    folder = declare(world, 'tools = ["toytoll"]')
    ran = world.test("--cell", CELL)
    assert ran.code == 2, ran.text
    assert "no Debian package is called 'toytoll'; did you mean toytool?" in ran.text
    assert f"{folder}/case.toml:" in ran.text
    assert not [target for target in world.made() if "bzImage" in target]


def test_no_network_and_nothing_cached_is_no_verdict(world: World, archive: Archive) -> None:
    declare(world, 'tools = ["toytool"]')
    archive.go_offline()
    ran = world.test("--cell", CELL)
    assert ran.code == 3, ran.text
    assert "the guest's tools cannot be fetched: E: Failed to fetch" in ran.text
    assert not [target for target in world.made() if "bzImage" in target]


def test_a_guest_of_another_distribution_has_no_packages(world: World, archive: Archive) -> None:
    (world.root / "images/guest/recipe.sh").write_text(toy.RECIPE)
    declare(world, 'tools = ["toytool"]')
    ran = world.test("--cell", CELL)
    assert ran.code == 3 and "need a guest that is built on Debian" in ran.text
    planned = world.invoke("plan", "--runtime", "host")
    assert planned.code == 0, planned.text


def test_files_stand_beside_the_script_in_the_guest(world: World) -> None:
    folder = declare(world, 'files = ["data", "prog"]')
    (folder / "data/below").mkdir(parents=True)
    (folder / "data/below/file").write_text("the data")
    (folder / "prog").write_text("the program")
    (folder / "prog").chmod(0o700)
    ran = world.test("--cell", CELL)
    assert ran.code == 0, ran.text
    packed = (world.latest / CELL / "cell.cpio").read_bytes()
    for text in (b"kmodpipe/cases/remount/data/below/file", b"the data", b"cases/remount/prog"):
        assert text in packed
    # As they were when the run began.
    copies = world.latest / "shared/cases/remount"
    assert (copies / "data/below/file").read_text() == "the data"
    assert (copies / "prog").stat().st_mode & 0o777 == 0o755


def test_a_file_that_is_not_there_is_refused(world: World) -> None:
    folder = declare(world, 'files = ["data"]')
    ran = world.test("--cell", CELL)
    assert ran.code == 2, ran.text
    assert f"the case's file data does not exist\n  where: {folder}/case.toml:" in ran.text


def test_a_machine_with_the_same_share_has_the_same_tool_without_a_mirror(
    world: World, archive: Archive
) -> None:
    declare(world, 'tools = ["toytool"]')
    git(world.tree, "init", "-q", "-b", "next")
    commit_all(world.tree, "the tree")
    project = world.root / "pyproject.toml"
    url = f'git = "{world.tree.as_uri()}"\nref = "next"\nhead = "next"'
    project.write_text(project.read_text().replace(f'path = "{world.tree}"', url))
    with oci.serve() as shelf:

        def run(cache: str, *more: str) -> str:
            words = (
                "test",
                "--runtime",
                "host",
                "--cell",
                CELL,
                "--no-control",
                "--share",
                shelf.where,
                *more,
            )
            cell = world.invoke(
                *words, KMODPIPE_CACHE=str(world.cache / cache), KMODPIPE_SHARE_KEY="of sixteen or more"
            )
            assert cell.code == 0, cell.text
            return cell.text

        run("one")
        archive.add("toytool", {"usr/bin/toytool": "a newer program"}, "2.0-1", ("libtoy1",))
        archive.go_offline()
        text = run("two")
        assert "fetch tools" not in text and "toolset toytool: made" not in text
        assert only_cell(world)["properties"]["tools.toytool"] == "1.0-1"
        assert b"the program" in (world.latest / "shared/tools-toytool.cpio").read_bytes()
        (archive.folder / "away").rename(archive.folder / "available")
        # Both have what one of them was told to renew.
        assert "fetch tools toytool" in run("two", "--head")
        assert "toolset toytool: made" not in run("one")
        assert only_cell(world)["properties"]["tools.toytool"] == "2.0-1"
