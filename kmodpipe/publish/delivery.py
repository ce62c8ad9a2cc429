"""From the outbox to the receivers: one attempt, several attempts, all that waits."""

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


@dataclass
class Tally:
    """How it went. ``pending`` are parcels that wait still, whatever the reason."""

    delivered: int = 0
    known: int = 0
    pending: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Sender:
    """Brings parcels to one receiver. ``root`` is what relative paths of its declaration start from."""

    receiver: Receiver
    token: Secret | None
    root: Path
    screen: Screen
    sleep: Callable[[float], None] = time.sleep
    dice: Callable[[], float] = random.random

    def attempt(self, parcel: Parcel) -> Reply:
        """Send once; what came of it, with nothing secret in it. Raises UserError for a declaration that
        makes no request."""
        request = self.receiver.request(parcel)
        if request.file:
            return self._write(request)
        from kmodpipe.publish.http_client import Limits, Trouble, exchange

        one = self.receiver
        authorization = one.authorization(self.token) if self.token else None
        limits = Limits(one.connect_s, one.read_s, one.overall_s)
        ca_file = self.root / Path(one.ca_file).expanduser() if one.ca_file else None
        try:
            answer = exchange(request, authorization, limits, ca_file)
        except Trouble as trouble:
            reply = trouble.reply
        except KmodpipeError:
            raise
        except Exception as e:
            # Where it happened, and not what it says: that may be a header.
            place = traceback.extract_tb(e.__traceback__)[-1]
            text = f"a defect in kmodpipe: {type(e).__name__} in {Path(place.filename).name}:{place.lineno}"
            reply = Reply(DeliveryStatus.UNCLEAR, text, "please report it", everyone=True)
        else:
            reply = self._judge(request, answer)
        # A server may send back what it was sent.
        return replace(reply, text=self.token.scrub(reply.text)) if self.token else reply

    def _judge(self, request: Request, answer: Answer) -> Reply:
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
        path = self.root / Path(request.file).expanduser()
        try:
            write_atomically(path, request.body or b"")
        except OSError as e:
            return Reply(DeliveryStatus.REFUSED, f"{path} cannot be written: {e.strerror}")
        return Reply(DeliveryStatus.DELIVERED, f"written to {path}")

    def deliver(self, outbox: Outbox, entry: Entry, step: Step) -> Reply:
        """Try until it has arrived or there is no point in trying; the outbox knows at every moment."""
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
            if reply.fate is DeliveryStatus.DELIVERED:
                outbox.delivered(entry, self.receiver.target, reply.text)
                return reply
            entry = outbox.failed(entry, reply.fate, reply.text)
            wait = pause(self.receiver, reply, attempt, self.dice)
            if wait is None or time.monotonic() + wait > give_up:
                return replace(reply, text=f"{reply.text} ({_times(attempt)})")
            self.screen.say(f"    {entry.about}: {reply.text}; again in {wait:.1f} s")
            step.update(f"{entry.about}: waiting {wait:.0f} s after attempt {attempt}")
            self.sleep(wait)


def _times(attempts: int) -> str:
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"


def send(sender: Sender, outbox: Outbox, *, again: bool = False, wanted: Set[str] | None = None) -> Tally:
    """Send everything that waits for the sender's receiver, the oldest first.

    What may have arrived and cannot be recognised there is held back unless ``again``; what was refused
    before is left alone unless its key is ``wanted`` (None: all are). After trouble that is everybody's the
    rest is not tried."""
    receiver, tally = sender.receiver, Tally()
    with (
        sender.screen.step(f"publish to {receiver.name}") as step,
        outbox.sending_to(receiver.name, sender.screen.say),
    ):
        entries = outbox.pending(receiver.name)
        stopped = ""
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


def _one(sender: Sender, outbox: Outbox, entry: Entry, step: Step, tally: Tally) -> str:
    """Deliver one; why the rest need not be tried, or nothing."""
    try:
        reply = sender.deliver(outbox, entry, step)
    except InfraError as e:
        reply = Reply(DeliveryStatus.REFUSED, str(e))
    if reply.fate is DeliveryStatus.DELIVERED:
        tally.delivered += 1
        if reply.warning:
            sender.screen.warn(f"{entry.receiver}: {entry.run} {entry.about}: {reply.text}")
        return ""
    tally.pending += 1
    told = f"{entry.run} {entry.about}: {reply.text}" + (f"\n  hint: {reply.hint}" if reply.hint else "")
    tally.problems.append(told)
    return told if reply.everyone or reply.fate is not DeliveryStatus.REFUSED else ""


def _held(receiver: Receiver, entry: Entry, *, again: bool, wanted: Set[str] | None) -> str:
    """Why this one is not to be tried, or nothing."""
    if entry.kind != receiver.kind:
        return (
            f"{entry.run} {entry.about} was made when {receiver.name} was of the kind {entry.kind}\n"
            f"  hint: publish the run anew, and remove {entry.path}"
        )
    if entry.state.unclear and not receiver.repeatable and not again:
        return (
            f"{entry.run} {entry.about}: it may have arrived, and {receiver.name} would keep both\n"
            f"  hint: look there; then send it again with --again, or remove {entry.path}"
        )
    if entry.state.fate == DeliveryStatus.REFUSED and wanted is not None and entry.key not in wanted:
        return f"{entry.run} {entry.about} was refused before: {entry.state.text}"
    return ""


def _words(tally: Tally) -> str:
    told = [f"{tally.delivered} delivered"]
    if tally.known:
        told.append(f"{tally.known} were there")
    if tally.pending:
        told.append(f"{tally.pending} pending")
    return ", ".join(told) if tally != Tally() else "nothing to send"
