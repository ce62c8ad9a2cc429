"""A run as Buildkite Test Analytics takes it."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from kmodpipe.publish.payload import Answer, DeliveryStatus
from kmodpipe.publish.receivers import buildkite
from kmodpipe.publish.run_data import RunData
from kmodpipe.publish.secret import Secret
from tests.support.sample_receivers import receiver


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
