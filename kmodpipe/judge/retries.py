"""How often a case runs."""

from __future__ import annotations

from dataclasses import dataclass

MOST_ATTEMPTS, MOST_REPEATS = 20, 10_000


@dataclass(frozen=True)
class RetryPolicy:
    """How often a case runs. Every run after the first has a fresh guest of its own."""

    attempts: int = 1  # at most so many times, until it does not fail
    repeat: int = 1  # so many times, whatever the verdicts
