"""The SARIF file against the schema of its standard, with hostile text in it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import jsonschema

from kmodpipe.analysis.check import sarif
from kmodpipe.analysis.check.model import Report
from tests.support import REPO
from tests.support.sample_check import FILE, REPORT

SCHEMA = json.loads((REPO / "tests" / "data" / "sarif-2.1.0-rtm.5.json").read_text())


def log(report: Report = REPORT) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(sarif.document(report)))
    jsonschema.validate(found, SCHEMA, jsonschema.Draft4Validator)
    return found


def test_it_is_as_the_standard_wants_it() -> None:
    (run,) = log()["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    assert log(Report("r", "t"))["runs"][0]["results"] == []


def test_each_finding_has_its_place_after_the_series() -> None:
    (run,) = log()["runs"]
    by_rule = {result["ruleId"]: result for result in run["results"]}
    (where,) = by_rule["compiler/-Wunused-variable"]["locations"]
    assert where["physicalLocation"]["artifactLocation"]["uri"] == "fs/overlayfs/super.c"
    assert where["physicalLocation"]["region"] == {"startLine": 15}
    assert "region" not in by_rule["checkpatch/LONG_LINE"]["locations"][0]["physicalLocation"]
    assert by_rule["size/bloat-o-meter"]["level"] == "note"
    odd = by_rule["compiler/X"]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert unquote(odd) == FILE and " " not in odd and "<" not in odd
    names = [result["partialFingerprints"]["kmodpipe/v1"] for result in run["results"]]
    assert len(set(names)) == len(names)


def test_what_was_not_checked_is_told() -> None:
    told = [
        one["message"]["text"] for one in log()["runs"][0]["invocations"][0]["toolExecutionNotifications"]
    ]
    assert "toy-fix, patch 1, sparse: not checked: there is no sparse here" in told
    assert any(text.startswith("toy-fix on debian-12: not checked") for text in told)
