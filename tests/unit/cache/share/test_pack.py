"""What travels through a registry: packing and unpacking, and what is refused.

The registry itself is real, in tests/integration/test_fanout.py."""

from __future__ import annotations

import io
import os
import tarfile
import time
from pathlib import Path

import pytest

from kmodpipe.cache.share import pack
from tests.support import oci


def artifact(root: Path) -> Path:
    folder = root / "made"
    (folder / "obj/scripts").mkdir(parents=True)
    (folder / "out").mkdir()
    (folder / "out/bzImage").write_bytes(os.urandom(5000))
    tool = folder / "obj/scripts/fixdep"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    os.utime(tool, (1_000_000_000.25, 1_000_000_000.25))
    os.link(tool, folder / "obj/scripts/same")
    (folder / "obj/source").symlink_to("/src")
    (folder / ".files").write_text("{}")
    return folder


def test_an_artifact_comes_back_as_it_was(tmp_path: Path) -> None:
    made, back = artifact(tmp_path), tmp_path / "back"
    back.mkdir()
    pack.pack(made, tmp_path / "layer", {".files"})
    pack.unpack(tmp_path / "layer", back, links_below="obj")
    names = sorted(p.relative_to(made).as_posix() for p in made.rglob("*") if p.name != ".files")
    assert sorted(p.relative_to(back).as_posix() for p in back.rglob("*")) == names
    assert (back / "out/bzImage").read_bytes() == (made / "out/bzImage").read_bytes()
    tool = (back / "obj/scripts/fixdep").stat()
    assert (tool.st_mode & 0o777, tool.st_nlink) == (0o755, 1)
    assert (back / "obj/source").readlink() == Path("/src")


def test_objects_are_newer_than_sources_that_were_unpacked_before_them(tmp_path: Path) -> None:
    made, back = artifact(tmp_path), tmp_path / "back"
    pack.pack(made, tmp_path / "layer")
    source = tmp_path / "fixdep.c"
    source.write_text("int main;")
    back.mkdir()
    pack.unpack(tmp_path / "layer", back, links_below="obj")
    tool, kernel = back / "obj/scripts/fixdep", back / "out/bzImage"
    assert source.stat().st_mtime_ns < tool.stat().st_mtime_ns <= time.time_ns()
    # And in the order in which they were made.
    assert (made / "obj/scripts/fixdep").stat().st_mtime < (made / "out/bzImage").stat().st_mtime
    assert tool.stat().st_mtime_ns < kernel.stat().st_mtime_ns


def test_the_same_content_is_the_same_layer(tmp_path: Path) -> None:
    made = artifact(tmp_path)
    assert pack.pack(made, tmp_path / "1") == pack.pack(made, tmp_path / "2")
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def hostile(path: Path, name: str, **more: object) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo(name)
        for key, value in more.items():
            setattr(info, key, value)
        tar.addfile(info, io.BytesIO(b"x" * info.size))
    return path


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("../out", {"size": 1}),
        ("/etc/passwd", {"size": 1}),
        ("obj/../../x", {"size": 1}),
        # What this machine reads itself is a file: a link there would hand out another file of it.
        ("out/bzImage", {"type": tarfile.SYMTYPE, "linkname": "/etc/shadow"}),
        ("obj", {"type": tarfile.SYMTYPE, "linkname": "/"}),
        ("obj/hard", {"type": tarfile.LNKTYPE, "linkname": "/etc/shadow"}),
        ("obj/device", {"type": tarfile.CHRTYPE}),
        ("obj/pipe", {"type": tarfile.FIFOTYPE}),
    ],
)
def test_what_could_reach_out_is_refused(tmp_path: Path, name: str, more: dict[str, object]) -> None:
    folder = tmp_path / "into"
    folder.mkdir()
    with pytest.raises(pack.UnpackError):
        pack.unpack(hostile(tmp_path / "layer", name, **more), folder, links_below="obj")


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "into"
    outside.mkdir(), folder.mkdir()
    with tarfile.open(tmp_path / "layer", "w:gz") as tar:
        link = tarfile.TarInfo("obj/way")
        link.type, link.linkname = tarfile.SYMTYPE, str(outside)
        tar.addfile(link)
        file = tarfile.TarInfo("obj/way/file")
        file.size = 1
        tar.addfile(file, io.BytesIO(b"x"))
    with pytest.raises(pack.UnpackError):
        pack.unpack(tmp_path / "layer", folder, links_below="obj")
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"no archive", b"\x1f\x8b\x08\x00" + b"\x00" * 20])
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "layer").write_bytes(data)
    (tmp_path / "into").mkdir()
    with pytest.raises(pack.UnpackError):
        pack.unpack(tmp_path / "layer", tmp_path / "into", links_below="obj")


def test_no_artifact_brings_what_the_store_writes_itself(tmp_path: Path) -> None:
    for name in (".sums", ".inputs/x", ".origin"):
        folder = tmp_path / name.replace("/", "-")
        folder.mkdir()
        with pytest.raises(pack.UnpackError, match="reserved"):
            layer = hostile(tmp_path / "layer", name, size=1)
            pack.unpack(layer, folder, links_below="obj", without={".sums", ".inputs", ".origin"})


def test_a_link_to_a_link_writes_nowhere(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "into"
    outside.mkdir(), folder.mkdir()
    links = [("obj/a", str(outside)), ("obj/a/planted", "/etc/shadow"), ("obj/a/folder/deep", "x")]
    members = [oci.member(name, kind=tarfile.SYMTYPE, to=to) for name, to in links]
    (tmp_path / "layer").write_bytes(oci.packed(members))
    with pytest.raises(pack.UnpackError, match="used as a folder"):
        pack.unpack(tmp_path / "layer", folder, links_below="obj")
    assert list(outside.iterdir()) == []
