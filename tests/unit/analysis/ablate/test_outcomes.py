"""Which differences between two results of a case count."""

from __future__ import annotations

from kmodpipe.analysis.ablate import outcomes
from kmodpipe.analysis.ablate.outcomes import Seen
from kmodpipe.results import CaseResult, Verdict

PASS, FAIL, ERROR, SKIP = Verdict.PASS, Verdict.FAIL, Verdict.ERROR, Verdict.SKIP


def seen(case: str, verdict: Verdict, outcome: str) -> Seen:
    return Seen.of(CaseResult(case, verdict, outcome=outcome))


def test_only_cases_with_a_steady_verdict_can_notice() -> None:
    reference = {
        "good": seen("good", PASS, "mounted"),
        "red": seen("red", FAIL, "ESTALE"),
        "lost": seen("lost", ERROR, ""),
        "left": seen("left", SKIP, ""),
        "loose": seen("loose", PASS, "mounted").again(seen("loose", FAIL, "timeout")),
    }
    assert outcomes.usable(reference) == ("good", "red")
    found = [seen(name, FAIL, "EINVAL") for name in reference]
    assert [one.case for one in outcomes.differing(reference, found)] == ["good", "red"]


def test_no_verdict_and_a_skip_are_no_difference() -> None:
    reference = {"a": seen("a", PASS, "mounted")}
    assert outcomes.differing(reference, [seen("a", ERROR, "")]) == ()
    assert outcomes.differing(reference, [seen("a", SKIP, "")]) == ()
    assert outcomes.differing(reference, [seen("a", PASS, "mounted")]) == ()
    # The same outcome, but a message of the kernel that a rule forbids.
    assert [one.case for one in outcomes.differing(reference, [seen("a", FAIL, "mounted")])] == ["a"]


def test_a_difference_that_does_not_come_again_is_unsteady() -> None:
    reference = {"a": seen("a", PASS, "mounted")}
    once = seen("a", FAIL, "timeout")
    assert once.of_the_clock
    assert outcomes.differing(reference, [once.again(seen("a", PASS, "mounted"))]) == ()
    twice = once.again(once)
    assert twice.times == 2 and outcomes.differing(reference, [twice]) == (twice,)


def test_words() -> None:
    assert outcomes.words(seen("a", PASS, "mounted"), seen("a", FAIL, "ESTALE")) == ("mounted", "ESTALE")
    assert outcomes.words(seen("a", PASS, "intact"), seen("a", FAIL, "intact")) == (
        "intact, pass",
        "intact, fail",
    )
