"""URLs and names that a receiver's configuration writes with ``{run}`` and the like in them.

What a run says about itself comes from a results file that anybody may have written: a value is quoted whole,
so that it stays one segment of the path, and it can never choose the host.
"""

from __future__ import annotations

import ipaddress
import string
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, quote, urlsplit

from kmodpipe.util.errors import UserError

FIELDS = {
    "run": "the run's id",
    "tree": "the tree's name",
    "kernel": "the kernel's version",
    "module": "the module folder under test",
    "series": "the series that were tried, joined by +",
    "date": "the day on which the run began, 2020-10-13",
}
"""What every template may name."""
CELL_FIELDS = {
    "cell": "the cell's id",
    "variant": "unpatched, or the series",
    "flavour": "the cell's flavour",
}
_SECRET_WORDS = ("token", "secret", "passw", "apikey", "api-key", "api_key", "credential", "signature")


def check(template: str, fields: Iterable[str] = FIELDS) -> str:
    """``template``, if it names known fields only. Raises ValueError."""
    known = list(fields)
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as e:
        raise ValueError(f"not a template: {e}") from None
    for _, name, spec, conversion in parsed:
        if name is not None and (name not in known or spec or conversion):
            raise ValueError(
                f"{{{name}}} is not known here; there are: " + ", ".join(f"{{{k}}}" for k in known)
            )
    return template


def check_url(url: str, fields: Iterable[str] = FIELDS) -> str:
    """``url``, if it is http or https, names a host of its own, and holds no secret. Raises ValueError, in
    which nothing of the URL stands."""
    check(url, fields)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not a URL of the form https://host/path")
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a user name or password; name the token's place: token-env or token-file")
    if "{" in parts.netloc:
        raise ValueError("a run cannot choose the host")
    if parts.fragment:
        raise ValueError("a fragment is never sent")
    if any(is_secret_word(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise ValueError("its query holds a secret; name the token's place: token-env or token-file")
    return url


def is_secret_word(name: str) -> bool:
    """Whether something of this name would hold a secret."""
    return any(word in name.lower() for word in _SECRET_WORDS)


def expand(template: str, fields: Mapping[str, str]) -> str:
    """The URL, each value quoted to be one segment of its path. Raises UserError for a value that no quoting
    keeps in its place."""
    for name, value in fields.items():
        if f"{{{name}}}" in template and value in ("", ".", ".."):
            raise UserError(f"the run's {name} is {value!r}, which cannot stand in a URL", where=template)
    return template.format_map({name: quote(value, safe="") for name, value in fields.items()})


def fill(template: str, fields: Mapping[str, str]) -> str:
    """The template as plain text, for a name and not for a URL."""
    return template.format_map(fields)


def host_of(url: str) -> str:
    """Scheme, host and port: as much of a URL as may always be shown."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(not a URL)"
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
