"""Objects that are left for others: those that the compiler said nothing about."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.build import compile_warnings, object_records
from kmodpipe.build.object_records import OBJECTS, Said

READS = {
    "a": "/src/fs/toy/a.c /src/fs/toy/toy.h",
    "b": "/src/fs/toy/b.c",
    "sub/c": "/src/fs/toy/sub/../toy.h",
}


@pytest.fixture
def left(tmp_path: Path) -> Path:
    for name in ("a.c", "b.c", "toy.h", "sub/c.c"):
        path = tmp_path / "src/fs/toy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    left = tmp_path / "left"
    for name, read in READS.items():
        path = left / f"{name}.o"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("object")
        object_records.record_of(path).write_text(read)
    return left


def kept(left: Path, log: str) -> set[str]:
    """The objects that are kept after a build that printed ``log``."""
    (left.parent / "log").write_text(log)
    said = Said.of(left.parent / "log", left.parent / "src", "fs/toy")
    to = left.parent / "to"
    object_records.collect(left, to, said)
    names = {str(path.relative_to(to / OBJECTS)) for path in to.rglob("*") if path.is_file()}
    objects = {name for name in names if name.endswith(".o")}
    assert names == objects | {str(object_records.record_of(Path(name))) for name in objects}
    return objects


ALL = {"a.o", "b.o", "sub/c.o"}
LOGS = {
    "nothing": ("  CC [M]  fs/toy/a.o\n", ALL),
    "a file": ("/src/fs/toy/b.c:3:1: warning: unused [-Wunused]\n", ALL - {"b.o"}),
    "a header": (
        "In file included from /src/fs/toy/a.c:1:\n/src/fs/toy/toy.h:3:1: warning: old [-Wold]\n", {"b.o"},
    ),
    "an object": ("fs/toy/a.o: warning: objtool: f()+0x1: unreachable instruction\n", {"b.o", "sub/c.o"}),
    "what is linked": ("fs/toy/toy.o: warning: objtool: f()+0x1: unreachable instruction\n", ALL),
    "no file of the tree": ("include/generated/x.h:1:1: warning: odd\n", set[str]()),
    "modpost": ("WARNING: modpost: missing MODULE_DESCRIPTION() in fs/toy/toy.o\n", ALL),
}  # fmt: skip


@pytest.mark.parametrize(("log", "expected"), LOGS.values(), ids=LOGS.keys())
def test_of_what_the_compiler_complained_nothing_is_kept(left: Path, log: str, expected: set[str]) -> None:
    assert kept(left, log) == expected


def test_of_more_warnings_than_are_read_or_without_a_log_nothing_is_kept(left: Path, tmp_path: Path) -> None:
    many = "".join(f"/src/fs/toy/b.c:{n}:1: warning: x\n" for n in range(compile_warnings.MOST))
    assert kept(left, many) == set()
    assert Said.of(tmp_path / "none", tmp_path / "src", "fs/toy") is None
    assert not object_records.collect(left, tmp_path / "to", None)


def test_an_object_without_a_record_counts_as_one_that_reads_everything(left: Path) -> None:
    object_records.record_of(left / "sub/c.o").unlink()
    src = left.parent / "src"
    objects = [left / name for name in sorted(ALL)]
    assert object_records.reading_none(objects, ["fs/toy/b.c"], src) == [left / "a.o"]
    assert object_records.reading_none(objects, [], src) == [left / "a.o", left / "b.o"]
