"""Drivers without the time that Python takes to start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.faults import REPO, Ended
from tests.faults.way.judging import CELLS
from tests.faults.way.toys import Toys

_ZYGOTE = """
import json, os, sys
from pathlib import Path
from kmodpipe.cache import users
from kmodpipe.cli import commands, report, resolve
from kmodpipe.cli.exit import guarded
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import TestOptions
from kmodpipe.pipeline import builder, run, workspace
from kmodpipe.util import signals
from kmodpipe.vm import accel
for line in sys.stdin:
    asked = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.chdir(asked["root"])
        os.environ.clear()
        os.environ.update(asked["env"])
        said = os.open(asked["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(said, 1)
        os.dup2(said, 2)
        taken = signals.install()
        options = TestOptions(runtime="host", cell=(asked["cell"],), out=asked["out"])
        code = guarded(commands.test, options, Invocation(Path(asked["root"]), signals=taken))
        sys.stdout.flush()
        os._exit(code)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@dataclass
class Zygote:
    """A Python with all of kmodpipe loaded, of which each driver is a fork: the same code, sooner."""

    child: subprocess.Popen[str]

    @classmethod
    def start(cls) -> Zygote:
        child = subprocess.Popen(
            [sys.executable, "-c", _ZYGOTE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd="/", env={**os.environ, "PYTHONPATH": str(REPO)},
        )  # fmt: skip
        return cls(child)

    def begin(self, play: Toys) -> int:
        """Start a driver; its pid."""
        assert self.child.stdin and self.child.stdout
        asked: dict[str, object] = {"root": str(play.world.root), "out": str(play.scene.out), "cell": CELLS}
        asked |= {"said": str(self._said(play)), "env": play.environment()}
        self.child.stdin.write(json.dumps(asked) + "\n")
        self.child.stdin.flush()
        return int(self.child.stdout.readline())

    def wait(self, play: Toys) -> Ended:
        assert self.child.stdout
        code = int(self.child.stdout.readline())
        return Ended(code, "", self._said(play).read_text())

    def close(self) -> None:
        assert self.child.stdin
        self.child.stdin.close()
        self.child.wait(10)

    @staticmethod
    def _said(play: Toys) -> Path:
        return play.scene.root / "said"
