"""The names in the archives that a guest unpacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.util.errors import InfraError
from kmodpipe.vm import guest_root, initramfs


def archives(tmp_path: Path) -> list[Path]:
    root, tools = tmp_path / "root", tmp_path / "tools"
    for folder in (root / "bin", root / "sbin", root / "usr", root / "lib/deep", tools / "sbin"):
        folder.mkdir(parents=True)
    (root / "init").write_text("agent")
    (root / "bin/busybox").write_bytes(b"x" * 1001)
    (root / "bin/sh").symlink_to("busybox")
    (root / "bin/gone").symlink_to("nowhere")
    (root / "bin/loop").symlink_to("loop")
    (root / "usr/bin").symlink_to("../bin")
    (root / "usr/sbin").symlink_to("/sbin")
    (root / "lib/deep/libz.so.1").write_text("z")
    (tools / "sbin/mkfs.xfs").write_text("tool")
    first, second = tmp_path / "root.cpio", tmp_path / "tools.cpio"
    initramfs.pack_rootfs(root, first)
    initramfs.pack_folder(tools, second)
    return [first, second]


def test_programs_are_found_by_path_and_name_through_links_and_in_every_archive(tmp_path: Path) -> None:
    root = guest_root.read(archives(tmp_path))
    for name in ("sh", "/bin/sh", "/usr/bin/sh", "/usr/bin/busybox", "mkfs.xfs", "/usr/sbin/mkfs.xfs"):
        assert root.has_program(name), name
    for name in ("bash", "gone", "/bin/gone", "loop", "/usr/bin/bash", "/sbin/sh", "../bin/bash"):
        assert not root.has_program(name), name
    assert root.has_library("libz.so.1")
    assert not root.has_library("libz.so")


def test_what_is_no_archive_is_an_error_that_says_which(tmp_path: Path) -> None:
    whole, _ = archives(tmp_path)
    cut = tmp_path / "cut.cpio"
    for data in (b"", b"not a cpio archive", whole.read_bytes()[:300]):
        cut.write_bytes(data)
        with pytest.raises(InfraError) as caught:
            guest_root.read([cut])
        assert caught.value.where == str(cut)


def test_the_content_of_a_member_is_where_it_is_said(tmp_path: Path) -> None:
    whole, _ = archives(tmp_path)
    found = {one.name: one for one in guest_root.members(whole)}
    one = found["bin/busybox"]
    assert whole.read_bytes()[one.offset : one.offset + one.size] == b"x" * 1001
    assert found["bin/sh"].link == "busybox" and found["bin"].size == 0
