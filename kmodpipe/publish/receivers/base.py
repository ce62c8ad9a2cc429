"""The base of all kinds of receiver: what every declaration may hold, and what plain HTTP answers mean.

A receiver is data, ``[tool.kmodpipe.receivers.NAME]`` in pyproject.toml. A kind adds three things: which
parcels are made from a run (`Receiver.parcels`), which request sends a parcel (`Receiver.request`), and what
an answer means (`Receiver.judge`). Nothing here opens a connection.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from kmodpipe.publish import template
from kmodpipe.publish.payload import Answer, DeliveryStatus, Parcel, Reply, Request
from kmodpipe.publish.run_data import RunData
from kmodpipe.publish.secret import Secret, read
from kmodpipe.util.text import visible

Seconds = Annotated[float, Field(gt=0, le=3600)]
Url = Annotated[str, AfterValidator(template.check_url)]
Text = Annotated[str, AfterValidator(template.check)]


def _variable(name: str) -> str:
    # No value in the message: it may be the token itself, written here by mistake.
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,99}", name):
        raise ValueError("takes the name of an environment variable, in capitals; never the token itself")
    return name


class Receiver(BaseModel):
    """One declared receiver."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=lambda name: name.replace("_", "-"),
        populate_by_name=True,
    )

    name: SkipJsonSchema[str]
    """The table's name; the loader sets it."""
    kind: str
    """The kind of receiver."""
    url: Url = ""
    """Where results are sent. It takes fields such as `{run}`."""
    token_env: Annotated[str, AfterValidator(_variable)] = ""
    """The environment variable that holds the token."""
    token_file: str = ""
    """The file that holds the token."""
    ca_file: str = ""
    """The certificate of the CA that signed the receiver's."""
    insecure: bool = False
    """Allow to send the token without TLS."""
    run_url: Text = ""
    """Where people find the run, for receivers that show a link. It takes fields such as `{run}`."""
    connect_s: Seconds = 10
    """Limit for one connection, in seconds."""
    read_s: Seconds = 30
    """Limit for one wait for data, in seconds."""
    overall_s: Seconds = 120
    """Limit for one attempt, in seconds."""
    patience_s: Seconds = 300
    """Limit for all attempts together, in seconds."""
    attempts: int = Field(default=5, ge=1, le=20)
    """How often it is tried."""
    backoff_s: Seconds = 1
    """The wait before the second attempt, in seconds; it doubles each time."""
    retry_after_max_s: Seconds = 60
    """The longest Retry-After that is waited for, in seconds."""

    # Whether the kind cannot work without a token.
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
                "the token would be sent without encryption: use https, or allow it with insecure = true"
            )
        return self

    @property
    def repeatable(self) -> bool:
        """Whether a parcel that may have arrived can be sent again without being stored twice."""
        return True

    @property
    def target(self) -> str:
        """Where parcels go, as it may be shown. A receipt is valid for its target only."""
        return self.url

    def token(self, root: Path) -> Secret | None:
        """Read and return the token, None if none is declared. Raise UserError if it cannot be read."""
        return read(self.name, env=self.token_env, file=self.token_file, root=root)

    @property
    def token_place(self) -> str:
        """Where the token comes from, for messages."""
        return f"${self.token_env}" if self.token_env else self.token_file

    def authorization(self, token: Secret) -> tuple[str, str]:
        """Return name and value of the header with the token."""
        return "Authorization", f"Bearer {token.reveal()}"

    @abstractmethod
    def parcels(self, run_data: RunData) -> tuple[Parcel, ...]:
        """Return what is to be sent of a run; the same run always gives the same parcels."""

    @abstractmethod
    def request(self, parcel: Parcel) -> Request:
        """Return the request that sends a parcel, without the token. Raise UserError if none can be made."""

    def judge(self, answer: Answer) -> Reply:
        """Return what an answer means for the parcel."""
        return plain_judgement(answer)


def plain_judgement(answer: Answer) -> Reply:
    """Return what an answer's status means by HTTP alone.

    2xx: delivered. 408, 425, 429 and 503: busy. Other 5xx: unclear. All else: refused.
    """
    status, text = answer.status, f"it answered {answer.status}{_first_line(answer)}"
    if 200 <= status < 300:
        return Reply(DeliveryStatus.DELIVERED, str(status))
    if status in (408, 425, 429, 503):
        return Reply(DeliveryStatus.BUSY, text)
    if status >= 500:
        return Reply(DeliveryStatus.UNCLEAR, text)
    if status in (401, 403):
        return Reply(
            DeliveryStatus.REFUSED, text, "is the token right, and may it write there?", everyone=True
        )
    if status in (404, 405):
        return Reply(DeliveryStatus.REFUSED, text, "is the URL right?", everyone=True)
    return Reply(DeliveryStatus.REFUSED, text)


def _first_line(answer: Answer) -> str:
    """Return the beginning of the body as one line; nothing if it is a web page."""
    text = " ".join(answer.text.split())
    if not text or text.startswith("<"):
        return ""
    return f": {visible(text if len(text) <= 300 else text[:299] + '…')}"


def fields_of(run_data: RunData, **more: str) -> Mapping[str, str]:
    """Return the values of a template's fields."""
    return {**run_data.fields, **more}
