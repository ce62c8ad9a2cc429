"""Send one HTTP request and read its answer, safe against slow, broken and hostile servers.

What `exchange` guarantees:

- Three time limits: for connecting, for one wait, and for the whole exchange. The last always holds: the
  request runs in a thread of its own, and its connection is shut down when the time is up. A thread that
  hangs before it has a socket (in a name resolver) is left behind, and can no longer connect.
- Redirects are errors and never followed. ``.netrc`` is not read: only the declared token is sent. Proxies
  and CA bundles of the environment are used; this machine is never reached through a proxy.
- The body of an answer is read up to a limit, uncompressed.
- No text of exceptions of requests or urllib3 is shown: it may hold URLs and headers.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from kmodpipe import __version__
from kmodpipe.publish import template
from kmodpipe.publish.payload import Answer, DeliveryStatus, Reply, Request
from kmodpipe.util.errors import UserError
from kmodpipe.util.text import visible
from kmodpipe.util.workers import Thread

MOST_ANSWER = 64 * 1024
"""The most bytes of an answer's body that are read."""
# How long an exchange that is cut off may take to end.
_GRACE_S = 1.0
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@dataclass(frozen=True)
class Limits:
    """The time limits of an exchange."""

    connect_s: float
    # For one wait for data.
    read_s: float
    overall_s: float


class NoAnswer(Exception):
    """There was no answer; *reply* says what that means for the parcel."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self.reply = reply


class _Guard:
    """Keeps the connections of one exchange, to shut them down when its time is up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: list[socket.socket] = []
        # The time is up.
        self.expired = False
        # A connection, with TLS if there is any, was made: the server may have received something.
        self.connected = False

    def hold(self, sock: socket.socket) -> None:
        """Keep a duplicate of *sock*, as TLS detaches the original. Raise OSError if the time is up."""
        with self._lock:
            if self.expired:
                sock.close()
                raise OSError("the time for this exchange is up")
            self._held.append(sock.dup())

    def expire(self) -> None:
        """Shut the connections down, and refuse new ones."""
        with self._lock:
            self.expired = True
            for sock in self._held:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:
            for sock in self._held:
                sock.close()
            self._held.clear()


class _Lines:
    """A file that remembers the last line that was read from it."""

    def __init__(self, fp: Any) -> None:
        self._fp = fp
        self.last = b""

    def readline(self, limit: int = -1) -> bytes:
        self.last = self._fp.readline(limit)
        return self.last

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fp, name)


class _WholeHead(http.client.HTTPResponse):
    """A response whose headers must be complete.

    http.client takes a connection that breaks off among the headers for their end, so that an answer might
    count of which only the status had arrived.
    """

    def begin(self) -> None:
        plain, lines = self.fp, _Lines(self.fp)
        self.fp = cast(Any, lines)
        try:
            super().begin()
        finally:
            self.fp = plain
        if lines.last not in (b"\r\n", b"\n"):
            raise http.client.RemoteDisconnected("the connection broke off among the headers")


def _adapter(guard: _Guard) -> HTTPAdapter:
    """Return an adapter that registers all its connections with *guard*, those through proxies too."""

    class Held:
        """The part that plain and TLS connections share."""

        def _new_conn(self) -> socket.socket:
            sock: socket.socket = super()._new_conn()  # type: ignore[misc]
            guard.hold(sock)
            return sock

        def connect(self) -> None:
            super().connect()  # type: ignore[misc]
            guard.connected = True

    class Plain(Held, HTTPConnection):
        response_class = _WholeHead

    class Tls(Held, HTTPSConnection):
        response_class = _WholeHead

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    class Guarded(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            self._claim(self.poolmanager)

        def proxy_manager_for(self, *args: Any, **kwargs: Any) -> urllib3.ProxyManager:
            manager: urllib3.ProxyManager = super().proxy_manager_for(*args, **kwargs)
            self._claim(manager)
            return manager

        @staticmethod
        def _claim(manager: urllib3.PoolManager) -> None:
            manager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}

    return Guarded(max_retries=0)


def exchange(
    request: Request, authorization: tuple[str, str] | None, limits: Limits, ca_file: Path | None
) -> Answer:
    """Send the request and return the answer.

    Raise NoAnswer if there is none, and UserError if the CA file cannot be used.
    """
    guard = _Guard()
    verify = _verify(ca_file)
    outcome: list[Answer | BaseException] = []

    def work() -> None:
        try:
            outcome.append(_talk(request, authorization, limits, verify, guard))
        except BaseException as e:
            outcome.append(e)

    worker = Thread(work, "publish")
    began = time.monotonic()
    worker.start()
    try:
        worker.join(limits.overall_s)
        if worker.is_alive():
            guard.expire()
            worker.join(_GRACE_S)
    except BaseException:
        guard.expire()
        raise
    finally:
        guard.close()
    if guard.expired and not (outcome and isinstance(outcome[0], Answer)):
        raise NoAnswer(_overdue(guard, time.monotonic() - began, request.url)) from None
    if isinstance(outcome[0], Answer):
        return outcome[0]
    raise _explain(outcome[0], guard, request.url) from None


def _talk(
    request: Request, authorization: tuple[str, str] | None, limits: Limits, verify: str | bool, guard: _Guard
) -> Answer:
    """Make the exchange in this thread, without the overall limit."""
    with requests.Session() as session:
        session.trust_env = False  # no .netrc; proxies and CA bundles are set below
        session.mount("http://", _adapter(guard))
        session.mount("https://", _adapter(guard))
        headers = {
            "User-Agent": f"kmodpipe/{__version__}",
            "Accept-Encoding": "identity",
            **request.headers,
            **(dict([authorization]) if authorization else {}),
        }
        files = [
            (part.name, (part.filename or None, part.data, part.content_type if part.filename else None))
            for part in request.parts
        ]
        prepared = session.prepare_request(
            requests.Request(
                request.method, request.url, headers=headers, data=request.body, files=files or None
            )
        )
        # The adapter and not the session, which would read the whole body of a redirect, however large.
        with session.get_adapter(request.url).send(
            prepared,
            stream=True,
            timeout=(limits.connect_s, limits.read_s),
            verify=verify,
            proxies=_proxies(request.url),
        ) as response:
            body, whole = _read(response)
            return Answer(response.status_code, dict(response.headers.lower_items()), body, whole)


def _read(response: requests.Response) -> tuple[bytes, bool]:
    """Return the beginning of the body, and whether that is all of it.

    A body that breaks off is no error: the status, which matters, has arrived by then.
    """
    body = b""
    try:
        while len(body) < MOST_ANSWER:
            block = response.raw.read(min(8192, MOST_ANSWER - len(body)))
            if not block:
                return body, True
            body += block
    except (urllib3.exceptions.HTTPError, OSError):
        pass
    return body, False


def _proxies(url: str) -> dict[str, str]:
    """Return the environment's proxies; none for this machine, as a token may be sent there without TLS."""
    if template.is_loopback(url):
        return {}
    return dict(requests.utils.get_environ_proxies(url, no_proxy=None))


def _verify(ca_file: Path | None) -> str | bool:
    """Return what certificates are verified against: a CA file, or True for the default; never False."""
    if ca_file is not None:
        if not ca_file.is_file():
            raise UserError("the receiver's ca-file is not there", where=str(ca_file))
        return str(ca_file)
    for name in _CA_VARIABLES:
        if bundle := os.environ.get(name):
            if not Path(bundle).exists():
                raise UserError(f"the CA bundle that {name} names is not there", where=bundle)
            return bundle
    return True


# -- errors ----------------------------------------------------------------------------------------------
def _overdue(guard: _Guard, seconds: float, url: str) -> Reply:
    """Return what it means that the time is up."""
    host = template.host_of(url)
    if not guard.connected:
        return Reply(DeliveryStatus.BUSY, f"no connection to {host} within {seconds:.0f} s", everyone=True)
    text = f"{host} did not finish its answer within {seconds:.0f} s"
    return Reply(DeliveryStatus.UNCLEAR, text, everyone=True)


def _explain(error: BaseException, guard: _Guard, url: str) -> BaseException:
    """Return a library's exception as NoAnswer, with no more of the URL in it than the host.

    Any other exception is returned as it is.
    """
    host = template.host_of(url)
    if not isinstance(error, (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)):
        return error
    if isinstance(error, requests.exceptions.SSLError) and not guard.connected:
        return NoAnswer(
            Reply(
                DeliveryStatus.REFUSED,
                f"{host} is not trusted: {_certificate(error)}",
                "name the CA that signed its certificate: ca-file",
                everyone=True,
            )
        )
    if not guard.connected:
        return NoAnswer(
            Reply(
                DeliveryStatus.BUSY, f"{host} cannot be reached: {_why_no_connection(error)}", everyone=True
            )
        )
    if isinstance(error, requests.exceptions.ReadTimeout):
        return NoAnswer(
            Reply(
                DeliveryStatus.UNCLEAR, f"{host} took the request and did not answer in time", everyone=True
            )
        )
    return NoAnswer(
        Reply(
            DeliveryStatus.UNCLEAR, f"{host} broke the connection, or answered what is no HTTP", everyone=True
        )
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, each once."""
    queue, known = [error], set[int]()
    while queue:
        one = queue.pop(0)
        if id(one) not in known:
            known.add(id(one))
            yield one
            causes = (one.__cause__, one.__context__, getattr(one, "reason", None), *one.args)
            queue += [e for e in causes if isinstance(e, BaseException)]


def _why_no_connection(error: BaseException) -> str:
    """Return why no connection was made, without text of the libraries."""
    chain = list(_chain(error))
    if any(isinstance(e, (urllib3.exceptions.NameResolutionError, socket.gaierror)) for e in chain):
        return "its name does not resolve"
    if any(isinstance(e, urllib3.exceptions.ProxyError) for e in chain):
        return "the proxy that the environment names does not let us through"
    for one in chain:
        # Only messages of the operating system: those of libraries hold the whole URL.
        if isinstance(one, OSError) and one.strerror and type(one).__module__ == "builtins":
            return visible(one.strerror)
    if any(isinstance(e, (urllib3.exceptions.ConnectTimeoutError, TimeoutError)) for e in chain):
        return "no connection in time"
    return "no connection"


def _certificate(error: BaseException) -> str:
    """Return why a certificate was not accepted."""
    for one in _chain(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            return visible(one.verify_message)
    return "no TLS connection could be made"
