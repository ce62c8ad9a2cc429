"""The outcome of a run as a whole: exit code, totals, and whether anything was judged at all. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kmodpipe.kconfig.matrix import CONTROL
from kmodpipe.results.model import ALLOW_EMPTY, ENDED_EARLY, CaseResult, CellResult, Run, State, Verdict
from kmodpipe.util.errors import ExitCode
from kmodpipe.util.text import one_line


@dataclass(frozen=True)
class Unjudged:
    """A run, or a series of it, that proves nothing, because no case was judged."""

    # The series' name; empty for the run as a whole.
    variant: str
    # A sentence that names it, and why.
    message: str


def unjudged(run: Run) -> tuple[Unjudged, ...]:
    """Return what of a run proves nothing although nothing went wrong: each case in it was skipped.

    That is the run as a whole, or each series without a judged case (a pass or a failure) in any cell. The
    control need not have one: a case may be about what only the series has. The first patches of a series
    (``NAME@2``) are steps on the way to it, and need not have one either. Results without verdict are errors
    of their own, and do not count as skipped.
    """
    if not run.cells or not run.cases:
        return (Unjudged("", f"no {'case' if run.cells else 'cell'} was planned"),)
    if _all_skipped(run.cells):
        return (Unjudged("", f"no case was judged: {_why_skipped(run.cells)}"),)
    found = []
    for variant in dict.fromkeys(cell.variant for cell in run.cells):
        own = [cell for cell in run.cells if cell.variant == variant]
        if variant != CONTROL and "@" not in variant and _all_skipped(own):
            message = f"no case was judged with series {one_line(variant)}: {_why_skipped(own)}"
            found.append(Unjudged(variant, message))
    return tuple(found)


def may_be_empty(run: Run) -> bool:
    """Return whether the user accepts a run without a judged case (--allow-empty)."""
    return bool(run.properties.get(ALLOW_EMPTY))


def in_words(found: Sequence[CaseResult]) -> str:
    """Return how many results of a cell there are of each kind: ``5 as expected, 1 failed``."""
    words = {"pass": "as expected", "fail": "failed", "error": "without verdict", "skip": "skipped"}
    # Whether these failed shows when they are compared with the control.
    open_ones = [r for r in found if r.by_goal and r.verdict is Verdict.FAIL and not r.flaky]
    counts = {words[v]: sum(r.verdict.value == v and not r.flaky for r in found) for v in words}
    counts["failed"] -= len(open_ones)
    counts |= {"to be compared with the control": len(open_ones), "flaky": sum(r.flaky for r in found)}
    return ", ".join(f"{number} {word}" for word, number in counts.items() if number)


def _all_skipped(cells: Iterable[CellResult]) -> bool:
    return all(
        cell.state is State.SKIPPED
        or (cell.state is State.RAN and all(case.verdict is Verdict.SKIP for case in cell.cases))
        for cell in cells
    )


def _why_skipped(cells: Sequence[CellResult]) -> str:
    ran = [cell for cell in cells if cell.state is State.RAN]
    if ran:
        reasons = dict.fromkeys(case.message.strip() for cell in ran for case in cell.cases)
        where = "the one cell" if len(ran) == 1 else f"all {len(ran)} cells"
        lead = f"every case was skipped in {where} that ran"
    else:
        reasons = dict.fromkeys(cell.reason.strip() for cell in cells)
        lead = (
            "its one cell could not run" if len(cells) == 1 else f"none of its {len(cells)} cells could run"
        )
    first = one_line(next(iter(reasons), "").partition("\n")[0]) or "no reason was recorded"
    more = f" (and {len(reasons) - 1} more reasons)" if len(reasons) > 1 else ""
    return f"{lead}: {first}{more}"


def exit_code(run: Run) -> ExitCode:
    """Return the exit code of a run: 1 if anything failed, else 3 if anything has no verdict, else 0.

    A dead axis is a failure. A failure wins over an infrastructure error: it is a fact about the kernel, and
    a CI job that retries on 3 must not retry until a regression is gone; the report shows the error as well.
    A run that is not finished and one that ended early prove nothing: 3. Nor does one in which no case was
    judged, as a whole or of a series (`unjudged`), unless it may be empty.
    """
    verdicts = {case.verdict for _, case in run.results()}
    states = {cell.state for cell in run.cells if not is_fixed(cell)}
    if Verdict.FAIL in verdicts or State.BUILD_FAILED in states or any(d.failure for d in run.dead_axes):
        return ExitCode.FAILURE
    if Verdict.ERROR in verdicts or not states <= {State.RAN, State.SKIPPED}:
        return ExitCode.INFRA
    whole = run.finished and ENDED_EARLY not in run.properties
    if not whole or not verdicts or not run.cases:
        return ExitCode.INFRA
    return ExitCode.INFRA if unjudged(run) and not may_be_empty(run) else ExitCode.OK


def is_fixed(cell: CellResult) -> bool:
    """Return whether a cell of the control does not build, and every series beside it does, and passes
    (`judged_against_control`)."""
    unbuilt = cell.variant == CONTROL and cell.state is State.BUILD_FAILED
    return unbuilt and bool(cell.cases) and all(case.verdict is Verdict.SKIP for case in cell.cases)


def totals(run: Run) -> dict[str, int]:
    """Return the number of case results by verdict, in the order of `Verdict`.

    ``known defects`` are counted among the passes too, ``flaky`` among the failures; ``dead axes`` counts
    axes, not cases.
    """
    counts = Counter(case.verdict for _, case in run.results())
    numbers = {verdict.value: counts[verdict] for verdict in Verdict}
    numbers["flaky"] = sum(case.flaky for _, case in run.results())
    numbers["known defects"] = sum(case.known_defect for _, case in run.results())
    return {**numbers, "dead axes": sum(dead.failure for dead in run.dead_axes)}
