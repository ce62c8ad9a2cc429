"""Who uses a cache: commands that build or read what is in it, and the one that empties it, keep apart.

CACHE/locks/cache         held while a user comes, and for as long as `alone` takes
CACHE/locks/users/<pid>…  one file a user, locked for as long as it is one; says what it was asked to do
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kmodpipe.util import process_id
from kmodpipe.util.errors import InfraError
from kmodpipe.util.lock import lock


def _gate(cache: Path) -> Path:
    return cache / "locks" / "cache"


def _users(cache: Path) -> Path:
    return cache / "locks" / "users"


@contextmanager
def using(cache: Path, waiting: Callable[[str], None]) -> Iterator[None]:
    """Be a user of ``cache``; ``waiting`` is told for whom, where it is just being emptied."""
    own = _users(cache) / f"{os.getpid()}-{secrets.token_hex(4)}"
    with lock(_gate(cache), waiting=waiting):
        own.parent.mkdir(parents=True, exist_ok=True)
        _busy(cache)
        file = own.open("x", encoding="utf-8", errors="replace")
        fcntl.flock(file, fcntl.LOCK_EX)
    with file:
        try:
            file.write(process_id.command())
            file.flush()
            yield
        finally:
            with suppress(OSError):
                own.unlink()


@contextmanager
def alone(cache: Path, waiting: Callable[[str], None]) -> Iterator[None]:
    """Have ``cache`` to oneself. Raises InfraError with those that use it: what they need must not go."""
    with lock(_gate(cache), waiting=waiting):
        if busy := _busy(cache):
            raise InfraError(
                f"the cache is in use by {busy[0]}",
                where=str(cache),
                detail="\n".join(busy[1:]),
                hint="wait for it to end, or stop it; then clean",
            )
        yield


def _busy(cache: Path) -> list[str]:
    """What the users of the cache were asked to do; files that dead ones left are removed."""
    found: list[str] = []
    for path in sorted(_users(cache).glob("*")):
        with suppress(FileNotFoundError), path.open(encoding="utf-8", errors="replace") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found.append(file.read().strip() or "another process")
            else:
                path.unlink()
    return found
