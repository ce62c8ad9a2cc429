"""`invoke publish` and the end of `invoke ci --publish`: write results to the outbox, then send them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.publish import run_data
from kmodpipe.publish.delivery import Sender, Tally, send
from kmodpipe.publish.outbox import Outbox, Spooled, place
from kmodpipe.publish.payload import Parcel
from kmodpipe.publish.receivers.base import Receiver
from kmodpipe.publish.secret import Secret
from kmodpipe.util.errors import ExitCode, Interrupted, KmodpipeError, UserError, unknown_name
from kmodpipe.util.screen import Screen

AGAIN = "invoke publish --pending"


@dataclass(frozen=True)
class Publisher:
    """Publishes runs to the declared receivers."""

    receivers: Mapping[str, Receiver]
    # The project's folder.
    root: Path
    screen: Screen

    def named(self, names: Sequence[str]) -> tuple[Receiver, ...]:
        """Return the receivers of these names, each once. Raise UserError for an undeclared one."""
        for name in names:
            if name not in self.receivers:
                raise unknown_name(
                    "receiver",
                    name if not _looks_secret(name) else "(not shown)",
                    self.receivers,
                    where="receivers of the project",
                )
        return tuple(self.receivers[name] for name in dict.fromkeys(names))

    def senders(self, names: Sequence[str]) -> tuple[Sender, ...]:
        """Return a sender for each receiver, its token read. Raise UserError if one cannot be read."""
        return tuple(Sender(r, r.token(self.root), self.root, self.screen) for r in self.named(names))

    # -- publish --to ------------------------------------------------------------------------------
    def publish(self, names: Sequence[str], where: Path, *, again: bool = False) -> int:
        """Spool the run in folder *where* for each receiver, then send it, and what is pending from before.

        *again* sends also parcels that have, or may have, arrived before. Return the exit code.
        """
        senders = self.senders(names)
        # Everything is on the disk before anything is sent.
        outbox, made = self.spool(names, where, again=again)
        tallies = {
            sender.receiver.name: send(sender, outbox, again=again, wanted=made[sender.receiver.name])
            for sender in senders
        }
        return self._conclude(tallies, outbox)

    def spool(
        self, names: Sequence[str], where: Path, *, again: bool = False
    ) -> tuple[Outbox, Mapping[str, Set[str]]]:
        """Put the run into the outbox for each receiver; return the outbox, and the keys by receiver."""
        receivers = self.named(names)
        run = run_data.load(where)
        made = {receiver.name: receiver.parcels(run) for receiver in receivers}
        outbox = Outbox(place()).open()
        for receiver in receivers:
            self._put(outbox, receiver, made[receiver.name], again=again)
        return outbox, {name: {parcel.key for parcel in parcels} for name, parcels in made.items()}

    def _put(self, outbox: Outbox, receiver: Receiver, made: Iterable[Parcel], *, again: bool) -> None:
        counts = dict.fromkeys(Spooled, 0)
        for parcel in made:
            counts[outbox.spool(parcel, receiver.target, again=again)] += 1
        if counts[Spooled.DELIVERED]:
            self.screen.say(
                f"{receiver.name}: {counts[Spooled.DELIVERED]} delivered before, not sent (--again does)"
            )
        if counts[Spooled.WAITING]:
            self.screen.say(f"{receiver.name}: {counts[Spooled.WAITING]} wait in the outbox already")

    def _conclude(self, tallies: Mapping[str, Tally], outbox: Outbox) -> int:
        """Print the results by receiver; return the exit code."""
        for name, tally in tallies.items():
            for problem in tally.problems[:3]:
                self.screen.warn(f"{name}: {problem.text}", hint=problem.hint)
            if len(tally.problems) > 3:
                self.screen.warn(f"{name}: and {len(tally.problems) - 3} more")
            counts = f"{tally.delivered} delivered" if tally != Tally() else "nothing to send"
            if tally.known:
                counts += f", {tally.known} had arrived before"
            if tally.pending:
                counts += f", {tally.pending} pending"
            self.screen.print(f"{name}: {counts}")
        for path in outbox.damaged():
            self.screen.warn(f"not a parcel, and left alone: {path}")
        pending = sum(tally.pending for tally in tallies.values())
        if not pending:
            return ExitCode.OK
        self.screen.print(f"{pending} still pending in {outbox.root}; send them with: {AGAIN}")
        return ExitCode.INFRA

    # -- publish --pending -------------------------------------------------------------------------
    def pending(self, *, again: bool = False) -> int:
        """Send the pending parcels of all receivers; return the exit code.

        A receiver that is no longer declared, or has no token, does not stop the others; the code is then 2.
        """
        outbox = Outbox(place()).open()
        entries = outbox.pending()
        names = dict.fromkeys(entry.receiver for entry in entries)
        if not entries:
            self.screen.print("nothing is pending")
        tallies, unusable = {}, False
        for name in names:
            try:
                (sender,) = self.senders([name])
                tallies[name] = send(sender, outbox, again=again)
            except UserError as e:
                unusable = True
                self.screen.error(e)
                tallies[name] = Tally(pending=len(outbox.pending(name)))
        code = self._conclude(tallies, outbox)
        return ExitCode.USAGE if unusable else code

    # -- --dry-run ---------------------------------------------------------------------------------
    def dry_run(self, names: Sequence[str], where: Path) -> int:
        """Print each request that would be made; write and send nothing."""
        receivers = self.named(names)
        run = run_data.load(where)
        for receiver in receivers:
            for parcel in receiver.parcels(run):
                self._show(receiver, parcel)
        return ExitCode.OK

    def _show(self, receiver: Receiver, parcel: Parcel) -> None:
        request = receiver.request(parcel)
        self.screen.print(f"{receiver.name}: {request.method} {request.url or request.file}")
        self.screen.print(f"  about: {parcel.about}, {parcel.size} bytes, key {parcel.key[:16]}")
        if receiver.token_place:
            header, _ = receiver.authorization(Secret("…"))
            self.screen.print(f"  {header}: the token of {receiver.token_place}")
        for name, value in request.headers.items():
            self.screen.print(f"  {name}: {value}")
        for part in request.parts:
            named = f"{part.filename}, {part.content_type}, " if part.filename else ""
            self.screen.print(f"  form {part.name}: {named}{len(part.data)} bytes")

    def waiting(self) -> int:
        """Print the pending parcels, with their last result."""
        outbox = Outbox(place())
        entries = outbox.pending()
        for entry in entries:
            self.screen.print(f"{entry.receiver}: {entry.run} {entry.about}")
            state = entry.state
            if state.attempts:
                text = state.text or "its last attempt was cut off"
                self.screen.print(f"  {state.attempts} attempts; {state.fate or 'unclear'}: {text}")
            self.screen.print(f"  path: {entry.path}")
        self.screen.print(f"{len(entries)} pending in {outbox.root}" if entries else "nothing is pending")
        return ExitCode.OK


def _looks_secret(name: str) -> bool:
    """Return whether *name* might be a token, given by mistake."""
    return (len(name) >= 20 and any(c.isdigit() for c in name)) or "=" in name


# -- ci --publish ---------------------------------------------------------------------------------------
@dataclass
class Ending:
    """The run that `published_at_the_end` publishes."""

    # The run's folder; None until it has begun.
    folder: Path | None = None

    def begin(self, folder: Path) -> None:
        """Record the run's folder."""
        self.folder = folder


@contextmanager
def published_at_the_end(publisher: Publisher, names: Sequence[str]) -> Iterator[Ending]:
    """Publish the results of a run when the block ends, also with an exception (`invoke ci --publish`).

    A run that ended early is marked as such: its cells and cases without a verdict are errors, and the
    property `results.ENDED_EARLY` has the reason. After a signal the results are spooled but not sent, as a
    CI system that stops a job does not wait for receivers. Errors here are warnings: they do not change how
    the run ended.
    """
    ending = Ending()
    try:
        yield ending
    except (KeyboardInterrupt, Interrupted):
        _attempt(publisher, names, ending, _leave)
        raise
    except Exception:
        _attempt(publisher, names, ending, _send)
        raise
    if ending.folder:
        _attempt(publisher, names, ending, _send)


def _attempt(
    publisher: Publisher,
    names: Sequence[str],
    ending: Ending,
    act: Callable[[Publisher, Sequence[str], Path], None],
) -> None:
    """Call *act* for the run; turn any error into a warning."""
    if ending.folder is None or not (ending.folder / "results.json").is_file():
        publisher.screen.warn("not published: the job ended before there were results")
        return
    try:
        act(publisher, names, ending.folder)
    except KmodpipeError as e:
        publisher.screen.warn(
            f"not published: {e.sentence}", hint=f"invoke publish --to NAME --run {ending.folder}"
        )
    except Exception as e:
        # Only the type: a library's message may hold a secret.
        publisher.screen.warn(f"not published: a defect in kmodpipe: {type(e).__name__}")


def _send(publisher: Publisher, names: Sequence[str], folder: Path) -> None:
    try:
        publisher.publish(names, folder)
    except KeyboardInterrupt:
        publisher.screen.warn(f"interrupted while publishing; what waits still goes with: {AGAIN}")
        raise


def _leave(publisher: Publisher, names: Sequence[str], folder: Path) -> None:
    """Spool the run without sending it."""
    outbox, made = publisher.spool(names, folder)
    waiting = sum(entry.key in made.get(entry.receiver, ()) for entry in outbox.pending())
    count = "1 part" if waiting == 1 else f"{waiting} parts"
    publisher.screen.warn(f"the results so far are not sent: {count} in {outbox.root}; send with: {AGAIN}")
