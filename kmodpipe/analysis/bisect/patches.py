"""Find the first patch of a series with which a case has another outcome."""

from __future__ import annotations

from collections.abc import Sequence

from kmodpipe.analysis.bisect import wording
from kmodpipe.analysis.bisect.linear import Row
from kmodpipe.analysis.bisect.model import Answer, Kind, Seen, Side, Suspect
from kmodpipe.analysis.bisect.probe import Choice, Probe, Target
from kmodpipe.analysis.bisect.question import Question, Searched, begin
from kmodpipe.analysis.bisect.rates import Policy
from kmodpipe.judge.cases import Case
from kmodpipe.series import Series
from kmodpipe.util import process
from kmodpipe.util.text import count


def search(
    probe: Probe, series: Series, choices: Sequence[Choice], cases: Sequence[Case], policy: Policy
) -> Answer:
    """Run the case with the first patches of a series, halving, until the first that matters is known."""
    good = Target("unpatched", "without the series")
    states = [good, *(_state(one) for one in series.prefixes()), _state(series, exact=True)]
    row = Row(len(states) - 1)
    what = f"{series.name}, {count(len(series.patches), 'patch', 'patches')}"
    question = Question(Kind.PATCH, what, good, states[-1], tuple(choices), tuple(cases), policy)
    begun = begin(
        probe, question, lambda t, cell, case: _command(probe, series, t, cell, case), row.steps_left
    )
    if isinstance(begun, Answer):
        return begun
    found: dict[int, Seen] = {0: begun.search.good, row.last: begun.search.bad}
    while (number := row.next()) is not None:
        found[number] = begun.search.try_one(states[number], row.steps_left)
        row = row.marked(number, found[number].side)
    return _answer(begun, series, row, found)


def _state(series: Series, *, exact: bool = False) -> Target:
    return Target(series.name, series.patches[-1].name, series, exact=exact)


def _answer(begun: Searched, series: Series, row: Row, found: dict[int, Seen]) -> Answer:
    suspects = tuple(Suspect(series.patches[n - 1].name) for n in row.suspects)
    number = f"patch {row.suspects[0]} of {len(series.patches)}"
    between = [found[n] for n in row.suspects if n in found and found[n].side is Side.SKIPPED]
    return begun.answer(
        wording.named(number, suspects, of=series.name), suspects, found[row.good], found[row.bad], between
    )


def _command(probe: Probe, series: Series, target: Target, cell: str, case: str) -> str:
    spec = probe.spec
    each = ["--each-patch"] if target.series and target.series.partial else []
    argv = ["--series", spec.series_arguments.get(series.name, series.name), *each]
    if spec.own and series.name == "worktree":
        argv = each
    argv += ["--cell", cell] if cell else []
    argv += ["--case", spec.case_arguments.get(case, case)]
    return f"{spec.repeat_command} {process.pasteable(argv)}"
