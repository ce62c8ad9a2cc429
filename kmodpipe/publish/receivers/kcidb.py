"""KCIDB, the database of Linux kernel CI results: send one JSON document a run, by POST or to a file.

    [tool.kmodpipe.receivers.kcidb]
    kind = "kcidb"
    url = "https://kcidb.example.org/submit"    # an endpoint of kcidb-restd
    token-env = "KCIDB_TOKEN"
    origin = "kmodpipe"                         # as agreed with KCIDB's maintainers
    # or, without url and token, a file for kcidb-submit:
    file = "out/kcidb-{run}.json"

    run and variant   checkout, with the hash of the series' patches as the schema defines it
    cell              build: FAIL if it did not build, SKIP if skipped, MISS after an infrastructure error
    case in a cell    test: FAIL and PASS by ``judge-by``; ERROR if it has no verdict, MISS if it never ran
    a dead axis       test: FAIL, in the first of its cells

An id is made of the origin, the run's id and names within the run, so that a document that is sent again
replaces the first. If kcidb-io is installed (``pip install -e '.[kcidb]'``), the document is validated before
it is sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field, model_validator

from kmodpipe import results
from kmodpipe.publish import template
from kmodpipe.publish.payload import Answer, DeliveryStatus, Parcel, Part, Reply, Request
from kmodpipe.publish.receivers.base import Receiver, Text, Url, plain_judgement
from kmodpipe.publish.run_data import RunData, case_log, dead_axes, judged
from kmodpipe.results import CONTROL, CaseResult, CellResult, Run, State, Verdict
from kmodpipe.util.errors import InfraError

VERSION = {"major": 5, "minor": 3}
_MOST_EXCERPT = 16384
_EXCERPT_BUDGET = 8 * 1024 * 1024
_BUILD = {State.RAN: "PASS", State.SKIPPED: "SKIP", State.BUILD_FAILED: "FAIL"}

Json = dict[str, Any]


class KcidbReceiver(Receiver):
    """Sends a KCIDB document, or writes it to a file."""

    kind: Literal["kcidb"]
    origin: str = Field(pattern=r"^[a-z0-9_]+$")
    """The name of the sender, as agreed with KCIDB's maintainers."""
    file: Text = ""
    """Instead of `url`, a file to write, for kcidb-submit."""
    path: str = Field(default="kmodpipe", pattern=r"^[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*$")
    """The path of the tests in KCIDB's catalogue, before that of a case."""
    architecture: str = Field(default="x86_64", pattern=r"^[a-z0-9_]+$")
    """The architecture of the builds."""
    artifacts_url: Url = ""
    """Where the files of the run's folder can be read, for links to them."""
    judge_by: Literal["expectation", "goal"] = "expectation"
    """By what a case passes: as our verdict says, or if a user gets what it is about."""

    @model_validator(mode="after")
    def _one_place(self) -> KcidbReceiver:
        if bool(self.url) == bool(self.file):
            raise ValueError("takes either url or file")
        if self.url and not (self.token_env or self.token_file):
            raise ValueError("needs a token: name its place with token-env or token-file")
        return self

    @property
    def target(self) -> str:
        return self.url or f"file {self.file}"

    def parcels(self, run_data: RunData) -> tuple[Parcel, ...]:
        document = _Document(self, run_data).whole()
        validate(document)
        # Keys in a fixed order, so that the same run always has the same idempotency key.
        text = json.dumps(document, sort_keys=True, indent=1)
        part = Part("body", text.encode(), "kcidb.json", "application/json")
        return (Parcel(self.name, self.kind, run_data.run.id, "all of it", (part,), run_data.fields),)

    def request(self, parcel: Parcel) -> Request:
        (part,) = parcel.parts
        if self.file:
            return Request("WRITE", "", body=part.data, file=template.expand(self.file, parcel.fields))
        return Request(
            "POST", template.expand(self.url, parcel.fields), {"Content-Type": part.content_type}, part.data
        )

    def judge(self, answer: Answer) -> Reply:
        if 200 <= answer.status < 300 and answer.text.lstrip().startswith("<"):
            return Reply(
                DeliveryStatus.REFUSED,
                f"it answered {answer.status} with a web page",
                "is the URL right?",
                everyone=True,
            )
        return plain_judgement(answer)


def validate(document: Json) -> None:
    """Raise InfraError if kcidb-io is installed and does not accept the document."""
    try:
        from kcidb_io import schema
    except ImportError:
        return
    import jsonschema

    # Receivers still accept this major version when a later one exists.
    known = schema.LATEST if schema.LATEST.major == VERSION["major"] else schema.V5_3
    try:
        known.validate(document)
    except jsonschema.ValidationError as e:
        place = "/".join(str(step) for step in e.absolute_path)
        raise InfraError(
            "the KCIDB document is not valid: a defect in kmodpipe, or a newer schema",
            where=place,
            detail=e.message[:500],
            hint="please report it with the run's results.json",
        ) from None


class _Document:
    """Builds the document of one run."""

    def __init__(self, receiver: KcidbReceiver, run_data: RunData) -> None:
        self._receiver = receiver
        self._run_data = run_data
        self._run = run_data.run
        # Characters of the log excerpt of each case that did not pass.
        excerpts = sum(case.verdict is not Verdict.PASS for _, case in run_data.run.results())
        self._excerpt = min(_MOST_EXCERPT, max(_EXCERPT_BUDGET // max(excerpts, 1), 512))

    def whole(self) -> Json:
        """Return the document."""
        run = self._run
        return {
            "version": dict(VERSION),
            "checkouts": [self._checkout(*one) for one in dict.fromkeys(map(_source, run.cells))],
            "builds": [self._build(cell) for cell in run.cells],
            "tests": [*(self._test(cell, case) for cell, case in run.results()), *self._axes()],
        }

    def _id(self, *names: str) -> str:
        # Quoted, so that different lists of names never give the same id; '=' stays for readability.
        path = "/".join(quote(name, safe="=@+,") for name in (self._run.id, *names))
        return f"{self._receiver.origin}:{path}"

    def _checkout(self, variant: str, kernel: str = "") -> Json:
        run, made = self._run, self._base(self._id(variant, *filter(None, [kernel])))
        properties = run.properties

        def known(key: str) -> str:
            return properties.get(results.of_tree(key, kernel), "")

        if known("source") == "git":
            if re.fullmatch(r"[0-9a-f]{40}", known("commit")):
                made["git_commit_hash"] = known("commit")
            if known("url").startswith("https://"):
                made["git_repository_url"] = known("url")
        made |= {
            "tree_name": _text(kernel or properties.get("tree", "")),
            "git_commit_name": _text(f"v{known('kernel-version')}"),
            "patchset_hash": patchset_hash(run, variant),
            "comment": _text(f"{kernel or self._run_data.fields['tree']}, {variant}"),
            "valid": True,
            "misc": _misc({**properties, "variant": variant}),
        }
        if not known("kernel-version"):
            del made["git_commit_name"]
        return made

    def _base(self, identity: str) -> Json:
        made: Json = {"id": identity, "origin": self._receiver.origin}
        if re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)$", self._run.started):
            made["start_time"] = self._run.started
        return made

    def _build(self, cell: CellResult) -> Json:
        made = self._base(self._id(cell.variant, cell.cell)) | {
            "checkout_id": self._id(*filter(None, _source(cell))),
            "architecture": self._receiver.architecture,
            "config_name": _text(" ".join(f"{axis}={value}" for axis, value in cell.choice.items())),
            "comment": _text(cell.cell),
            "status": _BUILD.get(cell.state, "MISS"),
            "misc": _misc({**cell.properties, "state": cell.state.value, "flavour": cell.flavour or "plain"}),
        }
        if cell.state is State.BUILD_FAILED:
            log = self._run_data.excerpt(cell, "build.log", _MOST_EXCERPT).decode("utf-8", "replace")
            made["log_excerpt"] = _excerpt(f"{cell.reason}\n{log}".rstrip(), _MOST_EXCERPT)
        elif cell.reason:
            made["log_excerpt"] = _excerpt(cell.reason, _MOST_EXCERPT)
        made |= self._links(cell, {"config_url": "config", "log_url": "build.log"})
        return made

    def _links(self, cell: CellResult, wanted: Mapping[str, str]) -> Json:
        """Return the URLs of a cell's files, if ``artifacts-url`` says where they are served."""
        if not self._receiver.artifacts_url:
            return {}
        root = template.expand(self._receiver.artifacts_url, self._run_data.fields).rstrip("/")
        return {
            name: f"{root}/{quote(cell.artifacts[file])}"
            for name, file in wanted.items()
            if file in cell.artifacts
        }

    def _test(self, cell: CellResult, case: CaseResult) -> Json:
        verdict = judged(case, by_goal=self._receiver.judge_by == "goal")
        made = self._base(self._id(cell.variant, cell.cell, case.case)) | {
            "build_id": self._id(cell.variant, cell.cell),
            "path": f"{self._receiver.path}.{_path(case.case)}",
            "comment": _text(case.message.split("\n", 1)[0][:1000] or case.word),
            "status": _status(case, verdict),
            "environment": {"comment": _text(f"QEMU, {cell.properties.get('accel', 'not started')}")},
            "misc": _misc(
                {
                    "outcome": case.outcome,
                    "expected": case.expected,
                    "reason": case.reason,
                    "goal_met": case.goal_met,
                    "known_defect": case.known_defect,
                    "flaky": case.flaky,
                    "attempts": case.attempts,
                    "failures": case.failures,
                }
            ),
        }
        if case.attempts:
            made["duration"] = round(max(case.duration_s, 0.0), 3)
        if case.verdict is not Verdict.PASS:
            log = "\n".join([case_log(case), case.output_excerpt, *case.kmsg]).rstrip()
            made["log_excerpt"] = _excerpt(log, self._excerpt)
        return made | self._links(cell, {"log_url": "console.log"})

    def _axes(self) -> Iterator[Json]:
        cells = {cell.cell: cell for cell in self._run.cells}
        for variant, axis, message, same in dead_axes(self._run):
            if found := next((cells[cell] for cell in same if cell in cells), None):
                yield self._base(self._id(variant, found.cell, f"axis {axis}")) | {
                    "build_id": self._id(found.variant, found.cell),
                    "path": f"{self._receiver.path}.axis-{_path(axis)}",
                    "comment": _text(message.split("\n", 1)[0]),
                    "status": "FAIL",
                    "log_excerpt": _excerpt(message, _MOST_EXCERPT),
                    "misc": _misc({"same_module": list(same)}),
                }


def _source(cell: CellResult) -> tuple[str, str]:
    """Return the variant of a cell and its kernel, which together are one source."""
    return cell.variant, cell.kernel


def patchset_hash(run: Run, variant: str) -> str:
    """Return ``patchset_hash`` as the schema defines it; empty for no patch.

    It is the SHA-256 of a text with the SHA-256 of each patch, in order, a line each. The variant ``NAME@k``
    has the first k patches of the series.
    """
    if variant == CONTROL:
        return ""
    name, _, count = variant.rpartition("@")
    if not (name and count.isdigit()):
        name, count = variant, ""
    start = f"series.{name}."
    # The patches of a series called "a.patch-set" must not be taken for those of one called "a".
    longer = [
        f"{key}."
        for key in run.properties
        if key.startswith(start) and any(k.startswith(f"{key}.") for k in run.properties)
    ]
    hashes = [
        value
        for key, value in run.properties.items()
        if key.startswith(start)
        and not any(key == other[:-1] or key.startswith(other) for other in longer)
        and re.fullmatch(r"[0-9a-f]{64}", value)
    ]
    if count:
        hashes = hashes[: int(count)]
    return sha256("".join(f"{one}\n" for one in hashes).encode()).hexdigest()


def _status(case: CaseResult, verdict: Verdict) -> str:
    if not case.attempts:
        # MISS for a failure too: if the cell did not build, nothing is known about the case.
        return "SKIP" if verdict is Verdict.SKIP else "MISS"
    return verdict.value.upper()


def _path(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_-]", "-", name)


def _text(text: str) -> str:
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def _misc(values: Mapping[str, Any]) -> Json:
    """Return *values* without unknown ones, their text as every JSON reader accepts it."""
    return {
        _text(key): _text(value) if isinstance(value, str) else value
        for key, value in values.items()
        if value is not None and value != ""
    }


def _excerpt(text: str, limit: int) -> str:
    """Return head and tail of *text*, *limit* characters in all, as the schema counts characters."""
    text = _text(text)
    if len(text) <= limit:
        return text
    mark = "\n[…]\n"
    half = (limit - len(mark)) // 2
    return f"{text[:half]}{mark}{text[-half:]}"
