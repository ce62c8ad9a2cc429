"""The one door to subprocesses, with real children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kmodpipe.util import process
from kmodpipe.util.errors import InfraError, Interrupted
from tests.support.processes import gone


@pytest.fixture(autouse=True)
def not_stopping() -> Iterator[None]:
    with process.Children().collecting():
        yield


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def test_only_a_few_names_of_the_callers_environment_reach_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_DIR", "MAKEFLAGS", "CROSS_COMPILE", "KBUILD_OUTPUT", "LC_ALL"):
        monkeypatch.setenv(name, "the caller's")
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    text = process.run(["env"], timeout_s=10, env={"CROSS_COMPILE": "ours-"}).text
    env = dict(line.split("=", 1) for line in text.splitlines())
    assert "the caller's" not in env.values()
    assert env["https_proxy"] == "http://proxy:3128"
    assert env["CROSS_COMPILE"] == "ours-"
    assert env["LC_ALL"] == "C.UTF-8"
    assert "/usr/sbin" in env["PATH"].split(":")


def test_stdout_is_kept_and_the_tail_has_both_streams() -> None:
    lines: list[str] = []
    done = process.run(
        shell("echo out; echo err >&2; printf 'bad \\377'"), timeout_s=10, on_line=lines.append
    )
    assert done.stdout == b"out\nbad \xff"
    assert sorted(lines) == ["err", "out"]
    assert sorted(done.tail.splitlines()) == ["bad \ufffd", "err", "out"]


def test_a_log_gets_both_streams_and_is_appended_to(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    done = process.run(shell("echo out; echo err >&2"), timeout_s=10, log=log)
    assert done.stdout == b""
    first, *rest = log.read_text().splitlines()
    assert (first, sorted(rest)) == ("before", ["err", "out"])


def test_a_log_that_cannot_be_written_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="log cannot be written"):
        process.run(["touch", tmp_path / "started"], timeout_s=10, log=tmp_path / "missing" / "log")
    time.sleep(0.1)
    assert not (tmp_path / "started").exists()


def test_a_log_that_fills_the_disk_ends_the_command_as_our_trouble() -> None:
    started = time.monotonic()
    with pytest.raises(InfraError, match="log cannot be written: No space left on device") as caught:
        process.run(shell("echo x; exec sleep 60"), timeout_s=30, log=Path("/dev/full"))
    assert time.monotonic() - started < 10
    assert caught.value.where == "/dev/full"


def test_the_deadline_ends_the_whole_group_grandchildren_that_ignore_sigterm_too() -> None:
    pids: list[int] = []
    script = "(trap \"\" TERM; sh -c 'echo $PPID'; exec sleep 60) & echo $$; exec sleep 60"
    started = time.monotonic()
    with pytest.raises(InfraError, match=r"no end after 0\.7 s") as caught:
        process.run(shell(script), timeout_s=0.7, on_line=lambda line: pids.append(int(line)))
    assert time.monotonic() - started < 5
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)
    assert caught.value.where.startswith("sh -c '")


def test_a_daemonised_grandchild_that_holds_the_pipe_does_not_hold_us() -> None:
    started = time.monotonic()
    done = process.run(shell("setsid sleep 60 & echo $!"), timeout_s=30)
    assert time.monotonic() - started < 10
    os.kill(int(done.text), signal.SIGKILL)


@pytest.mark.parametrize(
    ("script", "words"),
    [("echo why >&2; exit 7", "exited with status 7"), ("echo why; kill -9 $$", "was killed by SIGKILL")],
)
def test_a_failure_says_how_it_ended_and_shows_the_last_lines(script: str, words: str) -> None:
    with pytest.raises(InfraError) as caught:
        process.run(shell(script), timeout_s=10, hint="look there")
    error = caught.value
    assert (error.what, error.detail, error.hint) == (f"sh {words}", "why", "look there")
    assert process.run(shell(script), timeout_s=10, check=False).returncode in (7, -9)


def test_a_signal_without_a_name_has_words_too() -> None:
    assert process.describe_status(-200) == "was killed by signal 200"


def test_a_missing_program_is_named_with_the_command_as_it_can_be_pasted() -> None:
    with pytest.raises(InfraError) as caught:
        process.run(["no-such-program", "two words"], timeout_s=10)
    assert caught.value.what == "no-such-program is not installed"
    assert caught.value.where == "no-such-program 'two words'"


def test_a_missing_folder_is_not_taken_for_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(InfraError) as caught:
        process.run(["true"], timeout_s=10, cwd=tmp_path / "gone")
    assert "installed" not in caught.value.what
    assert caught.value.where == str(tmp_path / "gone")


def test_input_is_fed_and_a_child_that_does_not_read_it_is_no_deadlock() -> None:
    data = os.urandom(1 << 20)
    assert process.run(["cat"], timeout_s=20, stdin=data).stdout == data
    assert process.run(["true"], timeout_s=20, stdin=data).returncode == 0


@pytest.mark.parametrize("script", ["yes | head -c 100000000", "head -c 100000000 /dev/zero"])
def test_huge_output_takes_bounded_memory(script: str) -> None:
    code = (
        "import resource; from kmodpipe.util import process as proc\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        f"done = proc.run(['sh', '-c', {script!r}], timeout_s=60)\n"
        "print(len(done.stdout), len(done.tail), (peak() - before) // 1024)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=90)
    kept, tail, grown_mib = map(int, ran.stdout.split())
    assert kept == 16 * 1024 * 1024
    assert tail <= 41 * 8192
    assert grown_mib < 64


def test_stop_all_interrupts_what_runs_and_refuses_what_would_start() -> None:
    pids: list[int] = []
    threading.Timer(0.4, process.children().stop_all).start()
    with pytest.raises(Interrupted, match="while a command ran"):
        process.run(
            shell("echo $$; exec sleep 60"), timeout_s=30, on_line=lambda line: pids.append(int(line))
        )
    assert gone(pids[0])
    assert process.stopping()
    with pytest.raises(Interrupted, match="before"):
        process.run(["true"], timeout_s=10)
    with process.Children().collecting():
        assert process.run(["true"], timeout_s=10).returncode == 0


def test_a_child_that_starts_while_stop_all_runs_is_ended_as_well() -> None:
    class Late(os.PathLike[str]):
        """An argument that is looked at between the first check and the start."""

        def __fspath__(self) -> str:
            process.children().stop_all()
            return "60"

    started = time.monotonic()
    with pytest.raises(Interrupted):
        process.run(["sleep", Late()], timeout_s=30)
    assert time.monotonic() - started < 5


def test_stop_all_ends_a_foreground_child_which_leads_no_group() -> None:
    child = process.spawn(
        ["sleep", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, foreground=True
    )
    try:
        process.children().stop_all()
        assert child.poll() == -signal.SIGTERM
    finally:
        child.kill()
        child.wait()
        process.forget(child)
