"""What a build left behind, before anything of ours reads it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from kmodpipe.build import outputs
from kmodpipe.util.errors import KernelFailure

WANTED = ("x.ko", "cell.config")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    for name in WANTED:
        (folder / name).write_text("made")
    return folder


def check(out: Path) -> None:
    outputs.check(out, WANTED, "the module", Path("build.log"))


def test_files_of_the_wanted_names_are_taken(out: Path) -> None:
    check(out)


def replaced(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink(missing_ok=True)
    make(path)


@pytest.mark.parametrize(
    ("name", "make", "told"),
    [
        ("x.ko", lambda p: p.symlink_to("/etc/passwd"), "'x.ko' is a symbolic link to '/etc/passwd'"),
        ("evil.ko", lambda p: p.symlink_to("/etc/passwd"), "'evil.ko' is a symbolic link to '/etc/passwd'"),
        ("cell.config", os.mkfifo, "'cell.config' is a pipe"),
        ("x.ko", lambda p: p.mkdir(), "'x.ko' is a folder"),
        ("illegal.json", lambda p: p.write_text("{}"), "'illegal.json' is a product that was not requested"),
        ("x.ko", lambda p: None, "'x.ko' was not made"),
        ("e\n.ko", lambda p: p.write_text(""), r"'e\\n.ko' is a product"),
    ],
)
def test_anything_else_is_refused_by_name(
    out: Path, name: str, make: Callable[[Path], object], told: str
) -> None:
    replaced(out / name, make)
    with pytest.raises(KernelFailure, match=told):
        check(out)


def test_holes_are_no_product(out: Path) -> None:
    with (out / "x.ko").open("wb") as f:
        f.truncate(outputs.FILE_BYTES + 1)
    with pytest.raises(KernelFailure, match="no product is that large"):
        check(out)


def test_what_is_kept_runs_with_nobodys_rights(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/suid").write_text("x")
    (tmp_path / "d/suid").chmod(0o6755)
    (tmp_path / "closed").mkdir(mode=0o000)
    (tmp_path / "link").symlink_to("/etc/passwd")
    before = Path("/etc/passwd").stat().st_mode
    outputs.tidy(tmp_path, "the module", Path("build.log"))
    assert stat.S_IMODE((tmp_path / "d/suid").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "closed").stat().st_mode) == 0o700
    assert Path("/etc/passwd").stat().st_mode == before
