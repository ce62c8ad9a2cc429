"""Begin a bisection: try both ends, choose the case; and end it with an answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from kmodpipe.analysis.bisect import ends, wording
from kmodpipe.analysis.bisect.ends import EndSeen, Premise
from kmodpipe.analysis.bisect.model import (
    SCHEMA,
    VERSION,
    Answer,
    Kind,
    Result,
    Seen,
    Side,
    Suspect,
)
from kmodpipe.analysis.bisect.probe import Choice, Probe, Target
from kmodpipe.analysis.bisect.rates import Policy
from kmodpipe.analysis.bisect.search import Command, Search
from kmodpipe.judge.cases import Case


@dataclass(frozen=True)
class Question:
    """What is searched, between which ends, and with which cases."""

    kind: Kind
    what: str
    good: Target
    bad: Target
    choices: tuple[Choice, ...]
    cases: tuple[Case, ...]
    policy: Policy
    notes: tuple[str, ...] = ()
    began: float = field(default_factory=time.monotonic)

    def unfinished(self, premise: Premise) -> Answer:
        """Return the answer where there is nothing to search: no case differs, or several do."""
        result = Result.CHOOSE if premise.differing else Result.SAME
        seen = premise.differing or premise.same
        only = seen[0] if len(seen) == 1 else None
        return Answer(
            SCHEMA, VERSION, self.kind, result, self.what, only.case.id if only else "",
            wording.premise(self.good.name, self.bad.name, premise),
            ends.seen(self.good, only.good, Side.GOOD, "") if only else None,
            ends.seen(self.bad, only.bad, Side.BAD, "") if only else None,
            differences=tuple(one.difference for one in seen),
            notes=self.notes,
            seconds=self.seconds,
        )  # fmt: skip

    @property
    def seconds(self) -> float:
        """The time since it began."""
        return round(time.monotonic() - self.began, 1)


@dataclass(frozen=True)
class Searched:
    """A search under way."""

    question: Question
    ends: EndSeen
    search: Search

    def noting(self, *notes: str) -> Searched:
        """Return it with more that a reader should know."""
        return replace(self, question=replace(self.question, notes=(*self.question.notes, *notes)))

    def answer(
        self,
        subject: str,
        suspects: Sequence[Suspect],
        before: Seen | None,
        after: Seen | None,
        between: Sequence[Seen] = (),
        *,
        together: bool = False,
    ) -> Answer:
        """Return the answer. ``subject`` names what was found; ``between`` are the states that were skipped.

        Several suspects are one answer if they make the difference ``together``.
        """
        question, search, case = self.question, self.search, self.ends.case.id
        found = len(suspects) == 1 or together
        pair = (search.good, search.bad) if before is None or after is None else (before, after)
        summary = wording.summary(subject, case, pair)
        skipped = tuple(f"{one.name} was skipped: {one.told}" for one in between)
        return Answer(
            SCHEMA, VERSION, question.kind, Result.FOUND if found else Result.SEVERAL, question.what, case,
            summary, search.good, search.bad,
            found=tuple(suspects) if found else (),
            suspects=() if found else tuple(suspects),
            before=before,
            after=after,
            steps=tuple(search.tried),
            confidence=search.confidence,
            notes=(*question.notes, *skipped),
            seconds=question.seconds,
            look=tuple(dict.fromkeys(one.command for one in (before, after) if one and one.command)),
        )  # fmt: skip


def begin(probe: Probe, question: Question, command: Command, steps: int) -> Searched | Answer:
    """Try both ends. Return the search, or the answer if there is none to make."""
    premise = ends.compare(
        probe, question.good, question.bad, question.choices, question.cases, question.policy
    )
    cases = dict.fromkeys(one.case.id for one in premise.differing)
    if len(cases) != 1:
        return question.unfinished(premise)
    chosen = premise.differing[0]
    probe.screen.say(wording.ends(question.good.name, question.bad.name, chosen))
    targets = (question.good, question.bad)
    return Searched(question, chosen, Search(probe, chosen, targets, question.policy, steps, command))
