"""How fast this machine is: measured by running a program; stand-ins play QEMU on machines of every kind."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe.cache.store import Store
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


ACCEL = replace(TCG, qemu="a QEMU")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store on a machine whose QEMU takes 0.4 s for the program."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "qemu-system-x86_64"
    program.write_text(
        f"#!{sys.executable}\nimport sys, time\nsay = lambda t: print(t, end='', flush=True)\n"
    )
    with program.open("a") as f:
        f.write(f"say('s'); time.sleep(0.4); {ENDS}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return Store(tmp_path / "cache")


def note_of(store: Store) -> Path:
    (found,) = (store.cache / "kept" / "speed").glob("*.json")
    return found


def test_the_next_command_takes_it_and_says_how_old_it_is(store: Store) -> None:
    first = speed.of_machine(ACCEL, store)
    assert first.seconds > 0.35 and not first.age_s and "ago" not in first.describe()
    assert "speed.age-seconds" not in first.properties()
    note = json.loads(note_of(store).read_text())
    note_of(store).write_text(json.dumps({**note, "at": note["at"] - 100}))
    second = speed.of_machine(ACCEL, store)
    assert second.seconds == first.seconds and second.factor == first.factor
    assert re.search(r"took 0\.4. s \(10\d s ago\), ", second.describe())
    assert second.properties()["speed.age-seconds"].startswith("10")


@pytest.mark.parametrize(
    "change",
    [
        {"boot": "another"}, {"at": 0}, {"at": 1e12}, {"at": "now"}, {"at": None}, {"seconds": []},
    ],
)  # fmt: skip
def test_what_is_old_or_of_another_machine_or_unreadable_is_measured_again(
    store: Store, change: dict[str, object]
) -> None:
    speed.of_machine(ACCEL, store)
    before = json.loads(note_of(store).read_text())
    note_of(store).write_text(json.dumps({**before, "seconds": 99, **change}))
    again = speed.of_machine(ACCEL, store)
    assert again.seconds < 2 and not again.age_s
    assert json.loads(note_of(store).read_text())["boot"] == before["boot"]


def test_another_emulator_is_measured_by_itself(store: Store) -> None:
    speed.of_machine(ACCEL, store)
    assert not speed.of_machine(replace(ACCEL, qemu="its update"), store).age_s
    assert not speed.of_machine(replace(ACCEL, name="kvm", cpu="host"), store).age_s


def test_what_could_not_be_measured_is_not_remembered(store: Store, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "qemu-system-x86_64"
    program.write_text("#!/bin/sh\nexit 1\n")
    assert speed.of_machine(ACCEL, store).trouble
    assert not (store.cache / "kept").exists()
