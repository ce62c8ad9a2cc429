"""Try the states between the ends, one by one: as often as a decision needs, with what is left to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import fmean

from kmodpipe.analysis.bisect import rates
from kmodpipe.analysis.bisect.ends import EndSeen, seen
from kmodpipe.analysis.bisect.model import Seen, Side
from kmodpipe.analysis.bisect.probe import Probe, Shown, Target
from kmodpipe.analysis.bisect.rates import Decision, Policy
from kmodpipe.results.effects import UNBUILT
from kmodpipe.util.errors import UserError
from kmodpipe.util.text import count

Command = Callable[[Target, str, str], str]
"""Returns the command that runs a case in a state's cell again: of the target, the cell's id, the case's."""


class Search:
    """The steps of one bisection: what was tried, and how sure that is."""

    def __init__(
        self,
        probe: Probe,
        ends: EndSeen,
        targets: tuple[Target, Target],
        policy: Policy,
        steps: int,
        command: Command,
    ) -> None:
        """``steps`` is how many states are tried at most, which share the allowed doubt."""
        self.probe, self._ends, self._policy, self._steps = probe, ends, policy, steps
        self._command = command
        shown = zip(targets, (ends.good, ends.bad), (Side.GOOD, Side.BAD), strict=True)
        self.good, self.bad = (seen(t, s, side, self._see(t, s)) for t, s, side in shown)
        self.tried: list[Seen] = [self.good, self.bad]
        self._known: dict[str, Seen] = {}

    def _see(self, target: Target, shown: Shown) -> str:
        return self._command(target, shown.cell, self._ends.case.id)

    def try_one(self, target: Target, left: int) -> Seen:
        """Return which side a state is on. ``left`` is how many steps there are, this one included."""
        if known := self._known.get(target.key or target.name):
            return replace(known, name=target.name, title=target.title)
        self.probe.screen.progress(f"{count(left, 'step')} left{self._about(left)}: {target.name}")
        try:
            found = self._decided(target)
        except UserError as e:
            # It was possible at both ends, so this is about the state: its module is elsewhere, say.
            return self.skip(target.name, target.title, e.sentence)
        self._known[target.key or target.name] = found
        self.tried.append(found)
        self.probe.screen.say(f"{found.name}: {found.told}, {_AS[found.side]}")
        return found

    def skip(self, name: str, title: str, why: str) -> Seen:
        """Return a state that cannot be tried."""
        found = Seen(name, title, Side.SKIPPED, why=why)
        self.tried.append(found)
        self.probe.screen.say(f"{name}: {why}, skipped")
        return found

    def _about(self, left: int) -> str:
        steps = [one.seconds for one in self.tried[2:]] or [self.bad.seconds]
        seconds = left * fmean(steps)
        return f", about {seconds:.0f} s" if seconds < 120 else f", about {seconds / 60:.0f} min"

    def _decided(self, target: Target) -> Seen:
        case = self._ends.case
        total = Shown({}, "", "", "", 0.0)
        while True:
            (shown,) = self.probe.show([target], self._ends.choice, [case], self._policy.repeat)
            new = shown[case.id]
            outcomes = rates.add(total.outcomes, new.outcomes)
            total = Shown(outcomes, new.why, new.cell, new.run, round(total.seconds + new.seconds, 1))
            decision = self._decision(new, total)
            if decision.side is not None:
                break
        return replace(
            seen(target, total, decision.side, self._see(target, total)),
            why=total.why or decision.why,
            doubt=decision.doubt,
        )

    def _decision(self, new: Shown, total: Shown) -> Decision:
        if not new.outcomes:
            return Decision(Side.SKIPPED, why=new.why)
        if UNBUILT in new.outcomes:
            # A compiler says the same each time.
            return rates.decide(new.outcomes, self._ends.ends, Policy(), 1)
        return rates.decide(total.outcomes, self._ends.ends, self._policy, self._steps)

    @property
    def confidence(self) -> float | None:
        """The probability that no state was put on the wrong side; None if one run was taken for certain."""
        if self._policy.certain:
            return None
        return max(1 - sum(one.doubt for one in self.tried if one.side is not Side.SKIPPED), 0.0)


_AS = {
    Side.GOOD: "as at the good end",
    Side.BAD: "as at the bad end",
    Side.SKIPPED: "skipped",
}
