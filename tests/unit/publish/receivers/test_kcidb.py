"""A run as KCIDB takes it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from kcidb_io.schema import LATEST

from kmodpipe.publish.receivers import kcidb
from kmodpipe.publish.run_data import RunData
from kmodpipe.results import State, Verdict, with_cell
from kmodpipe.util.errors import UserError
from tests.support import sample_run
from tests.support.sample_receivers import on_disk, receiver


def document(found: RunData, **more: object) -> dict[str, list[dict[str, object]]]:
    table = {"kind": "kcidb", "origin": "kmodpipe", "file": "k.json", **more}
    (parcel,) = receiver(**table).parcels(found)
    made: dict[str, list[dict[str, object]]] = json.loads(parcel.parts[0].data)
    return made


def test_kcidb_objects_are_valid_and_complete(finished: RunData) -> None:
    made = document(finished, **{"artifacts-url": "https://ci.example.org/{run}"})
    assert LATEST.is_valid(made)
    assert made["version"] == {"major": LATEST.major, "minor": LATEST.minor}
    assert len(made["checkouts"]) == 2
    assert len(made["builds"]) == len(finished.run.cells)
    assert len(made["tests"]) == len(list(finished.run.results()))
    for kind in ("checkouts", "builds", "tests"):
        ids = [one["id"] for one in made[kind]]
        assert len(set(ids)) == len(ids)
    builds = {one["id"] for one in made["builds"]}
    assert {one["build_id"] for one in made["tests"]} == builds
    assert {one["checkout_id"] for one in made["builds"]} == {one["id"] for one in made["checkouts"]}


def test_kcidb_tells_whose_fault_it_was(tmp_path: Path) -> None:
    run = sample_run.finished()
    run = with_cell(
        run, sample_run.cell("index-nouuid", "y", "y", state=State.BUILD_FAILED, reason="error: x\0y")
    )
    run = with_cell(run, sample_run.cell("index-nouuid", "y", "n", state=State.INFRA, reason="disk full"))
    run = sample_run.change(run, "unpatched.INDEX=n.NOUUID=n", sample_run.failed(0, "mounted", "ESTALE"))
    silent = replace(
        sample_run.seen(1, ""), verdict=Verdict.ERROR, message="no end of its record", attempts=1
    )
    run = sample_run.change(run, "unpatched.INDEX=n.NOUUID=n", silent)
    run = replace(run, dead_axes=(sample_run.DEAD, sample_run.PARTLY))
    made = document(on_disk(run, tmp_path))
    assert LATEST.is_valid(made)
    builds = {str(b["comment"]): b["status"] for b in made["builds"]}
    assert builds["index-nouuid.INDEX=y.NOUUID=y"] == "FAIL"
    assert builds["index-nouuid.INDEX=y.NOUUID=n"] == "MISS"
    assert builds["index-nouuid.INDEX=n.NOUUID=y"] == "SKIP"
    assert builds["unpatched.INDEX=n.NOUUID=n"] == "PASS"

    def statuses(cell: str) -> list[object]:
        return [
            t["status"] for t in made["tests"] if f"/{cell}/" in str(t["id"]) and "axis" not in str(t["id"])
        ]

    assert set(statuses("index-nouuid.INDEX=y.NOUUID=y")) == {"MISS"}
    assert set(statuses("index-nouuid.INDEX=y.NOUUID=n")) == {"MISS"}
    assert set(statuses("index-nouuid.INDEX=n.NOUUID=y")) == {"SKIP"}
    assert statuses("unpatched.INDEX=n.NOUUID=n") == ["FAIL", "ERROR", "PASS", "SKIP"]
    axis = [t for t in made["tests"] if t["path"] == "kmodpipe.axis-NOUUID"]
    assert [t["status"] for t in axis] == ["FAIL"]


def test_kcidb_cuts_long_logs_and_hashes_the_patches_as_the_schema_says(tmp_path: Path) -> None:
    run = sample_run.finished()
    long = replace(sample_run.failed(0, "mounted", "ESTALE"), output_excerpt="ä\0" * 40000)
    run = sample_run.change(run, "unpatched.INDEX=n.NOUUID=n", long)
    one, two = "1" * 64, "2" * 64
    run = replace(
        run,
        properties={
            **run.properties,
            "series.index-nouuid": "f" * 64,
            "series.index-nouuid.0001-a.b.patch": one,
            "series.index-nouuid.0002-c.patch": two,
            "series.index-nouuid.more": "f" * 64,
            "series.index-nouuid.more.0001-x.patch": "3" * 64,
        },
    )
    made = document(on_disk(run, tmp_path))
    assert LATEST.is_valid(made)
    assert max(len(str(t.get("log_excerpt", ""))) for t in made["tests"]) <= 16384
    hashes = {str(c["misc"]["variant"]): c["patchset_hash"] for c in made["checkouts"]}  # type: ignore[index]
    # What "printf '%s\\n' 1… 2… | sha256sum" prints, computed with coreutils.
    assert hashes == {
        "unpatched": "",
        "index-nouuid": "f5404fd407075eb9ef6261cbfc12da4cbe2906c3a04dcffd2be12daa6a475c89",
    }
    assert kcidb.patchset_hash(run, "index-nouuid@1") != hashes["index-nouuid"]


def test_kcidb_needs_one_place() -> None:
    for table in (
        {},
        {"file": "a", "url": "https://h/submit", "token-env": "T"},
        {"url": "https://h/submit"},
    ):
        with pytest.raises(UserError):
            receiver(**{"kind": "kcidb", "origin": "kmodpipe", **table})
