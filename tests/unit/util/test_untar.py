"""The one extractor of untrusted tars: what it refuses, and that nothing it reads is kept without bound."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from kmodpipe.util import files, untar
from kmodpipe.util.errors import InfraError

MIB = 1024 * 1024
SIMPLE = untar.Limits(simple=True, behind_bytes=MIB)


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, to: str = "", mode: int = 0o644) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname, info.mode = kind, size, to, mode
    return info.tobuf(tarfile.GNU_FORMAT)


def content(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def file(name: str, data: bytes = b"x", mode: int = 0o644) -> bytes:
    return member(name, size=len(data), mode=mode) + content(data)


def records(kind: bytes, *pairs: tuple[str, bytes]) -> bytes:
    """A pax header with these records."""
    data = b""
    for key, value in pairs:
        length = len(key) + len(value) + 3
        while length != len(key) + len(value) + 3 + len(str(length)):
            length = len(key) + len(value) + 3 + len(str(length))
        data += f"{length} {key}=".encode() + value + b"\n"
    return member("././@PaxHeader", kind, len(data)) + content(data)


class Endless:
    """A stream of ``head`` and then of one block again and again, that says how much of it was read."""

    def __init__(self, head: bytes, again: Callable[[int], bytes]) -> None:
        self._left, self._again, self.read_bytes, self._number = head, again, 0, 0

    def read(self, size: int = -1) -> bytes:
        size = 1 << 16 if size < 0 else size
        while len(self._left) < size:
            self._left += self._again(self._number)
            self._number += 1
        data, self._left = self._left[:size], self._left[size:]
        self.read_bytes += len(data)
        return data


def extract(data: bytes, target: Path, limits: untar.Limits = SIMPLE) -> untar.Content:
    target.mkdir(exist_ok=True)
    return untar.extract(io.BytesIO(data + bytes(1024)), target, what="x.tar", limits=limits)


@pytest.mark.parametrize("endless", ["pax", "global", "longname", "gnu-sparse", "pax-sparse", "chain"])
def test_headers_are_read_within_bounds(tmp_path: Path, endless: str) -> None:
    sparse = member("s", tarfile.GNUTYPE_SPARSE)
    head, again = {
        "pax": (member("x", tarfile.XHDTYPE, 700 * MIB), bytes(MIB)),
        "global": (member("x", tarfile.XGLTYPE, 700 * MIB), bytes(MIB)),
        "longname": (member("x", tarfile.GNUTYPE_LONGNAME, 700 * MIB), b"a" * MIB),
        # "There is one more block of the map behind this one": at 482 in the header, at 504 in each block.
        "gnu-sparse": (sparse[:482] + b"\1" + sparse[483:], b"0" * 504 + b"\1" * 8),
        "pax-sparse": (
            records(tarfile.XHDTYPE, ("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"))
            + member("s", size=700 * MIB)
            + content(b"99999999\n"),
            b"0\n" * 256,
        ),
        "chain": (b"", member("x", tarfile.XHDTYPE, MIB - 512) + b"a" * (MIB - 512)),
    }[endless]
    if endless == "gnu-sparse":
        # With a checksum that fits.
        info = bytearray(head)
        info[148:156] = b" " * 8
        info[148:156] = f"{sum(info[:512]):06o}\0 ".encode()
        head = bytes(info)
    stream = Endless(head, lambda number: again)
    tracemalloc.start()
    with pytest.raises((untar.Damaged, untar.Refused)):
        untar.extract(stream, tmp_path, what="x.tar")  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert stream.read_bytes < 3 * MIB
    assert peak < 64 * MIB
    assert list(tmp_path.iterdir()) == []


def test_headers_between_members_add_up(tmp_path: Path) -> None:
    def again(number: int) -> bytes:
        return records(tarfile.XHDTYPE, ("comment", b"c" * (MIB - 600))) + file(f"f{number}")

    stream = Endless(b"", again)
    with pytest.raises(untar.Damaged, match="16 MiB in all"):
        untar.extract(stream, tmp_path, what="x.tar")  # type: ignore[arg-type]
    assert stream.read_bytes < 20 * MIB


def test_records_for_all_members_are_few(tmp_path: Path) -> None:
    stream = Endless(b"", lambda n: records(tarfile.XGLTYPE, (f"k{n}", b"v")) + file(f"f{n}"))
    with pytest.raises(untar.Damaged, match="more than 100 records"):
        untar.extract(stream, tmp_path, what="x.tar")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (member("a", tarfile.SYMTYPE, to="/tmp") + file("a/b"), "used as a folder"),
        (file("a/b") + member("a", tarfile.SYMTYPE, to="/tmp"), "is there twice"),
        (member("a", tarfile.SYMTYPE, to="/tmp") + member("a", tarfile.SYMTYPE, to="x"), "is there twice"),
        (
            member("a", tarfile.SYMTYPE, to="/tmp") + member("a/b", tarfile.SYMTYPE, to="x"),
            "used as a folder",
        ),
        (member("a", tarfile.SYMTYPE, to="/tmp") + member("a", tarfile.DIRTYPE), "used as a folder"),
        (member("./a", tarfile.SYMTYPE, to="/tmp") + file(".//a/b"), "used as a folder"),
        (file("a") + file("./a"), "is there twice"),
        (file("a") + file("a/b"), "used as a folder"),
        (file("a") + member("b", tarfile.LNKTYPE, to="a"), "hard link"),
        (member("b", tarfile.LNKTYPE, to="/etc/shadow"), "hard link"),
        (file("../a"), "out of the archive"),
        (file("a/../../b"), "out of the archive"),
        (file("/a"), "absolute"),
        (file("a" * 256), "impossible name"),
        (file("a/" * 600 + "a"), "impossible name"),
        (records(tarfile.XHDTYPE, ("path", b"a\0b")) + file("c"), "impossible name"),
        (member("a", tarfile.CHRTYPE), "device"),
        (member("a", tarfile.BLKTYPE), "device"),
        (member("a", tarfile.FIFOTYPE), "device, pipe"),
        (member("a", b"Z"), "device, pipe"),
        (
            records(tarfile.XHDTYPE, ("GNU.sparse.map", b"9,0"), ("GNU.sparse.size", b"9")) + file("a"),
            "holes",
        ),
        (member("a", size=9 << 30), "larger than"),
    ],
)
def test_what_is_not_safe_is_refused_by_member(tmp_path: Path, data: bytes, why: str) -> None:
    outside = set(tmp_path.parent.iterdir())
    with pytest.raises(untar.Refused, match=why):
        extract(data, tmp_path / "into")
    assert set(tmp_path.parent.iterdir()) == outside
    assert [p.name for p in tmp_path.iterdir()] == ["into"]
    assert not any(p.is_symlink() for p in tmp_path.rglob("*"))


def test_no_file_gets_more_rights_than_its_owners(tmp_path: Path) -> None:
    found = extract(
        file("tool", mode=0o6777) + member("d", tarfile.DIRTYPE, mode=0o7777) + file("d/f"), tmp_path
    )
    assert [*found.files] == ["tool", "d/f"] and [*found.folders] == ["d"]
    assert [(tmp_path / name).stat().st_mode & 0o7022 for name in ("tool", "d", "d/f")] == [0, 0, 0]
    assert (tmp_path / "tool").stat().st_mode & 0o100


def test_links_are_made_by_the_caller(tmp_path: Path) -> None:
    found = extract(file("d/f") + member("d/l", tarfile.SYMTYPE, to="f"), tmp_path)
    assert found.links == {"d/l": "f"} and not os.path.lexists(tmp_path / "d/l")
    untar.make_links(tmp_path, found.links)
    assert (tmp_path / "d/l").read_bytes() == b"x"
    with pytest.raises(untar.Refused, match="cannot be made"):
        untar.make_links(tmp_path, {"d/m": "x" * 5000})


def test_what_is_not_wanted_is_passed_over_within_bounds(tmp_path: Path) -> None:
    data = file("d/large", bytes(3 * MIB)) + file("./d/f") + member("d/dev", tarfile.CHRTYPE) + bytes(1024)
    found = untar.extract(
        io.BytesIO(data), tmp_path, what="some", limits=untar.Limits(file_bytes=MIB),
        wanted=lambda name: name == "d/f",
    )  # fmt: skip
    assert [*found.files] == ["d/f"] and not (tmp_path / "d/large").exists()
    with pytest.raises(untar.Refused, match="one more than the 2 members allowed"):
        untar.extract(
            io.BytesIO(data), tmp_path, what="none", limits=untar.Limits(members=2), wanted=lambda name: False
        )


def test_a_gzip_in_pieces_is_read_as_one_and_nothing_hides_behind_it(tmp_path: Path) -> None:
    whole = file("a", b"1" * 2000) + file("b", b"2" * 2000) + bytes(1024)
    pieces = gzip.compress(whole[:1500]) + gzip.compress(whole[1500:])

    def of(data: bytes, name: str) -> untar.Content:
        (tmp_path / name).mkdir()
        return untar.extract(io.BytesIO(data), tmp_path / name, what=name, packed=len(data), limits=SIMPLE)

    assert [*of(pieces, "pieces").files] == ["a", "b"]
    for name, behind in {
        "garbage": b"garbage",
        "cut": gzip.compress(b"1" * 99)[:-4],
        "bomb": gzip.compress(bytes(8 * MIB)),
    }.items():
        with pytest.raises(untar.Damaged):
            of(pieces + behind, name)
    with pytest.raises(untar.Damaged):
        of(lzma.compress(whole), "xz")
    big = file("zeros", bytes(65 * MIB)) + bytes(1024)
    with pytest.raises(untar.Refused, match="more than 200 times as large"):
        of(gzip.compress(big, 9), "small")


def test_the_disk_keeps_its_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = files.shutil.disk_usage(tmp_path)._replace(free=400 * MIB)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: free)
    with pytest.raises(InfraError, match="not enough disk for unpacking"):
        extract(file("zeros", bytes(65 * MIB)), tmp_path)
    assert list(tmp_path.iterdir()) == []
