"""publish without a network: declarations, secrets, mappings, the outbox, when to try again."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from kcidb_io.schema import LATEST

from kmodpipe import results
from kmodpipe.cli.commands import ci, publish
from kmodpipe.cli.exit import guarded
from kmodpipe.cli.invocation import Invocation, receivers_of
from kmodpipe.cli.options import PublishOptions
from kmodpipe.pipeline import config
from kmodpipe.publish import outbox, receivers, run_data, template
from kmodpipe.publish.delivery import Sender, send
from kmodpipe.publish.outbox import Outbox, Spooled
from kmodpipe.publish.payload import Answer, DeliveryStatus, Parcel, Part, Reply
from kmodpipe.publish.publisher import Publisher, published_at_the_end
from kmodpipe.publish.receivers import buildkite, kcidb, squad
from kmodpipe.publish.receivers.base import Receiver
from kmodpipe.publish.retry import pause, retry_after
from kmodpipe.publish.run_data import RunData
from kmodpipe.publish.secret import Secret, read
from kmodpipe.report import wording
from kmodpipe.results import State, Verdict, planned, with_cell
from kmodpipe.util.errors import InfraError, UserError
from kmodpipe.util.screen import Mode, Screen
from tests import sample_run, toy

TOKEN = "t0ken-that-nobody-may-see"
HERE = Path("pyproject.toml")


def receiver(**table: object) -> Receiver:
    return receivers.parse({"one": table}, HERE)["one"]


def http(**more: object) -> Receiver:
    return receiver(**{"kind": "http", "url": "https://files.example.org/{run}/junit.xml", **more})


def squad_receiver(**more: object) -> Receiver:
    return receiver(
        **{
            "kind": "squad", "url": "https://squad.example.org", "group": "kernel", "project": "overlayfs",
            "token-env": "SQUAD_TOKEN", **more,
        }
    )  # fmt: skip


@pytest.fixture
def finished(tmp_path: Path) -> RunData:
    return on_disk(sample_run.finished(), tmp_path / "out")


def on_disk(run: results.Run, out: Path) -> RunData:
    return run_data.load(sample_run.on_disk(run, out))


# -- declarations -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"token": TOKEN}, "holds a secret: token"),
        ({"password": TOKEN}, "holds a secret: password"),
        ({"api_key": TOKEN}, "holds a secret: api_key"),
        ({"token-env": TOKEN}, "takes the name of an environment variable"),
        ({"url": f"https://me:{TOKEN}@files.example.org/{{run}}"}, "user name or password"),
        ({"url": f"https://files.example.org/{{run}}?token={TOKEN}"}, "its query holds a secret"),
        ({"url": "ftp://files.example.org/{run}"}, "not a URL of the form"),
        ({"url": "https://{run}/junit.xml"}, "cannot choose the host"),
        ({"url": "https://files.example.org/{run.__class__}"}, "is not known here"),
        ({"url": "https://files.example.org/{nothing}"}, "is not known here"),
        ({"url": "https://files.example.org/junit.xml"}, "would overwrite"),
        ({"url": "http://files.example.org/{run}", "token-env": "T"}, "without encryption"),
        ({"token-env": "T", "token-file": "t"}, "exclude each other"),
        ({"file": "../secret"}, "name of a file in the run's folder"),
        ({"kind": TOKEN}, "no kind that is known"),
        ({"tokn-env": TOKEN}, "Extra inputs"),
        ({"attempts": 0}, "greater than or equal to 1"),
    ],
)
def test_a_wrong_declaration_is_refused_and_shows_no_value(table: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match="one") as caught:
        http(**table)
    assert told in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_a_token_in_the_clear_is_allowed_on_loopback_and_where_it_is_meant() -> None:
    assert http(**{"url": "http://127.0.0.1:1/{run}", "token-env": "T"})
    assert http(**{"url": "http://[::1]:1/{run}", "token-env": "T"})
    assert http(**{"url": "http://files.example.org/{run}", "token-env": "T", "insecure": True})


def test_receivers_are_read_from_pyproject(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.kmodpipe]\ntree = "t"\n[tool.kmodpipe.receivers.archive]\nkind = "http"\n'
        'url = "https://files.example.org/{run}"\nconnect-s = 3\n'
    )
    receivers = receivers_of(config.load(tmp_path))
    assert receivers["archive"].connect_s == 3


def test_what_a_run_says_stays_one_segment_of_the_path() -> None:
    assert template.expand("https://h/{run}/x", {"run": "../a b?c#d"}) == "https://h/..%2Fa%20b%3Fc%23d/x"
    with pytest.raises(UserError):
        template.expand("https://h/{run}/x", {"run": ".."})


# -- secrets ----------------------------------------------------------------------------------------------
def test_a_secret_shows_nowhere() -> None:
    secret = Secret(TOKEN)
    assert TOKEN not in f"{secret} {secret!r} {[secret]}"
    assert secret.scrub(f"bad token {TOKEN}!") == "bad token (secret)!"
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_a_token_comes_from_the_environment_or_a_file_of_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T", f" {TOKEN}\n")
    found = read("one", env="T", file="", root=tmp_path)
    assert found and found.reveal() == TOKEN
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "token").chmod(0o600)
    found = read("one", env="", file="token", root=tmp_path)
    assert found and found.reveal() == TOKEN
    for mode in (0o640, 0o604, 0o620):
        (tmp_path / "token").chmod(mode)
        with pytest.raises(UserError, match="others may use"):
            read("one", env="", file="token", root=tmp_path)
    assert read("one", env="", file="", root=tmp_path) is None


@pytest.mark.parametrize("value", ["", "two words", "a\nb", 'quo"te', "ümlaut", "x" * 9000])
def test_what_cannot_be_a_token_is_refused_unseen(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T", value)
    with pytest.raises(UserError) as caught:
        read("one", env="T", file="", root=tmp_path)
    assert not value or value not in str(caught.value)


# -- what a run becomes -----------------------------------------------------------------------------------
def test_the_same_run_makes_the_same_parcels(finished: RunData) -> None:
    for one in (http(), squad_receiver(), receiver(kind="kcidb", origin="kmodpipe", file="k.json")):
        again = run_data.load(finished.folder)
        assert [p.key for p in one.parcels(finished)] == [p.key for p in one.parcels(again)]


def test_http_sends_the_junit_file_as_it_is(finished: RunData) -> None:
    (parcel,) = http().parcels(finished)
    request = http().request(parcel)
    assert (request.method, request.url) == ("PUT", f"https://files.example.org/{finished.run.id}/junit.xml")
    assert request.body == (finished.folder / "junit.xml").read_bytes()
    posted = http(method="POST", url="https://files.example.org/in").request(parcel)
    assert posted.headers["Idempotency-Key"] == parcel.key


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


def test_buildkite_reads_what_was_left_out(finished: RunData) -> None:
    one = receiver(**{"kind": "buildkite", "token-env": "T"})
    (parcel,) = one.parcels(finished)
    form = {part.name: part.data for part in one.request(parcel).parts}
    assert form["format"] == b"junit"
    assert form["run_env[key]"] == f"kmodpipe-{finished.run.id}".encode()
    assert form["data"] == (finished.folder / "junit.xml").read_bytes()
    assert one.authorization(Secret("x")) == ("Authorization", 'Token token="x"')
    good = one.judge(Answer(202, {}, b'{"queued": 28, "skipped": 0, "errors": []}'))
    assert (good.status, good.warning) == (DeliveryStatus.DELIVERED, False)
    some = one.judge(Answer(202, {}, b'{"queued": 20, "skipped": 8, "errors": ["name is missing"]}'))
    assert (some.status, some.warning) == (DeliveryStatus.DELIVERED, True)
    assert "8 of 28" in some.text
    assert "name is missing" in some.text
    assert one.judge(Answer(202, {}, b"[]")).warning
    assert one.judge(Answer(200, {}, b"<html>")).status is DeliveryStatus.REFUSED


def test_buildkite_files_are_split_without_losing_a_case(finished: RunData) -> None:
    files = buildkite.split(finished.junit, 5)
    assert len(files) > 1
    names = [
        [(case.get("classname"), case.get("name")) for case in ET.fromstring(file).iter("testcase")]
        for file in files
    ]
    assert max(map(len, names)) <= 5
    whole = [(c.get("classname"), c.get("name")) for c in ET.fromstring(finished.junit).iter("testcase")]
    assert [name for file in names for name in file] == whole


def test_an_unfinished_run_is_not_published(tmp_path: Path) -> None:
    run = replace(sample_run.finished(), finished="")
    results.save(run, tmp_path / "results.json")
    with pytest.raises(UserError, match="has not ended"):
        run_data.load(tmp_path)


# -- when to try again ------------------------------------------------------------------------------------
NOW = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("7", 7), ("0", 0), ("", None), ("soon", None), ("-3", None), ("1e9", None), ("9999999999999", None),
        ("Wed, 25 Nov 2026 01:00:30 GMT", 30), ("Wed, 25 Nov 2026 00:00:00 GMT", 0), ("²", None),
    ],
)  # fmt: skip
def test_retry_after_is_read_as_a_number_or_a_date(told: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": told}, NOW) == seconds


def test_the_pause_grows_and_honours_the_server_within_bounds() -> None:
    one = http(**{"attempts": 4, "retry-after-max-s": 60})
    busy = Reply(DeliveryStatus.BUSY, "")
    assert [pause(one, busy, n, lambda: 1.0) for n in (1, 2, 3, 4)] == [1, 2, 4, None]
    assert pause(one, busy, 1, lambda: 0.0) == 0.5
    assert pause(one, replace(busy, retry_after_s=30.0), 1, lambda: 1.0) == 30
    assert pause(one, replace(busy, retry_after_s=6 * 3600.0), 1, lambda: 1.0) is None
    assert pause(one, Reply(DeliveryStatus.REFUSED, ""), 1, lambda: 1.0) is None
    posted = http(method="POST", url="https://files.example.org/in")
    assert pause(posted, busy, 1, lambda: 1.0) is not None
    assert pause(posted, Reply(DeliveryStatus.UNCLEAR, ""), 1, lambda: 1.0) is None


# -- the outbox -------------------------------------------------------------------------------------------
def parcel(about: str = "a", data: bytes = b"x") -> Parcel:
    return Parcel("one", "http", "run", about, (Part("body", data),), {"run": "run"})


@pytest.fixture
def box(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox").open()


def test_a_parcel_comes_out_as_it_went_in_and_only_once(box: Outbox) -> None:
    sent = replace(parcel(), parts=(Part("body", b"\0\xff"), Part("log", b"", "log.txt", "text/plain")))
    assert box.spool(sent, "there") is Spooled.NEW
    (entry,) = box.pending("one")
    assert box.parcel(entry) == sent
    box.delivered(box.begin(entry), "there", "201")
    assert box.spool(parcel(), "there") is Spooled.NEW
    assert box.spool(parcel(), "there") is Spooled.WAITING
    (entry,) = box.pending("one")
    box.delivered(box.begin(entry), "there", "201")
    assert box.pending() == ()
    assert box.spool(parcel(), "there") is Spooled.DELIVERED
    assert box.spool(parcel(), "elsewhere") is Spooled.NEW
    assert box.spool(parcel(data=b"other"), "there") is Spooled.NEW
    assert box.root.stat().st_mode & 0o077 == 0


def test_a_damaged_parcel_is_told_and_not_sent(box: Outbox) -> None:
    box.spool(parcel(), "there")
    (entry,) = box.pending()
    (entry.path / "part-0").write_bytes(b"z")
    with pytest.raises(InfraError, match="damaged"):
        box.parcel(entry)
    (entry.path / "parcel.json").write_text("{")
    assert box.pending() == ()
    assert box.damaged() == (entry.path,)


def test_what_a_dead_process_left_half_made_is_swept(box: Outbox) -> None:
    folder = box.root / "work" / "parcel-1-x"
    folder.mkdir(parents=True)
    (box.root / "work" / "parcel-1-x.owner").write_text("999999999 another-boot")
    box.open()
    assert not folder.exists()


class Scripted(Sender):
    """A sender whose network is a list of replies; one that is an exception kills it in the attempt."""

    replies: Iterator[Reply | BaseException]
    seen: list[Parcel]

    def attempt(self, parcel: Parcel) -> Reply:
        self.seen.append(parcel)
        reply = next(self.replies)
        if isinstance(reply, BaseException):
            raise reply
        return reply


def scripted(one: Receiver, *replies: Reply | BaseException) -> Scripted:
    sender = Scripted(one, None, Path(), Screen(Mode.PLAIN, out=io.StringIO()), sleep=lambda _: None)
    object.__setattr__(sender, "replies", iter(replies))
    object.__setattr__(sender, "seen", [])
    return sender


DONE, BUSY = Reply(DeliveryStatus.DELIVERED, "201"), Reply(DeliveryStatus.BUSY, "429", everyone=True)
UNCLEAR, REFUSED = Reply(DeliveryStatus.UNCLEAR, "cut", everyone=True), Reply(DeliveryStatus.REFUSED, "400")


def test_it_is_tried_until_it_has_arrived(box: Outbox) -> None:
    box.spool(parcel(), "t")
    sender = scripted(http(), BUSY, UNCLEAR, DONE)
    assert send(sender, box).delivered == 1
    assert len(sender.seen) == 3
    assert box.pending() == ()


def test_a_receiver_that_is_down_is_not_asked_for_each_parcel(box: Outbox) -> None:
    for about in "abc":
        box.spool(parcel(about), "t")
    sender = scripted(http(attempts=2), BUSY, BUSY)
    tally = send(sender, box)
    assert (tally.delivered, tally.pending, len(sender.seen)) == (0, 3, 2)


def test_one_refused_parcel_does_not_hold_up_the_others_nor_come_back_by_itself(box: Outbox) -> None:
    box.spool(parcel("a"), "t")
    box.spool(parcel("b"), "t")
    tally = send(scripted(http(), REFUSED, DONE), box)
    assert (tally.delivered, tally.pending) == (1, 1)
    later = scripted(http(), DONE)
    assert send(later, box, wanted=set()).pending == 1
    assert later.seen == []
    assert send(later, box).delivered == 1


@pytest.mark.parametrize("death", [UNCLEAR, KeyboardInterrupt()])
def test_what_may_have_arrived_is_held_where_it_would_be_doubled(
    box: Outbox, death: Reply | BaseException
) -> None:
    posted = http(method="POST", url="https://files.example.org/in")
    box.spool(parcel(), posted.target)
    try:
        send(scripted(posted, death), box)
    except KeyboardInterrupt:
        assert death is not UNCLEAR
    held = scripted(posted)
    assert send(held, box).pending == 1
    assert held.seen == []
    assert send(scripted(http(), DONE), box).delivered == 1  # a PUT can be repeated


def test_again_sends_what_may_have_arrived(box: Outbox) -> None:
    posted = http(method="POST", url="https://files.example.org/in")
    box.spool(parcel(), posted.target)
    send(scripted(posted, UNCLEAR), box)
    assert send(scripted(posted, DONE), box, again=True).delivered == 1


def test_a_declaration_that_makes_no_request_is_2_and_holds_nothing_back(
    box: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted = http(**{"method": "POST", "url": "https://files.example.org/in", "ca-file": "nowhere.pem"})
    box.spool(parcel(), posted.target)
    sender = Sender(posted, None, box.root, Screen(Mode.QUIET, out=io.StringIO()))
    with pytest.raises(UserError, match="ca-file is not there"):
        send(sender, box)
    (entry,) = box.pending()
    assert not entry.state.unclear


def test_what_was_made_for_another_kind_is_held(box: Outbox) -> None:
    box.spool(parcel(), "t")
    sender = scripted(receiver(kind="kcidb", origin="kmodpipe", file="k.json"))
    tally = send(sender, box)
    assert (tally.pending, sender.seen) == (1, [])
    assert "of the kind http" in tally.problems[0]


def test_what_a_library_says_of_its_defect_is_not_passed_on(
    box: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError(f"header {TOKEN}")

    monkeypatch.setattr("kmodpipe.publish.http_client._talk", break_down)
    box.spool(parcel(), "t")
    text = io.StringIO()
    tally = send(Sender(http(attempts=1), Secret(TOKEN), Path(), Screen(Mode.PLAIN, out=text)), box)
    assert tally.pending == 1
    assert "RuntimeError in test_publish.py" in tally.problems[0]
    assert TOKEN not in tally.problems[0] + text.getvalue()


def test_death_between_success_and_receipt_is_a_repeat_and_between_receipt_and_removal_nothing(
    box: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = http()
    box.spool(parcel(), one.target)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Outbox, "delivered", die)
        send(scripted(one, DONE), box)
    assert len(box.pending()) == 1
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(box._store, "scratch", die)
        send(scripted(one, DONE), box)
    assert len(box.pending()) == 1
    idle = scripted(one)
    assert send(idle, box).known == 1
    assert idle.seen == []
    assert box.pending() == ()


# -- the command ------------------------------------------------------------------------------------------
def asked(root: Path, **given: object) -> tuple[int, str]:
    text = io.StringIO()
    screen = Screen(Mode.PLAIN, out=text)
    code = guarded(publish, PublishOptions(**given), Invocation(root, screen=screen))  # type: ignore[arg-type]
    return code, text.getvalue()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("SQUAD_TOKEN", raising=False)
    (tmp_path / "pyproject.toml").write_text(
        '[tool.kmodpipe]\ntree = "t"\n'
        '[tool.kmodpipe.receivers.file]\nkind = "kcidb"\norigin = "kmodpipe"\nfile = "sent/{run}.json"\n'
        '[tool.kmodpipe.receivers.squad]\nkind = "squad"\nurl = "https://squad.example.org"\n'
        'group = "kernel"\nproject = "overlayfs"\ntoken-env = "SQUAD_TOKEN"\n'
    )
    return tmp_path


def test_kcidb_to_a_file_is_delivered_once(project: Path, finished: RunData) -> None:
    code, text = asked(project, to=("file",), run=str(finished.folder))
    assert (code, "1 delivered" in text) == (0, True)
    written = json.loads((project / "sent" / f"{finished.run.id}.json").read_text())
    assert LATEST.is_valid(written)
    code, text = asked(project, to=("file",), run=str(finished.folder))
    assert (code, "1 delivered before" in text) == (0, True)
    code, text = asked(project, to=("file",), run=str(finished.folder), again=True)
    assert (code, "1 delivered" in text) == (0, True)


def test_configuration_that_is_wrong_is_2_and_spools_nothing(project: Path, finished: RunData) -> None:
    code, text = asked(project, to=("squad",), run=str(finished.folder))
    assert code == 2
    assert "SQUAD_TOKEN is not set" in text
    code, text = asked(project, to=("sqad",), run=str(finished.folder))
    assert (code, "did you mean squad" in text) == (2, True)
    assert asked(project)[0] == 2
    assert asked(project, to=("squad",), pending=True)[0] == 2
    assert asked(project, to=("file",), run="nowhere")[0] == 2
    code, text = asked(project, to=(f"squad={TOKEN}",), run=str(finished.folder))
    assert (code, TOKEN in text) == (2, False)
    assert not outbox.place().exists()


def test_pending_for_a_receiver_that_is_gone_is_2_and_stays(project: Path) -> None:
    box = Outbox(outbox.place()).open()
    box.spool(Parcel("gone", "http", "run", "a", (Part("body", b"x"),)), "t")
    code, text = asked(project, pending=True)
    assert (code, "1 still pending" in text) == (2, True)
    assert len(box.pending()) == 1
    code, text = asked(project, pending=True, dry_run=True)
    assert (code, "gone: run a" in text) == (0, True)


def test_a_dry_run_shows_every_request_and_sends_and_writes_nothing(project: Path, finished: RunData) -> None:
    code, text = asked(
        project,
        to=(
            "squad",
            "file",
        ),
        run=str(finished.folder),
        dry_run=True,
    )
    assert code == 0
    assert text.count("POST https://squad.example.org/api/submit/kernel/overlayfs/") == 7
    assert "Auth-Token: the token of $SQUAD_TOKEN" in text
    assert not outbox.place().exists()
    assert not (project / "sent").exists()


def test_an_office_takes_each_receiver_once(project: Path) -> None:
    publisher = Publisher(receivers_of(config.load(project)), project, Screen(Mode.QUIET, out=io.StringIO()))
    assert len(publisher.named(["file", "file"])) == 1


def test_no_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert "HOME" not in os.environ
    with pytest.raises(InfraError, match="XDG_STATE_HOME"):
        outbox.place()


# -- invoke ci --publish ----------------------------------------------------------------------------------
def test_a_receiver_that_is_down_changes_nothing_of_a_run(tmp_path: Path) -> None:
    world = toy.build(tmp_path)
    with (world.root / "pyproject.toml").open("a") as f:
        f.write(
            '[tool.kmodpipe.receivers.down]\nkind = "http"\nurl = "http://127.0.0.1:9/{run}"\nattempts = 1\n'
            'token-env = "TOKEN"\n'
            '[tool.kmodpipe.receivers.file]\nkind = "kcidb"\norigin = "kmodpipe"\nfile = "kcidb-{run}.json"\n'
        )
    asked = ("ci", "--runtime", "host", "--cell", "toy-fix.INDEX=y.NOUUID=n", "--publish", "down")
    ran = world.invoke(*asked, "--publish", "file")
    assert ran.code == 2, ran.text  # the token is not there: told before anything is built
    assert "TOKEN is not set" in ran.text
    assert world.made() == []
    ran = world.invoke(*asked, "--publish", "file", TOKEN=TOKEN)
    assert ran.code == 0, ran.text
    assert "1 still pending" in ran.text
    run = results.load(world.latest / "results.json")
    written = json.loads((world.root / f"kcidb-{run.id}.json").read_text())
    assert LATEST.is_valid(written)
    assert {t["status"] for t in written["tests"]} == {"PASS"}
    assert TOKEN not in ran.text + (world.latest / "events.jsonl").read_text()
    box = world.root / ".local" / "state" / "kmodpipe" / "outbox"
    assert len(list((box / "pending").glob("down.*"))) == 1
    world.invoke("clean", "--all")
    assert len(list((box / "pending").glob("down.*"))) == 1  # not made anew by any run: no cache


RECEIVERS = (
    '[tool.kmodpipe.receivers.file]\nkind = "kcidb"\norigin = "kmodpipe"\nfile = "kcidb-{run}.json"\n'
    '[tool.kmodpipe.receivers.down]\nkind = "http"\nurl = "http://127.0.0.1:9/{run}"\nattempts = 1\n'
)


def test_a_run_that_a_signal_ended_is_spooled_and_says_that_it_is_not_whole(tmp_path: Path) -> None:
    world = toy.build(tmp_path)
    with (world.root / "pyproject.toml").open("a") as f:
        f.write(RECEIVERS)
    case = world.script("waits.sh", f"until {world.root / 'go'}", "observe mounted")
    running = world.start(
        "ci", "--runtime", "host", "--jobs", "1", "--cell", "*.INDEX=y.NOUUID=n", "--case", case,
        "--publish", "file", "--publish", "down",
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not list((world.root / "out").glob("*/*/verdict.log")) and time.monotonic() < deadline:
            time.sleep(0.02)
        began = time.monotonic()
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=30)
    finally:
        running.kill()
    text = out + err
    assert running.returncode == 3, text
    assert time.monotonic() - began < 10
    assert "2 parts in" in text and "invoke publish --pending" in text
    run = results.load(world.latest / "results.json")
    sent = world.root / f"kcidb-{run.id}.json"
    assert not sent.exists()

    ran = world.invoke("publish", "--pending")
    assert (ran.code, "1 still pending" in ran.text) == (3, True), ran.text
    written = json.loads(sent.read_text())
    assert LATEST.is_valid(written)
    assert {c["misc"]["ended-early"] for c in written["checkouts"]} == {"interrupted"}
    assert len(written["tests"]) == 2
    assert not {t["status"] for t in written["tests"]} & {"PASS", "FAIL", "SKIP"}


def test_a_run_that_an_error_ended_is_sent_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = toy.build(tmp_path)
    with (world.root / "pyproject.toml").open("a") as f:
        f.write(RECEIVERS)

    def no_room(*_: object) -> None:
        raise InfraError("the disk is full")

    monkeypatch.setattr("kmodpipe.pipeline.run.find_dead_axes", no_room)
    ran = world.command(ci, cell=["toy-fix.INDEX=y.NOUUID=n"], publish=["file"])
    assert ran.code == 3
    assert "the disk is full" in ran.text and "file: 1 delivered" in ran.text
    run = results.load(world.latest / "results.json")
    assert "the run ended early: the disk is full" in wording.total(run)
    written = json.loads((world.root / f"kcidb-{run.id}.json").read_text())
    assert [t["status"] for t in written["tests"]] == ["PASS"]  # what was found is not taken back
    assert {c["misc"]["ended-early"] for c in written["checkouts"]} == {"the disk is full"}
    suites = ET.parse(world.latest / "junit.xml").getroot()
    told = {p.get("value") for p in suites.iter("property") if p.get("name") == "ended-early"}
    assert told == {"the disk is full"}


def test_a_job_that_ends_before_its_run_has_nothing_to_publish(tmp_path: Path) -> None:
    world = toy.build(tmp_path)
    with (world.root / "pyproject.toml").open("a") as f:
        f.write(RECEIVERS)
    ran = world.command(ci, tree=str(tmp_path / "nowhere"), publish=["file"])
    assert ran.code == 2
    assert "not published: the job ended before there were results" in ran.text


def test_an_interruption_while_sending_says_how_the_rest_is_sent(
    project: Path, finished: RunData, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = io.StringIO()
    publisher = Publisher(receivers_of(config.load(project)), project, Screen(Mode.PLAIN, out=text))

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Sender, "attempt", stop)
    with pytest.raises(KeyboardInterrupt), published_at_the_end(publisher, ["file"]) as ending:
        ending.begin(finished.folder)
    assert "invoke publish --pending" in text.getvalue()
    assert len(Outbox(outbox.place()).pending()) == 1
