"""The schemas and reference pages: up to date, whole, and as strict as what reads the files."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kmodpipe import results
from kmodpipe.analysis.ablate import records as ablations
from kmodpipe.analysis.ablate.records import Finding, Status
from kmodpipe.analysis.bisect import model
from kmodpipe.analysis.cover.join import Question, join
from kmodpipe.cli import schemas
from kmodpipe.results import cover_answer as answer
from kmodpipe.results import coverage, journal
from kmodpipe.results.plain import line
from tests.support import REPO
from tests.support import coverage as sample_coverage
from tests.support.sample_answer import ANSWER
from tests.support.sample_check import REPORT
from tests.support.sample_days import bad

SCHEMAS = {one.name: one.schema() for one in schemas.FORMATS}
MADE = schemas.files()
LEFT_OUT = Finding("1.1", "hunk", "1.patch", "a.c", 1, "f", Status.UNNOTICED, executed_by=("mount",))


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_of_the_models_is_up_to_date(name: str) -> None:
    path = REPO / "docs" / name
    stale = f"docs/{name} is stale; make it anew: {schemas.COMMAND}"
    assert path.is_file() and path.read_text("utf-8") == MADE[name], stale


def test_nothing_else_stands_beside_it() -> None:
    there = {
        f"{p.parent.name}/{p.name}"
        for kind in ("schemas", "reference")
        for p in (REPO / "docs" / kind).iterdir()
    }
    assert there == set(MADE)


def test_they_can_be_written_elsewhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kmodpipe.cli.schemas", str(tmp_path)],
        cwd=REPO,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "schemas" / "kmodpipe.schema.json").is_file()


def tables(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "", schema
    yield from schema.get("$defs", {}).items()


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_valid_and_every_field_is_described(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])
    for table, found in tables(SCHEMAS[name]):
        for field, one in found.get("properties", {}).items():
            assert one.get("description"), f"{table}.{field} has no docstring below it"


# -- the files of this repository -----------------------------------------------------------------------
def toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text("utf-8"))


def shipped() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield each file of ours with the name of its schema."""
    for kind, pattern in (
        ("matrix", "kconfigs/matrix.toml"), ("matrix", "examples/*/matrix.toml"),
        ("case", "images/guest/cases/*/case.toml"),
        ("series", "patches/*/series.toml"), ("series", "examples/*/fix/series.toml"),
        ("series", "tests/series/*/series.toml"),
        ("claims", "images/guest/cases/claims.toml"), ("benign", "kconfigs/benign.toml"),
        ("kmodpipe", "examples/*/kmodpipe.toml"), ("kmodpipe", "kconfigs/kernels.toml"),
    ):  # fmt: skip
        for path in sorted(REPO.glob(pattern)):
            yield str(path.relative_to(REPO)), kind, toml(path)
    yield "pyproject.toml", "kmodpipe", toml(REPO / "pyproject.toml")["tool"]["kmodpipe"]
    yield (
        "ablate.json",
        "ablation",
        json.loads(ablations.to_json(ablations.made("fix", "run", [LEFT_OUT], ["old"], [], 1))),
    )
    yield "results.json", "results", json.loads(results.to_json(bad()))
    found = sample_coverage.coverage(crash=True)
    yield "coverage.json", "coverage", json.loads(coverage.to_json(found))
    made = join(Question("fix", "debian-5.10", sample_coverage.changes()), found)
    yield "cover.json", "cover", json.loads(answer.to_json(made))
    yield "bisect.json", "bisect", json.loads(model.to_json(ANSWER))
    for record in (
        journal.Head(journal.SCHEMA, journal.VERSION, "r", "0"),
        *map(journal.Settled, bad().cells),
        journal.Learned({"speed": "7"}),
    ):
        yield "cells.jsonl", "cells", json.loads(line(record))
    yield "check.json", "check", json.loads(json.dumps(REPORT.to_json()))


FILES = list(shipped())


def faults(kind: str, content: object) -> list[str]:
    found = jsonschema.Draft202012Validator(SCHEMAS[kind]).iter_errors(content)
    return [f"{one.json_path}: {one.message[:200]}" for one in found]


@pytest.mark.parametrize(("kind", "content"), [one[1:] for one in FILES], ids=[one[0] for one in FILES])
def test_our_own_files_fit_and_with_a_wrong_field_they_do_not(kind: str, content: dict[str, Any]) -> None:
    assert faults(kind, content) == []
    assert faults(kind, {**content, "bogus": 1})


def test_there_are_files_of_every_kind() -> None:
    assert {kind for _, kind, _ in FILES} == set(SCHEMAS) and len(FILES) > 25


def matrix_with(**flavour: object) -> dict[str, Any]:
    return {"flavours": {"x": {"summary": "some", **flavour}}}


RULE = {"kind": "WARNING", "title": "WARNING in foo_remount", "reason": "said on every remount"}
CASE = {"id": "a", "summary": "some text", "script": "a.sh", "goal": "kept"}


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        ("matrix", matrix_with(cpus=2), matrix_with(cpus=0)),
        ("matrix", {"module": "fs/x"}, {"module": 1}),
        ("matrix", {"module": {"source": "."}}, {"module": {"sorce": "."}}),
        ("matrix", {"axes": {"A": {"symbol": "X"}}}, {"axes": {"A": {"values": ["y"]}}}),
        ("case", {"case": [CASE]}, {"case": []}),
        ("case", {"case": [{**CASE, "goal": ["a", "b"]}]}, {"case": [{**CASE, "goal": "a b"}]}),
        ("case", {"case": [{**CASE, "watch": "fs-errors"}]}, {"case": [{**CASE, "watch": "fs-error"}]}),
        ("case", {"case": [CASE]}, {"case": [{**CASE, "expect": [{"outcome": "x"}]}]}),
        ("series", {"applies-to": ["5.10"]}, {"applies_to": ["5.10"]}),
        ("series", {"port": [{"folder": "x", "kernel": ">=6"}]}, {"port": [{"folder": "x"}]}),
        ("claims", {"tables": {"A": {"title": "t", "A1": "text"}}}, {"tables": {"A": {"A1": 1}}}),
        ("claims", {"tables": {"A": {"A1": "text"}}}, {"tables": {}}),
        ("benign", {"benign": [RULE]}, {"benign": [{**RULE, "kind": "WARNIN"}]}),
        ("benign", {"benign": [{**RULE, "versions": ["5.10"]}]}, {"benign": [{**RULE, "version": ["5.10"]}]}),
        ("kmodpipe", {"trees": {"a": {"path": "/x"}}}, {"trees": {"a": {"path": "/x", "name": "b"}}}),
        ("kmodpipe", {"deadlines": {"boot_s": 5}}, {"deadlines": {"boot_s": 0}}),
        ("kmodpipe", {"deadlines": {"boot_s": 5}}, {"deadlines": {"bot_s": 5}}),
        ("kmodpipe", {"matrix": "x.toml"}, {"matrix": {"axis": {}}}),
        ("kmodpipe", {"receivers": {"a": {"kind": "http", "url": "https://x/"}}},
         {"receivers": {"a": {"kind": "htpp", "url": "https://x/"}}}),
    ],
)  # fmt: skip
def test_a_schema_takes_what_is_right_and_nothing_else(kind: str, right: object, wrong: object) -> None:
    assert faults(kind, right) == []
    assert faults(kind, wrong)


def test_a_wrong_value_deep_in_results_is_found() -> None:
    content = copy.deepcopy(next(found for _, kind, found in FILES if kind == "results"))
    content["run"]["cells"][0]["cases"][0]["verdict"] = "passed"
    assert any("verdict" in one for one in faults("results", content))
