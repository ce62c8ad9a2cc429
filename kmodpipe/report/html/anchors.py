"""Links, and ids on the page that stay the same from run to run, so that links to them keep. Pure."""

from __future__ import annotations

import re

Links = tuple[tuple[str, str], ...]
"""Names and their relative URLs."""
Pairs = tuple[tuple[str, str], ...]
"""Names and values."""
_KEPT = re.compile(r"[^A-Za-z0-9._=-]+")
_MOST = 80


class Names:
    """Gives out ids of one kind; each is given out once."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._given: set[str] = set()

    def of(self, name: str) -> str:
        """Return an id made of *name*: ``failure-docker``, a second one of it ``failure-docker-2``."""
        base = f"{self._kind}-{_KEPT.sub('-', name)[:_MOST].strip('-') or 'x'}"
        found, number = base, 1
        while found in self._given:
            number += 1
            found = f"{base}-{number}"
        self._given.add(found)
        return found
