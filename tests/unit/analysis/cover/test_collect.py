"""From a run's folder to what its cases executed, with the compiler and the gcov of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe.analysis.cover import collect
from kmodpipe.analysis.cover.gcov_job import Gcov
from kmodpipe.build.runtime import HostRuntime
from kmodpipe.logs.counters import FILE_NAME, Kept, Taken, to_line
from kmodpipe.results import CaseInfo, CaseResult, CellResult, Run, State, Verdict
from kmodpipe.results.coverage import LOAD, CellCoverage, Coverage
from tests.support import REPO
from tests.support.trees import write

pytestmark = pytest.mark.skipif(
    not (shutil.which("gcc") and shutil.which("gcov")), reason="there is no gcc with its gcov"
)
TOY = "fs/toy/toy.c"
SOURCE = """\
int main(int argc, char **argv)
{
\tif (argc > 1)
\t\targc += 2;
\tif (argc > 2 && argv[1][0] == 'x')
\t\targc = 5;
\treturn argc > 100;
}
"""
CASES = (
    *(CaseResult(name, Verdict.PASS) for name in ("plain", "one", "x")),
    CaseResult("skipped", Verdict.SKIP),
    CaseResult("lost", Verdict.FAIL, "kernel BUG\nmore"),
)
CELL = CellResult("fix.gcov", "fix", "", {}, State.RAN, flavour="gcov", cases=CASES)
INFOS = tuple(CaseInfo(one.case, "", "") for one in CASES)
RUN = Run("1", "2026-01-01T00:00:00+00:00", INFOS, (CELL,))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree, and a program of its file that counts, as the builder would make a module's object."""
    folder = tmp_path_factory.mktemp("built")
    write(folder, {f"src/{TOY}": SOURCE, f"obj/{TOY}x": ""})
    source = folder / "src" / TOY
    argv = ["gcc", "-O0", "--coverage", "-c", source, "-o", "fs/toy/toy.o"]
    subprocess.run(argv, cwd=folder / "obj", check=True)
    subprocess.run(["gcc", "--coverage", "fs/toy/toy.o", "-o", "prog"], cwd=folder / "obj", check=True)
    return folder


def counted(built: Path, *arguments: str) -> bytes:
    """The counters after one run with these arguments."""
    made = built / "obj/fs/toy/toy.gcda"
    made.unlink(missing_ok=True)
    subprocess.run([built / "obj/prog", *arguments], check=True)
    return made.read_bytes()


def collected(built: Path, tmp_path: Path, lines: list[Kept], run: Run = RUN) -> CellCoverage:
    return whole(built, tmp_path, lines, run).cells["fix.gcov"]


def whole(built: Path, tmp_path: Path, lines: list[Kept], run: Run) -> Coverage:
    folder, scratch = tmp_path / "run", tmp_path / "scratch"
    notes = folder / "fix.gcov/notes/fs/toy"
    for path in (notes, folder / "shared", scratch):
        path.mkdir(parents=True)
    shutil.copy(built / "obj/fs/toy/toy.gcno", notes)
    write(folder / "fix.gcov", {FILE_NAME: "".join(map(to_line, lines))})
    gcov = Gcov(HostRuntime(), REPO / "images", os.cpu_count() or 1)
    place = collect.placed(built / "src", lambda name: name.startswith("fs/toy/"), own=False)
    return collect.collect(run, folder, "fs/toy", gcov, scratch, place)


def kept(case: str, data: bytes, lost: str = "") -> Kept:
    return Kept(case, Taken({"obj/fs/toy/toy.gcda": data}, lost))


def test_each_case_has_the_lines_that_it_executed(built: Path, tmp_path: Path) -> None:
    found = collected(
        built,
        tmp_path,
        [
            Kept(LOAD, Taken({})),
            kept("plain", counted(built)),
            kept("one", counted(built, "a")),
            kept("x", counted(built, "x")),
        ],
    )
    assert found.files[TOY].lines == (1, 3, 4, 5, 6, 7) and found.files[TOY].branches[3] == 2
    assert {*found.cases["plain"].files[TOY].lines} == {1, 3, 5, 7}
    assert {*found.cases["one"].files[TOY].lines} == {1, 3, 4, 5, 7}
    assert found.executed_by(TOY, 6) == ("x",) and found.executed_by(TOY, 4) == ("one", "x")
    assert "skipped" not in found.cases
    assert found.cases["lost"].unknown == "no counters came: kernel BUG"
    assert not found.cases["plain"].unknown


def test_of_several_guests_the_sum_counts_and_one_loss_is_enough(built: Path, tmp_path: Path) -> None:
    data = counted(built, "a")
    found = collected(built, tmp_path, [kept("one", data), kept("one", data, "opened"), kept("x", data)])
    assert found.cases["one"].files[TOY].lines[4] == 2 and found.cases["one"].unknown == "opened"
    assert found.cases[LOAD].unknown == "no counters came"


@pytest.mark.parametrize("damage", [b"", b"garbage", b"adcg"])
def test_counters_that_gcov_cannot_read_are_unknown(built: Path, tmp_path: Path, damage: bytes) -> None:
    found = collected(built, tmp_path, [kept("one", damage)])
    assert not found.cases["one"].files
    assert found.cases["one"].unknown or not damage


def test_a_cell_that_did_not_count_says_why(built: Path, tmp_path: Path) -> None:
    failed = CellResult("fix.B=y.gcov", "fix", "", {}, State.BUILD_FAILED, "inode.c:7: error\nmore")
    skipped = CellResult("fix.C=y.gcov", "fix", "", {}, State.SKIPPED, "C needs D")
    found = whole(built, tmp_path, [], replace(RUN, cells=(CELL, failed, skipped)))
    assert found.cells["fix.B=y.gcov"].unknown == "inode.c:7: error"
    assert "fix.C=y.gcov" not in found.cells


def test_names_of_a_modules_own_source_are_from_its_top(tmp_path: Path) -> None:
    own = write(tmp_path / "own", {"src/toy.c": "", "fs.h": ""})
    place = collect.placed(own, lambda name: True, own=True)
    assert place("/obj/module/src/toy.c") == "src/toy.c"
    assert place("/cache/x/obj/module/fs.h") == "fs.h"
    assert place("/obj/kit/src/toy.c") == "src/toy.c", "relative names, where make runs"
    assert place("/src/include/linux/fs.h") is None and place("/obj/module/../../etc/passwd") is None
