"""Signals that end a command: SIGINT (Ctrl-C), SIGTERM, and SIGHUP (its terminal is gone).

The first one interrupts, as KeyboardInterrupt in the main thread. Those that follow change nothing: what is
being cleaned up and written down then takes seconds, and must not be cut short by an impatient second Ctrl-C.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_arrived = ""
_open = False
_held = 0


def install() -> None:
    """Take the signals over, for this process. Nothing is interrupted outside of `begin` and `end`.

    A job that a script started in the background, where SIGINT is ignored, can be stopped all the same; but
    one under nohup is to survive its terminal.
    """
    for number in _NUMBERS:
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _take)


def begin() -> None:
    """From here on a signal interrupts; one that came before does so at once."""
    global _open
    _open = True
    _raise_held()


def end() -> None:
    """The command is over: a signal that comes now comes too late."""
    global _open, _arrived
    _open, _arrived = False, ""


def arrived() -> str:
    """The signal that interrupted, ``SIGTERM`` say; Ctrl-C where it is not known."""
    return _arrived.removeprefix("!") or "Ctrl-C"


@contextmanager
def held() -> Iterator[None]:
    """A signal that comes while the block runs interrupts at its end. For what has to be written down."""
    global _held
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _held += 1
    try:
        yield
    finally:
        _held -= 1
    _raise_held()


def _take(number: int, frame: FrameType | None) -> None:
    global _arrived
    if not _arrived:
        _arrived = "!" + signal.Signals(number).name
        _raise_held()


def _raise_held() -> None:
    global _arrived
    if _arrived.startswith("!") and _open and not _held:
        _arrived = _arrived[1:]
        raise KeyboardInterrupt
