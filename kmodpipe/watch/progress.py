"""Say what a round is at, where no cell's line says it: the kernel base, a download, the builder image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kmodpipe.util.screen import SIGN_OF_LIFE_S, Step
from kmodpipe.util.text import one_line

# Shorter steps would only flicker.
_LEAST_S = 1.0


@dataclass(frozen=True)
class Going:
    """A step that goes on: ``base d91292d9c6d2``."""

    name: str
    text: str
    seconds: float
    # How much of it is done, from 0 to 1; None if that is not known.
    fraction: float | None = None

    @property
    def cell(self) -> str:
        """The cell that it may belong to."""
        return self.name.partition(" ")[2]

    @property
    def sentence(self) -> str:
        """All of it in one line."""
        percent = f"{self.fraction:.0%}" if self.fraction is not None else ""
        return one_line(" ".join(filter(None, (self.name, percent, self.text, f"{self.seconds:.0f} s"))))


def going(steps: Iterable[Step]) -> tuple[Going, ...]:
    """Return these steps as they are now."""
    return tuple(Going(step.name, step.text, step.elapsed_s, step.fraction) for step in steps)


def common(steps: Iterable[Going], cells: Iterable[str]) -> list[Going]:
    """Return the steps of none of these cells that take a while, the longest first."""
    known = frozenset(cells)
    found = [one for one in steps if one.cell not in known and one.seconds >= _LEAST_S]
    return sorted(found, key=lambda one: -one.seconds)


class Signs:
    """Signs of life of long steps, for a file or a pipe."""

    def __init__(self) -> None:
        # By name: the seconds at which a step was told last.
        self._told: dict[str, float] = {}

    def of(self, steps: Iterable[Going]) -> list[str]:
        """Return a line for each step of which nothing was said for a while."""
        now = {one.name: one for one in steps}
        # A later step of the same name begins anew.
        self._told = {name: at for name, at in self._told.items() if name in now and now[name].seconds >= at}
        due = [one for one in now.values() if one.seconds - self._told.get(one.name, 0.0) >= SIGN_OF_LIFE_S]
        self._told |= {one.name: one.seconds for one in due}
        return [f"  … {one.sentence}" for one in due]
