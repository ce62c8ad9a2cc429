"""A run as SQUAD takes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from kmodpipe.publish.payload import Answer, DeliveryStatus, Parcel
from kmodpipe.publish.receivers import squad
from kmodpipe.publish.run_data import RunData
from kmodpipe.results import State, Verdict, planned, with_cell
from tests.support import sample_run
from tests.support.sample_receivers import on_disk, squad_receiver


def parts(parcel: Parcel) -> Mapping[str, bytes]:
    return {part.name: part.data for part in parcel.parts}


def test_squad_has_one_test_run_a_cell_with_every_case(finished: RunData) -> None:
    one = squad_receiver()
    made = {parcel.about: parcel for parcel in one.parcels(finished)}
    assert set(made) == {cell.cell for cell in finished.run.cells}
    sent = {about: json.loads(parts(parcel)["tests"]) for about, parcel in made.items()}
    for cell, case in finished.run.results():
        word = {Verdict.PASS: "pass", Verdict.FAIL: "fail"}.get(case.verdict, "skip")
        assert sent[cell.cell][f"kmodpipe/{case.case}"]["result"] == word
    cell = "index-nouuid.INDEX=y.NOUUID=y"
    request = one.request(made[cell])
    assert request.url == (
        f"https://squad.example.org/api/submit/kernel/overlayfs/{finished.run.id}/index-nouuid.INDEX-y.NOUUID-y"
    )
    metadata = json.loads({p.name: p.data for p in request.parts}["metadata"])
    bare = RunData(finished.run, finished.folder / "without-logs")
    (same,) = [p for p in one.parcels(bare) if p.about == cell]
    assert same.key != made[cell].key
    again = json.loads({p.name: p.data for p in one.request(same).parts}["metadata"])
    assert again["job_id"] == metadata["job_id"]  # what SQUAD knows a test run by
    assert metadata["job_status"] == "Complete"
    assert parts(made[cell])["log"] == f"console.log of {cell}\n".encode()


def test_squad_tells_a_missing_verdict_and_a_cell_that_did_not_build(tmp_path: Path) -> None:
    run = sample_run.finished()
    broken = sample_run.cell("index-nouuid", "y", "y", state=State.BUILD_FAILED, reason="super.c:1: error")
    lost = sample_run.cell("index-nouuid", "n", "n", state=State.INFRA, reason="no space left")
    found = on_disk(with_cell(with_cell(run, broken), lost), tmp_path)
    sent = {p.about: json.loads(parts(p)["tests"]) for p in squad_receiver().parcels(found)}
    assert sent[broken.cell]["kmodpipe/cell"] == {"result": "fail", "log": "super.c:1: error"}
    assert {t["result"] for t in sent[broken.cell].values()} == {"fail"}
    assert {t["result"] for t in sent[lost.cell].values()} == {"skip"}
    assert all(t["log"].startswith("no verdict: ") for t in sent[lost.cell].values())


def test_squad_names_that_become_one_stay_two(tmp_path: Path) -> None:
    run = sample_run.SKELETON
    twins = [replace(run.cells[0], cell=name) for name in ("v.A=y", "v.A-y")]
    found = RunData(planned(replace(run, cells=tuple(twins))), tmp_path)
    places = [p.fields["environment"] for p in squad_receiver().parcels(found)]
    assert len(set(places)) == 2
    assert all(place.startswith("v.A-y-") for place in places)
    assert squad.slug("v.A=y") == "v.A-y"
    assert len(squad.slug("x" * 300)) == 100


def test_by_its_goal_an_expected_bug_is_a_failure(finished: RunData) -> None:
    for by, word in (("expectation", "pass"), ("goal", "fail")):
        made = squad_receiver(**{"judge-by": by}).parcels(finished)
        tests = json.loads(parts(made[1])["tests"])
        assert tests["kmodpipe/uuid-remount-index-on"]["result"] == word


def test_squad_takes_a_repeated_test_run_for_success() -> None:
    one = squad_receiver()
    assert one.judge(Answer(201, {}, b"17")).status is DeliveryStatus.DELIVERED
    known = b"There is already a test run with job_id kmodpipe-1"
    assert one.judge(Answer(400, {}, known)).status is DeliveryStatus.DELIVERED
    assert one.judge(Answer(400, {}, b"metadata is not valid JSON")).status is DeliveryStatus.REFUSED
    assert one.judge(Answer(200, {}, b"<html>a portal</html>")).status is DeliveryStatus.REFUSED
    assert one.judge(Answer(403, {}, b"")).everyone
