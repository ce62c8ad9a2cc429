"""Check whether a server can be reached, within a time limit."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kmodpipe.util.workers import Thread

_DEFAULT_PORT = {"git": 9418, "ssh": 22, "http": 80, "https": 443}
_SCP_LIKE = re.compile(r"^(?:[^@/:]+@)?(?P<host>[^/:]+):(?!//)(?P<path>.+)$")

Answer = tuple[bool, str]
"""Whether a server can be reached, and a phrase about it."""
HINT = "check the address and the network; behind a proxy, set https_proxy"


def probe(url: str, *, bound_s: float = 5.0) -> Answer:
    """Return whether the server of ``url`` answers, and a phrase about it, after ``bound_s`` at most.

    Any answer counts, even 404: that is a wrong address, not a missing network. What does not count: a name
    that does not resolve, a refused, dropped or untrusted connection, and status 502 to 504 of a gateway.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" or url.startswith("/"):
        path = Path(unquote(parts.path or url))
        return (True, "is there") if path.exists() else (False, f"{path} does not exist")
    if parts.scheme in ("http", "https"):
        return _bounded(lambda: _ask_http(url, bound_s), bound_s)
    host, port = parts.hostname, parts.port or _DEFAULT_PORT.get(parts.scheme)
    scp = _SCP_LIKE.match(url)
    if not host and scp:
        host, port = scp["host"], _DEFAULT_PORT["ssh"]
    if not host or not port:
        return False, f"{url} names no host"
    return _bounded(lambda: _connect(host, port, bound_s), bound_s)


def is_ssh(url: str) -> bool:
    """Whether ``url`` is reached through ssh: ``ssh://…`` or ``user@host:path``."""
    return urlsplit(url).scheme == "ssh" or ("://" not in url and _SCP_LIKE.match(url) is not None)


def host_of(url: str) -> str:
    """Return the host name in ``url``, or the URL itself if it has none."""
    scp = _SCP_LIKE.match(url)
    return urlsplit(url).hostname or (scp["host"] if scp else url)


def fault_of(url: str) -> str:
    """Return why ``url`` is malformed (a bracket or a port); empty if it is not."""
    try:
        urlsplit(url).port  # noqa: B018
    except ValueError as e:
        return str(e)
    return ""


def _bounded(ask: Callable[[], Answer], bound_s: float) -> Answer:
    """Return the result of ``ask``, or a failure after ``bound_s``.

    It runs in a thread, because name resolution has no time limit of its own.
    """
    answers: list[Answer] = []
    thread = Thread(lambda: answers.append(ask()))
    thread.start()
    thread.join(bound_s)
    return answers[0] if answers else (False, f"no answer within {bound_s:g} s")


def _ask_http(url: str, bound_s: float) -> Answer:
    # Imported here: few commands ask a server, and it takes as long as all else that they wait for.
    import requests

    try:
        with requests.get(url, stream=True, timeout=(bound_s, bound_s)) as response:
            status = response.status_code
    except requests.exceptions.SSLError as e:
        return False, f"its TLS certificate is not trusted: {_root(e)}"
    except requests.exceptions.ProxyError as e:
        return False, f"the proxy does not let it through: {_root(e)}"
    except requests.exceptions.Timeout:
        return False, f"no answer within {bound_s:g} s"
    except (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL) as e:
        # The server answers, with a redirect to an invalid address: no reason to use a stand-in.
        return True, f"answers, and leads elsewhere: {e}"
    except requests.exceptions.RequestException as e:
        return False, _root(e)
    if status in (502, 503, 504):
        return False, f"HTTP status {status}"
    return True, f"answers (HTTP status {status})"


def _connect(host: str, port: int, bound_s: float) -> Answer:
    try:
        with socket.create_connection((host, port), timeout=bound_s):
            return True, f"accepts connections on port {port}"
    except socket.gaierror:
        return False, "its name does not resolve"
    except TimeoutError:
        return False, f"no answer on port {port} within {bound_s:g} s"
    except OSError as e:
        return False, f"port {port}: {(e.strerror or str(e)).lower()}"


def _root(error: BaseException) -> str:
    """Return the innermost cause in a few words.

    An error of requests wraps one of urllib3, which wraps one of socket, and each repeats the URL.
    """
    from requests import RequestException

    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, socket.gaierror) or type(seen).__name__ == "NameResolutionError":
            return "its name does not resolve"
        if isinstance(seen, OSError) and seen.strerror and not isinstance(seen, RequestException):
            return seen.strerror.lower()
        inner = [a for a in seen.args if isinstance(a, BaseException)]
        reason = getattr(seen, "reason", None)
        following = seen.__cause__ or seen.__context__
        seen = reason if isinstance(reason, BaseException) else (inner[0] if inner else following)
    return str(error)[:200]
