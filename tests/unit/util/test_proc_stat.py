"""What the kernel says of a process, read from real ones."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from kmodpipe.util import proc_stat, process_id


def test_a_process_that_runs_has_an_account() -> None:
    own = proc_stat.of(os.getpid())
    assert own is not None and own.started == process_id.start_ticks(os.getpid())
    assert own.cpu_s == pytest.approx(time.process_time(), abs=0.1)
    assert not own.dead and not own.stopped


def test_without_a_process_there_is_no_account(tmp_path: Path) -> None:
    assert proc_stat.of(999999999) is None
    for text in ("", "7 (sh) S", "7 (sh) S 1 2 3", f"7 (sh) S {'x ' * 60}"):
        (tmp_path / "stat").write_text(text)
        assert proc_stat.read(tmp_path / "stat") is None


@pytest.mark.parametrize("name", [b"plain", b"a b) Z 1", b"two\nlines", b"half \xc3"])
def test_a_name_may_hold_anything(tmp_path: Path, name: bytes) -> None:
    program = tmp_path / os.fsdecode(name)
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    with subprocess.Popen([program, "60"]) as child:
        try:
            assert f"{child.pid} (".encode() + name in Path(f"/proc/{child.pid}/stat").read_bytes()
            started = process_id.start_ticks(child.pid)
            assert process_id.runs(f"{child.pid} {process_id.boot_id()} {started}") and started.isdigit()
        finally:
            child.kill()


def test_stopped_and_dead_are_told_apart() -> None:
    def state(pid: int) -> tuple[bool, bool] | None:
        found = proc_stat.of(pid)
        return found and (found.stopped, found.dead)

    def reaches(pid: int, wanted: tuple[bool, bool] | None) -> bool:
        deadline = time.monotonic() + 10
        while state(pid) != wanted and time.monotonic() < deadline:
            time.sleep(0.01)
        return state(pid) == wanted

    child = subprocess.Popen(["sleep", "60"])
    assert reaches(child.pid, (False, False))
    child.send_signal(signal.SIGSTOP)
    assert reaches(child.pid, (True, False))
    child.kill()
    assert reaches(child.pid, (False, True))  # not reaped yet
    child.wait()
    assert reaches(child.pid, None)
