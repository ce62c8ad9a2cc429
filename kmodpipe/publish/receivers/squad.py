"""SQUAD, the receiver that Linux kernel functional testing uses.

    [tool.kmodpipe.receivers.squad]
    kind = "squad"
    url = "https://squad.example.org"
    group = "kernel"
    project = "overlayfs"
    build = "{run}"                 # what SQUAD compares with the build before
    environment = "{cell}"          # what a build is tested in: one test run a cell
    suite = "kmodpipe"
    token-env = "SQUAD_TOKEN"

    run                     build
    cell                    environment, and a test run in it with console.log as its log
    case                    test SUITE/CASE: pass, fail or skip, with the story as its log
    the cell itself         test SUITE/cell: fail where it did not build
    a dead axis             test SUITE/axis-NAME, in an environment named after the variant
    durations, boot time    metrics

SQUAD has no word for a missing verdict: a case without one is a skip whose log begins with ``no verdict``,
and the metric ``SUITE/no-verdict`` counts them. Its names take letters, digits, ``_``, ``.`` and ``-``;
anything else becomes ``-``.

A repeated test run is recognised by its ``job_id``, which is made of the run's id and the cell's: whoever
sends the cell again, with its logs or without, sends the same test run.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from kmodpipe.publish import template
from kmodpipe.publish.payload import Answer, DeliveryStatus, Parcel, Part, Reply, Request
from kmodpipe.publish.receivers.base import Receiver, fields_of, plain_judgement
from kmodpipe.publish.run_data import Material, cell_verdict, dead_axes, judged, story
from kmodpipe.publish.secret import Secret
from kmodpipe.results import CellResult, Verdict
from kmodpipe.util.digest import digest_of

_SLUG = r"[a-zA-Z0-9][a-zA-Z0-9_.-]*"
_MOST_SLUG, _MOST_NAME, _MOST_STORY = 100, 200, 16 * 1024
_MOST_LOG, _MOST_ATTACHMENT = 4 * 1024 * 1024, 4 * 1024 * 1024


# What SQUAD reads out of the metadata for itself.
_SPECIAL = ("build_url", "datetime", "job_id", "job_status", "job_url", "resubmit_url")


def _cell_template(text: str) -> str:
    return template.check(text, [*template.FIELDS, *template.CELL_FIELDS])


class SquadReceiver(Receiver):
    needs_token = True

    kind: Literal["squad"]
    url: Annotated[str, AfterValidator(template.check_url)]
    group: str = Field(pattern=f"^~?{_SLUG}$")
    project: str = Field(pattern=f"^{_SLUG}$")
    build: Annotated[str, AfterValidator(template.check)] = "{run}"
    environment: Annotated[str, AfterValidator(_cell_template)] = "{cell}"
    suite: str = Field(default="kmodpipe", pattern=f"^{_SLUG}$")
    judge_by: Literal["expectation", "goal"] = "expectation"
    attach: tuple[str, ...] = ("config", "reproduce.sh")

    @property
    def target(self) -> str:
        return f"{self.url} {self.group}/{self.project}"

    def authorization(self, token: Secret) -> tuple[str, str]:
        return "Auth-Token", token.reveal()

    def parcels(self, material: Material) -> tuple[Parcel, ...]:
        run = material.run
        build = slug(template.fill(self.build, material.fields))
        environments = self._environments(material)
        made = [
            self._parcel(
                material, build, environments[cell.cell], cell.cell, self._cell_parts(material, cell)
            )
            for cell in run.cells
        ]
        axes: dict[str, dict[str, object]] = {}
        for variant, axis, told, _ in dead_axes(run):
            tests = axes.setdefault(variant, {})
            tests[f"{self.suite}/axis-{slug(axis)}"] = {"result": "fail", "log": told[:_MOST_STORY]}
        for variant, found in axes.items():
            parts = (_json("tests", found), _json("metadata", self._metadata(material, {"variant": variant})))
            made.append(self._parcel(material, build, slug(variant), f"dead axes of {variant}", parts))
        return tuple(made)

    def _environments(self, material: Material) -> Mapping[str, str]:
        """Each cell's environment. Cells that SQUAD's alphabet makes one are told apart by a digest."""
        asked = {
            cell.cell: template.fill(self.environment, fields_of(material, **_cell_fields(cell)))
            for cell in material.run.cells
        }
        shared = Counter(slug(name) for name in set(asked.values()))
        return {
            cell: slug(name) if shared[slug(name)] == 1 else slug(name, unlike=name)
            for cell, name in asked.items()
        }

    def _parcel(
        self, material: Material, build: str, environment: str, about: str, parts: tuple[Part, ...]
    ) -> Parcel:
        fields = {"group": self.group, "project": self.project, "build": build, "environment": environment}
        return Parcel(self.name, self.kind, material.run.id, about, parts, fields)

    def _cell_parts(self, material: Material, cell: CellResult) -> tuple[Part, ...]:
        missing = sum(case.verdict is Verdict.ERROR for case in cell.cases)
        tests: dict[str, object] = {f"{self.suite}/cell": _test(cell_verdict(cell), cell.reason)}
        metrics: dict[str, object] = {f"{self.suite}/no-verdict": missing}
        for case in cell.cases:
            name = f"{self.suite}/{slug(case.case, most=_MOST_NAME)}"
            tests[name] = _test(judged(case, by_goal=self.judge_by == "goal"), story(case))
            if case.attempts:
                metrics[f"{name}/seconds"] = {"value": round(case.duration_s, 3), "unit": "s"}
        for prop in ("kernel-to-init-seconds", "guest-seconds"):
            if re.fullmatch(r"[0-9]+(\.[0-9]+)?", cell.properties.get(prop, "")):
                metrics[f"{self.suite}/{prop}"] = {"value": float(cell.properties[prop]), "unit": "s"}
        parts = [
            _json("tests", tests),
            _json("metrics", metrics),
            _json("metadata", self._metadata(material, _cell_metadata(cell))),
        ]
        if log := material.excerpt(cell, "console.log", _MOST_LOG):
            parts.append(Part("log", log.decode("utf-8", "replace").encode(), "console.log"))
        for name in self.attach:
            if data := material.excerpt(cell, name, _MOST_ATTACHMENT):
                parts.append(Part("attachment", data, name, "application/octet-stream"))
        return tuple(parts)

    def _metadata(self, material: Material, more: Mapping[str, str]) -> dict[str, str]:
        run, fields = material.run, material.fields
        found = {**{k: v for k, v in run.properties.items() if k not in _SPECIAL}, **more}
        found |= {"datetime": run.started, "run": run.id}
        if self.run_url:
            found["job_url"] = template.expand(self.run_url, fields)
        return found

    def request(self, parcel: Parcel) -> Request:
        place = [parcel.fields[name] for name in ("group", "project", "build", "environment")]
        # Group and project as they are declared now, so that a name put right takes effect for what waits.
        place[:2] = [self.group, self.project]
        job_id = f"kmodpipe-{digest_of([parcel.run, parcel.about])[:40]}"
        parts = tuple(
            _with_job_id(part, job_id) if part.name == "metadata" else part for part in parcel.parts
        )
        return Request("POST", f"{self.url.rstrip('/')}/api/submit/{'/'.join(place)}", parts=parts)

    def judge(self, answer: Answer) -> Reply:
        if answer.status == 400 and "already a test run with job_id" in answer.text:
            return Reply(DeliveryStatus.DELIVERED, "it has this test run already")
        if answer.status == 201 or not 200 <= answer.status < 300:
            return plain_judgement(answer)
        return Reply(
            DeliveryStatus.REFUSED,
            f"it answered {answer.status}, as no SQUAD does",
            "is the URL right?",
            everyone=True,
        )


def slug(text: str, *, most: int = _MOST_SLUG, unlike: str = "") -> str:
    """``text`` as SQUAD takes names; a digest is added where it had to be cut, or to tell it from others."""
    made = re.sub(r"[^a-zA-Z0-9_.-]", "-", text)
    if not re.match(r"[a-zA-Z0-9]", made):
        made = f"x{made}"
    if len(made) > most or unlike:
        made = f"{made[: most - 9]}-{digest_of(unlike or text)[:8]}"
    return made


def _test(verdict: Verdict, log: str) -> dict[str, str]:
    result = {Verdict.PASS: "pass", Verdict.FAIL: "fail"}.get(verdict, "skip")
    told = f"no verdict: {log}" if verdict is Verdict.ERROR else log
    return {"result": result, **({"log": told[:_MOST_STORY]} if told else {})}


def _cell_fields(cell: CellResult) -> dict[str, str]:
    return {"cell": cell.cell, "variant": cell.variant, "flavour": cell.flavour or "plain"}


def _cell_metadata(cell: CellResult) -> dict[str, str]:
    ended = cell_verdict(cell) in (Verdict.PASS, Verdict.SKIP)
    return {
        **{k: v for k, v in cell.properties.items() if k not in _SPECIAL},
        "cell": cell.cell,
        "variant": cell.variant,
        **{f"axis.{axis}": value for axis, value in cell.choice.items()},
        "state": cell.state.value,
        "job_status": "Complete" if ended else "Incomplete",
    }


def _json(name: str, value: object) -> Part:
    text = json.dumps(value, sort_keys=True)
    return Part(name, text.encode(), f"{name}.json", "application/json")


def _with_job_id(part: Part, job_id: str) -> Part:
    return _json(part.name, {**json.loads(part.data), "job_id": job_id})
