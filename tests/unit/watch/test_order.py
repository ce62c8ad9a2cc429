"""What of a round runs first, and where a second guest is worth it."""

from __future__ import annotations

from typing import Any

from kmodpipe.watch.order import Part, parts

CELLS, CASES = ["control", "a", "b"], ["one", "two", "three"]
EVERYTHING = {(cell, case) for cell in CELLS for case in CASES}


def laid_out(due: set[tuple[str, str]] = EVERYTHING, **known: Any) -> tuple[Part, ...]:
    given = {"failed": [], "touched": {}, "seconds": dict.fromkeys(EVERYTHING, 0.1)}
    return parts(due, CELLS, CASES, **{**given, **known})


def test_without_more_to_go_by_all_is_as_declared() -> None:
    assert laid_out() == (Part(("control", "a", "b"), ("one", "two", "three")),)


def test_what_failed_last_is_first() -> None:
    assert laid_out(failed=[("b", "three")]) == (Part(("b", "control", "a"), ("three", "one", "two")),)


def test_what_executed_the_change_is_next_by_how_much_of_it() -> None:
    (part,) = laid_out(failed=[("a", "three")], touched={"one": 1.0, "two": 4.0})
    assert part.cases == ("three", "two", "one")


def test_only_what_is_due_runs() -> None:
    assert laid_out({("b", "two")}) == (Part(("b",), ("two",)),)
    assert laid_out({("b", "two")}, failed=[("a", "one")]) == (Part(("b",), ("two",)),)
    assert laid_out(set()) == ()


def test_a_long_rest_has_a_run_of_its_own_so_that_the_first_verdicts_do_not_wait() -> None:
    slow = {**dict.fromkeys(EVERYTHING, 0.1), ("a", "one"): 60.0}
    assert laid_out(failed=[("a", "two")], seconds=slow) == (
        Part(("a", "control", "b"), ("two",)),
        Part(("a", "control", "b"), ("one", "three")),
    )
    # Nothing is known to be better first.
    assert len(laid_out(seconds=slow)) == 1
