"""URLs and names in a receiver's declaration, with fields like ``{run}`` in them.

The values are from a results file, which may come from elsewhere: each is quoted so that it stays one
segment of the path, and none can choose the host.
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
    "module": "the module under test: its folder, or the one .ko that was named",
    "series": "the series that were tried, joined by +",
    "date": "the day on which the run began, 2020-10-13",
}
"""The fields that every template may use."""
CELL_FIELDS = {
    # These only where a template is expanded for each cell.
    "cell": "the cell's id",
    "variant": "unpatched, or the series",
    "flavour": "the cell's flavour",
}
_SECRET_WORDS = ("token", "secret", "passw", "apikey", "api-key", "api_key", "credential", "signature")


def check(template: str, fields: Iterable[str] = FIELDS) -> str:
    """Return *template*. Raise ValueError if it uses fields that are not known."""
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
    """Return *url*. Raise ValueError, with nothing of the URL in it, if it is not usable.

    It has to be http or https, with a fixed host, and must not hold a secret.
    """
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
    """Return whether a setting of this name would hold a secret."""
    return any(word in name.lower() for word in _SECRET_WORDS)


def expand(template: str, fields: Mapping[str, str]) -> str:
    """Return the URL with each value quoted as one segment of its path.

    Raise UserError for an empty value and for ``.`` and ``..``, which quoting does not make safe.
    """
    for name, value in fields.items():
        if f"{{{name}}}" in template and value in ("", ".", ".."):
            raise UserError(f"the run's {name} is {value!r}, which cannot stand in a URL", where=template)
    return template.format_map({name: quote(value, safe="") for name, value in fields.items()})


def fill(template: str, fields: Mapping[str, str]) -> str:
    """Return the template with its fields filled in as they are: for a name, not for a URL."""
    return template.format_map(fields)


def host_of(url: str) -> str:
    """Return scheme, host and port: the part of a URL that may always be shown."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(not a URL)"
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


def is_loopback(url: str) -> bool:
    """Return whether the URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
