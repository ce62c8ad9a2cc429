"""Moments at which a driver is killed: random ones, which can be had again."""

from __future__ import annotations

import os
import random


def seed() -> int:
    """KMODPIPE_FAULT_SEED gives the moments of an earlier run again."""
    return int(os.environ.get("KMODPIPE_FAULT_SEED") or random.randrange(1_000_000))


def moments(chosen: int, count: int, whole_s: float) -> list[float]:
    """Random moments over the whole of a run, one in each of ``count`` equal parts of it."""
    dice = random.Random(chosen)
    return [(part + dice.random()) * whole_s / count for part in range(count)]
