"""Deliver parcels from the outbox to a receiver: one attempt, repeated attempts, all pending parcels."""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urljoin

from kmodpipe.publish import template
from kmodpipe.publish.outbox import Entry, Outbox
from kmodpipe.publish.payload import Answer, DeliveryStatus, Parcel, Reply, Request
from kmodpipe.publish.receivers.base import Receiver
from kmodpipe.publish.retry import pause, retry_after
from kmodpipe.publish.secret import Secret
from kmodpipe.util.errors import InfraError, KmodpipeError, UserError
from kmodpipe.util.files import write_atomically
from kmodpipe.util.screen import Screen, Step
from kmodpipe.util.text import visible


@dataclass(frozen=True)
class Problem:
    """Why a parcel stays in the outbox, and what to do about it."""

    text: str
    hint: str = ""


@dataclass
class Tally:
    """The result of sending the pending parcels of a receiver, counted in parcels."""

    delivered: int = 0
    # Had arrived before.
    known: int = 0
    # Still in the outbox, for any reason.
    pending: int = 0
    # Why.
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class Sender:
    """Sends parcels to one receiver."""

    receiver: Receiver
    token: Secret | None
    # Relative paths in the receiver's declaration start here.
    root: Path
    screen: Screen
    sleep: Callable[[float], None] = time.sleep
    # Returns a random number from 0 to 1.
    dice: Callable[[], float] = random.random

    def attempt(self, parcel: Parcel) -> Reply:
        """Send a parcel once; return the result, without any secret in it.

        Raise UserError if no request can be made from the receiver's declaration.
        """
        request = self.receiver.request(parcel)
        if request.file:
            return self._write(request)
        from kmodpipe.publish.http_client import Limits, NoAnswer, exchange

        receiver = self.receiver
        authorization = receiver.authorization(self.token) if self.token else None
        limits = Limits(receiver.connect_s, receiver.read_s, receiver.overall_s)
        ca_file = self.root / Path(receiver.ca_file).expanduser() if receiver.ca_file else None
        try:
            answer = exchange(request, authorization, limits, ca_file)
        except NoAnswer as e:
            reply = e.reply
        except KmodpipeError:
            raise
        except Exception as e:
            # The place only and not the message, which may hold a header.
            place = traceback.extract_tb(e.__traceback__)[-1]
            text = f"a defect in kmodpipe: {type(e).__name__} in {Path(place.filename).name}:{place.lineno}"
            reply = Reply(DeliveryStatus.UNCLEAR, text, "please report it", everyone=True)
        else:
            reply = self._judge(request, answer)
        # A server may return what it received.
        return replace(reply, text=self.token.scrub(reply.text)) if self.token else reply

    def _judge(self, request: Request, answer: Answer) -> Reply:
        """Return what the answer means; redirects are refused for every kind of receiver."""
        if 300 <= answer.status < 400:
            there = template.host_of(urljoin(request.url, answer.headers.get("location", "")))
            here = template.host_of(request.url)
            return Reply(
                DeliveryStatus.REFUSED,
                f"{here} answered {answer.status}, a redirect to {visible(there)[:200]}: not followed",
                "declare the URL that it should go to, if that host is to have the results and the token",
                everyone=True,
            )
        reply = self.receiver.judge(answer)
        return replace(reply, retry_after_s=retry_after(answer.headers, datetime.now(UTC)))

    def _write(self, request: Request) -> Reply:
        """Write the request's body to its file."""
        path = self.root / Path(request.file).expanduser()
        try:
            write_atomically(path, request.body or b"")
        except OSError as e:
            return Reply(DeliveryStatus.REFUSED, f"{path} cannot be written: {e.strerror}")
        return Reply(DeliveryStatus.DELIVERED, f"written to {path}")

    def deliver(self, outbox: Outbox, entry: Entry, step: Step) -> Reply:
        """Try until a parcel has arrived or another attempt is pointless; return the last result.

        The outbox records each attempt before it begins and after it ends.
        """
        parcel = outbox.parcel(entry)
        give_up = time.monotonic() + self.receiver.patience_s
        attempt = 0
        while True:
            attempt += 1
            entry = outbox.begin(entry)
            try:
                reply = self.attempt(parcel)
            except UserError as e:
                outbox.failed(entry, DeliveryStatus.REFUSED, e.what)  # nothing went out
                raise
            if reply.status is DeliveryStatus.DELIVERED:
                outbox.delivered(entry, self.receiver.target, reply.text)
                return reply
            entry = outbox.failed(entry, reply.status, reply.text)
            wait = pause(self.receiver, reply, attempt, self.dice)
            if wait is None or time.monotonic() + wait > give_up:
                return replace(reply, text=f"{reply.text} ({_times(attempt)})")
            self.screen.say(f"    {entry.about}: {reply.text}; again in {wait:.1f} s")
            step.update(f"{entry.about}: waiting {wait:.0f} s after attempt {attempt}")
            self.sleep(wait)


def _times(attempts: int) -> str:
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"


def send(sender: Sender, outbox: Outbox, *, again: bool = False, wanted: Set[str] | None = None) -> Tally:
    """Send all pending parcels of the sender's receiver, the oldest first.

    A parcel that may have arrived is held back, unless the receiver recognises repeated ones or *again* is
    set. One that was refused before is sent only if its key is in *wanted*; None stands for all keys. After
    a problem that all parcels share, the rest is not tried.
    """
    receiver, tally = sender.receiver, Tally()
    with (
        sender.screen.step(f"publish to {receiver.name}") as step,
        outbox.sending_to(receiver.name, sender.screen.say),
    ):
        entries = outbox.pending(receiver.name)
        stopped = False
        for number, found in enumerate(entries):
            step.update(f"{found.run} {found.about}", done=number, total=len(entries))
            entry = outbox.refreshed(found)
            if entry is None:
                tally.known += 1
            elif not again and outbox.receipt(entry.key, receiver.target):
                outbox.delivered(entry, receiver.target, "it has arrived before")
                tally.known += 1
            elif stopped:
                tally.pending += 1
            elif held := _held(receiver, entry, again=again, wanted=wanted):
                tally.pending += 1
                if held not in tally.problems:
                    tally.problems.append(held)
            else:
                stopped = _one(sender, outbox, entry, step, tally)
        step.finish(_words(tally), failed=bool(tally.pending))
    return tally


def _one(sender: Sender, outbox: Outbox, entry: Entry, step: Step, tally: Tally) -> bool:
    """Deliver one parcel; return whether its problem is one of all parcels, so that none need be tried."""
    try:
        reply = sender.deliver(outbox, entry, step)
    except InfraError as e:
        reply = Reply(DeliveryStatus.REFUSED, e.sentence, hint=e.hint)
    if reply.status is DeliveryStatus.DELIVERED:
        tally.delivered += 1
        if reply.warning:
            sender.screen.warn(f"{entry.receiver}: {entry.run} {entry.about}: {reply.text}")
        return False
    tally.pending += 1
    tally.problems.append(Problem(f"{entry.run} {entry.about}: {reply.text}", reply.hint))
    return reply.everyone or reply.status is not DeliveryStatus.REFUSED


def _held(receiver: Receiver, entry: Entry, *, again: bool, wanted: Set[str] | None) -> Problem | None:
    """Return why this parcel is not to be tried, or None."""
    if entry.kind != receiver.kind:
        return Problem(
            f"{entry.run} {entry.about} was made when {receiver.name} was of the kind {entry.kind}",
            f"publish the run again, and remove {entry.path}",
        )
    if entry.state.unclear and not receiver.repeatable and not again:
        return Problem(
            f"{entry.run} {entry.about}: it may have arrived, and {receiver.name} would keep both",
            f"look there; then send it again with --again, or remove {entry.path}",
        )
    if entry.state.fate == DeliveryStatus.REFUSED and wanted is not None and entry.key not in wanted:
        return Problem(f"{entry.run} {entry.about} was refused before: {entry.state.text}")
    return None


def _words(tally: Tally) -> str:
    counts = [f"{tally.delivered} delivered"]
    if tally.known:
        counts.append(f"{tally.known} were there")
    if tally.pending:
        counts.append(f"{tally.pending} pending")
    return ", ".join(counts) if tally != Tally() else "nothing to send"
