"""What a process got of a machine: told from a made-up /proc, and of real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kmodpipe.vm.cpu_time import Meter, Reading

PID = 7
TICKS = os.sysconf("SC_CLK_TCK")


class Machine:
    """A /proc with one process, whose threads have a state, seconds that ran and waited, and turns."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.meter = Meter(PID, 100.0, proc=root)
        self.steal(0)

    def thread(self, tid: int, state: str, ran: float, waited: float, turns: int) -> None:
        folder = self.root / str(PID) / "task" / str(tid)
        folder.mkdir(parents=True, exist_ok=True)
        ticks = " ".join(["0"] * 10)
        (folder / "stat").write_text(f"{tid} (qemu) (x) {state} {ticks} {int(ran * TICKS)} 0 0\n")
        (folder / "schedstat").write_text(f"{int(ran * 1e9)} {int(waited * 1e9)} {turns}\n")

    def steal(self, seconds: float) -> None:
        (self.root / "stat").write_text(f"cpu  1 2 3 4 5 6 7 {int(seconds * TICKS)} 0 0\ncpu0 0\ncpu1 0\n")

    def at(self, seconds: float) -> Reading:
        return self.meter.read(100.0 + seconds)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_what_was_waited_is_not_own_time(machine: Machine) -> None:
    machine.thread(7, "R", 0, 0, 1)
    machine.at(0)
    machine.thread(7, "R", 2, 7, 9)
    found = machine.at(10)
    assert (found.wall_s, found.cpu_s, found.waited_s, found.own_s) == (10, 2, 7, 3)
    assert found.since(Reading(1, 1, 1)) == Reading(9, 1, 6)


def test_a_wait_counts_while_it_goes_on_and_once(machine: Machine) -> None:
    machine.thread(7, "R", 1, 0, 5)
    machine.at(1)
    for second in (2, 3, 4):
        assert machine.at(second).waited_s == second - 1
    # It is over, and the kernel tells it.
    machine.thread(7, "R", 1.5, 3, 6)
    assert machine.at(5).waited_s == 3
    assert machine.at(5.01).waited_s == 3


def test_sleep_is_own_time(machine: Machine) -> None:
    machine.thread(7, "S", 1, 0, 5)
    machine.at(1)
    assert machine.at(60).own_s == 60


def test_several_threads_that_wait_are_one_wait(machine: Machine) -> None:
    for tid in (7, 8, 9):
        machine.thread(tid, "R", 0, 0, 1)
    machine.at(0)
    for tid, waited in ((7, 3), (8, 4), (9, 1)):
        machine.thread(tid, "S", 1, waited, 2)
    found = machine.at(10)
    assert (found.cpu_s, found.waited_s) == (3, 4)


@pytest.mark.parametrize("state", ["D", "T"])
def test_a_process_that_is_held_waits(machine: Machine, state: str) -> None:
    machine.thread(7, state, 1, 0, 5)
    machine.at(1)
    assert machine.at(4).waited_s == 3


def test_a_host_that_is_itself_kept_waiting(machine: Machine) -> None:
    machine.thread(7, "R", 0, 0, 1)
    machine.at(0)
    machine.thread(7, "R", 2, 0, 1)
    machine.steal(4)  # of two processors
    assert machine.at(10).waited_s == 2


def test_nobody_waits_longer_than_time_goes(machine: Machine) -> None:
    machine.thread(7, "R", 0, 0, 1)
    machine.at(0)
    machine.thread(7, "S", 0, 90, 2)
    assert machine.at(10) == Reading(10, 0, 10)


def test_without_an_account_own_time_is_wall_time(machine: Machine) -> None:
    assert machine.at(5) == Reading(5, 0, 0)
    machine.thread(7, "R", 3, 0, 0)
    (machine.root / "7/task/7/schedstat").unlink()
    machine.at(6)
    machine.thread(7, "R", 4, 0, 0)
    (machine.root / "7/task/7/schedstat").unlink()
    assert machine.at(7) == Reading(7, 4, 0)


def test_a_look_that_is_young_is_not_repeated(machine: Machine) -> None:
    machine.thread(7, "R", 1, 0, 1)
    machine.at(1)
    machine.thread(7, "R", 1, 1, 2)
    assert machine.at(1.0625) == Reading(1.0625, 1, 0)
    assert machine.meter.read(101.125, least_s=0).waited_s == 1
    # However often somebody asks.
    machine.thread(7, "R", 2, 1, 3)
    assert [machine.at(1.125 + n / 64).cpu_s for n in range(9)] == [1] * 7 + [2] * 2


# -- real processes -----------------------------------------------------------------------------------
@pytest.fixture
def child(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", request.param]) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("child", ["while True: pass"], indirect=True)
def test_a_busy_process_runs_or_waits(child: subprocess.Popen[bytes]) -> None:
    meter = Meter(child.pid, time.monotonic())
    meter.read(time.monotonic())
    time.sleep(0.6)
    found = meter.read(time.monotonic())
    assert found.cpu_s + found.waited_s == pytest.approx(found.wall_s, abs=0.15)


@pytest.mark.parametrize("child", ["import time; time.sleep(60)"], indirect=True)
def test_a_process_that_is_stopped_waits_until_it_goes_on(child: subprocess.Popen[bytes]) -> None:
    meter = Meter(child.pid, time.monotonic())
    child.send_signal(signal.SIGSTOP)
    time.sleep(0.1)
    before = meter.read(time.monotonic())
    time.sleep(0.3)
    assert meter.read(time.monotonic()).since(before).waited_s == pytest.approx(0.3, abs=0.1)
    child.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("child", ["for _ in range(3_000_000): pass"], indirect=True)
def test_the_account_outlives_the_process_until_it_is_reaped(child: subprocess.Popen[bytes]) -> None:
    meter = Meter(child.pid, time.monotonic())
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert meter.read(time.monotonic()).cpu_s > 0.02
