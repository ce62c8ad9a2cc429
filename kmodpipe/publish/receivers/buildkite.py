"""Buildkite Test Analytics: send the JUnit file as a multipart upload.

    [tool.kmodpipe.receivers.buildkite]
    kind = "buildkite"
    token-env = "BUILDKITE_ANALYTICS_TOKEN"
    run-url = "https://ci.example.org/kmodpipe/{run}"

``run_env[key]`` is made from the run's id: uploads of the same run, repeated or in parts, are one run there.
The answer is 202 even if records were left out; its body says how many, which becomes a warning. An upload
takes at most 5,000 records: a larger run is sent in several, of whole suites where they fit.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from kmodpipe.publish import template
from kmodpipe.publish.payload import Answer, DeliveryStatus, Parcel, Part, Reply, Request
from kmodpipe.publish.receivers.base import Receiver, plain_judgement
from kmodpipe.publish.run_data import RunData
from kmodpipe.publish.secret import Secret

MOST_RECORDS = 5000


class BuildkiteReceiver(Receiver):
    """Uploads the JUnit file to Buildkite Test Analytics."""

    needs_token = True

    kind: Literal["buildkite"]
    url: Annotated[str, AfterValidator(template.check_url)] = "https://analytics-api.buildkite.com/v1/uploads"
    branch: Annotated[str, AfterValidator(template.check)] = "{series}"
    """The branch that a run is shown under."""
    message: Annotated[str, AfterValidator(template.check)] = "kmodpipe: {series} on {tree}, Linux {kernel}"
    """The text that a run is shown with."""
    repeats: bool = Field(default=True, alias="repeatable")
    """An upload that may have arrived can be sent again."""

    @property
    def repeatable(self) -> bool:
        return self.repeats

    def authorization(self, token: Secret) -> tuple[str, str]:
        return "Authorization", f'Token token="{token.reveal()}"'

    def parcels(self, run_data: RunData) -> tuple[Parcel, ...]:
        run, fields = run_data.run, run_data.fields
        environment = {
            "CI": "kmodpipe",
            "branch": template.fill(self.branch, fields),
            "message": template.fill(self.message, fields),
            "commit_sha": run.properties.get("tree.commit", ""),
            "url": template.expand(self.run_url, fields) if self.run_url else "",
        }
        form = [Part("format", b"junit")]
        form += [Part(f"run_env[{name}]", value.encode()) for name, value in environment.items() if value]
        files = [file for part in run_data.junit_parts() for file in split(part, MOST_RECORDS)]
        return tuple(
            Parcel(
                self.name,
                self.kind,
                run.id,
                "junit.xml" if len(files) == 1 else f"junit.xml, part {number} of {len(files)}",
                (*form, Part("data", data, "junit.xml", "application/xml")),
            )
            for number, data in enumerate(files, 1)
        )

    def request(self, parcel: Parcel) -> Request:
        identity = Part("run_env[key]", f"kmodpipe-{parcel.run}".encode())
        return Request("POST", self.url, parts=(*parcel.parts[:-1], identity, parcel.parts[-1]))

    def judge(self, answer: Answer) -> Reply:
        if not 200 <= answer.status < 300:
            return plain_judgement(answer)
        try:
            body: Any = json.loads(answer.body)
            queued, skipped = int(body.get("queued", 0)), int(body.get("skipped", 0))
            errors = body.get("errors") or []
        except (ValueError, TypeError, AttributeError):
            if answer.whole and answer.text.lstrip().startswith("<"):
                return Reply(
                    DeliveryStatus.REFUSED,
                    f"it answered {answer.status} with a web page",
                    "is the URL right?",
                    everyone=True,
                )
            return Reply(
                DeliveryStatus.DELIVERED,
                f"{answer.status}; its answer does not say which records were taken",
                warning=True,
            )
        if not skipped and not errors:
            return Reply(DeliveryStatus.DELIVERED, f"{queued} records queued")
        why = f": {'; '.join(str(e)[:200] for e in list(errors)[:3])}" if errors else ""
        text = f"it took the file and left out {skipped} of {queued + skipped} records{why}"
        return Reply(DeliveryStatus.DELIVERED, text, warning=True)


def split(junit: bytes, most: int) -> list[bytes]:
    """Return a JUnit file as files of at most *most* cases each; only a suite larger than that is cut."""
    root = ET.fromstring(junit)
    if sum(1 for _ in root.iter("testcase")) <= most:
        return [junit]
    files: list[ET.Element] = []
    room = 0
    for suite in root.findall("testsuite"):
        cases = suite.findall("testcase")
        for start in range(0, max(len(cases), 1), most):
            chunk = cases[start : start + most]
            piece = ET.Element("testsuite", {"name": suite.get("name", "")})
            piece.extend([e for e in suite if e.tag == "properties"])
            piece.extend(chunk)
            if not files or room < len(chunk):
                files.append(ET.Element("testsuites", {"name": root.get("name", "")}))
                room = most
            files[-1].append(piece)
            room -= len(chunk)
    return [b'<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(file) for file in files]
