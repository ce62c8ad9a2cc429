"""Receivers for the tests of publishing: a server that misbehaves on demand, a real nginx, a real SQUAD.

All are on loopback. What arrived is counted there, and not believed from what the sender says.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import requests
import trustme

from tests.support.servers import free_port, wait_for_port

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Seen:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Behaviour = Callable[["Misbehaving", socket.socket, "Seen | None"], None]


class Misbehaving:
    """A server that does to each connection what the next behaviour says, the last one for ever.

    ``requests`` are those that came in whole, ``stored`` what it keeps: one body for a path that is PUT, one
    for each idempotency key, and one for each POST without such a key.
    """

    def __init__(self, *behaviours: Behaviour, host: str = "127.0.0.1") -> None:
        self.behaviours = list(behaviours)
        self.requests: list[Seen] = []
        self.stored: dict[str, bytes] = {}
        self.connections = 0
        self.flooded = 0
        self._listener = socket.create_server((host, 0))
        self.url = f"http://{host}:{self._listener.getsockname()[1]}"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    def _serve(self) -> None:
        while not self.stopped:
            try:
                conn, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            behaviour = self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]
            threading.Thread(target=self._one, args=(conn, behaviour), daemon=True).start()

    def _one(self, conn: socket.socket, behaviour: Behaviour) -> None:
        with conn, suppress(OSError):
            conn.settimeout(30)
            deaf = getattr(behaviour, "deaf", False)
            behaviour(self, conn, None if deaf else self._receive(conn))

    def _receive(self, conn: socket.socket) -> Seen:
        data = b""
        while b"\r\n\r\n" not in data:
            data += _some(conn)
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", "0")):
            body += _some(conn)
        method, path, _ = first.split(" ")
        seen = Seen(method, path, headers, body)
        self.requests.append(seen)
        return seen

    def store(self, seen: Seen) -> None:
        key = (
            seen.path if seen.method == "PUT" else seen.headers.get("idempotency-key", str(len(self.stored)))
        )
        self.stored[key] = seen.body

    def close(self) -> None:
        self._stopped.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


def _some(conn: socket.socket) -> bytes:
    data = conn.recv(65536)
    if not data:
        raise ConnectionError("the client is gone")
    return data


def answers(status: int, body: bytes = b"", *, stores: bool = False, **headers: str) -> Behaviour:
    """A whole answer; headers with _ for -."""

    def behave(server: Misbehaving, conn: socket.socket, seen: Seen | None) -> None:
        assert seen is not None
        if stores:
            server.store(seen)
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        conn.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    return behave


def takes(status: int = 201, body: bytes = b"") -> Behaviour:
    """Stores what came, and says so."""
    return answers(status, body, stores=True)


def drops(sent: bytes = b"", *, stores: bool = True) -> Behaviour:
    """Takes the request, sends the beginning of an answer, hangs up."""

    def behave(server: Misbehaving, conn: socket.socket, seen: Seen | None) -> None:
        assert seen is not None
        if stores:
            server.store(seen)
        conn.sendall(sent)

    return behave


def closes_early(server: Misbehaving, conn: socket.socket, seen: Seen | None) -> None:
    """Hangs up in the face of a request that it has not read."""
    conn.recv(10)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


closes_early.deaf = True  # type: ignore[attr-defined]


def deaf(server: Misbehaving, conn: socket.socket, seen: Seen | None) -> None:
    """Takes the connection and neither reads nor says anything."""
    while not server.stopped:
        time.sleep(0.1)


deaf.deaf = True  # type: ignore[attr-defined]


def drips(sent: bytes) -> Behaviour:
    """Sends one byte of its answer every 50 ms, and then blanks for ever: no single wait is ever long."""

    def behave(server: Misbehaving, conn: socket.socket, seen: Seen | None) -> None:
        for byte in sent:
            conn.sendall(bytes([byte]))
            time.sleep(0.05)
        while not server.stopped:
            conn.sendall(b" ")
            time.sleep(0.05)

    return behave


def floods(server: Misbehaving, conn: socket.socket, seen: Seen | None) -> None:
    """An answer without end."""
    assert seen is not None
    server.store(seen)
    conn.sendall(b"HTTP/1.1 201 Created\r\n\r\n")
    for _ in range(4096):
        conn.sendall(b"x" * 65536)
        server.flooded += 65536


@contextmanager
def misbehaving(*behaviours: Behaviour) -> Iterator[Misbehaving]:
    server = Misbehaving(*behaviours)
    try:
        yield server
    finally:
        server.close()


# -- nginx ------------------------------------------------------------------------------------------------
@dataclass
class Nginx:
    """A real nginx that takes PUT over TLS, with basic checks of the token."""

    folder: Path
    port: int
    ca: Path
    url: str = field(init=False)

    def __post_init__(self) -> None:
        self.url = f"https://localhost:{self.port}"

    @property
    def stored(self) -> dict[str, bytes]:
        root = self.folder / "www"
        return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}

    @property
    def log(self) -> list[str]:
        return (self.folder / "access.log").read_text().splitlines()


@contextmanager
def nginx(program: str, folder: Path, token: str) -> Iterator[Nginx]:
    authority = trustme.CA()
    folder.mkdir(parents=True)
    for name in ("www", "tmp"):
        (folder / name).mkdir(mode=0o777)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    port = free_port()
    temporary = "\n".join(
        f"{kind}_temp_path {folder}/tmp/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"""
daemon off; master_process off; worker_processes 1;
pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
    {temporary}
    log_format counted '$request_method $uri $status';
    access_log {folder}/access.log counted;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.pem;
        root {folder}/www; client_max_body_size 64m;
        location / {{
            if ($http_authorization != "Bearer {token}") {{ return 403; }}
            dav_methods PUT; create_full_put_path on;
        }}
    }}
}}
"""
    )
    (folder / "access.log").touch()
    child = subprocess.Popen([program, "-p", str(folder), "-c", str(folder / "nginx.conf")])
    try:
        wait_for_port(port, child)
        yield Nginx(folder, port, folder / "ca.pem")
    finally:
        child.terminate()
        child.wait(10)


# -- SQUAD ------------------------------------------------------------------------------------------------
SQUAD = "squad==1.98"
GROUP, PROJECT = "kernel", "overlayfs"
_ACCOUNT = """
from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token
from squad.core.models import Group
user = User.objects.create_user("bot")
group = Group.objects.create(slug={group!r})
group.add_admin(user)
group.projects.create(slug={project!r})
Token.objects.create(user=user, key={token!r})
"""


@dataclass
class Squad:
    """A real SQUAD with an account, a group and a project; asked through its own API."""

    url: str
    token: str

    def all(self, kind: str) -> list[dict[str, object]]:
        """Every object of a kind."""
        found: list[dict[str, object]] = []
        url = f"{self.url}/api/{kind}/?limit=1000"
        while url:
            answer = requests.get(url, headers={"Auth-Token": self.token}, timeout=60)
            answer.raise_for_status()
            page = answer.json()
            found += page["results"]
            url = page["next"] or ""
        return found

    def log(self, test_run: object) -> str:
        answer = requests.get(
            f"{self.url}/api/testruns/{test_run}/log_file/", headers={"Auth-Token": self.token}, timeout=60
        )
        answer.raise_for_status()
        return answer.text


def install_squad() -> Path:
    """A virtual environment with SQUAD, made once a machine, and its empty database beside it."""
    pins = HERE / "squad-constraints.txt"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kmodpipe-tests"
    digest = hashlib.sha256(pins.read_bytes() + sys.version.encode() + SQUAD.encode()).hexdigest()[:12]
    home = cache / f"squad-{digest}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "squad.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            shutil.rmtree(home, ignore_errors=True)
            venv.create(home, with_pip=True)
            _run([home / "bin" / "pip", "install", "-q", "-c", pins, SQUAD], os.environ)
            # Only its web pages' scripts and styles: it fetches them from all over the world when imported.
            (static,) = home.glob("lib/python3*/site-packages/squad/frontend/static")
            (static / "download").write_text("#!/bin/sh\n")
            (home / "data").mkdir()
            _run([home / "bin" / "squad-admin", "migrate"], _squad_environment(home / "data"))
            (home / "complete").touch()
    return home


def _squad_environment(data: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(data),
        "LC_ALL": "C.UTF-8",
        "XDG_DATA_HOME": str(data),
        "DATABASE": f"ENGINE=django.db.backends.sqlite3:NAME={data}/db.sqlite3",
        "SQUAD_STORAGE_DIR": str(data / "storage"),
        "SECRET_KEY": "for a test on loopback",
        "ENV": "production",
    }


def _run(argv: Sequence[object], env: object, stdin: str = "") -> None:
    done = subprocess.run(
        [str(a) for a in argv],
        env=dict(env),
        input=stdin,
        text=True,
        capture_output=True,
        timeout=600,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, f"{argv}: {done.stdout[-2000:]}{done.stderr[-4000:]}"


@contextmanager
def squad(folder: Path, token: str) -> Iterator[Squad]:
    home = install_squad()
    data = folder / "squad"
    shutil.copytree(home / "data", data)
    # One writer at a time is SQLite's way; the log takes the readers' part.
    with sqlite3.connect(data / "db.sqlite3") as db:
        db.execute("PRAGMA journal_mode=WAL")
    env = _squad_environment(data)
    _run(
        [home / "bin" / "squad-admin", "shell"],
        env,
        _ACCOUNT.format(group=GROUP, project=PROJECT, token=token),
    )
    port = free_port()
    with (folder / "gunicorn.log").open("wb") as log:
        child = subprocess.Popen(
            [home / "bin" / "gunicorn", "-w", "2", "-b", f"127.0.0.1:{port}", "squad.wsgi"],
            env=env, cwd=folder, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        wait_for_port(port, child)
        yield Squad(f"http://127.0.0.1:{port}", token)
    finally:
        child.terminate()
        child.wait(30)
