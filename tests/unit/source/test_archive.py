"""Archives that are not safe, not whole, or far too large."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kmodpipe.source import archive
from kmodpipe.util.errors import UserError
from tests.support.trees import make_tree, pack


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([_member("linux/../../evil")], "points out of the archive"),
        ([_member("/evil")], "absolute name"),
        ([_member("linux/a", tarfile.SYMTYPE, "/etc/passwd")], "link out of the tree"),
        ([_member("linux/d/a", tarfile.SYMTYPE, "../../evil")], "link out of the tree"),
        ([_member("linux/a", tarfile.LNKTYPE, "../evil")], "points out of the archive"),
        ([_member("linux/a", tarfile.LNKTYPE, "linux/none")], "no file before it"),
        ([_member("linux/a", tarfile.SYMTYPE, "."), _member("linux/a/evil")], "used as a folder"),
        (
            [_member("linux/a", tarfile.SYMTYPE, "b"), _member("linux/h", tarfile.LNKTYPE, "linux/a")],
            "no file before",
        ),
        (
            [
                _member("linux/d/up", tarfile.SYMTYPE, ".."),
                _member("linux/a", tarfile.SYMTYPE, "d/up/../evil"),
            ],
            "link out of the tree",
        ),
        ([_member("linux/.git/config")], "belongs to a git repository"),
        ([_member(f"linux/{'x' * 256}")], "impossible name"),
        ([_member("linux/null", tarfile.CHRTYPE)], "device"),
        ([_member("linux/pipe", tarfile.FIFOTYPE)], "device, pipe"),
        ([_member("linux/a"), _member("linux/a")], "is there twice"),
        ([_member(f"linux/{n}") for n in range(30)], "more than the 20 members"),
        ([_member("linux/big", size=4096)], "larger than any kernel"),
    ],
)
def test_an_archive_that_is_not_safe_is_refused_by_member(
    tmp_path: Path, members: list[tarfile.TarInfo], said: str
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive_file:
        top = _member("linux", tarfile.DIRTYPE)
        for info in [top, *members]:
            archive_file.addfile(info, io.BytesIO(b"x" * info.size))
    inside = tmp_path / "outer" / "inside"
    inside.mkdir(parents=True)
    limits = archive.Limits(members=20, total_bytes=3000)
    with pytest.raises(UserError, match=said):
        archive.unpack(io.BytesIO(buffer.getvalue()), inside, what="evil.tar", limits=limits)
    assert [p.name for p in tmp_path.rglob("evil")] == []


@pytest.mark.parametrize("pressed", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_cut_archive_is_never_taken_for_whole(tmp_path: Path, pressed: Callable[[bytes], bytes]) -> None:
    plain = pack(tmp_path / "linux.tar", make_tree(tmp_path / "mine"), "w").read_bytes()
    whole = pressed(plain)
    # The plain one also exactly between two members, where nothing but the missing end tells.
    cuts = [len(whole) // 2, len(whole) - 20] if pressed is not bytes else [len(plain) // 2, 512 * 3]
    for number, cut in enumerate(cuts):
        target = tmp_path / f"out{number}"
        target.mkdir()
        with pytest.raises(UserError, match="damaged or cut short"):
            archive.unpack(io.BytesIO(whole[:cut]), target, what="cut")


def test_an_archive_that_unpacks_to_far_more_than_it_is(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive_file:
        archive_file.addfile(_member("linux/zeros", size=1 << 20), io.BytesIO(bytes(1 << 20)))
    packed = gzip.compress(buffer.getvalue())
    limits = archive.Limits(small_bytes=1 << 16)
    with pytest.raises(UserError, match="more than 200 times as large as the archive"):
        archive.unpack(io.BytesIO(packed), tmp_path, what="bomb", packed=len(packed), limits=limits)
    assert list(tmp_path.iterdir()) == []


def test_headers_of_headers_end(tmp_path: Path) -> None:
    data = _member("x", tarfile.GNUTYPE_LONGNAME).tobuf(tarfile.GNU_FORMAT) * 5000
    with pytest.raises(UserError, match="headers without end"):
        archive.unpack(io.BytesIO(data), tmp_path, what="bomb")


def test_a_bomb_in_a_header_does_not_reach_memory(tmp_path: Path) -> None:
    name = _member("x", tarfile.GNUTYPE_LONGNAME, size=2 * 1024 * 1024)
    data = name.tobuf(tarfile.GNU_FORMAT) + b"a" * name.size + b"\0" * 1024
    with pytest.raises(UserError, match="header of 2097152 bytes"):
        archive.unpack(io.BytesIO(data), tmp_path, what="bomb")
