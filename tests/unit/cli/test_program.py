"""The program `kmodpipe` in a process of its own: version, help, and an exit code for every kind of word."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kmodpipe import __version__
from kmodpipe.cli.options import COMMANDS, options_of
from tests.support import REPO


def run(*words: str, program: str = "kmodpipe", cwd: Path = REPO) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", program, *words],
        cwd=cwd, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_version_is_ours() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"kmodpipe {__version__}\n", "")


def test_help_lists_every_command_and_every_option() -> None:
    done = run("-h")
    assert done.returncode == 0 and all(f"\n  {name} " in done.stdout for name in COMMANDS)
    done = run("test", "-h")
    assert done.returncode == 0
    assert all(one.flag in done.stdout for one in options_of(COMMANDS["test"]))
    assert "-j, --jobs N" in done.stdout and "=STRING" not in done.stdout
    assert "usage: kmodpipe config check [OPTION" in run("config", "check", "-h").stdout


def test_a_wrong_word_is_exit_2_without_a_traceback() -> None:
    done = run("test", "--jbos", "3")
    assert done.returncode == 2 and done.stdout == ""
    assert "did you mean --jobs" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("program", ["kmodpipe", "invoke"])
def test_a_wrong_number_is_exit_2_in_both_programs(program: str) -> None:
    done = run("doctor", "--jobs", "x", program=program)
    assert done.returncode == 2
    assert done.stderr == "error: --jobs takes a whole number, and 'x' is none\n"


def test_an_error_is_a_document_where_one_was_requested() -> None:
    for words in (
        ("plan", "--json", "--bogus"),
        ("plan", "--json", "--jobs", "x"),
        ("plan", "--json", "--tree", "no"),
    ):
        done = run(*words)
        document = json.loads(done.stdout)
        assert (done.returncode, document["exit_code"], document["schema"]) == (2, 2, "kmodpipe-error")
        assert document["error"]["what"] in done.stderr


def test_without_a_project_it_says_where_to_go(tmp_path: Path) -> None:
    done = run("plan", cwd=tmp_path)
    assert done.returncode == 2 and "kmodpipe init" in done.stderr
