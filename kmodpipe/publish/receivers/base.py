"""What all kinds of receiver have in common: how they are declared, and how plain HTTP answers are read.

A receiver is data, ``[tool.kmodpipe.receivers.NAME]`` in pyproject.toml. A kind adds three things: which
parcels a run makes (`Receiver.parcels`), how a parcel becomes a request (`Receiver.request`), and what an
answer means (`Receiver.judge`). Nothing here opens a connection.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from kmodpipe.publish import template
from kmodpipe.publish.payload import Answer, DeliveryStatus, Parcel, Reply, Request
from kmodpipe.publish.run_data import Material
from kmodpipe.publish.secret import Secret, read
from kmodpipe.util.text import visible

Seconds = Annotated[float, Field(gt=0, le=3600)]
Url = Annotated[str, AfterValidator(template.check_url)]
Text = Annotated[str, AfterValidator(template.check)]


def _variable(name: str) -> str:
    # No value in the message: this may be the token itself, put where its variable's name belongs.
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,99}", name):
        raise ValueError("takes the name of an environment variable, in capitals; never the token itself")
    return name


class Receiver(BaseModel):
    """One declared receiver. Times are in seconds: ``connect`` and ``read`` limit one wait each, ``overall``
    one attempt from its first byte to its last whatever the server does, ``patience`` all attempts."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=lambda name: name.replace("_", "-"),
        populate_by_name=True,
    )

    name: str
    kind: str
    url: Url = ""
    token_env: Annotated[str, AfterValidator(_variable)] = ""
    token_file: str = ""
    ca_file: str = ""
    insecure: bool = False
    run_url: Text = ""
    connect_s: Seconds = 10
    read_s: Seconds = 30
    overall_s: Seconds = 120
    patience_s: Seconds = 300
    attempts: int = Field(default=5, ge=1, le=20)
    backoff_s: Seconds = 1
    retry_after_max_s: Seconds = 60

    needs_token: ClassVar[bool] = False

    @model_validator(mode="after")
    def _coherent(self) -> Receiver:
        if self.token_env and self.token_file:
            raise ValueError("token-env and token-file exclude each other")
        if self.needs_token and self.url and not (self.token_env or self.token_file):
            raise ValueError("needs a token: name its place with token-env or token-file")
        has_token = bool(self.token_env or self.token_file)
        in_the_clear = self.url.startswith("http://") and not template.is_loopback(self.url)
        if has_token and in_the_clear and not self.insecure:
            raise ValueError(
                "the token would travel in the clear: use https, or say insecure = true and mean it"
            )
        return self

    @property
    def repeatable(self) -> bool:
        """Whether a parcel that may have arrived can be sent again without being there twice."""
        return True

    @property
    def target(self) -> str:
        """Where parcels go, as it may be shown; another target has not received what this one has."""
        return self.url

    def token(self, root: Path) -> Secret | None:
        """Read the token now. Raises UserError."""
        return read(self.name, env=self.token_env, file=self.token_file, root=root)

    @property
    def token_place(self) -> str:
        """Where the token comes from, for people."""
        return f"${self.token_env}" if self.token_env else self.token_file

    def authorization(self, token: Secret) -> tuple[str, str]:
        """The header that carries the token."""
        return "Authorization", f"Bearer {token.reveal()}"

    @abstractmethod
    def parcels(self, material: Material) -> tuple[Parcel, ...]:
        """What a run makes for this receiver; the same run makes the same parcels."""

    @abstractmethod
    def request(self, parcel: Parcel) -> Request:
        """The parcel as a request, without the token. Raises UserError."""

    def judge(self, answer: Answer) -> Reply:
        """What the answer says became of the parcel."""
        return plain_judgement(answer)


def plain_judgement(answer: Answer) -> Reply:
    """What HTTP itself says: 2xx delivered; 429 and 503 not taken, come back; other 5xx nobody knows; the
    rest refused."""
    status, told = answer.status, f"it answered {answer.status}{_first_line(answer)}"
    if 200 <= status < 300:
        return Reply(DeliveryStatus.DELIVERED, str(status))
    if status in (429, 503):
        return Reply(DeliveryStatus.BUSY, told)
    if status >= 500:
        return Reply(DeliveryStatus.UNCLEAR, told)
    if status in (401, 403):
        return Reply(
            DeliveryStatus.REFUSED, told, "is the token right, and may it write there?", everyone=True
        )
    if status in (404, 405):
        return Reply(DeliveryStatus.REFUSED, told, "is the URL right?", everyone=True)
    if status in (408, 425):
        return Reply(DeliveryStatus.BUSY, told)
    return Reply(DeliveryStatus.REFUSED, told)


def _first_line(answer: Answer) -> str:
    """The first words of the body, as one line; nothing of a web page."""
    text = " ".join(answer.text.split())
    if not text or text.startswith("<"):
        return ""
    return f": {visible(text if len(text) <= 300 else text[:299] + '…')}"


def fields_of(material: Material, **more: str) -> Mapping[str, str]:
    return {**material.fields, **more}
