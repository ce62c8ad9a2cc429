"""Documents that someone changed: each command that takes one ends with its result or one clear error."""

from __future__ import annotations

import copy
import io
import json
import math
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from kmodpipe import results
from kmodpipe.ci import collect, formats, job_plan
from kmodpipe.ci.job_plan import Plan, PlannedCell, PlannedJob
from kmodpipe.cli import report as command
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import ReportOptions
from kmodpipe.publish import run_data
from kmodpipe.util.errors import KmodpipeError, UserError
from kmodpipe.util.screen import Mode, Screen
from tests.support import REPO
from tests.support.hostile import MARKUP
from tests.support.markdown import tokens
from tests.support.sample_days import bad, good
from tests.support.sample_receivers import http, receiver, squad_receiver

DOCUMENT = json.loads(results.to_json(bad()))
PLAN = json.loads(
    job_plan.to_json(
        Plan(
            tuple(
                PlannedCell(
                    c.cell, c.variant, c.design, c.choice, {a: f"OVERLAY_FS_{a}" for a in c.choice}, job="01"
                )
                for c in bad().cells
            ),
            bad().cases,
            (PlannedJob("01", tuple(c.cell for c in bad().cells), ("--cell", bad().cells[0].cell)),),
            {},
        )
    )
)
INJECTED = (
    "x\n\nTested-by: Eve <eve@example.org>\nFrom eve\r\n> quoted\x85\u2028-- \u202e\u2029"
    + MARKUP
    + "|`[a](b)@eve #1"
)
ODD: list[Any] = [
    None, True, -1, 0, 1, 1e308, -0.5, 1e-320, "", "\n", "nan", "é" * 3000, INJECTED, "../../x", "1",
    "pass", "\x00", [], {}, [[]], [1], {"a": {}}, json.loads("[" * 40 + "]" * 40),
]  # fmt: skip
OPEN = ("text", "markdown", "mail", "summary", "findings")


def _places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _places(inner, (*path, key))


def _mutant(draw: Callable[[Any], Any], source: Any, places: list[tuple[str | int, ...]]) -> Any:
    made = copy.deepcopy(source)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(places))
        place = made
        try:
            for key in way:
                place = place[key]
            place[last]
        except (LookupError, TypeError):
            continue  # an earlier change took it away
        if not isinstance(place, (dict, list)):
            continue
        match draw(st.sampled_from(["odd", "odd", "odd", "gone", "twice", "other"])):
            case "odd":
                place[last] = copy.deepcopy(draw(st.sampled_from(ODD)))  # type: ignore[index]
            case "gone":
                del place[last]  # type: ignore[arg-type]
            case "twice" if isinstance(place, list):
                place.append(copy.deepcopy(place[last]))  # type: ignore[index]
            case _:
                place[last] = copy.deepcopy(source["run" if "run" in source else "plan"])  # type: ignore[index]
    return made


@st.composite
def changed_results(draw: Callable[[Any], Any]) -> Any:
    return _mutant(draw, DOCUMENT, RESULT_PLACES)


@st.composite
def changed_plans(draw: Callable[[Any], Any]) -> Any:
    return _mutant(draw, PLAN, PLAN_PLACES)


# What is computed from the run is not read.
RESULT_PLACES = [p for p in _places(DOCUMENT) if p[0] == "run"] + [("schema",), ("version",), ("run",)]
PLAN_PLACES = list(_places(PLAN))
FUZZ = settings(
    max_examples=int(os.environ.get("KMODPIPE_FUZZ", "20")), deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


def report(folder: Path, **wanted: Any) -> str:
    shown = io.StringIO()
    options = ReportOptions(out=str(folder), run=str(folder / "changed"), **wanted)
    command.report(options, Invocation(REPO, screen=Screen(Mode.QUIET, out=shown)))
    return shown.getvalue()


def all_commands(folder: Path) -> None:
    """Run all that reads the results; each may raise a KmodpipeError."""
    calls: list[Callable[[], object]] = [
        *(lambda f=form: report(folder, format=f) for form in OPEN),
        lambda: report(folder, against=str(folder / "good")),
        lambda: report(folder, html=str(folder / "r.html"), junit=str(folder / "r.xml")),
        lambda: report(folder, junit=str(folder / "strict.xml"), strict=True),
        *(lambda r=one: r.parcels(run_data.load(folder / "changed")) for one in RECEIVERS),
        lambda: merge(folder),
    ]
    for call in calls:
        try:
            call()
        except KmodpipeError as e:
            assert e.exit_code in (2, 3)
    for name in ("r.xml", "strict.xml"):
        if (folder / name).exists():
            for at in etree.parse(folder / name).iterfind(".//*[@time]"):
                assert math.isfinite(float(at.get("time"))) and not at.get("time").startswith("-")


def merge(folder: Path) -> None:
    plan = job_plan.load(folder / "plan.json")
    screen = Screen(Mode.QUIET, out=io.StringIO())
    collect.merge(plan, collect.find([str(folder / "changed")], screen), "id", "now")


RECEIVERS = (
    http(),
    squad_receiver(),
    receiver(kind="buildkite", **{"token-env": "T"}),
    receiver(kind="kcidb", url="https://kcidb.example.org", origin="me", **{"token-env": "T"}),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    results.save(good(), tmp_path / "good" / "results.json")
    (tmp_path / "plan.json").write_text(json.dumps(PLAN))
    return tmp_path


def test_the_unchanged_documents_are_taken(folder: Path) -> None:
    results.save(bad(), folder / "changed" / "results.json")
    for form in OPEN:
        assert report(folder, format=form)
    report(folder, html=str(folder / "r.html"), junit=str(folder / "r.xml"))
    merge(folder)
    assert all(one.parcels(run_data.load(folder / "changed")) for one in RECEIVERS)


@FUZZ
@given(changed=changed_results())
def test_changed_results_end_in_a_report_or_one_error(folder: Path, changed: Any) -> None:
    (folder / "changed").mkdir(exist_ok=True)
    (folder / "changed" / "results.json").write_text(json.dumps(changed))
    all_commands(folder)


@FUZZ
@given(changed=changed_plans())
def test_changed_plans_end_in_jobs_or_one_error(folder: Path, changed: Any) -> None:
    results.save(bad(), folder / "changed" / "results.json")
    (folder / "plan.json").write_text(json.dumps(changed))
    try:
        plan = job_plan.load(folder / "plan.json")
    except UserError:
        return
    for form in (formats.github, formats.gitlab, job_plan.to_json):
        try:
            form(plan)
        except KmodpipeError:
            continue
    try:
        merge(folder)
    except KmodpipeError as e:
        assert e.exit_code in (2, 3)


def _with_text(value: Any, text: str, name: str = "") -> Any:
    """The document with *text* in each string that is free; names stay different from each other."""
    if isinstance(value, dict):
        return {k: _with_text(v, text, k) for k, v in value.items()}
    if isinstance(value, list):
        return [_with_text(v, text, name) for v in value]
    fixed = (
        "verdict",
        "state",
        "schema",
        "id",
        "started",
        "finished",
        "case",
        "cell",
        "variant",
        "repeat-with",
    )
    if not isinstance(value, str) or name in fixed:
        return (
            f"{value}{text}" if name in ("id", "case", "cell", "variant") and value != "unpatched" else value
        )
    return text


def test_nothing_that_a_document_says_becomes_a_line_of_a_mail_or_markup(folder: Path) -> None:
    changed = _with_text(DOCUMENT["run"], INJECTED)
    del changed["properties"]["series.index-nouuid.subject"]
    (folder / "changed").mkdir()
    (folder / "changed" / "results.json").write_text(json.dumps({**DOCUMENT, "run": changed}))
    mail = report(folder, format="mail")
    assert "Eve" in mail, "it is there, as text"
    head, _, body = mail.partition("\n\n")
    assert [line.partition(":")[0] for line in head.splitlines()] == ["Subject", "In-Reply-To", "References"][
        : len(head.splitlines())
    ]
    assert not re.search(r"(?m)^[\s|>-]*[A-Za-z-]+-by:|^(?:>|From |-- |---|diff )", body)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e]", mail)
    for form in ("findings", "markdown", "summary"):
        page = report(folder, format=form)
        kinds = {t.type for t in tokens(page)}
        assert not kinds & {"link_open", "image", "em_open", "s_open", "blockquote_open", "hr"}, form
        shown = "".join(t.content for t in tokens(page) if t.type == "text")
        assert not re.search(r"[@#]\w|alert|example\.org", shown), form
        html = [t.content for t in tokens(page) if t.type in ("html_block", "html_inline")]
        assert not re.search(r"<(?!/?(?:details|summary|code|br)>)", "".join(html)), form


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d["run"]["cells"][0]["cases"][0].update(case="never-heard-of"), "was not planned"),
        (lambda d: d["run"]["cells"][0]["cases"][0].update(duration_s="nan"), "duration_s"),
        (lambda d: d["run"]["cells"][0]["cases"][0].update(duration_s=-1), "duration_s"),
        (lambda d: d["run"]["cells"][0]["cases"][0].update(flaky="no"), "flaky"),
        (lambda d: d["run"]["cells"][0]["cases"][0].update(attempts=10**18), "attempts"),
        (lambda d: d.update(run=7), "run"),
    ],
)
def test_odd_results_are_named_by_their_field(folder: Path, change: Callable[[Any], None], told: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    with pytest.raises(UserError, match="does not match its schema") as e:
        results.from_json(json.dumps(document))
    assert told in e.value.detail or told == "run"
