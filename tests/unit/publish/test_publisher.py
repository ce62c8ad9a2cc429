"""What `invoke publish` does with declared receivers."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from kcidb_io.schema import LATEST

from kmodpipe.cli.commands import publish
from kmodpipe.cli.exit import guarded
from kmodpipe.cli.invocation import Invocation, receivers_of
from kmodpipe.cli.options import PublishOptions
from kmodpipe.pipeline import config
from kmodpipe.publish import outbox
from kmodpipe.publish.delivery import Sender
from kmodpipe.publish.outbox import Outbox
from kmodpipe.publish.payload import Parcel, Part
from kmodpipe.publish.publisher import Publisher, published_at_the_end
from kmodpipe.publish.run_data import RunData
from kmodpipe.util.screen import Mode, Screen
from tests.support.sample_receivers import TOKEN


def asked(root: Path, **given: object) -> tuple[int, str]:
    text = io.StringIO()
    screen = Screen(Mode.PLAIN, out=text)
    code = guarded(publish, PublishOptions(**given), Invocation(root, screen=screen))  # type: ignore[arg-type]
    return code, text.getvalue()


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
