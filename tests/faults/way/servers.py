"""Servers that drop, hang, lie and refuse: git through a TCP proxy that cuts, and HTTP."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import socket
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from kmodpipe.pipeline import config
from tests.faults import REPO, Ended, Outcome, Scene
from tests.faults.way import fault
from tests.faults.way.judging import outcome, problems
from tests.faults.way.toys import toys
from tests.support.servers import git_daemon
from tests.support.trees import commit_all, git, make_tree

_NOISE_BYTES = 2_000_000


def fetch(scene: Scene, tree: str, *, impatient: bool = False) -> Ended:
    module = "tests.faults.way.impatient" if impatient else "invoke"
    return scene.invoke("fetch", "--tree", tree, module=module, timeout_s=120)


def half_made(scene: Scene) -> list[str]:
    """Trees, whole or not, where there should be none."""
    return [f"a tree is there: {p.name}" for p in (scene.cache / "trees").glob("*") if p.name != "pins"]


# -- git -----------------------------------------------------------------------------------------------
@dataclass
class Proxy:
    """Passes TCP connections on to ``port``; the one that has ``after`` bytes from the server is cut there,
    or hangs. None passes all."""

    port: int
    after: int | None = None
    hang: bool = False
    passed: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def url(self) -> str:
        return f"git://127.0.0.1:{self.listener.getsockname()[1]}/linux"

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._connection, args=(client,), daemon=True).start()

    def _connection(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self.port)) as server:
            threading.Thread(target=_copy, args=(client, server), daemon=True).start()
            sent = 0
            with suppress(OSError):
                while data := server.recv(16384):
                    room = len(data) if self.after is None else max(self.after - sent, 0)
                    client.sendall(data[:room])
                    sent += len(data[:room])
                    self.passed += len(data[:room])
                    if room < len(data):
                        if self.hang:
                            self.over.wait(60)
                        # The other direction is still being read: closing alone would tell nobody.
                        client.shutdown(socket.SHUT_RDWR)
                        server.shutdown(socket.SHUT_RDWR)
                        return


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(16384):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def git_server(scene: Scene) -> Iterator[tuple[Proxy, Path]]:
    """A git daemon with one commit of some megabytes, behind a proxy."""
    served = make_tree(scene.root / "served" / "linux")
    (served / "noise").write_bytes(os.urandom(_NOISE_BYTES))
    commit_all(served, "all")
    with git_daemon(served) as port:
        proxy = Proxy(port)
        threading.Thread(target=proxy.serve, daemon=True).start()
        try:
            yield proxy, served
        finally:
            proxy.over.set()
            proxy.listener.close()


def _cut_git(scene: Scene, sentence: str, *, hang: bool, hint: bool) -> Outcome:
    with git_server(scene) as (proxy, served):
        proxy.after, proxy.hang = _NOISE_BYTES // 2, hang
        got = fetch(scene, f"{proxy.url}#main", impatient=hang)
        found = problems(got, 3, sentence, hint=hint) + half_made(scene)
        if proxy.passed < proxy.after:
            found.append("the server was not cut in the middle")
        proxy.after = None
        again = fetch(scene, f"{proxy.url}#main")
        head = git(served, "rev-parse", "HEAD")
        found += problems(again, 0, f"commit: {head}")
        pack = list((scene.cache / "git/trees.git/objects/pack").glob("tmp_pack_*"))
        found += [f"half a pack left: {p.name}" for p in pack]
    return outcome(got, "no half tree; the next run fetches it", found)


@fault("git-cut", "git's server drops the connection half way")
def git_cut(scene: Scene) -> Outcome:
    return _cut_git(scene, "git could not fetch", hang=False, hint=True)


@fault("git-hang", "git's server falls silent half way")
def git_hang(scene: Scene) -> Outcome:
    return _cut_git(scene, "git heard nothing from the server", hang=True, hint=True)


@fault("git-objects", "an object in the cache's git repository is damaged")
def git_objects(scene: Scene) -> Outcome:
    with git_server(scene) as (proxy, _):
        first = fetch(scene, f"{proxy.url}#main")
        trees = scene.cache / "trees"
        for tree in trees.glob("git-*/Kconfig"):
            tree.write_text("mainmenu no\n")
        objects = (scene.cache / "git/trees.git/objects").glob("??/*")
        largest = max(objects, key=lambda p: p.stat().st_size)
        data = bytearray(largest.read_bytes())
        data[len(data) // 2] ^= 0xFF
        largest.chmod(0o600)
        largest.write_bytes(data)
        got = fetch(scene, f"{proxy.url}#main")
    found = problems(first, 0) + problems(got, 0, "is fetched anew", "was changed in the cache")
    return outcome(got, "fetched anew", found)


# -- http ----------------------------------------------------------------------------------------------
@dataclass
class Site:
    """An HTTP server whose answers are made by ``answer``; ``asked`` holds each request's Range."""

    data: bytes
    answer: Callable[[http.server.BaseHTTPRequestHandler, Site], None]
    asked: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/linux-5.10.7.tar.gz"

    @property
    def pinned(self) -> str:
        return f"{self.url}#sha256={hashlib.sha256(self.data).hexdigest()}"


def sound(handler: http.server.BaseHTTPRequestHandler, site: Site) -> None:
    """The whole file, or the rest that is asked for."""
    _send(handler, site, len(site.data))


def _send(handler: http.server.BaseHTTPRequestHandler, site: Site, upto: int, *, length: bool = True) -> None:
    start = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(site.data) - 1}/{len(site.data)}")
    if length:
        handler.send_header("Content-Length", str(len(site.data) - start))
    handler.send_header("ETag", '"one"')
    handler.end_headers()
    # What asks whether the server is there reads no body.
    if handler.headers.get("Accept-Encoding") == "identity":
        site.asked.append(handler.headers.get("Range", "all"))
        with suppress(OSError):
            handler.wfile.write(site.data[start:upto])
    handler.close_connection = True


def tarball(scene: Scene) -> bytes:
    made = make_tree(scene.root / "mine")
    (made / "noise").write_bytes(os.urandom(_NOISE_BYTES))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
        tar.add(made, "linux-5.10.7")
    return packed.getvalue()


@contextmanager
def site(data: bytes, answer: Callable[[http.server.BaseHTTPRequestHandler, Site], None]) -> Iterator[Site]:
    made = Site(data, answer)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.answer(self, made)

        def log_message(self, format: str, *args: object) -> None:
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    made.port = httpd.server_address[1]
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    try:
        yield made
    finally:
        httpd.shutdown()
        httpd.server_close()


def _refused(scene: Scene, answer: Callable[..., None], code: int, *said: str, kept: str) -> Outcome:
    """A download that fails the first time; once the server is sound, the next run has it."""
    with site(tarball(scene), answer) as server:
        got = fetch(scene, server.pinned, impatient=True)
        found = problems(got, code, *said, hint=True) + half_made(scene)
        parts = [p.stat().st_size for p in (scene.cache / "downloads").glob("*.part")]
        server.answer, before = sound, len(server.asked)
        found += problems(fetch(scene, server.pinned), 0, "the sha256 that was given")
        goes_on = kept.startswith("goes on")
        if goes_on != (server.asked[before:] != ["all"]):
            found.append(f"the next run asked for {server.asked[before:]} with {parts} bytes there")
    return outcome(got, kept, found)


def _half(handler: http.server.BaseHTTPRequestHandler, site: Site) -> None:
    # Each try brings a little, and is cut: two that bring nothing end it.
    _send(handler, site, len(site.data) // 2)


@fault("download-cut", "the download breaks off half way, again and again")
def download_cut(scene: Scene) -> Outcome:
    return _refused(scene, _half, 3, "the download broke off", kept="goes on from the half that arrived")


@fault("download-cut-unknown", "the download breaks off, and the server never said how long it is")
def download_cut_unknown(scene: Scene) -> Outcome:
    def answer(handler: http.server.BaseHTTPRequestHandler, site: Site) -> None:
        _send(handler, site, len(site.data) // 2, length=False)

    said = ("the download has sha256", "it was removed")
    return _refused(scene, answer, 3, *said, kept="starts clean: its digest did not fit")


@fault("download-cut-unpinned", "the same, and no digest was given either")
def download_cut_unpinned(scene: Scene) -> Outcome:
    def answer(handler: http.server.BaseHTTPRequestHandler, site: Site) -> None:
        _send(handler, site, len(site.data) // 2, length=False)

    with site(tarball(scene), answer) as server:
        got = fetch(scene, server.url)
        found = problems(got, 2, "damaged or cut short") + half_made(scene)
        server.answer = sound
        found += problems(fetch(scene, server.url), 0, "Linux 5.10.7-toy")
    return outcome(got, "no half tree; the next run downloads it anew", found)


@fault("download-hang", "the download's server falls silent half way")
def download_hang(scene: Scene) -> Outcome:
    over = threading.Event()

    def answer(handler: http.server.BaseHTTPRequestHandler, site: Site) -> None:
        _half(handler, site)
        if handler.headers.get("Accept-Encoding") == "identity":
            handler.wfile.flush()
            over.wait(20)

    try:
        return _refused(scene, answer, 3, "the download broke off", kept="goes on from the half that arrived")
    finally:
        over.set()


@fault("download-other", "the server has another file than the one that was pinned")
def download_other(scene: Scene) -> Outcome:
    def answer(handler: http.server.BaseHTTPRequestHandler, site: Site) -> None:
        sound(handler, Site(bytes(reversed(site.data)), sound))

    return _refused(scene, answer, 3, "the download has sha256", "it was removed", kept="starts clean")


@fault("download-loop", "the server redirects for ever")
def download_loop(scene: Scene) -> Outcome:
    def answer(handler: http.server.BaseHTTPRequestHandler, site: Site) -> None:
        handler.send_response(302)
        handler.send_header("Location", site.url)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return _refused(scene, answer, 3, "redirects", kept="starts clean")


def _status(number: int) -> Callable[[http.server.BaseHTTPRequestHandler, Site], None]:
    return lambda handler, _: handler.send_error(number)


@fault("download-404", "the server does not have the file")
def download_404(scene: Scene) -> Outcome:
    return _refused(scene, _status(404), 2, "HTTP status 404", kept="starts clean")


@fault("download-429", "the server says: too many requests")
def download_429(scene: Scene) -> Outcome:
    return _refused(scene, _status(429), 3, "HTTP status 429", kept="starts clean")


@fault("download-500", "the server has an error of its own")
def download_500(scene: Scene) -> Outcome:
    return _refused(scene, _status(500), 3, "HTTP status 500", kept="starts clean")


# -- apt -------------------------------------------------------------------------------------------------
@fault("signature", "Debian's archive is not signed by the keys that the tree names")
def signature(scene: Scene) -> Outcome:
    play = toys(scene)
    declared = config.load(REPO).trees["debian-5.10"]
    keys = scene.root / "other-keys.gpg"
    home = scene.root / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ("gpg", "--homedir", home, "--batch", "--quiet")
    made = ("--passphrase", "", "--quick-generate-key", "nobody <nobody@localhost.invalid>", "ed25519")
    subprocess.run([*gpg, *made], check=True, capture_output=True)
    keys.write_bytes(subprocess.run([*gpg, "--export"], check=True, capture_output=True).stdout)
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
    with (play.world.root / "pyproject.toml").open("a") as f:
        f.write(
            f'[tool.kmodpipe.trees.signed]\ndebian-package = "{declared.debian_package}"\n'
            f'version = "{declared.version}"\nsuites = ["{declared.suites[0]}"]\nkeyring = "{keys}"\n'
        )
    got = play.invoke("fetch", "--tree", "signed")
    found = problems(got, 3, "apt could not fetch and verify", "signature", hint=True) + half_made(scene)
    return outcome(got, "nothing unsigned is unpacked", found)
