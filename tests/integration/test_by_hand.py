"""A guest that is used by hand, on a kernel as Debian ships it: a case, a folder of the host, gdb."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import environ
from pathlib import Path

import pytest

from kmodpipe.host import facts
from tests.integration.conftest import require, require_machinery
from tests.support import REPO
from tests.support.trees import commit_all

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(1800)]

READY_S = 900  # a kernel may have to be fetched first
ANSWER_S = 120
HIT = ("break hello_show", "continue", "backtrace 1", "print answer", "delete", "detach")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    require_machinery()
    root = tmp_path / "hello"
    shutil.copytree(REPO / "examples/hello", root)
    commit_all(root, "first")
    return root


class Terminal:
    """What a person sees of a program, and types."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self._process = process
        self._output = output

    @property
    def text(self) -> str:
        return self._output.read_text("utf-8", "replace")

    def wait_for(self, pattern: str, seconds: float = ANSWER_S) -> re.Match[str]:
        until = time.monotonic() + seconds
        while not (found := re.search(pattern, self.text)):
            ended = self._process.poll() is not None
            assert not ended and time.monotonic() < until, f"no {pattern!r} in:\n{self.text[-3000:]}"
            time.sleep(0.2)
        return found

    def type(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def end(self) -> int:
        return self._process.wait(ANSWER_S)


@contextmanager
def started(argv: Sequence[str | Path], folder: Path, output: Path) -> Iterator[Terminal]:
    with output.open("wb") as f:
        process = subprocess.Popen(
            argv, cwd=folder, env={**environ, "COLUMNS": "200", "PYTHONPATH": str(REPO)},
            stdin=subprocess.PIPE, stdout=f, stderr=subprocess.STDOUT,
        )  # fmt: skip
    with process:
        try:
            yield Terminal(process, output)
        finally:
            process.kill()


def boot(*argv: str) -> list[str | Path]:
    return [sys.executable, "-m", "kmodpipe", "boot", "--kernel", "debian-12", *argv]


def stop_in_the_module(guest: Terminal, tmp_path: Path) -> str:
    """Attach gdb as the guest's terminal says, begin the case and return what gdb shows at the breakpoint."""
    require(shutil.which("gdb") is not None, "no gdb")
    command = guest.wait_for(r"gdb, in another terminal:  gdb -x (\S+)", READY_S)[1]
    guest.wait_for("Then Enter here runs answer")
    orders = [word for order in HIT for word in ("-ex", order)]
    with started(["gdb", "-nx", "-batch", "-x", command, *orders], tmp_path, tmp_path / "gdb") as gdb:
        gdb.wait_for("Breakpoint 1 at")
        time.sleep(1)
        guest.type("")
        assert gdb.end() == 0
        return gdb.text


def line_of(text: str) -> int:
    """The number of the line of the example that has this text."""
    lines = (REPO / "examples/hello/hello.c").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_a_breakpoint_in_the_module_is_hit_by_a_case(project: Path, tmp_path: Path) -> None:
    with started(boot("--case", "answer", "--gdb"), project, tmp_path / "guest") as guest:
        said = stop_in_the_module(guest, tmp_path)
        frame = re.search(r"#0 .*hello_show \(.*\) at \S*hello\.c:(\d+)", said)
        assert frame and abs(int(frame[1]) - line_of("static int hello_show")) <= 2, said
        assert "$1 = 42" in said
        guest.wait_for("end  answer: done, exit status 0")
        guest.type("exit")
        assert guest.end() == 0, guest.text


def test_a_case_runs_and_the_guest_stays_with_a_folder_of_the_host(project: Path, tmp_path: Path) -> None:
    shared = tmp_path / "a, b"
    shared.mkdir()
    (shared / "note").write_text("from the host\n")
    script = tmp_path / "mine.sh"
    script.write_text('#!/bin/sh\n. "$KMODPIPE_LIB"\nobserve outcome "$(id -u) in $PWD"\nexit 4\n')
    argv = boot("--case", str(script), "--folder", str(shared))
    with started(argv, project, tmp_path / "guest") as guest:
        guest.wait_for("obs  outcome = 0 in /work", READY_S)
        guest.wait_for("end  mine: skipped, exit status 4, outcome 0 in /work")
        # The project's own case is there as well, once.
        guest.type("run answer; cat /host/note; touch /host/new; ls /nowhere $KMODPIPE_CASES")
        guest.wait_for("end  answer: done")
        guest.wait_for("from the host")
        guest.wait_for("Read-only file system")
        guest.wait_for(r"answer +mine")
        guest.type("exit")
        assert guest.end() == 0
    assert [path.name for path in shared.iterdir()] == ["note"]
    assert "Call Trace" not in guest.text


def test_a_guest_writes_to_a_folder_that_may_be_written(project: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    with started(boot("--folder", str(shared), "--writable"), project, tmp_path / "guest") as guest:
        guest.wait_for("leave +exit", READY_S)
        guest.type("echo from the guest > /host/new; exit")
        assert guest.end() == 0
    assert (shared / "new").read_text() == "from the guest\n"


def test_a_kernel_of_ours_that_lacks_it_is_told_before_anything_is_built(
    project: Path, tmp_path: Path
) -> None:
    argv = [*boot()[:-1], "debian-6.1", "--folder", "."]
    done = subprocess.run(
        argv, cwd=project, env={**environ, "PYTHONPATH": str(REPO)},
        capture_output=True, text=True, timeout=1500, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "it lacks CONFIG_PCI, CONFIG_VIRTIO_PCI, CONFIG_NET_9P" in done.stderr
    assert "host-folder.config" in done.stderr


def test_reproduce_has_the_same_by_hand(project: Path, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "kmodpipe", "test", "--kernel", "debian-12"],
        cwd=project, env={**environ, "PYTHONPATH": str(REPO)},
        capture_output=True, text=True, timeout=1500, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    moved = tmp_path / "elsewhere"
    shutil.copytree((project / "out/latest").resolve(), moved)
    script = moved / "unpatched/reproduce.sh"
    with started(["sh", script, "--case", "answer", "--gdb"], tmp_path, tmp_path / "guest") as guest:
        said = stop_in_the_module(guest, tmp_path)
        assert re.search(r"#0 .*hello_show \(.*\) at \S*hello\.c:\d+", said), said
        guest.wait_for("end  answer: done, exit status 0")
        guest.type("exit")
        assert guest.end() == 0
    with started(["sh", script, "--shell"], tmp_path, tmp_path / "shell") as guest:
        guest.wait_for("cases +run NAME: answer")
        guest.type("run answer; exit")
        guest.wait_for("end  answer: done")
        assert guest.end() == 0


def test_gdb_is_a_program_that_setup_installs_for_the_tests() -> None:
    assert "gdb" in {need.program for need in facts.TESTS}
