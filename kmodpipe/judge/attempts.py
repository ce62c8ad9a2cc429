"""Merge the results of a case that ran more than once into one result. Pure.

A failure that another attempt does not repeat is flaky: it is reported as a failure of its own kind, with the
result of each attempt, and never as a pass. A case that was repeated whatever its results (soak) gets its
rate of failure with bounds:

    no failure     at most 1 - 0.05^(1/n): the exact one-sided 95 % bound; the rule of three (3/n)
                   approximates it
    some failures  Wilson's score interval, 95 %, which also holds for small numbers and near 0 and 1
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

from kmodpipe.judge.retries import MOST_ATTEMPTS, RetryPolicy
from kmodpipe.results import Attempt, CaseResult, Verdict

# The normal quantile of a two-sided 95 %.
_Z = NormalDist().inv_cdf(0.975)
_OUTCOME = "flaky"
_DID = {
    Verdict.FAIL: "failed",
    Verdict.PASS: "passed",
    Verdict.ERROR: "had no verdict",
    Verdict.SKIP: "was skipped",
}


def kept(runs: Sequence[CaseResult], result: CaseResult) -> tuple[CaseResult, ...]:
    """Return ``runs`` with ``result`` added.

    Beyond `MOST_ATTEMPTS` runs only the first result of each verdict keeps its evidence, to save memory.
    """
    if any(r.verdict is result.verdict for r in runs) and len(runs) >= MOST_ATTEMPTS:
        result = replace(result, evidence="", output_excerpt="", kmsg=(), observations={}, subtests=())
    return (*runs, result)


def merge(runs: Sequence[CaseResult], policy: RetryPolicy) -> CaseResult:
    """Return one result for all ``runs``, which are in order and at least one."""
    if policy.repeat > 1:
        return _soaked(runs)
    return runs[0] if len(runs) == 1 else _attempted(runs)


def _attempted(runs: Sequence[CaseResult]) -> CaseResult:
    """Merge the attempts of a case whose first attempt failed."""
    failed = _count(runs, Verdict.FAIL)
    flaky = _count(runs, Verdict.PASS) > 0
    if failed == len(runs):
        message = f"failed in all {failed} attempts: {runs[0].message}"
    else:
        ran = ", ".join(f"{_DID[r.verdict]} in attempt {n} ({_head(r)})" for n, r in enumerate(runs, 1))
        message = f"flaky: {ran}" if flaky else ran
    evidence = [f"attempt {n}: {r.verdict.value}: {_head(r)}\n{r.evidence}" for n, r in enumerate(runs, 1)]
    output = [f"[attempt {n}]\n{r.output_excerpt}" for n, r in enumerate(runs, 1) if r.output_excerpt]
    merged = replace(
        runs[0],
        tries=tuple(Attempt(r.verdict, _head(r), r.outcome, r.duration_s, r.guest) for r in runs),
        message=message,
        evidence="\n".join(evidence),
        output_excerpt="\n".join(output),
        reports=tuple(report for run in runs for report in run.reports),
    )
    return _counted(_flaky(merged) if flaky else merged, runs)


def _soaked(runs: Sequence[CaseResult]) -> CaseResult:
    """Merge the repeats of a case: the worst verdict, with the rate of failure."""
    order = (Verdict.FAIL, Verdict.ERROR, Verdict.PASS, Verdict.SKIP)
    number, worst = min(enumerate(runs, 1), key=lambda pair: order.index(pair[1].verdict))
    failed, passed = _count(runs, Verdict.FAIL), _count(runs, Verdict.PASS)
    parts = [rate(failed, failed + passed)] if failed + passed else []
    if errors := _count(runs, Verdict.ERROR):
        parts.append(f"{errors} of {len(runs)} runs had no verdict")
    if (skipped := _count(runs, Verdict.SKIP)) and parts:
        parts.append(f"{skipped} of {len(runs)} runs were skipped")
    which = f"run {number}: " if worst.verdict is not Verdict.PASS and len(runs) > 1 else ""
    outcomes = Counter(r.word for r in runs if r.verdict in (Verdict.PASS, Verdict.FAIL))
    message = "; ".join([*parts, f"{which}{worst.message}"])
    merged = replace(worst, message=message, outcomes=dict(outcomes))
    return _counted(_flaky(merged) if failed and passed else merged, runs)


def _flaky(result: CaseResult) -> CaseResult:
    """Mark a result as flaky. Whether the goal is met is then unknown, so no series fixed or broke it."""
    return replace(result, flaky=True, outcome=_OUTCOME, goal_met=None, known_defect=False)


def _counted(result: CaseResult, runs: Sequence[CaseResult]) -> CaseResult:
    return replace(
        result,
        attempts=sum(r.attempts for r in runs),
        failures=_count(runs, Verdict.FAIL),
        duration_s=sum(r.duration_s for r in runs),
        limit_used=max(r.limit_used for r in runs),
    )


def _count(runs: Sequence[CaseResult], verdict: Verdict) -> int:
    return sum(r.verdict is verdict for r in runs)


def _head(result: CaseResult) -> str:
    return result.message.split("\n", 1)[0]


# -- arithmetic -----------------------------------------------------------------------------------------
def most(runs: int) -> float:
    """Return the upper 95 % bound of the rate of failure after ``runs`` without a failure."""
    return float(1 - 0.05 ** (1 / runs))


def interval(failed: int, runs: int) -> tuple[float, float]:
    """Return Wilson's 95 % score interval of the rate of failure."""
    share, spread = failed / runs, _Z * _Z / runs
    middle = share + spread / 2
    half = _Z * math.sqrt(share * (1 - share) / runs + spread / (4 * runs))
    return max((middle - half) / (1 + spread), 0.0), min((middle + half) / (1 + spread), 1.0)


def rate(failed: int, runs: int) -> str:
    """Return the rate with its bounds: ``0 of 200 failed: rate below 1.5 % (95 %, exact)``."""
    text = f"{failed} of {runs} failed"
    if not failed:
        return f"{text}: rate below {_percent(most(runs))} % (95 %, exact)"
    low, high = interval(failed, runs)
    between = f"between {_percent(low)} and {_percent(high)} %"
    return f"{text}: rate {_percent(failed / runs)} %, {between} (95 %, Wilson)"


def _percent(share: float) -> str:
    value = 100 * share
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"
