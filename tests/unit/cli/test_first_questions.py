"""`init` as a user sees it: questions on a terminal, with what was found as the answer; or none."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import REPO
from tests.support.trees import write

TWO = {"one/Kbuild": "obj-m := a.o\n", "two/Kbuild": "obj-m := b.o\n"}


def init(folder: Path, *argv: str, answers: str | None = None) -> tuple[int, str]:
    """Run it, on a terminal if there are ``answers``; return its exit code, and what it shows."""
    ours, theirs = pty.openpty()
    try:
        if answers is not None:
            os.write(ours, answers.encode())
        done = subprocess.run(
            [sys.executable, "-m", "kmodpipe", "init", *argv],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(REPO), "COLUMNS": "200"},
            stdin=subprocess.DEVNULL if answers is None else theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    return done.returncode, done.stdout


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_an_empty_line_takes_what_was_found(tmp_path: Path) -> None:
    write(tmp_path, {"Kbuild": "obj-m := a.o\n"})
    code, shown = init(tmp_path, answers="\n" * 4)
    assert code == 0, shown
    assert files(tmp_path) == {"Kbuild", "kmodpipe.toml", "kmodpipe-cases/load.sh"}
    assert "[debian-11 debian-12 debian-13]" in shown and "kmodpipe test" in shown
    # What is typed next is named as it was typed.
    assert "invoke" not in shown


def test_what_is_answered_is_written_and_a_wrong_answer_is_asked_again(tmp_path: Path) -> None:
    write(tmp_path, TWO)
    words = ["3", "2", "debian-21", "debian-12, debian-6.12", "/tmp", "tests/kernel", "gitlub", "github", "y"]
    code, shown = init(tmp_path, answers="".join(f"{word}\n" for word in words))
    assert code == 0, shown
    assert "a number from 1 to 2" in shown and "debian-21" in shown and "one of github, gitlab, none" in shown
    text = (tmp_path / "kmodpipe.toml").read_text()
    assert 'source = "./two"' in text and 'kernels = ["debian-12", "debian-6.12"]' in text
    assert files(tmp_path) - set(TWO) == {
        "kmodpipe.toml", "tests/kernel/load.sh", ".github/workflows/kmodpipe.yml",
    }  # fmt: skip


@pytest.mark.parametrize("answers", ["\n\n\nn\n", "\x04", None])
def test_without_a_yes_nothing_is_written(tmp_path: Path, answers: str | None) -> None:
    write(tmp_path, {"Kbuild": "obj-m := a.o\n"})
    code, shown = init(tmp_path, answers=answers)
    assert (code, files(tmp_path)) == (2, {"Kbuild"}), shown
    assert "nothing was written" in shown


def test_a_project_above_is_told_of(tmp_path: Path) -> None:
    write(tmp_path, {"kmodpipe.toml": "", "below/Kbuild": "obj-m := a.o\n"})
    code, shown = init(tmp_path / "below", "--yes")
    assert code == 0 and f"the project above, in {tmp_path}" in shown
    code, shown = init(tmp_path, "--yes")
    assert code == 2 and "kmodpipe.toml is there already" in shown
