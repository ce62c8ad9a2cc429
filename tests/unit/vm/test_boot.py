"""Every way a boot can end, played by a scripted machine in place of QEMU."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from kmodpipe.util import process
from kmodpipe.util.errors import InfraError, Interrupted
from kmodpipe.vm import boot
from kmodpipe.vm.boot_record import BootRecord, BootSpec, GuestEnd
from kmodpipe.vm.limits import Deadlines, Limits, TimeScale
from kmodpipe.vm.protocol import Record, encode_ahead
from kmodpipe.vm.qemu import MachineSpec
from tests.support import REPO, scripted_qemu

NONCE = "00112233445566778899aabbccddeeff"
QUICK = Deadlines(
    boot_s=5, silence_s=5, whole_s=10, case_grace_s=0.2, panic_grace_s=0.3, exit_grace_s=0.3
)  # each test shortens the one that it is about
PANIC = "[    1.0] Kernel panic - not syncing: Fatal exception in interrupt\n"

Play = Callable[..., BootRecord]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The scripted machine, as a program."""
    path = tmp_path / "qemu"
    path.write_text(f'#!/bin/sh\nPYTHONPATH={REPO} exec {sys.executable} {scripted_qemu.__file__} "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def play(tmp_path: Path, program: Path) -> Play:
    def run(
        scenario: str,
        *,
        cases: Collection[int] = (0, 1),
        deadlines: Deadlines = QUICK,
        limits: Limits | None = None,
        on_record: Callable[[Record], None] | None = None,
        time_scale: TimeScale | None = None,
    ) -> BootRecord:
        script = tmp_path / "scenario.py"
        script.write_text(textwrap.dedent(scenario))
        spec = BootSpec(
            MachineSpec(script, tmp_path / "none", NONCE, program=program),
            nonce=NONCE,
            case_timeouts=dict.fromkeys(cases, 0.3),
            deadlines=deadlines,
            console_path=tmp_path / "console.log",
            channel_path=tmp_path / "channel.log",
            limits=limits or Limits(),
            time_scale=time_scale or TimeScale(),
        )
        return boot.run(spec, on_record)

    return run


def no_child_left() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
        return False
    except ChildProcessError:
        return True


WHOLE = """
guest.console("Linux version 5.10\\r\\n")
guest.send("hello", proto=1)
guest.case(0, "in the first\\n")
guest.send("beat", uptime_ms=1)
guest.case(1, "in the second\\n")
guest.send("done", cases=2)
"""


def test_a_whole_plan_is_done(play: Play, tmp_path: Path) -> None:
    told: list[str] = []
    session = play(WHOLE, on_record=lambda record: told.append(record.type))
    assert (session.end, session.detail, session.damaged) == (GuestEnd.DONE, "", 0)
    assert told == ["hello", "start", "end", "beat", "start", "end", "done"]
    assert [r.type for r in session.records] == [t for t in told if t != "beat"]
    assert session.to_init_s is not None and 0 < session.to_init_s <= session.duration_s
    log = (tmp_path / "console.log").read_bytes()
    assert log == b"Linux version 5.10\r\nin the first\nin the second\n"
    assert session.console_bytes == len(log)
    assert (tmp_path / "channel.log").read_bytes().count(b"KP ") == 7
    assert no_child_left()


def test_console_text_belongs_to_the_case_that_was_running(play: Play) -> None:
    session = play(
        """
        guest.console("boot\\n")
        guest.send("hello")
        for n in range(2):
            time.sleep(0.3)
            guest.case(n, "x" * 100_000)
        guest.send("done", cases=2)
        """
    )
    assert session.end is GuestEnd.DONE
    assert session.owners(2) == ()
    assert session.owners(5 + 50_000) == (0,)
    assert session.owners(5 + 150_000) == (1,)


def test_console_text_behind_the_start_of_a_case_is_never_outside_it(play: Play, tmp_path: Path) -> None:
    session = play(
        """
        guest.send("hello")
        for n in range(30):
            guest.console("x" * 300_000)
            guest.send("start", case=n, id="case")
            guest.console(f"<{n}>")
            guest.send("end", case=n, how="exit", status=0, ms=1)
        guest.send("done", cases=30)
        """,
        cases=range(30),
    )
    assert session.end is GuestEnd.DONE
    log = (tmp_path / "console.log").read_text()
    assert [n for n in range(30) if n not in session.owners(log.index(f"<{n}>"))] == []


def test_records_on_the_console_are_text(play: Play) -> None:
    session = play(
        """
        guest.send("hello")
        guest.console(b"".join([guest.line("start", case=0), guest.line("end", case=0, how="exit"),
                                guest.line("done", cases=1)]))
        """,
        cases=[0],
    )
    assert session.end is GuestEnd.EARLY_EXIT
    assert [r.type for r in session.records] == ["hello"]


def test_records_without_the_nonce_are_counted_and_not_believed(play: Play) -> None:
    session = play(
        """
        guest.send("hello")
        guest.send("start", case=0)
        guest.raw(b"KP ffffffffffffffffffffffffffffffff 2 00000000 done cases=1\\nok 1\\n")
        """,
        cases=[0],
    )
    assert session.end is GuestEnd.EARLY_EXIT
    assert session.foreign_bytes > 50
    assert session.damaged == 0


@pytest.mark.parametrize("after", ["guest.stay()", "guest.send('done', cases=2)", ""])
def test_a_panic_ends_the_guest_whatever_comes_after_it(play: Play, after: str) -> None:
    session = play(
        f"""
        guest.send("hello")
        guest.case(0)
        guest.send("start", case=1)
        guest.console({PANIC[:20]!r})
        time.sleep(0.05)
        guest.console({PANIC[20:]!r})
        {after}
        """
    )
    assert session.end is GuestEnd.PANIC
    assert "panic" in session.detail
    assert session.duration_s < 3
    assert session.owners(session.console_bytes - 1) == (1,)


def test_a_panic_after_the_last_record_counts(play: Play) -> None:
    assert play(WHOLE + f"guest.console({PANIC!r})").end is GuestEnd.PANIC


def test_a_panic_without_an_agent_is_a_panic(play: Play) -> None:
    assert play(f"guest.console({PANIC!r}); guest.stay()").end is GuestEnd.PANIC


def test_silence(play: Play) -> None:
    session = play(
        "guest.send('hello'); guest.send('start', case=0); guest.stay()",
        deadlines=Deadlines(silence_s=0.3, boot_s=5, case_grace_s=60),
    )
    assert session.end is GuestEnd.SILENCE
    assert session.returncode is not None and session.returncode < 0


def test_a_sign_of_life_is_enough(play: Play) -> None:
    session = play(
        """
        guest.send("hello")
        for n in range(12):
            guest.send("beat", uptime_ms=n) if n % 2 else guest.console("a line\\n")
            time.sleep(0.1)
        guest.send("done", cases=0)
        """,
        cases=[],
        deadlines=Deadlines(silence_s=0.8),
    )
    assert session.end is GuestEnd.DONE
    assert session.duration_s > 1


def test_a_guest_that_talks_and_never_reaches_its_agent(play: Play) -> None:
    session = play(
        """
        while True:
            guest.console("still booting\\n")
            time.sleep(0.05)
        """,
        deadlines=Deadlines(boot_s=0.5, silence_s=10),
    )
    assert session.end is GuestEnd.NO_BOOT
    assert session.to_init_s is None


def test_an_early_exit_says_the_last_lines(play: Play) -> None:
    session = play("guest.send('hello'); guest.send('start', case=0); guest.console('one\\ntwo\\n')")
    assert session.end is GuestEnd.EARLY_EXIT
    assert session.detail.splitlines()[-2:] == ["one", "two"]


def test_a_case_past_its_limit(play: Play) -> None:
    session = play(
        """
        guest.send("hello")
        guest.case(0)
        guest.send("start", case=1)
        while True:
            guest.send("beat", uptime_ms=1)
            time.sleep(0.05)
        """
    )
    assert session.end is GuestEnd.CASE_TIMEOUT
    assert "case 1" in session.detail
    assert session.duration_s < 3


def test_the_limit_of_the_whole(play: Play) -> None:
    session = play(
        """
        guest.send("hello")
        while True:
            guest.send("beat", uptime_ms=1)
            time.sleep(0.05)
        """,
        deadlines=Deadlines(whole_s=0.7),
    )
    assert session.end is GuestEnd.WHOLE_TIMEOUT


FLOOD = """
guest.send("hello")
guest.console("the beginning\\n")
while True:
    guest.console(b"x" * 65535 + b"\\n")
"""


def test_a_flood_ends_the_guest_and_the_file_keeps_both_ends(play: Play, tmp_path: Path) -> None:
    session = play(FLOOD, limits=Limits(file_bytes=1_000_000, tail_bytes=1000, total_bytes=20_000_000))
    assert session.end is GuestEnd.FLOOD
    log = (tmp_path / "console.log").read_bytes()
    assert log.startswith(b"the beginning\n")
    assert len(log) < 1_002_000
    assert f"[kmodpipe: {session.console_cut_bytes} bytes were cut here]".encode() in log
    assert session.console_cut_bytes == session.console_bytes - 1_001_000
    last = session.console_path.stat().st_size - 1
    assert session.stream_offset(last) == session.console_bytes - 1
    assert session.stream_offset(999_999) == 999_999
    assert session.console_cut == (1_000_000, session.console_bytes - 1000)


def test_a_flood_of_the_channel_ends_too(play: Play, tmp_path: Path) -> None:
    scenario = FLOOD.replace("guest.console(b", "guest.raw(b")
    session = play(scenario, limits=Limits(file_bytes=1_000_000, tail_bytes=1000, total_bytes=20_000_000))
    assert session.end is GuestEnd.FLOOD
    assert (tmp_path / "channel.log").stat().st_size < 1_002_000


def test_too_much_too_fast_is_a_flood(play: Play) -> None:
    session = play(FLOOD, limits=Limits(rate_bytes=5_000_000, rate_window_s=60))
    assert session.end is GuestEnd.FLOOD
    assert session.console_bytes < 20_000_000


def test_a_flood_of_records_is_a_flood(play: Play) -> None:
    scenario = "guest.send('hello')\nwhile True: guest.send('obs', case=0, key='k', value='v')"
    session = play(scenario, limits=Limits(records=500))
    assert session.end is GuestEnd.FLOOD
    assert len(session.records) == 500


def test_qemu_that_does_not_start_is_not_the_kernels_fault(play: Play) -> None:
    session = play("print('qemu: could not load kernel', file=sys.stderr); sys.exit(1)")
    assert session.end is GuestEnd.QEMU_FAILED
    assert "could not load kernel" in session.detail
    assert "could not load kernel" in session.stderr_tail


def test_qemu_that_is_killed_is_not_the_kernels_fault(play: Play) -> None:
    session = play("guest.send('hello'); guest.case(0); os.kill(os.getpid(), 9)")
    assert session.end is GuestEnd.QEMU_FAILED
    assert "SIGKILL" in session.detail


def test_ctrl_c_ends_it(play: Play) -> None:
    with process.Children().collecting() as children:
        stopper = threading.Timer(0.5, children.stop_all)
        stopper.start()
        try:
            session = play("guest.send('hello'); guest.stay()")
            assert session.end is GuestEnd.INTERRUPTED
            assert session.duration_s < 4
            with pytest.raises(Interrupted):
                play("guest.stay()")
        finally:
            stopper.join()
    assert no_child_left()


def test_a_stuck_case_ends_the_boot(play: Play) -> None:
    session = play(
        """
        guest.send("hello")
        guest.send("start", case=0)
        guest.send("end", case=0, how="stuck", status=0)
        guest.stay()
        """
    )
    assert session.end is GuestEnd.STUCK
    assert "case 0" in session.detail


STUCK = """
guest.send("hello")
guest.case(0)
guest.send("start", case=1)
guest.send("end", case=1, how="stuck", status=0)
"""


@pytest.mark.parametrize(
    ("scenario", "end"),
    [
        (
            "guest.send('hello'); guest.case(0); guest.send('retired', cases=1, why='a module is busy')",
            "retired",
        ),
        (STUCK + "guest.send('retired', cases=2, why='a module is busy'); guest.stay()", "retired"),
        (STUCK + "guest.send('retired', cases=1, why='a module is busy')", "early exit"),
        ("guest.send('hello'); guest.send('retired', cases=0, why='a module is busy')", "early exit"),
        (STUCK + "guest.send('done', cases=2)", "stuck"),
        (STUCK + f"guest.console({PANIC!r}); guest.send('retired', cases=2)", "panic"),
        (STUCK + f"guest.send('retired', cases=2); guest.console({PANIC!r})", "panic"),
    ],
)
def test_a_guest_that_retires(play: Play, scenario: str, end: str) -> None:
    session = play(scenario, cases=(0, 1, 2))
    assert session.end.value == end
    assert session.duration_s < 3
    if end == "retired":
        assert (session.detail, session.damaged) == ("a module is busy", 0)


@pytest.mark.parametrize("deaf", ["", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"])
def test_done_stays_done_when_qemu_does_not_end(play: Play, deaf: str) -> None:
    session = play(deaf + WHOLE + "guest.stay()")
    assert session.end is GuestEnd.DONE
    assert session.duration_s < 4
    assert no_child_left()


@pytest.mark.parametrize(
    "change",
    [
        ("cases=2", "cases=1"),
        ("cases=2", "cases=3"),
        ("guest.case(1", "guest.case(7"),
        ("guest.case(0", "guest.seq += 1; guest.case(0"),
        ("guest.case(0", "guest.raw(guest.line('obs', case=0)[:-9]); guest.case(0"),
        ('guest.send("hello", proto=1)', ""),
        ('guest.send("done", cases=2)', 'guest.send("done", cases=2); guest.send("beat")'),
        ('guest.send("done", cases=2)', 'guest.send("done", cases=2); guest.raw(guest.line("x")[:-1])'),
    ],
)
def test_a_last_record_that_does_not_fit_is_not_believed(play: Play, change: tuple[str, str]) -> None:
    assert change[0] in WHOLE
    session = play(WHOLE.replace(*change))
    assert session.end is GuestEnd.EARLY_EXIT
    assert session.detail


def test_a_module_that_is_refused_ends_in_order(play: Play) -> None:
    scenario = "guest.send('hello'); guest.send('refused', what='module', errno='EINVAL'); "
    assert play(scenario + "guest.send('done', cases=0)").end is GuestEnd.DONE


def test_a_listener_that_raises_leaves_no_machine_behind(play: Play) -> None:
    def listener(_: Record) -> None:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        play("guest.send('hello'); guest.stay()", on_record=listener)
    assert no_child_left()


def test_no_qemu_is_an_error_with_a_hint(tmp_path: Path) -> None:
    spec = MachineSpec(tmp_path / "k", tmp_path / "i", "", program=tmp_path / "no-such-qemu")
    with pytest.raises(InfraError) as e:
        boot.run(
            BootSpec(
                spec, nonce=NONCE, case_timeouts={}, deadlines=QUICK,
                console_path=tmp_path / "c", channel_path=tmp_path / "v",
            )
        )  # fmt: skip
    assert "not installed" in e.value.what and e.value.hint


def test_the_machine_dies_with_a_driver_that_is_killed(tmp_path: Path, program: Path) -> None:
    scenario, pid_file = tmp_path / "scenario.py", tmp_path / "pid"
    scenario.write_text(
        f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"open({str(pid_file)!r}, 'w').write(str(os.getpid()))\nguest.stay()\n"
    )
    code = f"""
from pathlib import Path
from kmodpipe.vm.boot import run
from kmodpipe.vm.boot_record import BootSpec
from kmodpipe.vm.qemu import MachineSpec
from kmodpipe.vm.limits import Deadlines
folder = Path({str(tmp_path)!r})
spec = MachineSpec(folder / "scenario.py", folder / "none", {NONCE!r}, program=folder / "qemu")
run(BootSpec(spec, nonce={NONCE!r}, case_timeouts={{}}, deadlines=Deadlines(),
    console_path=folder / "console.log", channel_path=folder / "channel.log"))
"""
    driver = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(REPO)})
    try:
        assert wait_until(lambda: pid_file.exists() and pid_file.read_text() != "")
        pid = int(pid_file.read_text())
        assert runs(pid)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        assert wait_until(lambda: not runs(pid))
    finally:
        driver.kill()
        driver.wait()


def wait_until(true: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def runs(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


STOPPED = """
import subprocess
def stopped(seconds):
    subprocess.Popen(["sh", "-c", f"sleep {seconds}; kill -CONT {os.getpid()}"])
    os.kill(os.getpid(), signal.SIGSTOP)
guest.send("hello")
guest.send("start", case=0, id="case-0")
"""


def test_a_guest_that_is_kept_waiting_is_not_silent(play: Play) -> None:
    """Its limit is 0.5 s, of its own; it is stopped for more."""
    session = play(
        STOPPED
        + """
stopped(1.4)
guest.send("end", case=0, how="exit", status=0, ms=1)
guest.send("done", cases=1)
        """,
        cases=[0],
        deadlines=Deadlines(silence_s=0.5, case_grace_s=0.2),
    )
    assert session.end is GuestEnd.DONE, session.detail
    assert session.spent.waited_s > 0.7
    # The guest's own time may be a little more than its limit would be, as looks are some tenths apart.
    assert session.case_spent[0].wall_s > 1.3 and session.case_spent[0].own_s < 1


def test_nobody_is_waited_for_for_ever(play: Play) -> None:
    session = play(
        STOPPED + "stopped(60)",
        cases=[0],
        deadlines=Deadlines(silence_s=0.6, case_grace_s=60, patience=3),
    )
    assert session.end is GuestEnd.QEMU_FAILED
    assert session.duration_s >= 1.8
    assert session.detail.startswith("QEMU was stopped from outside")
    assert re.search("; given up after [0-9]+ s, 3 times the limit[)]$", session.detail)
    assert "of processor time and waited" in session.detail


def test_a_limit_says_how_long_it_was_and_what_became_of_the_time(play: Play) -> None:
    session = play(
        "guest.send('hello'); guest.send('start', case=0)\nwhile True: pass",
        deadlines=Deadlines(silence_s=0.4, case_grace_s=60),
        time_scale=TimeScale(flavour=2, machine=1.5),
    )
    assert session.end is GuestEnd.SILENCE
    assert session.detail.startswith(
        "no sign of life for 0.4 s (×2 for the flavour, ×1.5 for this machine's speed: 1.2 s); QEMU had "
    )
    assert session.spent.cpu_s > 0.3
    assert session.duration_s > 1.2


def test_the_last_sign_of_life_is_told(play: Play) -> None:
    told = play("guest.stay()", deadlines=Deadlines(boot_s=0.4)).detail
    assert told.startswith("no word from the agent within 0.4 s of the start; QEMU had ")
    assert told.endswith("; no sign of life at all")
    scenario = "guest.send('hello'); guest.send('start', case=0); guest.stay()"
    session = play(scenario, deadlines=Deadlines(case_grace_s=0.9, silence_s=60))
    assert session.end is GuestEnd.CASE_TIMEOUT
    assert session.detail.startswith("case 0 with its limit of 0.3 s is not over after 1.2 s; QEMU had ")
    assert session.detail.endswith("; last sign of life 1 s before")


def test_the_agent_is_told_how_far_its_clock_is_ahead(play: Play, tmp_path: Path) -> None:
    """The clock of this guest goes on when it is stopped."""
    heard = tmp_path / "heard"
    session = play(
        STOPPED
        + f"""
def beat():
    guest.send("beat", uptime_ms=int(time.monotonic() * 1000))
beat()
stopped(1)
beat()
with open({str(heard)!r}, "wb") as f:
    f.write(guest.hear(0.6))
guest.send("end", case=0, how="exit", status=0, ms=1)
guest.send("done", cases=1)
        """,
        cases=[0],
        deadlines=Deadlines(),
    )
    assert session.end is GuestEnd.DONE, session.detail
    words = heard.read_bytes().splitlines(keepends=True)
    told = [int(word.split()[-1]) for word in words]
    # Sums, each more than the one before.
    assert told == sorted(set(told)) and 300 < told[-1] <= 1000 * session.spent.waited_s + 1
    assert [encode_ahead(NONCE, ms / 1000) for ms in told] == words


def test_an_agent_whose_clock_stood_still_meanwhile_is_told_nothing(play: Play, tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    beat = "guest.send('beat', uptime_ms=1000)\n"
    after = f"{beat}open({str(heard)!r}, 'wb').write(guest.hear(0.2))\n"
    end = "guest.send('end', case=0, how='exit', status=0, ms=1); guest.send('done', cases=1)"
    session = play(f"{STOPPED}{beat}stopped(0.8)\n{after}{end}", cases=[0], deadlines=Deadlines())
    assert session.end is GuestEnd.DONE, session.detail
    assert session.spent.waited_s > 0.2 and heard.read_bytes() == b""


def test_a_guest_that_sets_its_clock_gains_nothing(play: Play, tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    scenario = (
        "guest.send('hello', uptime_ms=1)\nguest.send('beat', uptime_ms=10**9)\n"
        f"open({str(heard)!r}, 'wb').write(guest.hear(0.3))\nguest.send('done', cases=0)"
    )
    session = play(scenario, cases=[])
    assert session.end is GuestEnd.DONE
    told = [int(word.split()[-1]) for word in heard.read_bytes().splitlines()]
    assert all(ms <= 1000 * session.spent.waited_s + 1 for ms in told)
