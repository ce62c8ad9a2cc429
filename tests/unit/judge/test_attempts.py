"""Flaky or real: what several runs of one case are worth."""

from __future__ import annotations

import pytest

from kmodpipe.judge import attempts
from kmodpipe.judge.attempts import interval, merge, most, rate
from kmodpipe.judge.retries import MOST_ATTEMPTS, RetryPolicy
from kmodpipe.results import CaseResult, Verdict

SOAK = RetryPolicy(repeat=5)


# -- arithmetic -------------------------------------------------------------------------------------
@pytest.mark.parametrize(("runs", "bound"), [(1, 0.95), (3, 0.632), (59, 0.0495), (200, 0.01487)])
def test_no_failure_leaves_a_rate_possible(runs: int, bound: float) -> None:
    assert most(runs) == pytest.approx(bound, abs=5e-4)
    # The rate at which as many runs without a failure come about in one of twenty soaks.
    assert (1 - most(runs)) ** runs == pytest.approx(0.05)
    # The rule of three is near, and on the safe side.
    assert most(runs) <= 3 / runs


@pytest.mark.parametrize(
    ("failed", "runs", "low", "high"),
    # Newcombe 1998, table I, method 3 (Wilson's score), and the ends.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (1, 29, 0.0061, 0.1718), (29, 29, 0.8830, 1.0)],
)
def test_wilsons_interval(failed: int, runs: int, low: float, high: float) -> None:
    assert interval(failed, runs) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(
    ("failed", "runs", "told"),
    [
        (0, 200, "0 of 200 failed: rate below 1.5 % (95 %, exact)"),
        (0, 10_000, "0 of 10000 failed: rate below 0.03 % (95 %, exact)"),
        (15, 148, "15 of 148 failed: rate 10.1 %, between 6.2 and 16.0 % (95 %, Wilson)"),
        (4, 4, "4 of 4 failed: rate 100 %, between 51.0 and 100 % (95 %, Wilson)"),
    ],
)
def test_a_rate_in_words(failed: int, runs: int, told: str) -> None:
    assert rate(failed, runs) == told


# -- merging ----------------------------------------------------------------------------------------
def runs(letters: str) -> tuple[CaseResult, ...]:
    """p, f, e, s: a run each, with evidence that tells it."""
    verdicts = {v.value[0]: v for v in Verdict}
    found: tuple[CaseResult, ...] = ()
    for n, letter in enumerate(letters, 1):
        verdict = verdicts[letter]
        met = {Verdict.PASS: True, Verdict.FAIL: False}.get(verdict)
        result = CaseResult(
            "case", verdict, f"message {n}", f"outcome-{letter}", goal_met=met, evidence=f"evidence {n}",
            output_excerpt=f"output {n}\n", attempts=1, duration_s=1,
        )  # fmt: skip
        found = attempts.kept(found, result)
    return found


def test_one_run_is_what_it_was() -> None:
    assert merge(runs("f"), RetryPolicy(attempts=3)) == runs("f")[0]
    assert merge(runs("p"), RetryPolicy()) == runs("p")[0]


def test_a_pass_after_a_failure_is_flaky_and_no_pass() -> None:
    merged = merge(runs("ffp"), RetryPolicy(attempts=3))
    assert merged.verdict is Verdict.FAIL and merged.flaky
    assert merged.message == (
        "flaky: failed in attempt 1 (message 1), failed in attempt 2 (message 2), "
        "passed in attempt 3 (message 3)"
    )
    assert (merged.attempts, merged.failures, merged.duration_s) == (3, 2, 3)
    assert merged.goal_met is None and merged.outcome == "flaky"
    for n in (1, 2, 3):
        assert f"evidence {n}" in merged.evidence and f"output {n}" in merged.output_excerpt


def test_a_failure_that_stays_is_real() -> None:
    merged = merge(runs("fff"), RetryPolicy(attempts=3))
    assert merged.verdict is Verdict.FAIL and not merged.flaky
    assert merged.message == "failed in all 3 attempts: message 1"
    assert merged.outcome == "outcome-f" and merged.goal_met is False


@pytest.mark.parametrize(("letters", "did"), [("fe", "had no verdict"), ("fs", "was skipped")])
def test_an_attempt_without_verdict_takes_no_failure_back(letters: str, did: str) -> None:
    merged = merge(runs(letters), RetryPolicy(attempts=2))
    assert merged.verdict is Verdict.FAIL and not merged.flaky
    assert merged.message == f"failed in attempt 1 (message 1), {did} in attempt 2 (message 2)"


@pytest.mark.parametrize(
    ("letters", "verdict", "flaky", "told"),
    [
        ("ppppp", Verdict.PASS, False, "0 of 5 failed: rate below 45.1 % (95 %, exact); message 1"),
        ("ppfpp", Verdict.FAIL, True, "1 of 5 failed: rate 20.0 %, between 3.6 and 62.4 %"),
        ("fffff", Verdict.FAIL, False, "5 of 5 failed"),
        ("ppepp", Verdict.ERROR, False, "0 of 4 failed: rate below 52.7 % (95 %, exact); 1 of 5 runs had no"),
        ("fepsp", Verdict.FAIL, True, "1 of 3 failed"),
        ("sssss", Verdict.SKIP, False, "run 1: message 1"),
        ("eeeee", Verdict.ERROR, False, "5 of 5 runs had no verdict; run 1: message 1"),
    ],
)  # fmt: skip
def test_a_soak_has_the_worst_verdict_and_a_rate(
    letters: str, verdict: Verdict, flaky: bool, told: str
) -> None:
    merged = merge(runs(letters), SOAK)
    assert (merged.verdict, merged.flaky, merged.attempts) == (verdict, flaky, 5)
    assert merged.message.startswith(told)
    assert merged.failures == letters.count("f")


def test_of_many_runs_the_evidence_of_the_first_ones_is_kept() -> None:
    found = runs("p" * 300 + "f" + "p" * 99 + "f")
    assert sum(bool(r.output_excerpt) for r in found) == MOST_ATTEMPTS + 1
    merged = merge(found, RetryPolicy(repeat=401))
    assert merged.output_excerpt == "output 301\n" and "run 301" in merged.message


def test_a_soak_counts_each_outcome_and_leaves_out_runs_without_verdict() -> None:
    found = merge(runs("ppfpe"), SOAK)
    assert found.outcomes == {runs("p")[0].word: 3, runs("f")[0].word: 1}
    assert merge(runs("fp"), RetryPolicy(attempts=3)).outcomes == {}
