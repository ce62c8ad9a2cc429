"""What is sent, before anybody knows how it goes: records without behaviour, so that they can be spooled.

A `Parcel` holds no address and no token. Both come from the configuration at the moment of sending: a wrong
URL that was put right takes effect for what waits, and no file of the outbox can send a token elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from kmodpipe.util.digest import digest_of


@dataclass(frozen=True)
class Part:
    """One piece of a parcel: a form field, an uploaded file, or the body itself. ``filename`` is empty for a
    plain form field."""

    name: str
    data: bytes
    filename: str = ""
    content_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Parcel:
    """One request's worth of one run for one receiver of a kind. ``about`` says what of the run, a cell say;
    ``fields`` are the values for the receiver's URL."""

    receiver: str
    kind: str
    run: str
    about: str
    parts: tuple[Part, ...]
    fields: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """The idempotency key: the digest of receiver, run and payload. The same results have the same key
        whenever, and from wherever, they are sent."""
        import hashlib

        payload = [
            [p.name, p.filename, p.content_type, hashlib.sha256(p.data).hexdigest()] for p in self.parts
        ]
        return digest_of([self.receiver, self.run, self.about, payload])

    @property
    def size(self) -> int:
        return sum(len(part.data) for part in self.parts)


@dataclass(frozen=True)
class Request:
    """What goes over the wire but for the token. ``parts`` make a multipart form, ``body`` is sent as it is;
    ``file`` is a path that the body is written to instead."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    parts: tuple[Part, ...] = ()
    file: str = ""


@dataclass(frozen=True)
class Answer:
    """What a server answered: ``body`` is the beginning of it, ``whole`` says that it is all of it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool = True

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


class DeliveryStatus(StrEnum):
    """What became of a parcel.

    delivered: the receiver has it. refused: it does not, and the same request will not change that. busy: it
    does not, and later may be different. unclear: nobody knows whether it has.
    """

    DELIVERED = "delivered"
    REFUSED = "refused"
    BUSY = "busy"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Reply:
    """A fate with the sentence that tells it. ``warning``: delivered, but not as one would wish.
    ``everyone``: whatever is wrong is wrong for all parcels of that receiver. ``retry_after_s`` is what the
    server asked for."""

    fate: DeliveryStatus
    text: str
    hint: str = ""
    warning: bool = False
    everyone: bool = False
    retry_after_s: float | None = None
