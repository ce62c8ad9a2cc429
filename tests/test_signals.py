"""The signals that end a command: the first interrupts, and what it starts is not interrupted."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys
from kmodpipe.util import signals

def send(*numbers):
    for number in numbers:
        os.kill(os.getpid(), number)

signals.install()
written = []
try:
    signals.begin()
    {body}
    print("through")
except KeyboardInterrupt:
    send(signal.SIGINT, signal.SIGTERM)
    print("cleaned up after", signals.arrived(), *written)
finally:
    signals.end()
send(signal.SIGTERM)
print("ended")
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("pass", "through\nended\n"),
        ("send(signal.SIGTERM)", "cleaned up after SIGTERM\nended\n"),
        ("send(signal.SIGHUP)", "cleaned up after SIGHUP\nended\n"),
        (
            "with signals.held(): send(signal.SIGINT, signal.SIGTERM); written.append('all')",
            "cleaned up after SIGINT all\nended\n",
        ),
    ],
)
def test_the_first_signal_interrupts_and_no_other(body: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{body}", body)], capture_output=True, text=True, check=True
    )
    assert done.stdout == said


def test_a_run_under_nohup_survives_its_terminal() -> None:
    code = (
        "import os, signal\nfrom kmodpipe.util import signals\n"
        "signals.install(); signals.begin(); os.kill(os.getpid(), signal.SIGHUP); print('alive')"
    )
    done = subprocess.run(["nohup", sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "alive\n"
