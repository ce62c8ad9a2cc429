"""Keep the commands that use a cache apart from the one that empties it.

CACHE/locks/cache         held while a user is added, and for as long as `alone` lasts
CACHE/locks/users/<pid>…  one file a user, locked while it uses the cache; holds its pid and command line
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
    """Register this process as a user of ``cache``; call ``waiting`` if it has to wait for `alone` to end."""
    own = _users(cache) / f"{os.getpid()}-{secrets.token_hex(4)}"
    with lock(_gate(cache), waiting=waiting):
        own.parent.mkdir(parents=True, exist_ok=True)
        _busy(cache)
        file = own.open("x", encoding="utf-8", errors="replace")
        fcntl.flock(file, fcntl.LOCK_EX)
    with file:
        try:
            file.write(process_id.describe())
            file.flush()
            yield
        finally:
            with suppress(OSError):
                own.unlink()


@contextmanager
def alone(cache: Path, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold ``cache`` without other users. Raise InfraError, naming them, if there are any."""
    with lock(_gate(cache), waiting=waiting):
        if busy := _busy(cache):
            raise InfraError(
                f"the cache is in use by {busy[0]}",
                where=str(cache),
                detail="\n".join(busy[1:]),
                hint="wait for it to end, or stop it; then clean",
            )
        yield


@contextmanager
def nobody_else(cache: Path) -> Iterator[bool]:
    """Yield whether this process, which is a user of ``cache``, is its only one; none is added meanwhile."""
    with lock(_gate(cache)):
        yield len(_busy(cache)) <= 1


def _busy(cache: Path) -> list[str]:
    """Return the pid and command line of each user of the cache; remove the files of dead ones."""
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
