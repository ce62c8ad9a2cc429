"""A process is known by its id, its boot and its start."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from kmodpipe.util import process_id


def test_a_process_is_known_by_pid_boot_and_start() -> None:
    pid, boot, start, place = process_id.current().split()
    assert place == process_id.namespace()
    assert process_id.runs(process_id.current())
    assert process_id.runs(f"{pid} {boot}")  # as older versions wrote it
    assert not process_id.runs(f"{pid} {boot} {int(start) + 1}")
    assert not process_id.runs(f"{pid} another-boot {start}")
    assert not process_id.runs("rubbish") and not process_id.runs("")
    child = subprocess.Popen(["sleep", "60"])
    named = f"{child.pid} {boot} {process_id.start_ticks(child.pid)}"
    assert process_id.runs(named)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not process_id.runs(named)  # a zombie is dead
    child.wait()


def test_what_is_left_in_another_pid_namespace_is_left_alone_for_a_day(tmp_path: Path) -> None:
    # Nothing of that pid runs here: in a container it may.
    owner = f"999999999 {process_id.boot_id()} 1 4026500000"
    left = tmp_path / "left"
    left.touch()
    assert process_id.runs(owner) and not process_id.left_by(owner, left)
    old = time.time() - 25 * 3600
    os.utime(left, (old, old))
    assert process_id.left_by(owner, left)
    assert process_id.left_by("999999999 another-boot 1 4026500000", tmp_path)
    assert process_id.left_by(f"999999999 {process_id.boot_id()} 1 {process_id.namespace()}", tmp_path)
