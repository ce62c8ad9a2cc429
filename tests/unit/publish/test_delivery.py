"""Sending what the outbox has: until it has arrived, never twice, and not against a refusal."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from kmodpipe.publish.delivery import Sender, send
from kmodpipe.publish.outbox import Outbox
from kmodpipe.publish.payload import DeliveryStatus, Parcel, Reply
from kmodpipe.publish.receivers.base import Receiver
from kmodpipe.publish.secret import Secret
from kmodpipe.util.errors import UserError
from kmodpipe.util.screen import Mode, Screen
from tests.support.sample_receivers import TOKEN, http, parcel, receiver


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
    assert "of the kind http" in tally.problems[0].text


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
    assert "RuntimeError in test_delivery.py" in tally.problems[0].text
    assert TOKEN not in tally.problems[0].text + text.getvalue()


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
