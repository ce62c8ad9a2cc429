"""Publishing at the end of a run, in the toy world."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from kcidb_io.schema import LATEST

from kmodpipe import results
from kmodpipe.cli.commands import ci
from kmodpipe.report import wording
from kmodpipe.util.errors import InfraError
from tests.support import toy
from tests.support.sample_receivers import TOKEN


def test_a_receiver_that_is_down_changes_nothing_of_a_run(tmp_path: Path) -> None:
    world = toy.build(tmp_path)
    with (world.root / "pyproject.toml").open("a") as f:
        f.write(
            '[tool.kmodpipe.receivers.down]\nkind = "http"\nurl = "http://127.0.0.1:9/{run}"\nattempts = 1\n'
            'token-env = "TOKEN"\n'
            '[tool.kmodpipe.receivers.file]\nkind = "kcidb"\norigin = "kmodpipe"\nfile = "kcidb-{run}.json"\n'
        )
    asked = (
        "ci",
        "--runtime",
        "host",
        "--no-control",
        "--cell",
        "toy-fix.INDEX=y.NOUUID=n",
        "--publish",
        "down",
    )
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
    assert {c["misc"]["ended-early"] for c in written["checkouts"]} == {"interrupted after 0 of 2 results"}
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
    assert [t["status"] for t in written["tests"]] == ["PASS", "PASS"]  # what was found is not taken back
    assert {c["misc"]["ended-early"] for c in written["checkouts"]} == {
        "the disk is full after 2 of 2 results"
    }
    suites = ET.parse(world.latest / "junit.xml").getroot()
    told = {p.get("value") for p in suites.iter("property") if p.get("name") == "ended-early"}
    assert told == {"the disk is full after 2 of 2 results"}


def test_a_job_that_ends_before_its_run_has_nothing_to_publish(tmp_path: Path) -> None:
    world = toy.build(tmp_path)
    with (world.root / "pyproject.toml").open("a") as f:
        f.write(RECEIVERS)
    ran = world.command(ci, tree=(str(tmp_path / "nowhere"),), publish=["file"])
    assert ran.code == 2
    assert "not published: the job ended before there were results" in ran.text
