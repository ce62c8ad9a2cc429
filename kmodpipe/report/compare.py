"""Two runs, or two series of one run, side by side: what changed from one to the other. Pure.

Results are paired by cell and case. Between runs *failing* is the verdict; between two series, which are
expected to show different things, it is that a user does not get what the case is about.

A duration is noise until it is not: a run as a whole may be slower (another machine, a loaded one), so the
median ratio of all timed results is taken out first, and slower is what stands out of the spread of the
others by far, by half at least, and by a second at least.
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

_STEADY = 10
"""Timed pairs from which on the spread of the others says something."""
_LEAST_RATIO, _LEAST_S, _DEVIATIONS = 1.5, 1.0, 5.0
_FEW_RATIO, _FEW_S = 3.0, 2.0
_MEASURED = ("load.begin", "load.end", "speed.seconds", "speed.waited-seconds")
_NOT_COMPARED = (PROPERTY, "command", "accel.reason", *_MEASURED)
_RECORDED_LATELY = (".subject", ".message-id", ".argument")
_Kind = Callable[[CaseResult | None], str]


class Change(StrEnum):
    """What became of a result, in the order in which a reader wants it."""

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
"""What ``--fail-on`` takes."""


@dataclass(frozen=True)
class Difference:
    """One result then and now; None where there was none. ``same_parts``: kernel, module and case are, byte
    for byte, what they were, so that a change is the machine's doing, or chance. ``times`` is how many times
    longer it took, the speed of the whole run taken out."""

    change: Change
    case: str
    before_cell: CellResult | None
    after_cell: CellResult | None
    before: CaseResult | None
    after: CaseResult | None
    same_parts: bool = False
    times: float = 1.0

    @property
    def cell(self) -> str:
        known = self.after_cell or self.before_cell
        return known.cell if known else ""


@dataclass(frozen=True)
class Moved:
    """A fact about a run that is not what it was; empty where it was not known."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class Comparison:
    """``old`` and ``new`` name what is compared; ``differences`` are all results, unchanged ones too, in the
    order of their changes. ``speed`` is how many times longer the new run took as a whole, over ``timed``
    results."""

    old: str
    new: str
    by_goal: bool
    differences: tuple[Difference, ...]
    appeared_cells: tuple[str, ...] = ()
    vanished_cells: tuple[str, ...] = ()
    appeared_cases: tuple[str, ...] = ()
    vanished_cases: tuple[str, ...] = ()
    provenance: tuple[Moved, ...] = ()
    speed: float = 1.0
    timed: int = 0
    note: str = ""

    @property
    def counts(self) -> Mapping[Change, int]:
        """How many results there are of each kind."""
        return Counter(d.change for d in self.differences)

    def of(self, *changes: Change) -> tuple[Difference, ...]:
        return tuple(d for d in self.differences if d.change in changes)

    def only(self, variant: str) -> Comparison:
        """What of it is about one variant of the new run."""

        def own(d: Difference) -> bool:
            cell = d.after_cell or d.before_cell
            return cell is not None and cell.variant == variant

        def about(moved: Moved) -> bool:
            """Whether a fact is about this series, or about none."""
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
        """Those of the kinds that ``--fail-on`` names which there are."""
        counts = self.counts
        return tuple(FAIL_ON[name] for name in on if counts.get(FAIL_ON[name], 0))


_Pair = tuple[CellResult | None, CellResult | None]


# -- what is compared ---------------------------------------------------------------------------------
def runs(before: Run, after: Run) -> Comparison:
    """Two runs. Where each has one series, of different names, they are taken for two versions of one."""
    old, new = _series(before), _series(after)
    note, renamed = "", {}
    if len(old) == len(new) == 1 and old != new:
        note = f"{new[0]} is compared with {old[0]} of the other run"
        renamed = {new[0]: old[0]}
    there = {_place(c, {}): c for c in before.cells}
    now = {_place(c, renamed): c for c in after.cells}
    pairs: list[_Pair] = [(there.get(place), cell) for place, cell in now.items()]
    pairs += [(cell, None) for place, cell in there.items() if place not in now]
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
    """Every other series of a run with series ``name``, cells with the same choice side by side. Raises
    UserError."""
    variants = list(dict.fromkeys(c.variant for c in run.cells))
    if name not in variants:
        raise unknown_name("series", name, variants, where=f"run {run.id}")
    others = [v for v in variants if v not in (name, CONTROL)]
    if not others:
        raise UserError(
            f"run {run.id} has no other series than {name}", hint="test both: --series A --series B"
        )
    there = {_place(c, {c.variant: ""}): c for c in run.cells if c.variant == name}
    pairs: list[_Pair] = [
        (there.get(_place(c, {c.variant: ""})), c) for c in run.cells if c.variant in others
    ]
    digests = _digests(run)
    found = _compare(pairs, digests, digests, _by_goal)
    return replace(found, old=f"series {name}", new=f"series {', '.join(others)}", by_goal=True)


def _series(run: Run) -> list[str]:
    return [v for v in dict.fromkeys(c.variant for c in run.cells) if v != CONTROL]


def _place(cell: CellResult, renamed: Mapping[str, str]) -> tuple[object, ...]:
    variant = renamed.get(cell.variant, cell.variant)
    if not cell.choice:  # nothing but its name tells it from others
        return (variant, cell.flavour, cell.cell)
    return (variant, cell.flavour, frozenset(cell.choice.items()))


def _digests(run: Run) -> dict[str, str]:
    return {info.id: info.digest for info in run.cases}


def _by_verdict(result: CaseResult | None) -> str:
    """What a result counts as between runs."""
    if result is None:
        return "none"
    return "flaky" if result.flaky else result.verdict.value


def _by_goal(result: CaseResult | None) -> str:
    """What a result counts as between series: one that another design does not have, or that is ruled out
    for it, is not there."""
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
    then, now = kind(before), kind(after)
    if now == "none":
        return Change.SAME if then == "none" else Change.VANISHED
    if then == "none" and kind is _by_goal:
        return Change.APPEARED
    if now == "fail":
        if then != "fail":
            return Change.NEWLY_FAILING
        # A wrong errno that became an oops is not the failure that somebody has looked at.
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
    """Whether both ran the same kernel and the same modules, byte for byte."""
    if before is None or after is None or not before.state is after.state is State.RAN:
        return False
    names = [n for n in {*before.properties, *after.properties} if n.endswith(".sha256")]
    names += ["kernel.build-id"]
    return len(names) > 1 and all(
        before.properties.get(n) and before.properties.get(n) == after.properties.get(n) for n in names
    )


# -- durations ----------------------------------------------------------------------------------------
def _timed(found: Sequence[Difference]) -> tuple[list[Difference], float, int]:
    """The differences with slower and faster told; how many times longer all took, and of how many results
    that is the median."""
    seconds = {n: pair for n, d in enumerate(found) if (pair := _seconds(d))}
    logs = {n: math.log(now / then) for n, (then, now) in seconds.items()}
    steady = len(logs) >= _STEADY
    middle = median(logs.values()) if steady else 0.0
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
    """What one attempt took then and now, where both passed."""
    both = []
    for result in (difference.before, difference.after):
        if result is None or result.verdict is not Verdict.PASS or result.duration_s <= 0:
            return None
        both.append(result.duration_s / max(result.attempts, 1))
    return both[0], both[1]


# -- provenance ---------------------------------------------------------------------------------------
def _moved(before: Run, after: Run) -> tuple[Moved, ...]:
    """Facts about the runs, and scripts of cases, that are not what they were."""
    names = dict.fromkeys((*before.properties, *after.properties))
    moved = [
        Moved(name, old, new)
        for name in names
        if name not in _NOT_COMPARED
        for old, new in [(before.properties.get(name, ""), after.properties.get(name, ""))]
        # What only one of the two recorded, as it is of another version, is no difference.
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
