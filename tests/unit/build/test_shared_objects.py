"""Objects of other cells: taken for the same text alone, and nothing odd is kept. The compiler is real."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kmodpipe.build import shared_objects
from tests.support import REPO

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="takes gcc")
STAND_IN = REPO / "images" / "objects"
SOURCE = """\
#include "config.h"
#include "more.h"
#ifdef CONFIG_SLOW
int slow(void) { return 1; }
#endif
int answer(void) { int unused; return VALUE; }
"""


class Cell:
    """A folder in which a cell is compiled; all cells of a test have the same path, as in a container."""

    def __init__(self, top: Path, seed: Path | None = None) -> None:
        self.obj, self.seed = top / "obj", seed
        shutil.rmtree(self.obj, ignore_errors=True)
        self.obj.mkdir()
        self.write("a.c", SOURCE)
        self.write("config.h", "")
        self.write("more.h", "#define VALUE 42\n")

    def write(self, name: str, text: str) -> None:
        (self.obj / name).write_text(text)

    def gcc(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        seed = {"SEED": str(self.seed)} if self.seed else {}
        own = {"PATH": f"{STAND_IN}:{os.environ['PATH']}", "OBJ": str(self.obj), "LC_ALL": "C"}
        whole = {**own, "KEEP_OBJECTS": "yes", **seed, **env}
        return subprocess.run(
            ["gcc", *words], cwd=self.obj, env=whole, capture_output=True, text=True, check=False
        )

    def compile(self, *more: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.gcc(
            "-Wp,-MMD,.a.o.d", "-Wall", "-O2", "-g", *more, "-I", ".", "-c", "-o", "a.o", "a.c", **env
        )

    @property
    def object(self) -> bytes:
        return (self.obj / "a.o").read_bytes()

    def kept(self) -> list[str]:
        left = self.obj / ".objects"
        return sorted(path.suffix for path in left.iterdir()) if left.exists() else []


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    """The objects that a first cell left, with an object that shows that it is taken: it is none."""
    first = Cell(tmp_path)
    assert first.compile().returncode == 0 and first.kept() == [".err", ".o"]
    folder = tmp_path / "seed"
    shared_objects.collect(first.obj, folder)
    (kept,) = folder.glob("*.o")
    assert kept.read_bytes() == first.object
    kept.write_bytes(b"the seed's")
    return folder


def test_an_object_is_the_compilers_own_byte_for_byte(tmp_path: Path) -> None:
    cell = Cell(tmp_path)
    done = cell.compile()
    made, dependencies = cell.object, (cell.obj / ".a.o.d").read_text()
    plain = subprocess.run(
        ["gcc", *done.args[1:]], cwd=cell.obj, env={**os.environ, "LC_ALL": "C"}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert (made, dependencies) == (cell.object, (cell.obj / ".a.o.d").read_text())
    assert "unused variable" in plain.stderr and done.stderr == plain.stderr


def test_the_same_text_gets_the_object_of_before_with_what_the_compiler_said(
    tmp_path: Path, seed: Path
) -> None:
    cell = Cell(tmp_path, seed)
    # A symbol that the file does not read, and other dates.
    cell.write("config.h", "#define CONFIG_OTHER 1\n")
    done = cell.compile()
    assert done.returncode == 0 and cell.object == b"the seed's"
    assert "unused variable" in done.stderr
    assert "more.h" in (cell.obj / ".a.o.d").read_text()


OTHERS: dict[str, Callable[[Cell], subprocess.CompletedProcess[str]]] = {
    "a symbol that it reads": lambda cell: (
        cell.write("config.h", "#define CONFIG_SLOW 1\n"), cell.compile()
    )[1],
    "another value": lambda cell: (cell.write("more.h", "#define VALUE 43\n"), cell.compile())[1],
    "a line more": lambda cell: (cell.write("a.c", "\n" + SOURCE), cell.compile())[1],
    "a symbol's name that is pasted together": lambda cell: (
        cell.write("a.c", SOURCE.replace("VALUE", "P(CONFIG_, SLOW)")),
        cell.write("config.h", "#define P(a, b) a ## b\n#define CONFIG_SLOW 7\n"),
        cell.compile(),
    )[2],
    "another argument": lambda cell: cell.compile("-O1"),
    "an argument that is two": lambda cell: cell.compile("-DX=1 -O1"),
    "debugging information": lambda cell: cell.compile("-g0"),
}  # fmt: skip


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_whatever_else_is_compiled(
    tmp_path: Path, seed: Path, other: Callable[[Cell], subprocess.CompletedProcess[str]]
) -> None:
    cell = Cell(tmp_path, seed)
    done = other(cell)
    assert done.returncode == 0, done.stderr
    assert cell.object.startswith(b"\x7fELF")
    assert cell.kept() == [".err", ".o"]


@pytest.mark.parametrize(
    "words",
    [
        ("-E", "a.c", "-o", "a.i"),
        ("-S", "a.c", "-o", "a.s"),
        ("-c", "a.c"),
        ("-c", "--coverage", "a.c", "-o", "a.o"),
        ("-c", "-save-temps", "a.c", "-o", "a.o"),
        ("-c", "-flto", "a.c", "-o", "a.o"),
        ("-c", "-MMD", "-MF", "deps", "a.c", "-o", "a.o"),
        ("-c", "-x", "c", "/dev/null", "-o", "a.o"),
        ("-c", "b.S", "-o", "b.o"),
        ("-c", "blob.c", "-o", "a.o"),
        ("--version",),
    ],
)
def test_what_is_no_plain_compilation_of_c_goes_to_the_compiler(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    cell = Cell(tmp_path)
    cell.write("b.S", ".globl b\nb:\n")
    cell.write("blob.c", '__asm__(".incbin \\"a.c\\"");\n')
    done = cell.gcc(*words)
    assert done.returncode == 0, done.stderr
    assert cell.kept() == []


def test_what_does_not_compile_is_not_kept(tmp_path: Path) -> None:
    cell = Cell(tmp_path)
    cell.write("more.h", "#define VALUE undeclared\n")
    done = cell.compile()
    assert done.returncode == 1 and "undeclared" in done.stderr
    assert cell.kept() == [] and not (cell.obj / "a.o").exists()


def test_a_seed_without_what_the_compiler_said_is_not_taken(tmp_path: Path, seed: Path) -> None:
    (said,) = seed.glob("*.err")
    said.unlink()
    cell = Cell(tmp_path, seed)
    assert cell.compile().returncode == 0 and cell.object.startswith(b"\x7fELF")


def test_without_the_word_no_object_is_kept(tmp_path: Path) -> None:
    cell = Cell(tmp_path)
    assert cell.compile(KEEP_OBJECTS="").returncode == 0
    assert cell.kept() == [] and cell.object.startswith(b"\x7fELF")


NAME = f"{'a' * 64}.o"
ODD: dict[str, Callable[[Path], object]] = {
    "a link to a file": lambda left: (left / NAME).symlink_to("/etc/passwd"),
    "a hard link": lambda left: ((left / "x").write_text("x"), os.link(left / "x", left / NAME)),
    "a pipe": lambda left: os.mkfifo(left / NAME),
    "a folder": lambda left: (left / NAME).mkdir(),
    "too much": lambda left: ((left / NAME).touch(), os.truncate(left / NAME, 65 << 20)),
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_of_what_is_odd_nothing_is_kept(tmp_path: Path, odd: Callable[[Path], object]) -> None:
    left = tmp_path / "obj" / ".objects"
    left.mkdir(parents=True)
    (left / f"{'b' * 64}.o").write_text("fine")
    odd(left)
    shared_objects.collect(tmp_path / "obj", tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_a_link_in_the_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "obj").mkdir()
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / NAME).write_text("x")
    (tmp_path / "obj" / ".objects").symlink_to("../else")
    shared_objects.collect(tmp_path / "obj", tmp_path / "kept")
    assert not (tmp_path / "kept").exists() and (tmp_path / "else" / NAME).exists()


def test_other_names_are_left_and_modes_are_plain(tmp_path: Path) -> None:
    left = tmp_path / "obj" / ".objects"
    left.mkdir(parents=True)
    (left / "other").write_text("x")
    (left / NAME).write_text("x")
    (left / NAME).chmod(0o6777)
    shared_objects.collect(tmp_path / "obj", tmp_path / "kept")
    (kept,) = (tmp_path / "kept").iterdir()
    assert kept.name == NAME and kept.stat().st_mode & 0o7777 == 0o644


def test_a_family_has_everything_in_common_but_the_configuration() -> None:
    inputs = {"base": "b", "source": {"f": "1"}, "configuration": "c", "recipe": [1, "r"]}
    same = shared_objects.family(inputs)
    assert shared_objects.family({**inputs, "configuration": "d"}) == same
    for name, value in (("base", "x"), ("source", {"f": "2"}), ("recipe", [1, "s"]), ("targets", ["t"])):
        assert shared_objects.family({**inputs, name: value}) != same
