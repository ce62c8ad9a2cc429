"""Handle the signals that end a command: SIGINT (Ctrl-C), SIGTERM, and SIGHUP (its terminal was closed).

The first signal raises KeyboardInterrupt in the main thread. Later ones are ignored: the cleanup takes
seconds, and an impatient second Ctrl-C must not stop it.

    taken = signals.install()
    try:
        with taken.window():        # the command's work: a signal interrupts it
            ...
    except KeyboardInterrupt:
        ...                         # cleanup: no signal interrupts it

Without `install`, as in a program that uses kmodpipe as a library, Python's own handlers stay.
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
    # No signal has arrived.
    QUIET = auto()
    # A signal has arrived, and will raise KeyboardInterrupt in the next window or at the end of `held`.
    PENDING = auto()
    # A signal has raised KeyboardInterrupt; later ones are ignored.
    INTERRUPTED = auto()


class Signals:
    """Handles the signals of this process."""

    def __init__(self) -> None:
        self._state = _State.QUIET
        # The signal that came first.
        self._first: signal.Signals | None = None
        # Whether a `window` is open, and how many blocks of `held` are.
        self._open = False
        self._held = 0

    @property
    def cause(self) -> str:
        """The name of the signal that interrupted (``SIGTERM``), or Ctrl-C if it is not known."""
        return self._first.name if self._first else "Ctrl-C"

    @contextmanager
    def window(self) -> Iterator[None]:
        """Let a signal interrupt the block; one that came before interrupts it at once."""
        if self._state is _State.INTERRUPTED:
            # That signal interrupted an earlier command of this process.
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
    """Handle the signals for the rest of this process; they interrupt only inside a `window`.

    A second call returns the same object, so that a signal between two commands interrupts the second.
    SIGINT is handled even if it was ignored, as in a background job of a script; SIGHUP is not, so that a
    command under nohup survives its terminal.
    """
    taken = _installed() or Signals()
    for number in _NUMBERS:
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, taken._take)
    return taken


@contextmanager
def held() -> Iterator[None]:
    """Delay signals until the end of the block, which writes something that has to be complete."""
    taken = _installed()
    # Signal handlers run in the main thread, and never interrupt another.
    if taken is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    with taken._hold():
        yield


def _installed() -> Signals | None:
    """Return the object whose method is this process's handler, None if `install` was not called."""
    owner = getattr(signal.getsignal(signal.SIGINT), "__self__", None)
    return owner if isinstance(owner, Signals) else None
