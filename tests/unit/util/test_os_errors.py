"""Trouble with files, told for what it is."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from kmodpipe.util import os_errors
from kmodpipe.util.errors import (
    InfraError,
)
from kmodpipe.util.os_errors import from_system


def error(number: int, path: Path | None = None) -> OSError:
    return OSError(number, os.strerror(number), *([str(path)] if path else []))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
def test_the_machines_trouble_is_told_with_what_where_and_hint(tmp_path: Path, number: int) -> None:
    told = os_errors.explain(error(number, tmp_path / "file"))
    assert told and told.exit_code == 3
    assert told.where == str(tmp_path / "file") and told.hint


def test_a_write_that_does_not_say_where_it_was_is_placed_on_the_fullest_disk(tmp_path: Path) -> None:
    # /proc has neither blocks nor files to give.
    told = os_errors.explain(error(errno.ENOSPC), (tmp_path, Path("/proc")))
    assert told and told.what == "the disk is full" and told.where == "/proc"
    assert os_errors.is_full(Path("/proc/self/fd")) and not os_errors.is_full(tmp_path / "not" / "there")


def test_what_is_no_trouble_of_the_machines_stays_what_it_is(tmp_path: Path) -> None:
    assert os_errors.explain(error(errno.ENOENT, tmp_path)) is None
    with pytest.raises(FileNotFoundError), os_errors.explained(tmp_path):
        (tmp_path / "missing").read_bytes()
    with (
        pytest.raises(InfraError, match="the disk is full"),
        os_errors.explained(tmp_path),
        Path("/dev/full").open("w") as f,
    ):
        f.write("x")


def test_a_folder_that_can_do_all_is_taken_and_left_as_it_was(tmp_path: Path) -> None:
    os_errors.require_capable(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_program_that_found_no_room_is_understood() -> None:
    assert os_errors.says_full("cp: error writing 'x': No space left on device")
    assert not os_errors.says_full("cp: cannot stat 'x': No such file or directory")


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (OSError(errno.EMFILE, "Too many open files", "/x"), "ulimit -n"),
        (OSError(errno.EFBIG, "File too large"), "ulimit -f"),
        (MemoryError(), "ulimit -v"),
        (RuntimeError("can't start new thread"), "ulimit -u"),
    ],
)
def test_what_the_host_does_not_give_is_told_with_the_limit_to_raise(error: Exception, hint: str) -> None:
    told = from_system(error)
    assert told is not None and hint in told.hint


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "no"), RuntimeError("other"), ValueError()])
def test_any_other_exception_is_no_shortage(error: Exception) -> None:
    assert from_system(error) is None


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "invoke clean"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EROFS, "writable"),
        (errno.EISDIR, "folder"),
    ],
)
def test_whatever_the_reason_there_is_something_to_do_about_it(number: int, hint: str) -> None:
    error = os_errors.failed("the log cannot be written", OSError(number, os.strerror(number)), "/x/log")
    assert error.what == f"the log cannot be written: {os.strerror(number)}"
    assert hint in error.hint
