"""Flaky or real, and soak runs: how they come about in the toy world."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml

from tests.support import toy
from tests.support.toy import World

CELL = "toy-fix.INDEX=y.NOUUID=n"


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
    for told in (f"{CELL} a: 0 of 4 failed: rate below 52.7 %", "FLAKY b: 1 of 4 failed: rate 25.0 %"):
        assert told in ran.out
    assert boots(world) == 8
    # Nobody reads the logs of the guests in which nothing happened.
    kept = {log.name for log in (world.latest / CELL).glob("verdict*.log")}
    assert "verdict.log" in kept and len(kept) == 3 == len(list((world.latest / CELL).glob("reproduce*.sh")))


def test_a_soak_has_as_many_guests_at_once_as_it_has_jobs(world: World) -> None:
    """Five that take a second each, in less than five."""
    script = world.script("slow.sh", "sleep 1", "exit 0")
    ran = world.invoke(
        "test",
        "--runtime",
        "host",
        "--no-control",
        "--cell",
        CELL,
        "--case",
        script,
        "--repeat",
        "5",
        "--jobs",
        "5",
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
