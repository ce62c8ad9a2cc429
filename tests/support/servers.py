"""Servers on loopback for tests: a free port, waiting until one answers, and a git daemon."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
        return port


def wait_for_port(port: int, child: subprocess.Popen[bytes], within_s: float = 60) -> None:
    """Until ``child`` answers there."""
    deadline = time.monotonic() + within_s
    while True:
        assert child.poll() is None, f"the server has ended with {child.returncode}"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert time.monotonic() < deadline, "the server does not answer"
        time.sleep(0.05)


@contextmanager
def git_daemon(repository: Path) -> Iterator[int]:
    """The port of a git daemon that serves ``repository`` under its name, and all that is beside it."""
    port, base = free_port(), str(repository.parent)
    child = subprocess.Popen(
        ["git", "daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}",
         f"--base-path={base}", base],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        wait_for_port(port, child)
        yield port
    finally:
        # git starts git-daemon as a child of its own: the group goes.
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        child.wait(10)
