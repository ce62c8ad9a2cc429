"""Compare two runs, or two series of one run. Pure.

Results are paired by cell and case. Between two runs a result counts as failing if its verdict is a failure.
Two series are expected to show different things: between them it does if a user does not get what the case
is about.

Durations vary, and a run as a whole may be slower (another machine, a loaded one). So the median ratio of all
timed results is divided out first, and a result counts as slower only if it then differs by far more than the
others do, by half at least, and by a second at least.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import median

from kmodpipe.report.rerun import PROPERTY
from kmodpipe.results import CONTROL, CaseResult, CellResult, Run, State, Verdict
from kmodpipe.util.errors import UserError, unknown_name

# With at least this many timed pairs their median and spread are used.
_STEADY = 10
# How much slower a result has to be: a ratio, seconds, and standard deviations of all ratios.
_LEAST_RATIO, _LEAST_S, _DEVIATIONS = 1.5, 1.0, 5.0
# The same with fewer pairs.
_FEW_RATIO, _FEW_S = 3.0, 2.0
_MEASURED = ("load.begin", "load.end", "speed.seconds", "speed.waited-seconds")
_NOT_COMPARED = (PROPERTY, "command", "accel.reason", *_MEASURED)
# Older versions did not record these: they are compared only if both runs have them.
_RECORDED_LATELY = (".subject", ".message-id", ".argument")
_Kind = Callable[[CaseResult | None], str]


class Change(StrEnum):
    """How a result changed, the most important first."""

    NEWLY_FAILING = "newly failing"
    NEWLY_FLAKY = "newly flaky"
    LOST = "verdict lost"
    NEWLY_SKIPPED = "newly skipped"
    CHANGED = "other outcome"
    SLOWER = "slower"
    NEWLY_PASSING = "newly passing"
    REGAINED = "verdict again"
    FASTER = "faster"
    STILL_FAILING = "still failing"
    VANISHED = "vanished"
    APPEARED = "appeared"
    SAME = "unchanged"


FAIL_ON = {
    "new": Change.NEWLY_FAILING,
    "flaky": Change.NEWLY_FLAKY,
    "lost": Change.LOST,
    "skipped": Change.NEWLY_SKIPPED,
    "changed": Change.CHANGED,
    "slower": Change.SLOWER,
    "vanished": Change.VANISHED,
}
"""The words that ``--fail-on`` takes."""


@dataclass(frozen=True)
class Difference:
    """One result before and after; None if there was none."""

    change: Change
    case: str
    before_cell: CellResult | None
    after_cell: CellResult | None
    before: CaseResult | None
    after: CaseResult | None
    # Kernel, module and case are byte for byte the same, so that the cause is the machine, or chance.
    same_parts: bool = False
    # How many times longer it took, the speed of the run as a whole divided out.
    times: float = 1.0

    @property
    def cell(self) -> str:
        """The id of the cell, in the new run if it is there."""
        known = self.after_cell or self.before_cell
        return known.cell if known else ""


@dataclass(frozen=True)
class Moved:
    """A property of the run that differs; a side is empty if it was not recorded."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class Comparison:
    """All results of two runs or series, side by side."""

    # What is compared, for headlines: ``run ID`` or ``series NAME``.
    old: str
    new: str
    # Failing means that a user does not get what the case is about, not that the verdict is a failure.
    by_goal: bool
    # All results, unchanged ones included, in the order of `Change`.
    differences: tuple[Difference, ...]
    appeared_cells: tuple[str, ...] = ()
    vanished_cells: tuple[str, ...] = ()
    appeared_cases: tuple[str, ...] = ()
    vanished_cases: tuple[str, ...] = ()
    provenance: tuple[Moved, ...] = ()
    # How many times longer the new run took as a whole: the median over `timed` results.
    speed: float = 1.0
    timed: int = 0
    # A remark on what is compared, as a sentence without full stop.
    note: str = ""

    @property
    def counts(self) -> Mapping[Change, int]:
        """The number of results by change."""
        return Counter(d.change for d in self.differences)

    def of(self, *changes: Change) -> tuple[Difference, ...]:
        """Return the differences of these kinds."""
        return tuple(d for d in self.differences if d.change in changes)

    def only(self, variant: str) -> Comparison:
        """Return the part of the comparison that is about one variant of the new run."""

        def own(d: Difference) -> bool:
            cell = d.after_cell or d.before_cell
            return cell is not None and cell.variant == variant

        def about(moved: Moved) -> bool:
            """Return whether a property is about this series, or about no series."""
            return f"{moved.name}.".startswith(f"series.{variant}.") or not moved.name.startswith("series.")

        mine = tuple(d for d in self.differences if own(d))
        cells = {d.cell for d in mine}
        return replace(
            self,
            differences=mine,
            appeared_cells=tuple(c for c in self.appeared_cells if c in cells),
            vanished_cells=tuple(c for c in self.vanished_cells if c in cells),
            provenance=tuple(m for m in self.provenance if about(m)),
        )

    def fails(self, on: Iterable[str]) -> tuple[Change, ...]:
        """Return the changes named by *on*, words of ``--fail-on``, that the comparison has."""
        counts = self.counts
        return tuple(FAIL_ON[name] for name in on if counts.get(FAIL_ON[name], 0))


def document(found: Comparison) -> dict[str, object]:
    """Return what changed as a JSON document; results that are unchanged are only counted."""

    def side(result: CaseResult | None) -> dict[str, str] | None:
        return {"verdict": result.verdict.value, "outcome": result.outcome} if result else None

    changes = [
        {
            "change": d.change.value, "cell": d.cell, "case": d.case,
            "before": side(d.before), "after": side(d.after),
        }
        for d in found.differences
        if d.change is not Change.SAME
    ]  # fmt: skip
    return {
        "schema": "kmodpipe-comparison",
        "version": 1,
        "old": found.old,
        "new": found.new,
        "by_goal": found.by_goal,
        "note": found.note,
        "counts": {change.value: found.counts.get(change, 0) for change in Change},
        "changes": changes,
        "what_ran": [{"name": m.name, "before": m.before, "after": m.after} for m in found.provenance],
    }


_Pair = tuple[CellResult | None, CellResult | None]


# -- what is compared ---------------------------------------------------------------------------------
def runs(before: Run, after: Run) -> Comparison:
    """Compare two runs. If each has a single series, these are paired even if their names differ."""
    old, new = _series(before), _series(after)
    note, renamed = "", {}
    if len(old) == len(new) == 1 and old != new:
        note = f"{new[0]} is compared with {old[0]} of the other run"
        renamed = {new[0]: old[0]}
    then = {_place(c, {}): c for c in before.cells}
    now = {_place(c, renamed): c for c in after.cells}
    pairs: list[_Pair] = [(then.get(place), cell) for place, cell in now.items()]
    pairs += [(cell, None) for place, cell in then.items() if place not in now]
    found = _compare(pairs, _digests(before), _digests(after), _by_verdict)
    infos = [i.id for i in before.cases], [i.id for i in after.cases]
    return replace(
        found,
        old=f"run {before.id}",
        new=f"run {after.id}",
        appeared_cases=tuple(i for i in infos[1] if i not in infos[0]),
        vanished_cases=tuple(i for i in infos[0] if i not in infos[1]),
        provenance=_moved(before, after),
        note=note,
    )


def series(run: Run, name: str) -> Comparison:
    """Compare every other series of a run with series *name*, cell by cell with the same choice.

    Raise UserError if there is no such series, or no other.
    """
    variants = list(dict.fromkeys(c.variant for c in run.cells))
    if name not in variants:
        raise unknown_name("series", name, variants, where=f"run {run.id}")
    others = [v for v in variants if v not in (name, CONTROL)]
    if not others:
        raise UserError(
            f"run {run.id} has no other series than {name}", hint="test both: --series A --series B"
        )
    own = {_place(c, {c.variant: ""}): c for c in run.cells if c.variant == name}
    pairs: list[_Pair] = [(own.get(_place(c, {c.variant: ""})), c) for c in run.cells if c.variant in others]
    digests = _digests(run)
    found = _compare(pairs, digests, digests, _by_goal)
    return replace(found, old=f"series {name}", new=f"series {', '.join(others)}", by_goal=True)


def _series(run: Run) -> list[str]:
    return [v for v in dict.fromkeys(c.variant for c in run.cells) if v != CONTROL]


def _place(cell: CellResult, renamed: Mapping[str, str]) -> tuple[object, ...]:
    """Return a key that is equal for cells to be paired; *renamed* maps variants to those they pair with."""
    variant = renamed.get(cell.variant, cell.variant)
    if not cell.choice:  # only its name distinguishes it from others
        return (variant, cell.kernel, cell.flavour, cell.cell)
    return (variant, cell.kernel, cell.flavour, frozenset(cell.choice.items()))


def _digests(run: Run) -> dict[str, str]:
    return {info.id: info.digest for info in run.cases}


def _by_verdict(result: CaseResult | None) -> str:
    """Return what a result counts as between two runs."""
    if result is None:
        return "none"
    return "flaky" if result.flaky else result.verdict.value


def _by_goal(result: CaseResult | None) -> str:
    """Return what a result counts as between two series.

    A case that cannot apply to one of the designs counts as not there.
    """
    if result is None or result.lacking or result.verdict is Verdict.SKIP:
        return "none"
    kind = _by_verdict(result)
    return "fail" if kind == "pass" and result.goal_met is False else kind


# -- results side by side -----------------------------------------------------------------------------
def _compare(
    pairs: Sequence[_Pair],
    old_digests: Mapping[str, str],
    new_digests: Mapping[str, str],
    kind: _Kind,
) -> Comparison:
    found: list[Difference] = []
    for before_cell, after_cell in pairs:
        then = {r.case: r for r in before_cell.cases} if before_cell else {}
        now = {r.case: r for r in after_cell.cases} if after_cell else {}
        same_cell = _same_cell(before_cell, after_cell)
        for case in dict.fromkeys((*now, *then)):
            before, after = then.get(case), now.get(case)
            digest = new_digests.get(case, "")
            same = same_cell and bool(digest) and digest == old_digests.get(case)
            change = _change(before, after, kind)
            found.append(Difference(change, case, before_cell, after_cell, before, after, same))
    found, speed, timed = _timed(found)
    kinds = list(Change)
    return Comparison(
        "", "", False,
        tuple(sorted(found, key=lambda d: kinds.index(d.change))),
        appeared_cells=tuple(new.cell for old, new in pairs if new and not old),
        vanished_cells=tuple(old.cell for old, new in pairs if old and not new),
        speed=speed,
        timed=timed,
    )  # fmt: skip


def _change(before: CaseResult | None, after: CaseResult | None, kind: _Kind) -> Change:
    """Return how a result changed, durations left aside."""
    then, now = kind(before), kind(after)
    if now == "none":
        return Change.SAME if then == "none" else Change.VANISHED
    if then == "none" and kind is _by_goal:
        return Change.APPEARED
    if now == "fail":
        if then != "fail":
            return Change.NEWLY_FAILING
        # A wrong errno that became an oops is not the failure that was seen before.
        same = before and after and before.word == after.word
        return Change.STILL_FAILING if same else Change.CHANGED
    if now == "flaky":
        return Change.STILL_FAILING if then == "flaky" else Change.NEWLY_FLAKY
    if then == "none":
        return Change.APPEARED
    if now == "error":
        return Change.SAME if then == "error" else Change.LOST
    if now == "skip":
        return Change.SAME if then == "skip" else Change.NEWLY_SKIPPED
    if then in ("fail", "flaky"):
        return Change.NEWLY_PASSING
    if then == "error":
        return Change.REGAINED
    return Change.CHANGED if then == "skip" or _observed(before) != _observed(after) else Change.SAME


def _observed(result: CaseResult | None) -> tuple[str, bool] | None:
    return (result.word, result.known_defect) if result else None


def _same_cell(before: CellResult | None, after: CellResult | None) -> bool:
    """Return whether both ran the same kernel and the same modules, byte for byte."""
    if before is None or after is None or not before.state is after.state is State.RAN:
        return False
    names = [n for n in {*before.properties, *after.properties} if n.endswith(".sha256")]
    names += ["kernel.build-id"]
    return len(names) > 1 and all(
        before.properties.get(n) and before.properties.get(n) == after.properties.get(n) for n in names
    )


# -- durations ----------------------------------------------------------------------------------------
def _timed(found: Sequence[Difference]) -> tuple[list[Difference], float, int]:
    """Return the differences with slower and faster marked, the median ratio, and how many were timed."""
    seconds = {n: pair for n, d in enumerate(found) if (pair := _seconds(d))}
    logs = {n: math.log(now / then) for n, (then, now) in seconds.items()}
    steady = len(logs) >= _STEADY
    middle = median(logs.values()) if steady else 0.0
    # The median absolute deviation, scaled to the standard deviation of a normal distribution.
    spread = 1.4826 * median(abs(v - middle) for v in logs.values()) if steady else 0.0
    least = max(math.log(_LEAST_RATIO), _DEVIATIONS * spread) if steady else math.log(_FEW_RATIO)
    least_s = _LEAST_S if steady else _FEW_S
    made = list(found)
    for n, value in logs.items():
        then, now = (seconds[n][0] * math.exp(middle), seconds[n][1])
        own = replace(found[n], times=math.exp(value - middle))
        if found[n].change is Change.SAME and abs(value - middle) > least and abs(now - then) > least_s:
            own = replace(own, change=Change.SLOWER if value > middle else Change.FASTER)
        made[n] = own
    return made, math.exp(middle), len(logs)


def _seconds(difference: Difference) -> tuple[float, float] | None:
    """Return what one attempt took before and after, None if not both passed."""
    both = []
    for result in (difference.before, difference.after):
        if result is None or result.verdict is not Verdict.PASS or result.duration_s <= 0:
            return None
        both.append(result.duration_s / max(result.attempts, 1))
    return both[0], both[1]


# -- provenance ---------------------------------------------------------------------------------------
def _moved(before: Run, after: Run) -> tuple[Moved, ...]:
    """Return the properties of the runs, and the scripts of cases, that differ."""
    names = dict.fromkeys((*before.properties, *after.properties))
    moved = [
        Moved(name, old, new)
        for name in names
        if name not in _NOT_COMPARED
        for old, new in [(before.properties.get(name, ""), after.properties.get(name, ""))]
        if old != new and ((old and new) or not name.endswith(_RECORDED_LATELY))
    ]
    old, new = _compilers(before), _compilers(after)
    moved += [Moved("compiler", old, new)] if old and new and old != new else []
    old_digests, new_digests = _digests(before), _digests(after)
    moved += [
        Moved(f"case {case}", old_digests[case], digest)
        for case, digest in new_digests.items()
        if digest and old_digests.get(case) not in (None, "", digest)
    ]
    return tuple(moved)


def _compilers(run: Run) -> str:
    return ", ".join(sorted({c.properties.get("compiler", "") for c in run.cells} - {""}))
