"""The outbox: whole parcels, kept until they have arrived."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from kmodpipe.publish import outbox
from kmodpipe.publish.outbox import Outbox, Spooled
from kmodpipe.publish.payload import Part
from kmodpipe.util.errors import InfraError
from tests.support.sample_receivers import parcel


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


def test_no_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert "HOME" not in os.environ
    with pytest.raises(InfraError, match="XDG_STATE_HOME"):
        outbox.place()
