"""A lock between processes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from kmodpipe.util.errors import InfraError
from kmodpipe.util.lock import lock


def test_a_lock_waits_tells_once_for_whom_and_gives_up(tmp_path: Path) -> None:
    path, told = tmp_path / "locks" / "x", list[str]()
    with lock(path):
        with pytest.raises(InfraError, match="x is still locked by pid"), lock(path, timeout_s=0):
            pass
        waiter = threading.Timer(0, lambda: _hold(path, told))
        waiter.start()
        waiter.join(0.4)
        assert waiter.is_alive()
    waiter.join(10)
    assert told[0].startswith(f"waiting for pid {os.getpid()} (")
    assert told[0].endswith("), which holds x")
    assert told[1:] == ["held"]


def _hold(path: Path, told: list[str]) -> None:
    with lock(path, waiting=told.append):
        told.append("held")
