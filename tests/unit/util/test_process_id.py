"""A process is known by its id, its boot and its start."""

from __future__ import annotations

import os
import subprocess

from kmodpipe.util import process_id


def test_a_process_is_known_by_pid_boot_and_start() -> None:
    pid, boot, start = process_id.current().split()
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
