"""Which cases and cells are likely to notice an edit: those that noticed most so far.

What noticed another edit of the same hunk comes before what noticed edits of others.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence

from kmodpipe.series.changes import Origin

# So many cases are run alone before all others: often one of them will do.
_NEAR, _FAR = 3, 10


class Telling:
    """Counts what noticed edits, from any thread."""

    def __init__(self) -> None:
        self._cases: Counter[str] = Counter()
        self._near: dict[Origin, Counter[str]] = {}
        self._cells: Counter[tuple[Origin, str]] = Counter()
        self._lock = threading.Lock()

    def noticed(self, hunk: Origin, cell: str, cases: Iterable[str]) -> None:
        """Count the cases that noticed an edit of a hunk in a cell; no case if it took none."""
        names = tuple(cases)
        with self._lock:
            self._cases.update(names)
            self._near.setdefault(hunk, Counter()).update(names)
            self._cells[hunk, cell] += 1

    def times(self, hunk: Origin, cell: str) -> int:
        """Return how many edits of a hunk were noticed in a cell."""
        with self._lock:
            return self._cells[hunk, cell]

    def first(self, hunk: Origin, missing: Sequence[str]) -> list[str]:
        """Return which of the cases are run before the others; none if nothing speaks for any."""
        with self._lock:
            near = _most(self._near.get(hunk, Counter()), missing, _NEAR)
            return near or _most(self._cases, missing, _FAR)


def _most(counted: Counter[str], missing: Sequence[str], number: int) -> list[str]:
    return [name for name, _ in counted.most_common() if name in missing][:number]
