"""results.json: everything is kept, and older ones are read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe import results
from kmodpipe.results import CaseInfo, Run
from kmodpipe.util.errors import UserError
from tests.support.sample_days import good
from tests.support.sample_run import (
    DEAD,
    PARTLY,
    Y_Y,
    change,
    failed,
    finished,
)


def test_results_say_more_and_are_read_without_it() -> None:
    document = json.loads(results.to_json(good()))
    for c in document["run"]["cells"]:
        for r in c["cases"]:
            del r["tries"], r["guest"]
    for info in document["run"]["cases"]:
        del info["argument"]
    del document["run"]["timeline"]
    assert results.from_json(json.dumps(document)) == good()


def test_json_keeps_everything(tmp_path: Path) -> None:
    run = change(finished(), Y_Y, failed(2, "ESTALE", "mounted"))
    results.save(run, tmp_path / "out" / "results.json")
    assert results.load(tmp_path / "out" / "results.json") == run
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert document["version"] == 1 and document["exit_code"] == 1 and document["totals"]["fail"] == 1
    assert {e["kind"] for e in document["effects"]} >= {"fixed", "known defect"}


def test_json_keeps_dead_axes_and_reads_runs_that_know_none() -> None:
    run = replace(finished(), dead_axes=(DEAD, PARTLY))
    document = json.loads(results.to_json(run))
    assert results.from_json(json.dumps(document)) == run
    assert document["totals"]["dead axes"] == 1 and document["exit_code"] == 1
    del document["run"]["dead_axes"]
    assert results.from_json(json.dumps(document)) == finished()


def test_json_takes_hostile_text() -> None:
    bad = replace(failed(2, "ESTALE", "mounted"), output_excerpt="a\x00\udc80\ud800\x1b]]>\u2028")
    text = results.to_json(change(finished(), Y_Y, bad))
    assert text.isascii()
    back = results.from_json(text).cells[-1].case(bad.case)
    assert back and back.output_excerpt == "a\x00\\udc80\\ud800\x1b]]>\u2028"


@pytest.mark.parametrize(
    ("change_", "told"),
    [
        (lambda d: d.update(version=99), "version 99"),
        (lambda d: d.update(schema="other"), "no results.json"),
        (lambda d: d["run"].pop("id"), "does not match its schema"),
        (lambda d: d["run"]["cells"].append(d["run"]["cells"][0]), "does not match its schema"),
        (lambda d: d["run"]["cells"][0]["cases"][0].update(verdict="passed"), "does not match its schema"),
    ],
)
def test_json_of_another_kind_is_refused(change_, told: str) -> None:  # type: ignore[no-untyped-def]
    document = json.loads(results.to_json(finished()))
    change_(document)
    with pytest.raises(UserError, match=told):
        results.from_json(json.dumps(document))
    with pytest.raises(UserError, match="cannot be read"):
        results.from_json(json.dumps(document)[:-5])


def test_results_without_digests_can_still_be_read() -> None:
    assert Run("id", "now", (CaseInfo("a", "summary", "goal"),)).cases[0].digest == ""
