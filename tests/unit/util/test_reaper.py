"""What becomes of a killed process's children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.support.processes import gone

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
