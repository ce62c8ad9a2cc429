"""Plain HTTP: send one file of the run to a URL, by PUT or POST.

    [tool.kmodpipe.receivers.archive]
    kind = "http"
    url = "https://results.example.org/kmodpipe/{run}/junit.xml"
    method = "PUT"                  # or "POST"
    file = "junit.xml"              # or "results.json", any file of the run's folder
    token-env = "ARCHIVE_TOKEN"     # sent as Authorization: Bearer …; token-header, token-prefix change it

A PUT can be repeated: it leaves one file. A POST carries ``Idempotency-Key``, but not every receiver uses it:
a POST that may have arrived is sent again only if the declaration has ``repeatable = true``.
"""

from __future__ import annotations

import mimetypes
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from kmodpipe.publish import template
from kmodpipe.publish.payload import Parcel, Part, Request
from kmodpipe.publish.receivers.base import Receiver
from kmodpipe.publish.run_data import RunData
from kmodpipe.publish.secret import Secret


def _inside(name: str) -> str:
    parts = name.split("/")
    if not name or name.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise ValueError("takes the name of a file in the run's folder")
    return name


class HttpReceiver(Receiver):
    """Sends one file to a URL."""

    kind: Literal["http"]
    url: Annotated[str, AfterValidator(template.check_url)]
    method: Literal["PUT", "POST"] = "PUT"
    """The method of the request. A PUT needs `{run}` in its URL."""
    file: Annotated[str, AfterValidator(_inside)] = "junit.xml"
    """The file of the run's folder that is sent."""
    content_type: str = Field(default="", pattern=r"^[ -~]*$")
    """Its media type. Without it, as the file's name says."""
    token_header: str = Field(default="Authorization", pattern=r"^[A-Za-z][A-Za-z0-9-]*$")
    """The header that takes the token."""
    token_prefix: str = Field(default="Bearer ", pattern=r"^([A-Za-z]+ ?)?$")
    """What stands before the token."""
    repeats: bool = Field(default=False, alias="repeatable")
    """A POST that may have arrived can be sent again."""

    @model_validator(mode="after")
    def _one_file_a_run(self) -> HttpReceiver:
        if self.method == "PUT" and "{run}" not in self.url:
            raise ValueError("a PUT to a URL without {run} would overwrite the last run's file")
        return self

    @property
    def repeatable(self) -> bool:
        return self.method == "PUT" or self.repeats

    @property
    def target(self) -> str:
        return f"{self.method} {self.url}"

    def authorization(self, token: Secret) -> tuple[str, str]:
        return self.token_header, f"{self.token_prefix}{token.reveal()}"

    def parcels(self, run_data: RunData) -> tuple[Parcel, ...]:
        data = run_data.junit if self.file == "junit.xml" else run_data.file(self.file)
        guessed = mimetypes.guess_type(self.file)[0] or "application/octet-stream"
        if self.file.endswith(".xml"):
            guessed = "application/xml"
        part = Part("body", data, self.file.rpartition("/")[2], self.content_type or guessed)
        return (Parcel(self.name, self.kind, run_data.run.id, self.file, (part,), run_data.fields),)

    def request(self, parcel: Parcel) -> Request:
        (part,) = parcel.parts
        headers = {"Content-Type": part.content_type}
        if self.method == "POST":
            headers["Idempotency-Key"] = parcel.key
        return Request(self.method, template.expand(self.url, parcel.fields), headers, body=part.data)
