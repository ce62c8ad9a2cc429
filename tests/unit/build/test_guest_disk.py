"""The disk with large packages: what is on it, what leads there, and that it is the same bytes each time."""

from __future__ import annotations

import shutil
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from kmodpipe.build import guest_disk
from kmodpipe.build.guest_disk import Layout
from kmodpipe.build.recipes import Builder, WorkDir
from kmodpipe.build.runtime import HostRuntime
from kmodpipe.util.errors import InfraError
from tests.support import REPO


def lay_out(folder: Path, files: Mapping[str, str]) -> Path:
    """A package as `guest_tools` leaves it: text by name, a link where it begins with an arrow."""
    folder.mkdir()
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            path.symlink_to(text.removeprefix("-> "))
        else:
            path.write_text(text)
            path.chmod(0o755 if "bin/" in name else 0o600)
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The files of two packages as they are to be on the disk."""
    first = lay_out(
        tmp_path / "first",
        {
            "bin/tool": "first",
            "lib/libtool.so.1": "-> libtool.so.1.2",
            "lib/libtool.so.1.2": "library",
            "usr/share/tool/data": "first's",
            "usr/share/tool/up": "-> ../../../lib/libtool.so.1",
            "usr/share/tool/beside": "-> data",
        },
    )
    second = lay_out(
        tmp_path / "second",
        {"bin/tool": "second", "usr/share/tool/more": "second's", "usr/share/other/a file": ""},
    )
    tree = tmp_path / "tree"
    tree.mkdir()
    guest_disk.merge([first, second], tree)
    return tree


def test_later_packages_stand_over_earlier_ones(tree: Path) -> None:
    found = {
        path.relative_to(tree).as_posix(): str(path.readlink()) if path.is_symlink() else path.read_text()
        for path in tree.rglob("*")
        if path.is_symlink() or path.is_file()
    }
    assert found == {
        ".kmodpipe": "tools\n",
        "bin/tool": "second",
        "lib/libtool.so.1": "libtool.so.1.2",
        "lib/libtool.so.1.2": "library",
        "usr/share/other/a file": "",
        # Up from where it stands on the disk is somewhere else.
        "usr/share/tool/up": "/lib/libtool.so.1",
        "usr/share/tool/beside": "data",
        "usr/share/tool/data": "first's",
        "usr/share/tool/more": "second's",
    }
    assert stat.S_IMODE((tree / "bin/tool").stat().st_mode) == 0o755
    assert stat.S_IMODE((tree / "lib/libtool.so.1.2").stat().st_mode) == 0o644


def test_a_folder_and_a_file_of_one_name_are_the_folder(tmp_path: Path) -> None:
    file = lay_out(tmp_path / "file", {"lib/x": "file"})
    folder = lay_out(tmp_path / "folder", {"lib/x/y": "below"})
    for number, order in enumerate(([file, folder], [folder, file])):
        tree = tmp_path / f"tree{number}"
        tree.mkdir()
        guest_disk.merge(order, tree)
        assert (tree / "lib/x/y").read_text() == "below"


def test_a_folder_that_the_guest_lacks_is_one_link_and_the_others_are_shared(tree: Path) -> None:
    entries = {e.name: e for e in guest_disk.links(tree, {"/bin", "/lib", "/usr", "/usr/share", "/bin/sh"})}
    links = {n: e.content.decode() for n, e in entries.items() if isinstance(e.content, bytes) and e.content}
    assert links == {
        "bin/tool": "/kmodpipe/disk/bin/tool",
        "lib/libtool.so.1": "libtool.so.1.2",
        "lib/libtool.so.1.2": "/kmodpipe/disk/lib/libtool.so.1.2",
        "usr/share/other": "/kmodpipe/disk/usr/share/other",
        "usr/share/tool": "/kmodpipe/disk/usr/share/tool",
    }
    assert stat.S_ISDIR(entries["kmodpipe/disk"].mode)
    assert all(stat.S_ISLNK(entries[name].mode) for name in links)
    # Where a set of tools has the folder, its files stay.
    more = {e.name for e in guest_disk.links(tree, {"/bin", "/lib", "/usr", "/usr/share", "/usr/share/tool"})}
    assert {"usr/share/tool/data", "usr/share/tool/more"} < more and "usr/share/tool" not in more


def make_image(folder: Path, tree: Path, layout: Layout) -> Path:
    if shutil.which("debugfs", path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
        pytest.skip("needs e2fsprogs; the builder image has it")
    folder.mkdir()
    work = WorkDir(folder, folder.parent / f"{folder.name}.log")
    Builder(HostRuntime(), REPO / "images", 1).disk(tree, layout, work)
    return folder / "out/tools.img"


def debugfs(image: Path, command: str) -> str:
    argv = ["/usr/sbin/debugfs", "-R", command, str(image)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_the_same_files_are_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    large = tree / "lib/large"
    large.write_bytes(b"".join(b"%08d" % n for n in range(1 << 20)))
    (tree / "usr/share/many").mkdir()
    for number in range(2000):
        (tree / "usr/share/many" / f"a-file-with-a-long-name-{number:060}").touch()
    first = make_image(tmp_path / "one", tree, guest_disk.layout(tree))
    # Made later, in another order, by another user.
    again = tmp_path / "again"
    again.mkdir()
    for path in sorted(tree.rglob("*"), key=lambda p: (len(p.parts), str(p)[::-1])):
        target = again / path.relative_to(tree)
        if path.is_symlink():
            target.symlink_to(path.readlink())
        elif path.is_dir():
            target.mkdir()
        else:
            shutil.copyfile(path, target)
            target.chmod(path.stat().st_mode)
    second = make_image(tmp_path / "two", again, guest_disk.layout(again))
    assert first.read_bytes() == second.read_bytes()
    assert debugfs(first, "cat /bin/tool") == "second"
    assert debugfs(first, "cat '/usr/share/other/a file'") == ""
    assert 'Fast link dest: "libtool.so.1.2"' in debugfs(first, "stat /lib/libtool.so.1")
    about = debugfs(first, "stat /bin/tool")
    assert "Mode:  0755" in about and "User:     0   Group:     0" in about
    assert "has_journal" not in debugfs(first, "features")


def test_a_disk_that_cannot_be_filled_is_no_disk(tree: Path, tmp_path: Path) -> None:
    found = guest_disk.layout(tree)
    broken = Layout(found.commands + 'write "./gone" "/gone"\n', found.blocks, found.inodes)
    with pytest.raises(InfraError, match="disk with the guest's tools could not be built") as e:
        make_image(tmp_path / "one", tree, broken)
    assert "gone" in e.value.detail
    (tree / "lib/large").write_bytes(b"x" * (1 << 20))
    with pytest.raises(InfraError, match="could not be built"):
        make_image(tmp_path / "two", tree, Layout(guest_disk.layout(tree).commands, 80, 64))


@pytest.mark.parametrize("files", [{'lib/a"b': ""}, {"lib/a\nb": ""}, {"lib/a": '-> b"c'}])
def test_a_name_that_debugfs_cannot_be_told_is_refused(tmp_path: Path, files: Mapping[str, str]) -> None:
    package = lay_out(tmp_path / "package", files)
    (tmp_path / "tree").mkdir()
    with pytest.raises(InfraError, match="a name that no disk can be given"):
        guest_disk.merge([package], tmp_path / "tree")


def test_a_kernel_needs_all_of_it_built_in() -> None:
    config = {"VIRTIO_PCI": "y", "VIRTIO_BLK": "y", "EXT4_FS": "y"}
    assert guest_disk.lacking(config) == ()
    # The module under test, and a plain guest.
    assert guest_disk.lacking({**config, "EXT4_FS": "m"}) == ("EXT4_FS",)
    lacks = guest_disk.lacking({"EXT4_FS": "y"})
    assert lacks == ("VIRTIO_PCI", "VIRTIO_BLK")
    assert guest_disk.way_out(lacks) == "the fragment virtio.config"
    assert guest_disk.way_out(("VIRTIO_BLK", "EXT4_FS")) == "the fragment virtio.config and CONFIG_EXT4_FS=y"
