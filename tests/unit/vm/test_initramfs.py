"""The initramfs: the bytes must depend on nothing but the content, and say what the agent is to do."""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest

from kmodpipe.util.errors import UserError
from kmodpipe.vm import initramfs
from kmodpipe.vm.devices import HostFolder
from kmodpipe.vm.initramfs import PlannedCase

NONCE = "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Member:
    mode: int
    uid: int
    mtime: int
    links: int
    device: tuple[int, int]
    data: bytes


def unpack(raw: bytes) -> dict[str, Member]:
    """Read newc archives, one behind the other, as the kernel does: strictly, in order, four-byte aligned."""
    members: dict[str, Member] = {}
    at = 0
    while at < len(raw):
        assert raw[at : at + 6] == b"070701"
        field = [int(raw[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        name_end = at + 110 + field[11]
        name = raw[at + 110 : name_end - 1].decode()
        assert raw[name_end - 1] == 0
        start = (name_end + 3) & ~3
        data = raw[start : start + field[6]]
        assert len(data) == field[6]
        at = (start + field[6] + 3) & ~3
        if name == "TRAILER!!!":
            continue
        parent = name.rpartition("/")[0]
        assert not parent or stat.S_ISDIR(members[parent].mode), f"{name} comes before its folder"
        assert name not in members
        members[name] = Member(field[1], field[2] + field[3], field[5], field[4], (field[9], field[10]), data)
    assert at == len(raw)
    return members


def make_rootfs(place: Path) -> Path:
    place.mkdir()
    (place / "init").symlink_to("sbin/agent")
    for name in ("sbin/agent", "bin/busybox", "bin-x"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(b"\x7fELF" + name.encode())
        (place / name).chmod(0o755)
    (place / "etc").mkdir()
    (place / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (place / "dev").mkdir()
    return place


def cell(tmp_path: Path, **changes: object) -> dict[str, Member]:
    settings: dict[str, object] = {"nonce": NONCE, "modules": [], "cases": [], "lib": tmp_path / "lib.sh"}
    (tmp_path / "lib.sh").write_text("# functions\n")
    contents = initramfs.BootContents(**(settings | changes))  # type: ignore[arg-type]
    initramfs.pack_cell(tmp_path / "cell.cpio", contents)
    return unpack((tmp_path / "cell.cpio").read_bytes())


def make_script(tmp_path: Path, name: str = "run.sh") -> Path:
    path = tmp_path / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o600)
    return path


def test_rootfs_round_trip(tmp_path: Path) -> None:
    initramfs.pack_rootfs(make_rootfs(tmp_path / "root"), tmp_path / "out.cpio")
    members = unpack((tmp_path / "out.cpio").read_bytes())
    assert list(members) == [
        "bin", "bin/busybox", "bin-x", "dev", "dev/console", "etc", "etc/passwd", "init",
        "sbin", "sbin/agent",
    ]  # fmt: skip
    assert members["init"].mode == stat.S_IFLNK | 0o777
    assert members["init"].data == b"sbin/agent"
    assert members["sbin/agent"] == Member(stat.S_IFREG | 0o755, 0, 0, 1, (0, 0), b"\x7fELFsbin/agent")
    assert members["etc/passwd"].mode == stat.S_IFREG | 0o644
    assert members["dev/console"].mode == stat.S_IFCHR | 0o600
    assert members["dev/console"].device == (5, 1)
    assert members["bin"].mode == stat.S_IFDIR | 0o755


def test_rootfs_depends_on_content_alone(tmp_path: Path) -> None:
    one, two = make_rootfs(tmp_path / "one"), make_rootfs(tmp_path / "two")
    (two / "etc/passwd").chmod(0o600)
    (two / "etc").chmod(0o700)
    os.utime(two / "sbin/agent", (1, 1))
    initramfs.pack_rootfs(one, tmp_path / "1.cpio")
    initramfs.pack_rootfs(two, tmp_path / "2.cpio")
    assert (tmp_path / "1.cpio").read_bytes() == (tmp_path / "2.cpio").read_bytes()
    (two / "etc/passwd").chmod(0o755)
    initramfs.pack_rootfs(two, tmp_path / "2.cpio")
    assert (tmp_path / "1.cpio").read_bytes() != (tmp_path / "2.cpio").read_bytes()


def test_rootfs_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    root = make_rootfs(tmp_path / "root")
    os.mkfifo(root / "etc/pipe")
    with pytest.raises(UserError, match="neither file"):
        initramfs.pack_rootfs(root, tmp_path / "out.cpio")
    (root / "etc/pipe").unlink()
    (root / "init").unlink()
    with pytest.raises(UserError, match="no /init"):
        initramfs.pack_rootfs(root, tmp_path / "out.cpio")


def test_order_of_entries_does_not_matter() -> None:
    entries = [initramfs.regular("a/b", b"1"), initramfs.folder("a"), initramfs.regular("a.c", b"22")]
    archives = []
    for order in (entries, entries[::-1]):
        out = io.BytesIO()
        initramfs.newc(order, out)
        archives.append(out.getvalue())
    assert archives[0] == archives[1]
    assert len(archives[0]) % 4 == 0
    assert {name: m.data for name, m in unpack(archives[0]).items()} == {"a": b"", "a/b": b"1", "a.c": b"22"}


def test_cell_holds_module_cases_and_library(tmp_path: Path) -> None:
    module, extra = tmp_path / "overlay.ko", tmp_path / "data.txt"
    module.write_bytes(b"module")
    extra.write_bytes(b"data")
    case = PlannedCase(3, "hard-links", 30, make_script(tmp_path), ("index=on",), {"data.txt": extra})
    members = cell(tmp_path, modules=[module], cases=[case])
    assert members["kmodpipe/overlay.ko"].data == b"module"
    assert members["kmodpipe/lib.sh"].data == b"# functions\n"
    # The script's own mode was 0600: it is run all the same.
    assert members["kmodpipe/cases/hard-links/run.sh"].mode == stat.S_IFREG | 0o755
    assert members["kmodpipe/cases/hard-links/data.txt"].mode == stat.S_IFREG | 0o644
    assert [name for name, m in members.items() if NONCE.encode() in m.data] == ["kmodpipe/plan"]


def test_what_a_case_brings_stands_beside_its_script(tmp_path: Path) -> None:
    brought = tmp_path / "brought"
    (brought / "below/empty").mkdir(parents=True)
    (brought / "below/prog").write_bytes(b"program")
    (brought / "below/prog").chmod(0o700)
    (brought / "link").symlink_to("below/prog")
    case = PlannedCase(0, "a", 1, make_script(tmp_path), (), {"some/folder": brought})
    members = cell(tmp_path, cases=[case])
    home = "kmodpipe/cases/a/some/folder"
    assert members[f"{home}/below/prog"].mode == stat.S_IFREG | 0o755
    assert stat.S_ISDIR(members[f"{home}/below/empty"].mode)
    assert stat.S_ISLNK(members[f"{home}/link"].mode) and members[f"{home}/link"].data == b"below/prog"
    with pytest.raises(UserError, match="not there"):
        cell(tmp_path, cases=[PlannedCase(0, "a", 1, make_script(tmp_path), (), {"x": tmp_path / "gone"})])


def test_large_archives_get_memory_for_themselves(tmp_path: Path) -> None:
    small, large, huge = (tmp_path / name for name in ("small", "large", "huge"))
    for path, size in ((small, 8), (large, 40), (huge, 1100)):
        path.touch()
        os.truncate(path, size << 20)
    assert initramfs.memory_mib(256, []) == initramfs.memory_mib(256, [small, small]) == 256
    assert initramfs.memory_mib(256, [small, large]) == 256 + 3 * 32
    with pytest.raises(UserError, match=r"has 1108 MiB, and the limit is 1024 MiB") as e:
        initramfs.memory_mib(256, [small, huge])
    assert e.value.where == "huge: 1100 MiB" and e.value.hint.endswith("in tools, or files")
    with pytest.raises(UserError) as e:
        initramfs.memory_mib(256, [huge], "or a disk")
    assert e.value.hint.endswith("in tools, or files; or a disk")


def test_plan_is_ordered_and_encoded(tmp_path: Path) -> None:
    first, last = tmp_path / "exportfs.ko", tmp_path / "overlay.ko"
    first.touch()
    last.touch()
    case = PlannedCase(0, "a", 2.5, make_script(tmp_path, "my script.sh"), ("a b%c", "x=ü\n~", "lower:1,2"))
    settings = {
        "modules": [first, last],
        "cases": [case],
        "module_params": {"overlay.ko": "index=2"},
        "env": {"KMODPIPE_FS": "xfs", "A": "1 = 2"},
        "with_disk": True,
        "folder": HostFolder(tmp_path),
    }
    members = cell(tmp_path, **settings)
    assert members["kmodpipe/plan"].data.decode("ascii").splitlines() == [
        f"nonce {NONCE}",
        "env A 1%20%3D%202",
        "env KMODPIPE_FS xfs",
        "disk kmodpipe-tools /kmodpipe/disk ext4",
        "folder kmodpipe-folder /host ro",
        "module /kmodpipe/exportfs.ko",
        "module /kmodpipe/overlay.ko index%3D2",
        "case 0 a 2.5 /kmodpipe/cases/a/my%20script.sh a%20b%25c x%3D%C3%BC%0A%7E lower:1,2",
    ]


def test_counters_are_taken_where_they_are_wanted(tmp_path: Path) -> None:
    assert "counters" in cell(tmp_path, counters=True)["kmodpipe/plan"].data.decode().splitlines()
    assert b"counters" not in cell(tmp_path)["kmodpipe/plan"].data


@pytest.mark.parametrize("case_id", ["../escape", "a/b", "", ".hidden", "a b"])
def test_a_case_id_cannot_leave_its_folder(tmp_path: Path, case_id: str) -> None:
    with pytest.raises(UserError, match="case id"):
        cell(tmp_path, cases=[PlannedCase(0, case_id, 1, make_script(tmp_path))])


def test_what_cannot_be_packed_is_named(tmp_path: Path) -> None:
    script = make_script(tmp_path)
    with pytest.raises(UserError, match="not there") as missing:
        cell(tmp_path, cases=[PlannedCase(0, "a", 1, tmp_path / "gone.sh")])
    assert missing.value.where.endswith("gone.sh")
    with pytest.raises(UserError, match="same name"):
        cell(tmp_path, cases=[PlannedCase(0, "a", 1, script), PlannedCase(1, "a", 1, script)])
    with pytest.raises(UserError, match="argument"):
        cell(tmp_path, cases=[PlannedCase(0, "a", 1, script, ("",))])


@pytest.mark.parametrize("env", [{"A B": "1"}, {"": "1"}, {"A=B": "1"}, {"A": ""}])
def test_what_is_no_variable_is_refused(tmp_path: Path, env: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="environment"):
        cell(tmp_path, env=env)


def test_a_folder_is_packed_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "set/sbin").mkdir(parents=True)
    (tmp_path / "set/sbin/mkfs.xfs").write_bytes(b"program")
    (tmp_path / "set/sbin/mkfs.xfs").chmod(0o755)
    initramfs.pack_folder(tmp_path / "set", tmp_path / "set.cpio")
    members = unpack((tmp_path / "set.cpio").read_bytes())
    assert list(members) == ["sbin", "sbin/mkfs.xfs"]
    assert members["sbin/mkfs.xfs"].mode == stat.S_IFREG | 0o755


def test_concatenated_archives_stay_aligned(tmp_path: Path) -> None:
    initramfs.pack_rootfs(make_rootfs(tmp_path / "root"), tmp_path / "root.cpio")
    cell(tmp_path)
    joined = initramfs.concatenate(tmp_path / "initramfs", (tmp_path / "root.cpio", tmp_path / "cell.cpio"))
    names = list(unpack(joined.read_bytes()))
    assert "init" in names
    assert names[-1] == "kmodpipe/plan"
