"""The records of publishing: what is sent and what is answered. Plain data, so that parcels can be spooled.

A `Parcel` holds no address and no token. Both come from the configuration when it is sent: so a corrected URL
takes effect for pending parcels, and no file of the outbox can direct a token elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from kmodpipe.util.digest import digest_of


@dataclass(frozen=True)
class Part:
    """One part of a parcel: a form field, an uploaded file, or the body itself."""

    name: str
    data: bytes
    # Empty for a plain form field.
    filename: str = ""
    content_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Parcel:
    """What one request sends: a run, or a part of it, for one receiver."""

    receiver: str
    # The kind of the receiver.
    kind: str
    run: str
    # Which part of the run, such as a cell's id.
    about: str
    parts: tuple[Part, ...]
    # Values for the receiver's URL.
    fields: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """The idempotency key: a digest of receiver, run and payload, equal each time and on each machine."""
        import hashlib

        payload = [
            [p.name, p.filename, p.content_type, hashlib.sha256(p.data).hexdigest()] for p in self.parts
        ]
        return digest_of([self.receiver, self.run, self.about, payload])

    @property
    def size(self) -> int:
        """The number of bytes."""
        return sum(len(part.data) for part in self.parts)


@dataclass(frozen=True)
class Request:
    """An HTTP request without the token; or a file to write."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    # Sent as it is.
    body: bytes | None = None
    # Sent as a multipart form.
    parts: tuple[Part, ...] = ()
    # The body is written to this path instead of being sent.
    file: str = ""


@dataclass(frozen=True)
class Answer:
    """A server's answer."""

    status: int
    headers: Mapping[str, str]
    # The beginning of the body.
    body: bytes
    # `body` is all of it.
    whole: bool = True

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")


class DeliveryStatus(StrEnum):
    """The result of an attempt to deliver a parcel."""

    # The receiver has it.
    DELIVERED = "delivered"
    # It does not, and the same request will be refused again.
    REFUSED = "refused"
    # It does not, and a later attempt may succeed.
    BUSY = "busy"
    # It may or may not have it.
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Reply:
    """What an attempt, and the receiver's answer to it, mean for a parcel."""

    status: DeliveryStatus
    # The message for the user.
    text: str
    hint: str = ""
    # Delivered, but not completely or not for sure.
    warning: bool = False
    # The problem concerns all parcels of the receiver, not only this one.
    everyone: bool = False
    # The server's Retry-After, in seconds.
    retry_after_s: float | None = None
