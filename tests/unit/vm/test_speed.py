"""How fast this machine is: measured by running a program; stand-ins play QEMU on machines of every kind."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from kmodpipe.util.errors import InfraError
from kmodpipe.vm import speed
from kmodpipe.vm.qemu import TCG
from kmodpipe.vm.speed import MOST, REFERENCE_S, Speed

ENDS = f"say('e'); sys.exit({speed.EXIT_STATUS})"


def measure(folder: Path, script: str) -> Speed:
    program = folder / "qemu"
    head = "import os, signal, subprocess, sys, time\nsay = lambda t: print(t, end='', flush=True)\n"
    program.write_text(f"#!{sys.executable}\n{head}{script}\n")
    program.chmod(0o755)
    return speed.measure(TCG, folder, program=program)


@pytest.mark.parametrize(
    ("seconds", "factor"),
    [(0.01, 1), (REFERENCE_S, 1), (1.2 * REFERENCE_S, 1), (1.81 * REFERENCE_S, 1.8), (99, MOST)],
)
def test_limits_are_longer_on_a_slow_machine_and_never_shorter(seconds: float, factor: float) -> None:
    found = Speed(seconds)
    assert found.factor == factor
    assert found.describe().endswith(f"limits are ×{factor:g}" if factor > 1 else "limits are as declared")
    assert found.properties()["speed.factor"] == f"{factor:g}"


def test_the_time_between_the_programs_signs_counts(tmp_path: Path) -> None:
    found = measure(tmp_path, f"time.sleep(0.3); say('s'); time.sleep(0.5); {ENDS}")
    assert not found.trouble
    assert 0.45 < found.seconds < 0.75 and found.factor >= 1.8


def test_what_is_waited_is_told_and_does_not_count(tmp_path: Path) -> None:
    """A machine that has no time for the program, by the same signal that a debugger would send."""
    wake = "subprocess.Popen(['sh', '-c', f'sleep 0.6; kill -CONT {os.getpid()}'])"
    found = measure(tmp_path, f"say('s'); {wake}; os.kill(os.getpid(), signal.SIGSTOP); {ENDS}")
    assert found.waited_s > 0.3 and "waited 0." in found.describe()
    assert found.seconds < 0.4


@pytest.mark.parametrize(
    "script",
    ["sys.exit('no such CPU')", f"say('s'); sys.exit({speed.EXIT_STATUS})", "say('se'); sys.exit(1)"],
)
def test_what_cannot_be_measured_is_told_and_changes_nothing(tmp_path: Path, script: str) -> None:
    found = measure(tmp_path, script)
    assert found.factor == 1 and found.trouble
    assert "not measured: a test program exited with status" in found.describe()
    assert found.properties()["speed.trouble"] == found.trouble


def test_a_program_that_never_ends_is_the_slowest_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "_BOUND_S", 0.5)
    assert measure(tmp_path, "say('s'); time.sleep(60)").seconds == 0.5


def test_a_machine_that_is_too_busy_to_be_measured_is_not_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "_MOST_WALL_S", 1.0)
    found = measure(tmp_path, "say('s'); os.kill(os.getpid(), signal.SIGSTOP)")
    assert found.factor == 1 and "this machine is too busy" in found.describe()


def test_no_qemu_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="not installed"):
        speed.measure(TCG, tmp_path, program=tmp_path / "none")
    assert signal.getsignal(signal.SIGINT) is not None
