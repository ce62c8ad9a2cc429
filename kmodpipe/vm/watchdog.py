"""Check the time limits of one boot in QEMU's own time, and describe a limit that has passed.

A limit passes when QEMU has had its seconds, running or sleeping; waiting for a processor does not count
(`cpu_time`). So a guest in an endless loop and one that sleeps for ever both reach it, while one that gets no
CPU time from a busy machine has longer: up to `Deadlines.patience` times as much wall time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from kmodpipe.vm.boot_record import GuestEnd
from kmodpipe.vm.cpu_time import Meter, Reading
from kmodpipe.vm.limits import Deadlines, TimeScale


@dataclass(frozen=True)
class Limit:
    """One time limit, and how the boot ends when it passes."""

    since: Reading
    seconds: float  # as declared
    end: GuestEnd
    what: str = ""  # what happened, as a sentence in which {} stands for the seconds
    detail: str = ""  # the whole description, instead of ``what``


class Watchdog:
    """Measures QEMU's time in one boot. `start` has to be called first."""

    def __init__(self, deadlines: Deadlines, scale: TimeScale) -> None:
        self.deadlines = deadlines
        self._scale = scale
        # At the last `look`, and at the last sign of life.
        self.now = self.heard = Reading()

    def start(self, pid: int, started_s: float) -> None:
        """Begin to measure a QEMU that was started at ``started_s`` of `time.monotonic`."""
        self._meter = Meter(pid, started_s)

    def look(self, *, last: bool = False) -> Reading:
        """Return the time that QEMU has had until now; ``last`` forces a new look into /proc."""
        now_s = time.monotonic()
        self.now = self._meter.read(now_s, least_s=0) if last else self._meter.read(now_s)
        return self.now

    def sign_of_life(self) -> None:
        """Record that the guest has sent something."""
        self.heard = self.look()

    def left_s(self, limit: Limit) -> float:
        """Return the seconds that are left at least; 0 or less if the limit has passed."""
        allowed_s, spent = limit.seconds * self._scale.factor, self.now.since(limit.since)
        return min(allowed_s - spent.own_s, allowed_s * self.deadlines.patience - spent.wall_s)

    def first(self, limits: Iterable[Limit]) -> Limit:
        """Return the limit that has the least time left."""
        return min(limits, key=self.left_s)

    def describe(self, limit: Limit) -> str:
        """Return what happened, how long the limit was, and what QEMU did in that time."""
        if not limit.what:
            return limit.detail
        spent = self.now.since(limit.since)
        parts = [limit.what.format(self._scale.format(limit.seconds)), spent.describe()]
        if limit.end is not GuestEnd.SILENCE:
            parts.append(self._last_sign())
        if spent.own_s < limit.seconds * self._scale.factor:
            most = self.deadlines.patience
            parts.append(f"given up after {spent.wall_s:.0f} s, {most:g} times the limit")
        return "; ".join(parts)

    def _last_sign(self) -> str:
        if not self.heard.wall_s:
            return "no sign of life at all"
        return f"last sign of life {self.now.since(self.heard).wall_s:.0f} s before"


class GuestClock:
    """Tracks how far the guest's clock is ahead of the time that QEMU had.

    The clock runs on, more or less, while QEMU waits for a processor: an emulated timer catches up on some of
    the ticks that were due, a real one on all.
    """

    _STEP_S = 0.2  # the smallest change that is sent to the guest

    def __init__(self) -> None:
        self._begin: tuple[float, float] | None = None
        self._sent_s = 0.0

    def correction_s(self, guest_s: float, now: Reading) -> float | None:
        """Return how far the guest's clock, which shows ``guest_s``, is ahead.

        None if the guest has already been sent about that much.
        """
        if self._begin is None:
            self._begin = guest_s, now.own_s
        ahead_s = (guest_s - self._begin[0]) - (now.own_s - self._begin[1])
        # At most what QEMU really waited: a guest must not gain time by setting its clock.
        ahead_s = min(ahead_s, now.waited_s)
        if ahead_s - self._sent_s < self._STEP_S:
            return None
        self._sent_s = ahead_s
        return ahead_s


__all__ = ["GuestClock", "Limit", "Watchdog"]
