"""The signals that end a command: the first interrupts, and what it starts is not interrupted."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys
from kmodpipe.util import signals

# A test run under nohup hands SIGHUP down ignored.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

def send(*numbers):
    for number in numbers:
        os.kill(os.getpid(), number)

taken = signals.install()
written = []
try:
    with taken.window():
        {body}
        print("through")
except KeyboardInterrupt:
    send(signal.SIGINT, signal.SIGTERM)
    print("cleaned up after", taken.cause, *written)
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


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("send(signal.SIGTERM)\nwork()", "work\ninterrupted by SIGTERM\nwork\nthrough\n"),
        ("work()\nsend(signal.SIGHUP)", "work\nthrough\nwork\ninterrupted by SIGHUP\n"),
        ("work(signal.SIGINT)", "work\ninterrupted by SIGINT\nwork\nthrough\n"),
    ],
)
def test_a_signal_between_commands_interrupts_the_next_and_only_that(body: str, said: str) -> None:
    code = """
import os, signal
from kmodpipe.util import signals

# A test run under nohup hands SIGHUP down ignored.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

def send(number):
    os.kill(os.getpid(), number)

def work(number=None):
    taken = signals.install()
    print("work")
    try:
        with taken.window():
            number and send(number)
            print("through")
    except KeyboardInterrupt:
        print("interrupted by", taken.cause)

taken = signals.install()
{body}
work()
"""
    done = subprocess.run(
        [sys.executable, "-c", code.replace("{body}", body)], capture_output=True, text=True, check=True
    )
    assert done.stdout == said


def test_a_run_under_nohup_survives_its_terminal() -> None:
    code = (
        "import os, signal\nfrom kmodpipe.util import signals\n"
        "with signals.install().window(): os.kill(os.getpid(), signal.SIGHUP); print('alive')"
    )
    done = subprocess.run(["nohup", sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "alive\n"
