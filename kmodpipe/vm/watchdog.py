"""Limits of one boot, in QEMU's own time, and the sentence where one passes.

A limit passes when QEMU has had its seconds, used or slept away; what it waited for a processor does not
count (`meter`). So a guest in an endless loop and one that sleeps for ever are found as before, and one that
this machine has no time for is waited for: at most `Deadlines.patience` times as long, on the wall.
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
    """``seconds`` as declared, from ``since`` on, and what it means when they have passed: ``what`` is a
    sentence in which {} stands for them, or ``detail`` says all there is to say."""

    since: Reading
    seconds: float
    end: GuestEnd
    what: str = ""
    detail: str = ""


class Watchdog:
    """The clock of one boot. `start` comes first."""

    def __init__(self, deadlines: Deadlines, scale: TimeScale) -> None:
        self.deadlines = deadlines
        self._scale = scale
        self.now = self.heard = Reading()

    def start(self, pid: int, started_s: float) -> None:
        self._meter = Meter(pid, started_s)

    def look(self, *, last: bool = False) -> Reading:
        """What QEMU has had until now; ``last``: no later look will find it."""
        now_s = time.monotonic()
        self.now = self._meter.read(now_s, least_s=0) if last else self._meter.read(now_s)
        return self.now

    def sign_of_life(self) -> None:
        self.heard = self.look()

    def left_s(self, limit: Limit) -> float:
        """The seconds that are left at least; 0 or less when the limit has passed."""
        allowed_s, spent = limit.seconds * self._scale.factor, self.now.since(limit.since)
        return min(allowed_s - spent.own_s, allowed_s * self.deadlines.patience - spent.wall_s)

    def first(self, limits: Iterable[Limit]) -> Limit:
        return min(limits, key=self.left_s)

    def describe(self, limit: Limit) -> str:
        """Return what happened when a limit passed: how long it was, and what QEMU did with the time."""
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
    """How far the guest's clock is ahead of what QEMU had. It goes on, more or less, while QEMU waits for a
    processor: an emulated timer catches up with some of the ticks that were due, a real one with all."""

    _STEP_S = 0.2
    """What is worth telling."""

    def __init__(self) -> None:
        self._begin: tuple[float, float] | None = None
        self._told_s = 0.0

    def shows(self, guest_s: float, now: Reading) -> float | None:
        """The guest has just told its time. What it has to be told, if anything: by how much it is ahead."""
        if self._begin is None:
            self._begin = guest_s, now.own_s
        ahead_s = (guest_s - self._begin[0]) - (now.own_s - self._begin[1])
        # Only what QEMU really waited: a guest that sets its clock has no say.
        ahead_s = min(ahead_s, now.waited_s)
        if ahead_s - self._told_s < self._STEP_S:
            return None
        self._told_s = ahead_s
        return ahead_s


__all__ = ["GuestClock", "Limit", "Watchdog"]
