"""`invoke publish` and the end of `invoke ci --publish`: spool first, send second."""

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
from kmodpipe.util.errors import ExitCode, InfraError, Interrupted, KmodpipeError, UserError, unknown_name
from kmodpipe.util.screen import Screen

AGAIN = "invoke publish --pending"


@dataclass(frozen=True)
class Publisher:
    """The declared receivers and where the project is; everything a command of this room needs."""

    receivers: Mapping[str, Receiver]
    root: Path
    screen: Screen

    def named(self, names: Sequence[str]) -> tuple[Receiver, ...]:
        """The receivers of these names, each once. Raises UserError."""
        for name in names:
            if name not in self.receivers:
                raise unknown_name(
                    "receiver",
                    name if not _looks_secret(name) else "(not shown)",
                    self.receivers,
                    where="[tool.kmodpipe.receivers] of pyproject.toml",
                )
        return tuple(self.receivers[name] for name in dict.fromkeys(names))

    def senders(self, names: Sequence[str]) -> tuple[Sender, ...]:
        """One for each receiver, with the token that it needs, read now. Raises UserError."""
        return tuple(Sender(r, r.token(self.root), self.root, self.screen) for r in self.named(names))

    # -- publish --to ------------------------------------------------------------------------------
    def publish(self, names: Sequence[str], where: Path, *, again: bool = False) -> int:
        """Spool the run for each receiver, then send it, and what waits for it from before."""
        senders = self.senders(names)
        # All of it on the disk before the first byte goes out.
        outbox, made = self.spool(names, where, again=again)
        tallies = {
            sender.receiver.name: send(sender, outbox, again=again, wanted=made[sender.receiver.name])
            for sender in senders
        }
        return self._conclude(tallies, outbox)

    def spool(
        self, names: Sequence[str], where: Path, *, again: bool = False
    ) -> tuple[Outbox, Mapping[str, Set[str]]]:
        """Put the run into the outbox for each receiver; the outbox, and the keys of each one's parcels."""
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
        """Say how it went; the exit code."""
        for name, tally in tallies.items():
            for problem in tally.problems[:3]:
                self.screen.warn(f"{name}: {problem}")
            if len(tally.problems) > 3:
                self.screen.warn(f"{name}: and {len(tally.problems) - 3} more")
            told = f"{tally.delivered} delivered" if tally != Tally() else "nothing to send"
            if tally.known:
                told += f", {tally.known} had arrived before"
            if tally.pending:
                told += f", {tally.pending} pending"
            self.screen.print(f"{name}: {told}")
        for path in outbox.damaged():
            self.screen.warn(f"not a parcel, and left alone: {path}")
        pending = sum(tally.pending for tally in tallies.values())
        if not pending:
            return ExitCode.OK
        self.screen.print(f"{pending} still pending in {outbox.root}; send them with: {AGAIN}")
        return ExitCode.INFRA

    # -- publish --pending -------------------------------------------------------------------------
    def pending(self, *, again: bool = False) -> int:
        """Send what waits, whatever receiver it is for. A receiver that is not declared any more, or whose
        token is not there, does not hold up the others; the exit code is 2 then."""
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
    def rehearse(self, names: Sequence[str], where: Path) -> int:
        """Show each request that would be made; write and send nothing."""
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
        """Show what waits, and why."""
        outbox = Outbox(place())
        entries = outbox.pending()
        for entry in entries:
            self.screen.print(f"{entry.receiver}: {entry.run} {entry.about}")
            state = entry.state
            if state.attempts:
                told = state.text or "its last attempt was cut off"
                self.screen.print(f"  {state.attempts} attempts; {state.fate or 'unclear'}: {told}")
            self.screen.print(f"  path: {entry.path}")
        self.screen.print(f"{len(entries)} pending in {outbox.root}" if entries else "nothing is pending")
        return ExitCode.OK


def _looks_secret(name: str) -> bool:
    """Whether this might be a token that somebody gave for a name."""
    return (len(name) >= 20 and any(c.isdigit() for c in name)) or "=" in name


# -- ci --publish ---------------------------------------------------------------------------------------
@dataclass
class Ending:
    """A run that `published_at_the_end` waits for; ``folder`` is its own once it has begun."""

    folder: Path | None = None

    def begin(self, folder: Path) -> None:
        self.folder = folder


@contextmanager
def published_at_the_end(publisher: Publisher, names: Sequence[str]) -> Iterator[Ending]:
    """What `invoke ci --publish` does: once the block has ended, however, the results of its run go out.

    Those of a run that ended early say so: its cells and cases without a verdict are errors, and the property
    `results.ENDED_EARLY` has the reason. After a signal they are spooled only, since whoever stops a job does
    not wait for a receiver. Nothing that goes wrong here changes how the run ended, it is only told.
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
    if ending.folder is None or not (ending.folder / "results.json").is_file():
        publisher.screen.warn("not published: the job ended before there were results")
        return
    try:
        act(publisher, names, ending.folder)
    except KmodpipeError as e:
        publisher.screen.warn(f"not published: {e}\n  hint: invoke publish --to NAME --run {ending.folder}")
    except Exception as e:
        # The type alone: what a library's text holds nobody knows.
        error = InfraError(f"a defect in kmodpipe while publishing: {type(e).__name__}")
        publisher.screen.warn(f"not published: {error}")


def _send(publisher: Publisher, names: Sequence[str], folder: Path) -> None:
    try:
        publisher.publish(names, folder)
    except KeyboardInterrupt:
        publisher.screen.warn(f"interrupted while publishing; what waits still goes with: {AGAIN}")
        raise


def _leave(publisher: Publisher, names: Sequence[str], folder: Path) -> None:
    outbox, made = publisher.spool(names, folder)
    waiting = sum(entry.key in made.get(entry.receiver, ()) for entry in outbox.pending())
    told = "1 part" if waiting == 1 else f"{waiting} parts"
    publisher.screen.warn(f"the results so far are not sent: {told} in {outbox.root}; send with: {AGAIN}")
