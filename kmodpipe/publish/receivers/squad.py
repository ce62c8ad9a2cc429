"""SQUAD, the result server of Linux Kernel Functional Testing.

    [tool.kmodpipe.receivers.squad]
    kind = "squad"
    url = "https://squad.example.org"
    group = "kernel"
    project = "overlayfs"
    build = "{run}"                 # SQUAD compares each build with the one before
    environment = "{cell}"          # one test run a cell
    suite = "kmodpipe"
    token-env = "SQUAD_TOKEN"

    run                     build
    cell                    environment, and a test run in it with console.log as its log
    case                    test SUITE/CASE: pass, fail or skip, with message and evidence as its log
    the cell itself         test SUITE/cell: fail if it did not build
    a dead axis             test SUITE/axis-NAME, in an environment named after the variant
    durations, boot time    metrics

SQUAD has no result for a missing verdict: such a case is a skip whose log begins with ``no verdict``, and the
metric ``SUITE/no-verdict`` counts them. SQUAD's names are of letters, digits, ``_``, ``.`` and ``-``; any
other character becomes ``-``.

SQUAD recognises a repeated test run by its ``job_id``, which is made from the ids of run and cell: a cell
that is sent again, with or without its logs, is the same test run.
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
from kmodpipe.publish.run_data import RunData, case_log, cell_verdict, dead_axes, judged
from kmodpipe.publish.secret import Secret
from kmodpipe.results import CellResult, Verdict
from kmodpipe.util.digest import digest_of

_SLUG = r"[a-zA-Z0-9][a-zA-Z0-9_.-]*"
_MOST_SLUG, _MOST_NAME, _MOST_TEST_LOG = 100, 200, 16 * 1024
_MOST_LOG, _MOST_ATTACHMENT = 4 * 1024 * 1024, 4 * 1024 * 1024


# Metadata that has a meaning for SQUAD.
_SPECIAL = ("build_url", "datetime", "job_id", "job_status", "job_url", "resubmit_url")


def _cell_template(text: str) -> str:
    return template.check(text, [*template.FIELDS, *template.CELL_FIELDS])


class SquadReceiver(Receiver):
    """Submits one test run a cell to SQUAD."""

    needs_token = True

    kind: Literal["squad"]
    url: Annotated[str, AfterValidator(template.check_url)]
    group: str = Field(pattern=f"^~?{_SLUG}$")
    """The group on the server."""
    project: str = Field(pattern=f"^{_SLUG}$")
    """The project in the group."""
    build: Annotated[str, AfterValidator(template.check)] = "{run}"
    """The name of the build that a run is; SQUAD compares each build with the one before."""
    environment: Annotated[str, AfterValidator(_cell_template)] = "{cell}"
    """The name of the environment that a cell is."""
    suite: str = Field(default="kmodpipe", pattern=f"^{_SLUG}$")
    """The suite that the tests are in."""
    judge_by: Literal["expectation", "goal"] = "expectation"
    """By what a case passes: as our verdict says, or if a user gets what it is about."""
    attach: tuple[str, ...] = ("config", "reproduce.sh")
    """Files of a cell's folder that are attached."""

    @property
    def target(self) -> str:
        return f"{self.url} {self.group}/{self.project}"

    def authorization(self, token: Secret) -> tuple[str, str]:
        return "Auth-Token", token.reveal()

    def parcels(self, run_data: RunData) -> tuple[Parcel, ...]:
        run = run_data.run
        build = slug(template.fill(self.build, run_data.fields))
        environments = self._environments(run_data)
        made = [
            self._parcel(
                run_data, build, environments[cell.cell], cell.cell, self._cell_parts(run_data, cell)
            )
            for cell in run.cells
        ]
        axes: dict[str, dict[str, object]] = {}
        for variant, axis, message, _ in dead_axes(run):
            tests = axes.setdefault(variant, {})
            tests[f"{self.suite}/axis-{slug(axis)}"] = {"result": "fail", "log": message[:_MOST_TEST_LOG]}
        for variant, found in axes.items():
            parts = (_json("tests", found), _json("metadata", self._metadata(run_data, {"variant": variant})))
            made.append(self._parcel(run_data, build, slug(variant), f"dead axes of {variant}", parts))
        return tuple(made)

    def _environments(self, run_data: RunData) -> Mapping[str, str]:
        """Return each cell's environment; a digest is added to names that would be equal as slugs."""
        names = {
            cell.cell: template.fill(self.environment, fields_of(run_data, **_cell_fields(cell)))
            for cell in run_data.run.cells
        }
        shared = Counter(slug(name) for name in set(names.values()))
        return {
            cell: slug(name) if shared[slug(name)] == 1 else slug(name, unlike=name)
            for cell, name in names.items()
        }

    def _parcel(
        self, run_data: RunData, build: str, environment: str, about: str, parts: tuple[Part, ...]
    ) -> Parcel:
        fields = {"group": self.group, "project": self.project, "build": build, "environment": environment}
        return Parcel(self.name, self.kind, run_data.run.id, about, parts, fields)

    def _cell_parts(self, run_data: RunData, cell: CellResult) -> tuple[Part, ...]:
        """Return tests, metrics, metadata, log and attachments of a cell."""
        missing = sum(case.verdict is Verdict.ERROR for case in cell.cases)
        tests: dict[str, object] = {f"{self.suite}/cell": _test(cell_verdict(cell), cell.reason)}
        metrics: dict[str, object] = {f"{self.suite}/no-verdict": missing}
        for case in cell.cases:
            name = f"{self.suite}/{slug(case.case, most=_MOST_NAME)}"
            tests[name] = _test(judged(case, by_goal=self.judge_by == "goal"), case_log(case))
            if case.attempts:
                metrics[f"{name}/seconds"] = {"value": round(case.duration_s, 3), "unit": "s"}
        for prop in ("kernel-to-init-seconds", "guest-seconds"):
            if re.fullmatch(r"[0-9]+(\.[0-9]+)?", cell.properties.get(prop, "")):
                metrics[f"{self.suite}/{prop}"] = {"value": float(cell.properties[prop]), "unit": "s"}
        parts = [
            _json("tests", tests),
            _json("metrics", metrics),
            _json("metadata", self._metadata(run_data, _cell_metadata(cell))),
        ]
        if log := run_data.excerpt(cell, "console.log", _MOST_LOG):
            parts.append(Part("log", log.decode("utf-8", "replace").encode(), "console.log"))
        for name in self.attach:
            if data := run_data.excerpt(cell, name, _MOST_ATTACHMENT):
                parts.append(Part("attachment", data, name, "application/octet-stream"))
        return tuple(parts)

    def _metadata(self, run_data: RunData, more: Mapping[str, str]) -> dict[str, str]:
        run, fields = run_data.run, run_data.fields
        found = {**{k: v for k, v in run.properties.items() if k not in _SPECIAL}, **more}
        found |= {"datetime": run.started, "run": run.id}
        if self.run_url:
            found["job_url"] = template.expand(self.run_url, fields)
        return found

    def request(self, parcel: Parcel) -> Request:
        place = [parcel.fields[name] for name in ("group", "project", "build", "environment")]
        # Group and project as declared now, so that a correction takes effect for pending parcels.
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
    """Return *text* as a name that SQUAD accepts; with a digest if it is too long, or given *unlike*."""
    made = re.sub(r"[^a-zA-Z0-9_.-]", "-", text)
    if not re.match(r"[a-zA-Z0-9]", made):
        made = f"x{made}"
    if len(made) > most or unlike:
        made = f"{made[: most - 9]}-{digest_of(unlike or text)[:8]}"
    return made


def _test(verdict: Verdict, log: str) -> dict[str, str]:
    result = {Verdict.PASS: "pass", Verdict.FAIL: "fail"}.get(verdict, "skip")
    text = f"no verdict: {log}" if verdict is Verdict.ERROR else log
    return {"result": result, **({"log": text[:_MOST_TEST_LOG]} if text else {})}


def _cell_fields(cell: CellResult) -> dict[str, str]:
    return {"cell": cell.cell, "variant": cell.variant, "flavour": cell.flavour or "plain"}


def _cell_metadata(cell: CellResult) -> dict[str, str]:
    ended = cell_verdict(cell) in (Verdict.PASS, Verdict.SKIP)
    return {
        **{k: v for k, v in cell.properties.items() if k not in _SPECIAL},
        "cell": cell.cell,
        "variant": cell.variant,
        **({"kernel": cell.kernel} if cell.kernel else {}),
        **{f"axis.{axis}": value for axis, value in cell.choice.items()},
        "state": cell.state.value,
        "job_status": "Complete" if ended else "Incomplete",
    }


def _json(name: str, value: object) -> Part:
    text = json.dumps(value, sort_keys=True)
    return Part(name, text.encode(), f"{name}.json", "application/json")


def _with_job_id(part: Part, job_id: str) -> Part:
    return _json(part.name, {**json.loads(part.data), "job_id": job_id})
