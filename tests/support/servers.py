"""Servers on loopback for tests: a free port, waiting until one answers, and a git daemon."""

from __future__ import annotations

import functools
import http.server
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
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
def http_files(folder: Path) -> Iterator[str]:
    """The URL of a server that gives out the files of ``folder`` as any web server: git calls it dumb."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with _serving(handler) as url:
        yield url


@contextmanager
def git_http_backend(folder: Path) -> Iterator[str]:
    """The URL of git's own HTTP server for the repositories in ``folder``."""

    class Backend(_Quiet):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            path, _, query = self.path.partition("?")
            env = {
                **os.environ,
                "GIT_PROJECT_ROOT": str(folder), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path,
                "QUERY_STRING": query, "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "CONTENT_LENGTH": str(length),
            }  # fmt: skip
            done = subprocess.run(
                ["git", "http-backend"], input=self.rfile.read(length), env=env, capture_output=True
            )
            head, _, body = done.stdout.partition(b"\r\n\r\n")
            rows = dict(row.split(": ", 1) for row in head.decode().splitlines())
            self.send_response(int(rows.pop("Status", "200").split()[0]))
            for name, value in rows.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

    with _serving(Backend) as url:
        yield url


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def _serving(handler: Callable[..., http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


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
