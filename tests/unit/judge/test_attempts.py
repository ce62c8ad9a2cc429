"""Flaky or real: what several runs of one case are worth, and in the toy world how they come about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml

from kmodpipe.judge import attempts
from kmodpipe.judge.attempts import RetryPolicy, interval, merge, most, rate
from kmodpipe.results import CaseResult, Verdict
from tests.support import toy
from tests.support.toy import World

CELL = "toy-fix.INDEX=y.NOUUID=n"
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
    assert sum(bool(r.output_excerpt) for r in found) == attempts.MOST_ATTEMPTS + 1
    merged = merge(found, RetryPolicy(repeat=401))
    assert merged.output_excerpt == "output 301\n" and "run 301" in merged.message


# -- from the command line ---------------------------------------------------------------------------
@pytest.fixture
def world(tmp_path: Path) -> World:
    return toy.build(tmp_path)


def results(world: World) -> Any:
    return json.loads((world.latest / "results.json").read_text())


def cases(world: World) -> dict[str, Any]:
    cell = next(c for c in results(world)["run"]["cells"] if c["cell"] == CELL)
    return {c["case"]: c for c in cell["cases"]}


def boots(world: World) -> int:
    cell = next(c for c in results(world)["run"]["cells"] if c["cell"] == CELL)
    return int(cell["properties"]["boots"])


def run(world: World, scripts: dict[str, str], *argv: str) -> toy.Ran:
    named = [a for name, line in scripts.items() for a in ("--case", world.script(f"{name}.sh", line))]
    return world.test("--cell", CELL, *named, *argv)


MIXED = {"a": "exit 0", "b": "statuses 3 0", "c": "exit 7", "d": "exit 4", "e": "statuses 1 2 0"}


def test_attempts_tell_flaky_from_real(world: World) -> None:
    ran = run(world, MIXED, "--attempts", "3")
    assert ran.code == 1
    found = cases(world)
    told = {name: (c["verdict"], c["flaky"], c["attempts"]) for name, c in found.items()}
    assert told == {
        "a": ("pass", False, 1),
        "b": ("fail", True, 2),
        "c": ("fail", False, 3),
        "d": ("skip", False, 1),
        "e": ("fail", True, 3),
    }
    assert boots(world) == 1 + 3 + 2
    assert "exit status 3" in found["b"]["message"] and "exit status 0" in found["b"]["message"]
    assert found["c"]["message"].startswith("failed in all 3 attempts: the script ended with exit status 7")
    assert results(world)["totals"]["flaky"] == 2
    assert "3 failed (2 flaky)" in ran.out and "~ flaky" in ran.out
    suite = next(s for s in JUnitXml.fromfile(str(world.latest / "junit.xml")) if s.name == CELL)
    kinds = {case.name: [r.type for r in case.result] for case in suite}
    assert kinds["b"] == ["flaky"] and kinds["c"] == ["unexpected"]


def test_without_attempts_a_failure_is_not_tried_again(world: World) -> None:
    assert run(world, {"b": "statuses 3 0"}).code == 1
    assert boots(world) == 1 and not cases(world)["b"]["flaky"]


def test_a_soak_tells_the_rate(world: World) -> None:
    ran = run(world, {"a": "exit 0", "b": "statuses 0 0 5 0"}, "--repeat", "4")
    assert ran.code == 1
    found = cases(world)
    assert found["a"]["verdict"] == "pass"
    assert found["a"]["message"].startswith("0 of 4 failed: rate below 52.7 % (95 %, exact)")
    assert (found["b"]["verdict"], found["b"]["flaky"], found["b"]["failures"]) == ("fail", True, 1)
    assert "run 3: the script ended with exit status 5" in found["b"]["message"]
    for told in (f"{CELL} a: 0 of 4 failed: rate below 52.7 %", f"{CELL} b: 1 of 4 failed: rate 25.0 %"):
        assert told in ran.out
    assert boots(world) == 8
    # Nobody reads the logs of the guests in which nothing happened.
    kept = {log.name for log in (world.latest / CELL).glob("verdict*.log")}
    assert "verdict.log" in kept and len(kept) == 3 == len(list((world.latest / CELL).glob("reproduce*.sh")))


def test_a_soak_has_as_many_guests_at_once_as_it_has_jobs(world: World) -> None:
    """Five that take a second each, in less than five."""
    script = world.script("slow.sh", "sleep 1", "exit 0")
    ran = world.invoke(
        "test", "--runtime", "host", "--cell", CELL, "--case", script, "--repeat", "5", "--jobs", "5"
    )
    assert ran.code == 0, ran.text
    events = [json.loads(line) for line in (world.latest / "events.jsonl").read_text().splitlines()]
    (seconds,) = (e["seconds"] for e in events if e["event"] == "end" and e["step"].startswith("test "))
    assert seconds < 4.5 and boots(world) == 5


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("--attempts", "0"), "--attempts"),
        (("--repeat", "-1"), "--repeat"),
        (("--attempts", "2", "--repeat", "2"), "exclude"),
    ],
)
def test_a_number_of_runs_that_makes_no_sense_is_a_usage_error(
    world: World, argv: tuple[str, ...], told: str
) -> None:
    ran = run(world, {"a": "exit 0"}, *argv)
    assert ran.code == 2 and told in ran.text
