"""What a terminal sends, by the names of keys."""

from __future__ import annotations

import os
import pty
import sys
import termios
import threading

import pytest

from kmodpipe.util.terminal_keys import SUSPEND, Keys, named


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"a", ["a"]),
        (b"qx", ["q", "x"]),
        (b"\x1b[A\x1b[B", ["up", "down"]),
        (b"\x1bOA", ["up"]),
        (b"\r", ["enter"]),
        (b"\x1a", [SUSPEND]),
        ("ä".encode(), ["ä"]),
        (b"\x1b[5~q", ["\x1b[5~", "q"]),
        (b"\xff", ["\ufffd"]),
        (b"", []),
    ],
)
def test_names(data: bytes, keys: list[str]) -> None:
    assert named(data) == keys


def test_without_a_terminal_there_are_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        keys = Keys(lambda key: None)
        assert not keys.there
        keys.open()
        keys.close()
    os.close(writing)


def test_the_terminal_gets_its_settings_back_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        # This process is not in the foreground of that terminal.
        monkeypatch.setattr("kmodpipe.util.terminal_keys._is_terminal", lambda: True)
        before = termios.tcgetattr(theirs)
        pressed: list[str] = []
        there = threading.Event()
        keys = Keys(lambda key: (pressed.append(key), there.set()))  # type: ignore[func-returns-value]
        for _ in range(2):
            there.clear()
            keys.open()
            assert termios.tcgetattr(theirs)[3] & (termios.ICANON | termios.ECHO) == 0
            os.write(ours, b"q")
            assert there.wait(5)
            keys.close()
            assert termios.tcgetattr(theirs) == before
        assert pressed == ["q", "q"]
    os.close(ours)
