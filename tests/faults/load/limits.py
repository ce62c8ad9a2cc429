"""Two cases with a limit, on a machine that has little time for their guests.

kept-waiting    would be through in time, but its QEMU is stopped for longer than a guest may be silent
loops           never ends: its limit is found, and the message says what the machine did
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

from kmodpipe.vm.cpu_time import Meter
from tests.faults import Scene, copy_project

LIMIT_S = {"kept-waiting": 12, "loops": 5}
BOOTED_S, STOPPED_S = 3.0, 25.0
CASES = {
    "kept-waiting": "sleep 6\nobserve outcome through\n",
    "loops": "while :; do :; done\n",
}
_EXPECTED = """\
timeout_s = {limit}
goal = "through"
alone = true
[[case.expect]]
outcome = "through"
reason = "it has time enough"
"""


def make_project(root: Path) -> Path:
    """A copy of this project with these cases."""
    folder = copy_project(root, "limits")
    table = ""
    for name, script in CASES.items():
        (folder / f"{name}.sh").write_text(f'#!/bin/sh\n. "$KMODPIPE_LIB"\n{script}')
        table += f'[[case]]\nid = "{name}"\nsummary = "on a busy machine"\nscript = "{name}.sh"\n'
        table += _EXPECTED.format(limit=LIMIT_S[name])
    (folder / "case.toml").write_text(table)
    return root


class Stopper(threading.Thread):
    """Stops the QEMU of the scene's first guest when that is in its case, and lets it go on later."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(daemon=True)
        self._root = os.fsencode(scene.root)
        self._over = threading.Event()

    def run(self) -> None:
        pid, meter = None, None
        while not self._over.wait(0.1):
            if meter is None:
                pid = self._machine()
                meter = Meter(pid, time.monotonic()) if pid else None
            elif pid and meter.read(time.monotonic()).own_s > BOOTED_S:
                os.kill(pid, signal.SIGSTOP)
                self._over.wait(STOPPED_S)
                os.kill(pid, signal.SIGCONT)
                return

    def _machine(self) -> int | None:
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                program, *words = (process / "cmdline").read_bytes().split(bytes(1))
                if program.endswith(b"qemu-system-x86_64") and self._root in b" ".join(words):
                    return int(process.name)
        return None

    def end(self) -> None:
        self._over.set()
        self.join()
