"""The workers of a run while it goes on: which are there, what one of them has, and who died of what."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from kmodpipe.cluster import worker
from kmodpipe.cluster.greeting import Greeted
from kmodpipe.util.screen import Screen
from kmodpipe.util.text import count, some

if TYPE_CHECKING:
    from distributed import Client

_NAMES = 8


class Crew:
    """The workers that can do a run's work, as the scheduler knows them."""

    def __init__(self, client: Client, resource: str, greeted: Greeted, screen: Screen) -> None:
        """``resource`` is what only they have; ``greeted`` are those that were there when the run began."""
        self.client = client
        self._resource = resource
        self._screen = screen
        # By address: one that is started again has its name.
        self._there = {address: one.name for address, one in greeted.workers.items()}

    @property
    def number(self) -> int:
        """How many there were at the last look."""
        return len(self._there)

    def look(self) -> int | None:
        """Say which are gone and which have joined; return how many guests they have at once.

        None if the scheduler does not answer.
        """
        try:
            known = self.client.scheduler_info(n_workers=-1)["workers"]
        except Exception:
            return None
        able = {address: one for address, one in known.items() if self._resource in one.get("resources", {})}
        there = {address: str(one["name"]) for address, one in able.items()}
        if gone := sorted(name for address, name in self._there.items() if address not in there):
            self._screen.say(f"gone: {some(gone, _NAMES)}; what they had is run again by others")
        if joined := sorted(name for address, name in there.items() if address not in self._there):
            self._screen.say(f"joined: {some(joined, _NAMES)}")
        if self._there and not there:
            self._screen.warn("no worker is left that can do the work: waiting for one")
        elif there and not self._there:
            self._screen.say(f"{count(len(there), 'worker')} again")
        self._there = there
        return sum(int(one.get("nthreads", 1)) for one in able.values())

    def died_of(self, key: str) -> int:
        """Return how many workers died while they ran a task, as far as the scheduler's events go back.

        Those that had it in their queue do not count. A large number if the scheduler does not answer.
        """
        try:
            events = self.client.get_events(worker.JOBS)
        except Exception:
            return sys.maxsize
        return sum(int(change) for _, (name, change) in events if name == key)

    def file(self, name: str, digest: str) -> bytes:
        """Return a shared file from the worker of that name, empty if it is gone."""
        try:
            known = self.client.scheduler_info(n_workers=-1)["workers"]
            addresses = [address for address, one in known.items() if str(one["name"]) == name]
            found = self.client.run(worker.file, digest, workers=addresses[:1], on_error="return")
        except Exception:
            return b""
        return next((data for data in found.values() if isinstance(data, bytes)), b"")
