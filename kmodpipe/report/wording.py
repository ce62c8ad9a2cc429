"""Words and signs that all forms of a report share. Pure.

The signs carry the same information as the colours, so that neither is needed: ✓ as expected and as a user
wants it, ○ as expected but not what a user wants, ✗ not as expected, ~ flaky, ⚠ a known issue, ! no verdict,
– skipped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from kmodpipe.results import (
    CHECKED,
    CLOSE_TO_LIMIT,
    CONTROL,
    ENDED_EARLY,
    CaseResult,
    CellResult,
    Effect,
    EffectKind,
    Run,
    State,
    Verdict,
    effects,
    exit_code,
    may_be_empty,
    of_tree,
    totals,
    uncompared,
    unjudged,
)  # fmt: skip
from kmodpipe.util.text import count as count
from kmodpipe.util.text import one_line, some

# Kernels that are named in one sentence.
_MOST_KERNELS = 6


@dataclass(frozen=True)
class Mark:
    """How a result is shown."""

    sign: str
    # Its name in style sheets and filters.
    key: str
    # The meaning in words.
    word: str
    # The verdict as every test tool writes it.
    name: str


PASS = Mark("✓", "pass", "as expected", "PASS")
UNMET = Mark("○", "unmet", "as expected, not what a user wants", "PASS")
DEFECT = Mark("⚠", "defect", "known issue", "KNOWN ISSUE")
FLAKY = Mark("~", "flaky", "flaky", "FLAKY")
FAIL = Mark("✗", "fail", "not as expected", "FAIL")
ERROR = Mark("!", "error", "no verdict", "ERROR")
SKIP = Mark("–", "skip", "skipped", "SKIP")
MARKS = (FAIL, FLAKY, ERROR, DEFECT, PASS, UNMET, SKIP)
"""All marks, the most important first."""


def mark(result: CaseResult) -> Mark:
    """Return the mark of a result."""
    # Results may come from elsewhere: no other word hides a failure.
    if result.known_defect and result.verdict is Verdict.PASS:
        return DEFECT
    if result.flaky and result.verdict in (Verdict.PASS, Verdict.FAIL):
        return FLAKY
    if result.verdict is Verdict.PASS:
        return UNMET if result.goal_met is False else PASS
    return {Verdict.FAIL: FAIL, Verdict.ERROR: ERROR, Verdict.SKIP: SKIP}[result.verdict]


CHANGES = {
    EffectKind.REGRESSED: Mark("✗", "broken", "worked without the series", "BROKEN"),
    EffectKind.KNOWN_DEFECT: Mark("⚠", "known", "a known issue of the series", "KNOWN ISSUE"),
    EffectKind.FIXED: Mark("✓", "fixed", "did not work without the series", "FIXED"),
    EffectKind.UNKNOWN: Mark("!", "unknown", "no verdict", "NO VERDICT"),
    EffectKind.STILL_FAILING: Mark("○", "still", "fails as before", "STILL FAILS"),
    EffectKind.UNCHANGED: Mark("=", "same", "works as before", "SAME"),
    EffectKind.NOT_COMPARED: Mark("?", "alone", "nothing to compare with", "NOT COMPARED"),
    EffectKind.NOT_APPLICABLE: Mark("–", "na", "does not apply", "N/A"),
}
"""How what a series did to a case is shown, in the order in which a reader wants to see it."""
QUIET = {
    EffectKind.STILL_FAILING: "failing as before",
    EffectKind.UNCHANGED: "working as before",
    EffectKind.NOT_COMPARED: "not compared",
    EffectKind.NOT_APPLICABLE: "not applicable",
}
"""What is said of the cases that are only counted."""
CHANGED = (EffectKind.REGRESSED, EffectKind.FIXED, EffectKind.KNOWN_DEFECT, EffectKind.UNKNOWN)
"""The effects that are shown one by one, in this order; the others are only counted."""


def sentence(result: CaseResult) -> str:
    """Return the first line of a result's message, or its verdict if there is no message."""
    return one_line(result.message.strip().split("\n", 1)[0]) or f"{result.verdict.value}: no message"


def close(result: CaseResult) -> str:
    """Return ``93% of its time limit`` for a case that was close to it, else an empty string."""
    return f"{result.limit_used:.0%} of its time limit" if result.limit_used > CLOSE_TO_LIMIT else ""


def wrong(run: Run) -> Iterable[tuple[CellResult, CaseResult]]:
    """Yield the results that failed or have no verdict, with their cells.

    Cells that did not run are left out: reports show each of them once, as a whole.
    """
    for cell, result in run.results():
        bad = result.verdict in (Verdict.FAIL, Verdict.ERROR)
        if bad and (cell.state is State.RAN or result.attempts):
            yield cell, result


def total(run: Run) -> str:
    """Return `counted`, and why the run ended early if it did."""
    reason = ended_early(run)
    return counted(run) + (f"; the run ended early: {reason}" if reason else "")


def counted(run: Run) -> str:
    """Return ``12 passed (2 known issues), 1 failed, 0 errors, 3 skipped, 2 cells ruled out: exit 1``.

    A cell that Kconfig rules out is one cell, and not as many skipped results as the run has cases.
    """
    n, out = totals(run), ruled_out(run)
    skipped = n["skip"] - sum(len(cell.cases) for cell in out)
    dead = f", {n['dead axes']} dead {'axis' if n['dead axes'] == 1 else 'axes'}" if n["dead axes"] else ""
    known = f" ({count(n['known defects'], 'known issue')})" if n["known defects"] else ""
    flaky = f" ({n['flaky']} flaky)" if n["flaky"] else ""
    cells = f", {count(len(out), units(run)[0], units(run)[1])} ruled out" if out else ""
    return (
        f"{n['pass']} passed{known}, {n['fail']} failed{flaky}, {count(n['error'], 'error')}, "
        f"{skipped} skipped{cells}{dead}: exit {int(exit_code(run))}"
    )


def ruled_out(run: Run) -> tuple[CellResult, ...]:
    """Return the cells that cannot be: the tree has no such symbol, or Kconfig rules the choice out."""
    return tuple(cell for cell in run.cells if cell.state is State.SKIPPED)


def empty(run: Run) -> tuple[str, ...]:
    """Return a sentence for the run or each series that proves nothing, as every case of it was skipped."""
    accepted = "; --allow-empty accepts that" if may_be_empty(run) else ""
    return tuple(f"{one.message}{accepted}" for one in unjudged(run)) if run.finished else ()


def ended_early(run: Run) -> str:
    """Return why the run ended early, an empty string if it did not."""
    return one_line(run.properties.get(ENDED_EARLY, ""))


def kernels(run: Run) -> tuple[str, ...]:
    """Return the names of the kernels in the run's order; one empty name where it has only one."""
    return tuple(dict.fromkeys(cell.kernel for cell in run.cells)) or ("",)


def versions(run: Run) -> str:
    """Return the versions of the kernels: ``5.10.223, 6.1.55``; empty if they are not known."""
    found = [run.properties.get(of_tree("kernel-version", kernel), "") for kernel in kernels(run)]
    return ", ".join(filter(None, found))


def tree(run: Run) -> str:
    """Return ``Linux 5.10.223 (debian-5.10 5.10.223-1), the fallback for overlayfs-next``: each kernel."""
    found = [_tree(run, kernel) for kernel in kernels(run)]
    if len(found) > _MOST_KERNELS:
        return f"{len(found)} kernels: {some(found, _MOST_KERNELS)}"
    *first, last = found
    return f"{', '.join(first)} and {last}" if first else last


def _tree(run: Run, kernel: str) -> str:
    def known(key: str) -> str:
        return run.properties.get(of_tree(key, kernel), "")

    name = known("tree") or kernel or run.properties.get("tree", "an unknown tree")
    version = known("version") or known("commit")
    text = f"Linux {known('kernel-version') or '?'} ({name}{f' {version}' if version else ''})"
    if stood_for := known("stand-in-for"):
        text += f", the fallback for {stood_for.partition(' ')[0]}"
    return one_line(text)


def subject_of(one: CellResult | Effect) -> str:
    """Return the variant of a cell or an effect, and its kernel where the run has several."""
    return f"{one.variant} on {one.kernel}" if one.kernel else one.variant


# -- the verdict on a series --------------------------------------------------------------------------
@dataclass(frozen=True)
class Named:
    """A case, and in how many cells of the series a statement holds for it."""

    case: str
    cells: int
    # How many cells of the series ran.
    of: int
    unit: str = "cell"
    units: str = "cells"

    def __str__(self) -> str:
        where = "" if self.cells == self.of else f" ({self.cells} of {count(self.of, self.unit, self.units)})"
        return one_line(self.case) + where


@dataclass(frozen=True)
class Statement:
    """One part of the verdict on a series."""

    # ``fixes 2 cases``
    lead: str
    cases: tuple[Named, ...] = ()
    # Only the number matters, the names are left out.
    quiet: bool = False

    def text(self, most: int = 8) -> str:
        """Return the statement with the first *most* names."""
        if not self.cases or self.quiet:
            return self.lead
        return f"{self.lead} ({some([str(n) for n in self.cases], most)})"


@dataclass(frozen=True)
class SeriesVerdict:
    """What one series changed on one kernel compared with the control, as the parts of a paragraph."""

    variant: str
    statements: tuple[Statement, ...]
    # It broke something, does not build or has unexpected results.
    bad: bool
    # Empty where the run has only one.
    kernel: str = ""

    @property
    def place(self) -> str:
        """The kernel, as it follows the series' name: `` on debian-6.1``."""
        return f" on {one_line(self.kernel)}" if self.kernel else ""

    def text(self, most: int = 8) -> str:
        """Return the paragraph, with the first *most* names of each statement."""
        return f"{one_line(self.variant)}{self.place} {'; '.join(s.text(most) for s in self.statements)}."


# How each kind of effect is worded, and what is written if there is none.
_LEADS = (
    (EffectKind.REGRESSED, "breaks {}", "breaks nothing"),
    (EffectKind.FIXED, "fixes {}", "fixes nothing"),
    (EffectKind.KNOWN_DEFECT, "has known issues in {}", ""),
    (EffectKind.UNKNOWN, "has no verdict in {}", ""),
    (EffectKind.STILL_FAILING, "leaves {} failing as without it", ""),
    (EffectKind.UNCHANGED, "leaves {} working", ""),
    (EffectKind.NOT_COMPARED, "has {} that nothing was compared with", ""),
    (EffectKind.NOT_APPLICABLE, "cannot be compared in {}", ""),
)
_QUIET = (
    EffectKind.STILL_FAILING,
    EffectKind.UNCHANGED,
    EffectKind.NOT_COMPARED,
    EffectKind.NOT_APPLICABLE,
)
NOT_COMPARED = "nothing was compared: the unpatched tree did not run beside it"
"""What every report says of a series without its control."""


def verdicts(run: Run) -> tuple[SeriesVerdict, ...]:
    """Return the verdict on each series of the run on each kernel, in the run's order."""
    several = len(kernels(run)) > 1
    if CHECKED in run.properties:
        pairs = dict.fromkeys((c.kernel if several else None, c.variant) for c in run.cells)
        return tuple(_checked(on_kernel(run, kernel), variant, kernel or "") for kernel, variant in pairs)
    found = effects(run)
    series = dict.fromkeys((e.kernel if several else None, e.variant) for e in found)
    return tuple(_verdict(on_kernel(run, kernel), found, variant, kernel or "") for kernel, variant in series)


def _checked(run: Run, variant: str, kernel: str) -> SeriesVerdict:
    """Return what the checks of the patches of a series say."""
    own = [(c, r) for c, r in run.results() if c.variant == variant]
    of = len({c.cell for c, _ in own})
    made = []
    for verdict, lead in (
        (Verdict.FAIL, "brings something new in {}"),
        (Verdict.ERROR, "was not checked in {}"),
    ):
        cases: dict[str, int] = {}
        for _, result in own:
            if result.verdict is verdict:
                cases[result.case] = cases.get(result.case, 0) + 1
        if cases:
            named = tuple(Named(case, n, of, "patch", "patches") for case, n in cases.items())
            made.append(Statement(lead.format(count(len(named), "check")), named))
    clean = Statement(f"brings nothing new that fails a check in {count(of, 'patch', 'patches')}")
    return SeriesVerdict(variant, tuple(made or [clean]), bool(made), kernel)


def units(run: Run) -> tuple[str, str, str, str]:
    """Return what the cells and the cases of a run are called, one and several of each."""
    if CHECKED in run.properties:
        return ("patch", "patches", "check", "checks")
    return ("cell", "cells", "case", "cases")


def on_kernel(run: Run, kernel: str | None) -> Run:
    """Return the part of a run on one kernel; the whole run for None."""
    if kernel is None:
        return run
    return replace(run, cells=tuple(cell for cell in run.cells if cell.kernel == kernel))


def _verdict(run: Run, found: Iterable[Effect], variant: str, kernel: str) -> SeriesVerdict:
    own = [e for e in found if e.variant == variant and (not kernel or e.kernel == kernel)]
    ran = ran_cells(run, variant)
    made = _problems(run, variant, len(ran))
    # Where nothing was judged, that nothing broke says nothing.
    judged = any(c.variant == variant and r.verdict is not Verdict.SKIP for c, r in run.results())
    if ran and not judged:
        made.append(Statement("was not judged in any case"))
    bad = bool(made)
    alone = frozenset(uncompared(run).get(variant, ()))
    if ran and alone == ran:
        return SeriesVerdict(
            variant, (Statement(f"ran alone; {NOT_COMPARED}"), *made, *_alone(run, ran)), bad, kernel
        )
    for kind, lead, nothing in _LEADS:
        cells: dict[str, set[str]] = {}
        for effect in own:
            # What works, and was expected to fail, is not fixed.
            if effect.kind is kind and not (effect.unexpected and kind is EffectKind.FIXED):
                cells.setdefault(effect.case, set()).update(c for c in effect.cells if c in ran)
        named = tuple(Named(case, len(ids), len(ran)) for case, ids in cells.items() if ids)
        if named:
            made.append(Statement(lead.format(count(len(named), "case")), named, kind in _QUIET))
            bad = bad or kind is EffectKind.REGRESSED
        elif nothing and ran and judged:
            made.append(Statement(nothing))
    if any(c.variant == variant and r.by_goal for c, r in run.results()):
        made.append(Statement("declares no design, and is judged by the cases' goals against the control"))
    return SeriesVerdict(variant, tuple(made or [Statement(not_run(run, variant))]), bad, kernel)


def not_run(run: Run, variant: str) -> str:
    """Return that a series did not run, with the reason if all of its cells were skipped for the same."""
    own = [cell for cell in run.cells if cell.variant == variant]
    reasons = {one_line(cell.reason.partition("\n")[0]) for cell in own}
    if len(reasons) == 1 and all(cell.state is State.SKIPPED for cell in own):
        return f"was skipped: {next(iter(reasons))}"
    return "did not run in any cell"


def _alone(run: Run, ran: frozenset[str]) -> list[Statement]:
    """Return what can be said of a series without its control: which results are as expected."""
    good = {r.case for c, r in run.results() if c.cell in ran and r.verdict is Verdict.PASS}
    return [Statement(f"is as expected in {count(len(good), 'case')}")] if good else []


def _problems(run: Run, variant: str, of: int) -> list[Statement]:
    """Return the statements that come first: cells that do not build, and unexpected results.

    *of* is how many cells of the series ran.
    """
    made = []
    broken = sum(c.variant == variant and c.state is State.BUILD_FAILED for c in run.cells)
    if broken:
        made.append(Statement(f"does not build in {count(broken, 'cell')}"))
    failed: dict[str, int] = {}
    for cell, result in run.results():
        if cell.variant == variant and cell.state is State.RAN and result.verdict is Verdict.FAIL:
            failed[result.case] = failed.get(result.case, 0) + 1
    if failed:
        named = tuple(Named(case, n, of) for case, n in failed.items())
        made.append(Statement(f"is not as expected in {count(len(named), 'case')}", named))
    return made


def ran_cells(run: Run, variant: str) -> frozenset[str]:
    """Return the ids of the cells of a variant that ran."""
    return frozenset(c.cell for c in run.cells if c.variant == variant and c.state is State.RAN)


def control_failures(run: Run) -> list[tuple[CellResult, CaseResult]]:
    """Return the failures of the control; they weaken every comparison with it."""
    return [(c, r) for c, r in run.results() if c.variant == CONTROL and r.verdict is Verdict.FAIL]
