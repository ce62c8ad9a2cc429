"""Try both ends, and choose the case and the cell in which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kmodpipe.analysis.bisect import rates
from kmodpipe.analysis.bisect.model import Difference, Seen, Side, in_words
from kmodpipe.analysis.bisect.probe import Choice, Probe, Shown, Target
from kmodpipe.analysis.bisect.rates import Ends, Policy
from kmodpipe.judge.cases import Case


@dataclass(frozen=True)
class EndSeen:
    """A case at both ends, in one choice."""

    case: Case
    choice: Choice
    good: Shown
    bad: Shown

    @property
    def ends(self) -> Ends:
        """The outcomes at both."""
        return Ends(self.good.outcomes, self.bad.outcomes)

    @property
    def difference(self) -> Difference:
        """Both as words."""
        return Difference(self.case.id, self.bad.cell, _words(self.good), _words(self.bad))


def _words(shown: Shown) -> str:
    return in_words(shown.outcomes) or shown.why


_NOT_RUN = Shown({}, "not run", "", "", 0.0)


@dataclass(frozen=True)
class Premise:
    """What both ends showed, in the choices that were tried."""

    # The cases that differ in the last of the choices.
    differing: tuple[EndSeen, ...]
    # The others, in all of them.
    same: tuple[EndSeen, ...]


def compare(
    probe: Probe, good: Target, bad: Target, choices: Sequence[Choice], cases: Sequence[Case], policy: Policy
) -> Premise:
    """Run the cases at both ends, choice after choice until one differs."""
    same: list[EndSeen] = []
    for number, choice in enumerate(choices, 1):
        more = f" (choice {number} of {len(choices)})" if len(choices) > 1 else ""
        probe.screen.progress(f"both ends{more}: {good.name} and {bad.name}")
        if out := probe.ruled_out(bad, choice):
            same += [EndSeen(case, choice, _NOT_RUN, out) for case in cases]
            continue
        seen = _both(probe, (good, bad), choice, cases, policy)
        differing = tuple(one for one in seen if rates.differ(one.ends, policy))
        same += [one for one in seen if one not in differing]
        if differing:
            return Premise(differing, tuple(same))
    return Premise((), tuple(same))


def _both(
    probe: Probe, targets: tuple[Target, Target], choice: Choice, cases: Sequence[Case], policy: Policy
) -> list[EndSeen]:
    """Return what each case showed at both ends, after as many runs as it takes to tell."""
    left, total = list(cases), dict[str, EndSeen]()
    while left:
        good, bad = _show(probe, targets, choice, left, policy.repeat)
        for case in left:
            new = EndSeen(case, choice, good[case.id], bad[case.id])
            total[case.id] = _joined(total[case.id], new) if case.id in total else new
        left = [case for case in left if rates.differ(total[case.id].ends, policy) is None]
    return [total[case.id] for case in cases]


def _show(
    probe: Probe, targets: tuple[Target, Target], choice: Choice, cases: Sequence[Case], repeat: int
) -> tuple[dict[str, Shown], dict[str, Shown]]:
    """Run both ends: at once, if they are variants of one tree and have no configuration of their own."""
    if any(one.cell or one.tree for one in targets) or targets[0].variant == targets[1].variant:
        one, other = (probe.show([target], choice, cases, repeat)[0] for target in targets)
    else:
        one, other = probe.show(targets, choice, cases, repeat)
    return dict(one), dict(other)


def _joined(one: EndSeen, more: EndSeen) -> EndSeen:
    return EndSeen(one.case, one.choice, _sum(one.good, more.good), _sum(one.bad, more.bad))


def _sum(one: Shown, more: Shown) -> Shown:
    outcomes = rates.add(one.outcomes, more.outcomes)
    return Shown(outcomes, more.why, more.cell, more.run, one.seconds + more.seconds)


def seen(target: Target, shown: Shown, side: Side, command: str) -> Seen:
    """Return the record of an end."""
    return Seen(
        target.name, target.title, side, dict(shown.outcomes), shown.why, cell=shown.cell,
        seconds=shown.seconds, run=shown.run, command=command,
    )  # fmt: skip
