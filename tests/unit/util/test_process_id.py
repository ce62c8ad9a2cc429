"""Who made something and still runs; who uses a cache; and what becomes of a killed process's children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kmodpipe.cache import users
from kmodpipe.util import process_id
from kmodpipe.util.errors import InfraError
from kmodpipe.util.files import part_of, sweep_parts, temporary
from tests.support.processes import gone


def test_a_process_is_known_by_pid_boot_and_start() -> None:
    pid, boot, start = process_id.me().split()
    assert process_id.runs(process_id.me())
    assert process_id.runs(f"{pid} {boot}")  # as older versions wrote it
    assert not process_id.runs(f"{pid} {boot} {int(start) + 1}")
    assert not process_id.runs(f"{pid} another-boot {start}")
    assert not process_id.runs("rubbish") and not process_id.runs("")
    child = subprocess.Popen(["sleep", "60"])
    named = f"{child.pid} {boot} {process_id.began(child.pid)}"
    assert process_id.runs(named)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not process_id.runs(named)  # a zombie is dead
    child.wait()


def test_parts_of_dead_processes_are_swept_and_of_living_ones_are_not(tmp_path: Path) -> None:
    mine = part_of(tmp_path / "results.json")
    dead = tmp_path / mine.name.replace(f".{os.getpid()}~", ".999999999~")
    for path in (mine, dead):
        path.write_text("half")
    (tmp_path / ".hidden").write_text("somebody's")
    assert sweep_parts(tmp_path) == 1
    assert mine.exists() and not dead.exists() and (tmp_path / ".hidden").exists()


def test_temporary_folders_of_killed_processes_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / f"kmodpipe-999999999~{process_id.boot_id()}~1~patchabcd"
    left.mkdir()
    (tmp_path / "kmodpipe-mine").mkdir()
    with temporary("patch") as folder:
        assert folder.is_dir() and not left.exists()
        with temporary("patch"):
            assert folder.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["kmodpipe-mine"]


def test_a_cache_in_use_is_not_emptied_and_says_by_whom(tmp_path: Path) -> None:
    said: list[str] = []
    with (
        users.using(tmp_path, said.append),
        users.using(tmp_path, said.append),
        pytest.raises(InfraError, match=rf"in use by pid {os.getpid()} \("),
        users.alone(tmp_path, said.append),
    ):
        pass
    (tmp_path / "locks/users/999999999-dead").write_text("pid 999999999 (invoke test)")
    with users.alone(tmp_path, said.append):
        assert list((tmp_path / "locks/users").iterdir()) == []
    assert said == []


DRIVER = """
import sys, time
from kmodpipe.util import process as proc
if sys.argv[1] == "run":
    tell = lambda line: print(line, flush=True)
    proc.run(["sh", "-c", "setsid sleep 300 & echo $!; sleep 300"], timeout_s=300, on_line=tell)
child = proc.spawn_piped(["sleep", "300"], may_outlive=sys.argv[1] == "service")
print(child.pid, flush=True)
if sys.argv[1] == "end":
    proc.kill_group(child)
else:
    time.sleep(300)
"""


@pytest.mark.parametrize(("what", "ends"), [("spawn", True), ("run", True), ("service", False)])
def test_what_a_killed_driver_started_ends_with_it_grandchildren_too(what: str, ends: bool) -> None:
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, what], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    child = int(driver.stdout.readline())
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    driver.stdout.close()
    if ends:
        assert gone(child)
    else:
        time.sleep(0.5)
        assert not gone(child, 0)
        os.kill(child, signal.SIGKILL)
