"""What guests get beyond their root: Debian packages, and the files that a case brings. In the toy world."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kmodpipe.cache.store import Artifact
from kmodpipe.pipeline import tools
from tests.support import REPO, oci, toy, toy_packages
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


LARGE = """\
[flavours.large]
summary = "with a large tool"
fragments = ["virtio.config"]
tools = ["toytool"]
devices = ["virtio-blk=1"]
[flavours.held]
summary = "the same, and no disk that it could be on"
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


@pytest.fixture
def large(world: World, archive: Archive) -> World:
    """A tool that is too large to be held in memory, and a flavour whose kernel can mount a disk."""
    if shutil.which("debugfs", path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
        pytest.skip("needs e2fsprogs; the builder image has it")
    archive.add("libtoy1", {"usr/lib/libtoy.so.1": "the library", "usr/share/toy/data": "x" * (49 << 20)})
    symbols = ("VIRTIO_PCI", "VIRTIO_BLK", "EXT4_FS")
    with (world.tree / "Kconfig").open("a") as f:
        f.writelines(f'\nconfig {symbol}\n\tbool "{symbol}"\n' for symbol in symbols)
    (world.root / "kconfigs/virtio.config").write_text("".join(f"CONFIG_{one}=y\n" for one in symbols))
    for name in ("disk.sh", "programs.sh"):
        shutil.copy(REPO / "images/guest" / name, world.root / "images/guest")
    (world.root / "kconfigs/matrix.toml").write_text(toy.MATRIX + LARGE)
    return world


def test_large_packages_are_on_a_disk_where_the_kernel_can_mount_one(large: World) -> None:
    # What is on it is in the guest.
    declare(large, 'needs = ["toytool"]')
    ran = large.test("--flavour", "large", "--flavour", "held", "--cell", f"{CELL}*")
    assert ran.code == 0, ran.text
    shared = large.latest / "shared"
    (image,), (links,) = shared.glob("tools-*.img"), shared.glob("tools-links-*.cpio")
    assert b"/kmodpipe/disk/bin/toytool" in links.read_bytes() and links.stat().st_size < 4096
    assert image.stat().st_size > 49 << 20
    on_disk, held = (large.latest / f"{CELL}.{name}/reproduce.sh" for name in ("large", "held"))
    text = on_disk.read_text()
    assert links.name in text and "tools-toytool.cpio" not in text
    assert re.search(r"-m \\\n +256 ", text), "no memory for it"
    # A flavour's own disks keep their names.
    assert text.index("serial=disk1") < text.index("serial=kmodpipe-tools")
    assert "tools-toytool.cpio" in held.read_text() and image.name not in held.read_text()
    assert (shared / "tools-toytool.cpio").is_file()
    done = subprocess.run(
        ["sh", on_disk], env=large.environment(), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0 and "done   cases=1" in done.stdout, done.stdout + done.stderr
    # All of it is in the cache, and keyed by what went into it.
    again = large.test("--flavour", "large", "--cell", f"{CELL}*")
    assert again.code == 0 and "toolset" not in again.text
    planned = large.invoke("plan", "--runtime", "host", "--flavour", "large", "--flavour", "held")
    (line,) = (line for line in planned.out.splitlines() if "on a disk" in line)
    assert "guest tools on a disk: toytool" in line and " cached " in line
    (large.root / "images/guest/disk.sh").open("a").write("# changed\n")
    more = large.test("--flavour", "large", "--cell", f"{CELL}*")
    assert "toolset disk-toytool: made (changed: guest, packages)" in more.text


def test_what_stays_in_memory_says_how_it_would_be_on_a_disk(tmp_path: Path) -> None:
    made = {}
    for name, size_mib in {"xfs": 60, "one": 30, "other": 30}.items():
        (tmp_path / name).mkdir()
        made[name] = Artifact("toolset", name, tmp_path / name)
        (tmp_path / name / "toolset.cpio").touch()
        os.truncate(tmp_path / name / "toolset.cpio", size_mib << 20)
    asked: list[object] = []

    def make_disk(packages: Mapping[str, Artifact], sets: Mapping[str, Artifact]) -> Artifact:
        asked.append((list(packages), list(sets)))
        return Artifact("toolset", "0123456789abcdef", tmp_path / "disk")

    kernel = {"VIRTIO_PCI": "y", "VIRTIO_BLK": "y", "EXT4_FS": "y"}
    found = tools.handed(made, ("one", "other"), {**kernel, "VIRTIO_BLK": "m"}, make_disk)
    assert not found.disk and list(found.archives) == ["xfs", "one", "other"] and not asked
    assert found.hint == "with VIRTIO_BLK in its kernel (the fragment virtio.config) they are on a disk"
    # Together they are too large, whatever the sets have.
    found = tools.handed(made, ("one", "other"), kernel, make_disk)
    assert found.disk == tmp_path / "disk/out/tools.img" and asked == [(["one", "other"], ["xfs"])]
    assert list(found.archives) == ["xfs", "links-0123456789ab"]
    for few in ({"xfs": made["xfs"], "one": made["one"]}, {}):
        assert tools.handed(few, ("one",), kernel, make_disk) == tools.Handed(
            {name: tool.path / "toolset.cpio" for name, tool in few.items()}
        )


def test_a_disk_that_the_guest_cannot_mount_is_no_verdict(large: World) -> None:
    patch = large.root / "patches/toy-fix/0001-toy-mount.patch"
    patch.write_text(patch.read_text().replace("+outcome: mounted", "+outcome: mounted NO_DISK"))
    ran = large.test("--flavour", "large", "--cell", f"{CELL}*")
    assert ran.code == 3, ran.text
    (case,) = only_cell(large)["cases"]
    assert case["verdict"] == "error"
    assert case["message"] == "not run: the guest could not mount the disk with its tools, vda: EINVAL"


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
