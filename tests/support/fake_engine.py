"""A Docker Engine's API, as much of it as setup, doctor and the builder image use, on a Unix socket.

In a test: ``with FakeEngine(path) as engine``. As a program it is a stand-in for dockerd: it serves the
socket that ``-H unix://…`` names until it is killed.
"""

from __future__ import annotations

import json
import re
import socketserver
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

VERSION = "99.1-fake"


@dataclass(frozen=True)
class Call:
    method: str
    path: str
    query: dict[str, str]
    body: bytes


@dataclass
class State:
    """What the engine has, what it will answer, and what it was asked."""

    images: dict[str, str] = field(default_factory=dict)
    registry: set[str] = field(default_factory=set)
    registry_error: str = "Get https://registry/v2/: dial tcp: lookup registry: no such host"
    build_events: list[dict[str, object]] = field(default_factory=lambda: [{"stream": "Step 1/1 : FROM x\n"}])
    calls: list[Call] = field(default_factory=list)

    def changes(self) -> list[Call]:
        return [c for c in self.calls if c.method != "GET"]


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    state: State


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, *values: object) -> None:
        """Events as the engine sends them: chunked, an object a line."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in [*(json.dumps(v).encode() + b"\r\n" for v in values), b""]:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))

    def _handle(self) -> None:
        url = urlsplit(self.path)
        path = unquote(re.sub(r"^/v[\d.]+", "", url.path))
        query = {k: v[0] for k, v in parse_qs(url.query).items()}
        state = self.server.state
        state.calls.append(Call(self.command, path, query, self._body()))
        if path == "/version":
            self._answer(200, {"Version": VERSION, "ApiVersion": "1.41", "MinAPIVersion": "1.24"})
        elif path.startswith("/distribution/"):
            self._distribution(path.removeprefix("/distribution/").removesuffix("/json"))
        elif path == "/images/create":
            name = f"{query.get('fromImage') or query['repo']}:{query['tag']}"
            state.images[name] = f"sha256:{'b' * 64}"
            self._stream({"status": "Pulling", "id": "layer"})
        elif path == "/build":
            if not any("error" in e for e in state.build_events):
                state.images[query["t"]] = f"sha256:{'c' * 64}"
            self._stream(*state.build_events)
        else:
            self._image(path.removeprefix("/images/").removesuffix("/json"))

    def _distribution(self, name: str) -> None:
        state = self.server.state
        if name in state.registry:
            self._answer(200, {"Descriptor": {"digest": "sha256:1"}, "Platforms": []})
        else:
            self._answer(500, {"message": state.registry_error})

    def _image(self, name: str) -> None:
        known = self.server.state.images
        if name in known:
            self._answer(200, {"Id": known[name], "RepoTags": [name]})
        else:
            self._answer(404, {"message": f"No such image: {name}"})

    do_GET = do_POST = do_DELETE = _handle


class FakeEngine:
    """An engine on ``path`` while the block runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = State()

    def __enter__(self) -> State:
        self._server = _Server(str(self.path), _Handler)
        self._server.state = self.state
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self.state

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def main() -> None:
    path = sys.argv[sys.argv.index("-H") + 1].removeprefix("unix://")
    with _Server(path, _Handler) as server:
        server.state = State()
        server.serve_forever()


if __name__ == "__main__":
    main()
