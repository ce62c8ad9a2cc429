"""A lock between processes that ends with its holder."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kmodpipe.util import process, process_id
from kmodpipe.util.errors import InfraError, Interrupted


@contextmanager
def lock(
    path: Path, *, waiting: Callable[[str], None] | None = None, timeout_s: float = 3600
) -> Iterator[None]:
    """Hold an exclusive flock on ``path`` while the block runs.

    ``waiting`` is called once with a sentence that names the holder. Raises Interrupted when the command is
    stopped meanwhile, InfraError after ``timeout_s`` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout_s
    reported = False
    with path.open("a+", encoding="utf-8", errors="replace") as f:
        while True:
            try:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                f.seek(0)
                owner = f.read(400).strip() or "another process"
                if waiting and not reported:
                    waiting(f"waiting for {owner}, which holds {path.name}")
                    reported = True
                if process.stopping():
                    raise Interrupted(f"interrupted while waiting for {owner}", where=str(path)) from None
                if time.monotonic() > deadline:
                    raise InfraError(
                        f"{path.name} is still locked by {owner}",
                        where=str(path),
                        hint="wait for it to end, or end it",
                    ) from None
                time.sleep(0.1)
        f.truncate(0)
        f.write(f"{process_id.describe()}\n")
        f.flush()
        yield
