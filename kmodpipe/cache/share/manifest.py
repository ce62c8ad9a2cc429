"""What a manifest of a share names, and where a share is; `registry` and `folder` read and write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kmodpipe.util.errors import InfraError, UserError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_PLACE = re.compile(
    r"^(?:(?P<scheme>https?)://)?(?P<host>\[[0-9a-fA-F:]+\](?::\d+)?|[A-Za-z0-9.-]+(?::\d+)?)"
    r"/(?P<repository>[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*)/?$"
)
_LOOPBACK = re.compile(r"^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$")
_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")


class RegistryError(InfraError):
    """The registry cannot be reached, refuses a request, or sends an invalid answer."""


class RegistryUnreachable(RegistryError):
    """The registry cannot be reached, or does not answer in time: further requests are pointless."""


@dataclass(frozen=True)
class Place:
    """A repository of a registry."""

    # http for a loopback address (as container engines do) or where the user gave it, else https.
    scheme: str
    # With the port, if the user gave one.
    host: str
    repository: str

    def __str__(self) -> str:
        return f"{self.host}/{self.repository}"


def place(text: str) -> Place:
    """Parse ``HOST[:PORT]/REPOSITORY``, with or without ``https://`` or ``http://``. Raise UserError."""
    match = _PLACE.match(text)
    if not match or not ({*".:"} & {*match["host"]} or match["host"] == "localhost"):
        raise UserError(
            f"not a repository of a registry: {text!r}",
            hint="HOST[:PORT]/NAME in small letters, such as localhost:5000/kmodpipe; or none",
        )
    scheme = match["scheme"] or ("http" if _LOOPBACK.match(match["host"]) else "https")
    return Place(scheme, match["host"], match["repository"])


@dataclass(frozen=True)
class Blob:
    """A descriptor in a manifest: digest, size in bytes and media type of a blob."""

    digest: str
    size: int
    media_type: str

    def plain(self) -> dict[str, object]:
        """Return the descriptor as JSON values."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


def blob_of(row: object) -> Blob:
    """Return the blob that ``row`` of a manifest describes. Raise RegistryError if it describes none."""
    if isinstance(row, Mapping):
        digest, size = row.get("digest"), row.get("size")
        if isinstance(digest, str) and _DIGEST.match(digest) and isinstance(size, int) and size >= 0:
            return Blob(digest, size, str(row.get("mediaType", "")))
    raise RegistryError("a manifest names no blob by digest and size")
