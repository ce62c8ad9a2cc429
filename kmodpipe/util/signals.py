"""Signals that end a command: SIGINT (Ctrl-C), SIGTERM, and SIGHUP (its terminal is gone).

The first one interrupts, as KeyboardInterrupt in the main thread. Those that follow change nothing: the
cleanup that is then under way takes seconds, and must not be cut short by an impatient second Ctrl-C.

    taken = signals.install()
    try:
        with taken.window():        # the command's work: a signal interrupts it
            ...
    except KeyboardInterrupt:
        ...                         # cleanup: no signal interrupts it

Without `install`, as in a program that uses kmodpipe as a library, signals do what they do in Python.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _State(Enum):
    QUIET = auto()
    """No signal has come."""
    PENDING = auto()
    """One has come, and interrupts as soon as it may."""
    INTERRUPTED = auto()
    """One has interrupted; those that follow change nothing."""


class Signals:
    """What becomes of the signals that this process gets."""

    def __init__(self) -> None:
        self._state = _State.QUIET
        self._first: signal.Signals | None = None
        self._open = False
        self._held = 0

    @property
    def cause(self) -> str:
        """The signal that interrupted, ``SIGTERM`` say; Ctrl-C where it is not known."""
        return self._first.name if self._first else "Ctrl-C"

    @contextmanager
    def window(self) -> Iterator[None]:
        """A signal interrupts the block; one that came before it does so at once."""
        if self._state is _State.INTERRUPTED:
            # By an earlier command's signal, which is not this one's.
            self._state, self._first = _State.QUIET, None
        try:
            self._open = True
            self._interrupt()
            yield
        finally:
            self._open = False

    @contextmanager
    def _hold(self) -> Iterator[None]:
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        self._interrupt()

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self._state is _State.QUIET:
            self._first, self._state = signal.Signals(number), _State.PENDING
            self._interrupt()

    def _interrupt(self) -> None:
        if self._state is _State.PENDING and self._open and not self._held:
            self._state = _State.INTERRUPTED
            raise KeyboardInterrupt


def install() -> Signals:
    """Take the signals over, for the rest of this process. Nothing is interrupted outside of a `window`.

    A second call returns the same object: a signal that came between two commands interrupts the second.
    A job that a script started in the background, where SIGINT is ignored, can be stopped all the same; but
    one under nohup is to survive its terminal.
    """
    taken = _installed() or Signals()
    for number in _NUMBERS:
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, taken._take)
    return taken


@contextmanager
def held() -> Iterator[None]:
    """A signal that comes while the block runs interrupts at its end. For what has to be written down."""
    taken = _installed()
    # Handlers run in the main thread, and interrupt no other.
    if taken is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    with taken._hold():
        yield


def _installed() -> Signals | None:
    """The object whose method handles this process' signals: Python's own table is where it is kept."""
    owner = getattr(signal.getsignal(signal.SIGINT), "__self__", None)
    return owner if isinstance(owner, Signals) else None
