"""No case finds what another one left: in the toy world, where the agent's part is played."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import toy
from tests.support.toy import World

CELL = "toy-fix.INDEX=y.NOUUID=n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return toy.build(tmp_path)


def run(world: World, cases: dict[str, tuple[str, ...]], *argv: str) -> toy.Ran:
    """Each case by its name, doing what its lines say."""
    named = [a for name, lines in cases.items() for a in ("--case", world.script(f"{name}.sh", *lines))]
    return world.test("--cell", CELL, *named, *argv)


def cell(world: World) -> Any:
    found = json.loads((world.latest / "results.json").read_text())["run"]["cells"]
    return next(c for c in found if c["cell"] == CELL)


def verdicts(world: World) -> dict[str, str]:
    return {c["case"]: c["verdict"] for c in cell(world)["cases"]}


def result(world: World, case: str) -> Any:
    return next(c for c in cell(world)["cases"] if c["case"] == case)


def guests(world: World) -> list[list[str]]:
    """The cases that each guest began, in order."""
    folder = world.latest / CELL
    logs = sorted(folder.glob("verdict*.log"), key=lambda p: (len(p.name), p.name))
    return [re.findall(r" start case=\d+ id=(\S+)", p.read_text()) for p in logs]


def order(world: World) -> str:
    return "".join(case for guest in guests(world) for case in guest)


RETIRES = ("dirty", "left module:busy", "retire after case b: a module is not what it was (EAGAIN)")


def test_a_retired_guests_cases_count_and_the_rest_go_on_in_a_fresh_one(world: World) -> None:
    ran = run(world, {"a": ("exit 0",), "b": RETIRES, "c": ("clean",), "d": ("exit 0",)})
    assert ran.code == 0, ran.text
    assert set(verdicts(world).values()) == {"pass"}
    assert guests(world) == [["a", "b"], ["c", "d"]]
    assert "left behind: module:busy" in result(world, "b")["evidence"]
    assert cell(world)["properties"]["boot.1"].startswith("retired: after case b: a module")


def test_a_report_counts_where_a_case_has_turned_the_console_down(world: World) -> None:
    # The first turns it down, and leaves it so.
    ran = run(world, {"a": ("exit 0",), "b": ("quiet-warn", "left taint:W"), "c": ("exit 0",)})
    assert ran.code == 1
    assert verdicts(world) == {"a": "pass", "b": "fail", "c": "pass"}
    assert "WARNING in toy_fill_super" in result(world, "b")["message"]
    (report,) = result(world, "b")["reports"]
    assert report["log"] == "verdict.log"


def test_the_same_report_again_counts_where_the_console_was_turned_down_meanwhile(world: World) -> None:
    # As of kinds that do not taint, and name no process in their first line.
    run(world, {"a": ("warn",), "b": ("quiet-warn",), "c": ("warn",), "d": ("exit 0",)})
    # Which of two equal ones was on the console nobody can tell where it lags behind: each has one.
    assert verdicts(world) == {"a": "fail", "b": "fail", "c": "fail", "d": "pass"}
    assert all("WARNING in toy_fill_super" in result(world, name)["message"] for name in "abc")


def test_a_report_on_console_and_in_the_ring_is_one(world: World) -> None:
    run(world, {"a": ("warn", "left taint:W")})
    assert [r["log"] for r in result(world, "a")["reports"]] == ["console.log"]


@pytest.mark.parametrize(
    ("left", "verdict"),
    [("procs:0,taint:W", "fail"), ("lockdep:off", "fail"), ("taint:OD", "fail"), ("taint:OU", "pass")],
)
def test_a_kernel_in_trouble_that_could_not_say_so_is_no_pass(world: World, left: str, verdict: str) -> None:
    run(world, {"a": (f"left {left}", "exit 0")})
    assert verdicts(world) == {"a": verdict}, result(world, "a")["message"]


@pytest.mark.parametrize(("script", "case"), [("reproduce.sh", "b"), ("reproduce-2.sh", "c")])
def test_each_guest_can_be_booted_again(world: World, script: str, case: str) -> None:
    run(world, {"a": ("exit 0",), "b": RETIRES, "c": ("clean",)})
    done = subprocess.run(
        ["sh", str(world.latest / CELL / script)],
        env=world.environment(), capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f": {case}\n" in done.stdout


def test_a_retired_guests_failures_are_failures(world: World) -> None:
    ran = run(world, {"a": ("exit 3",), "b": (*RETIRES, "exit 5"), "c": ("clean",)})
    assert ran.code == 1
    assert verdicts(world) == {"a": "fail", "b": "fail", "c": "pass"}
    assert "exit status 5" in result(world, "b")["message"]


def test_the_last_case_may_retire_its_guest(world: World) -> None:
    assert run(world, {"a": ("exit 0",), "b": RETIRES}).code == 0
    assert guests(world) == [["a", "b"]]


def test_every_case_may_retire_its_guest(world: World) -> None:
    cases = {name: ("clean", *RETIRES) for name in "abcd"}
    assert run(world, cases).code == 0
    assert guests(world) == [["a"], ["b"], ["c"], ["d"]]
    assert (world.latest / CELL / "reproduce-4.sh").is_file()


@pytest.mark.parametrize("told", [(), ("retire a process is stuck in the kernel",)])
def test_a_stuck_case_takes_none_of_the_others_with_it(world: World, told: tuple[str, ...]) -> None:
    ran = run(world, {"a": ("exit 0",), "b": ("dirty", "stuck", *told), "c": ("clean",)})
    assert ran.code == 1
    assert verdicts(world) == {"a": "pass", "b": "fail", "c": "pass"}
    assert "stuck in the kernel" in result(world, "b")["message"]
    assert guests(world) == [["a", "b"], ["c"]]


@pytest.mark.parametrize("lines", [(*RETIRES, "late-panic"), ("stuck", "late-panic"), ("warn", *RETIRES)])
def test_a_crash_is_charged_to_the_case_that_made_the_guest_retire(
    world: World, lines: tuple[str, ...]
) -> None:
    ran = run(world, {"a": ("exit 0",), "b": lines, "c": ("clean",)})
    assert ran.code == 1
    assert verdicts(world) == {"a": "pass", "b": "fail", "c": "pass"}
    assert "toy_fill_super" in result(world, "b")["message"]


def test_a_guest_that_retires_before_its_first_case_ends_the_cell(world: World) -> None:
    patch = world.root / "patches/toy-fix/0001-toy-mount.patch"
    patch.write_text(patch.read_text().replace("+outcome: mounted", "+outcome: mounted RETIRE"))
    ran = run(world, {"a": ("exit 0",), "b": ("exit 0",)})
    assert ran.code == 1, ran.text
    assert verdicts(world) == {"a": "fail", "b": "fail"}
    assert guests(world) == [[]]


# -- alone ------------------------------------------------------------------------------------------
def declare(world: World, cases: dict[str, tuple[str, ...]], alone: str) -> None:
    """Cases with a case.toml, instead of the toy world's own."""
    folder = world.root / "images/guest/cases/remount"
    text = ""
    for name, lines in cases.items():
        (folder / f"{name}.sh").write_text("#!/bin/sh\n" + "".join(f"# toy: {line}\n" for line in lines))
        text += f'[[case]]\nid = "{name}"\nsummary = "toy"\nscript = "{name}.sh"\ngoal = "mounted"\n'
        text += "alone = true\n" if name == alone else ""
        text += '[[case.expect]]\noutcome = "mounted"\nreason = "it does"\n'
    (folder / "case.toml").write_text(text)


def test_a_case_that_wants_to_be_alone_is(world: World) -> None:
    seen = "observe outcome mounted"
    declare(world, {"a": (seen,), "b": ("only", seen), "c": (seen,)}, alone="b")
    ran = world.test("--cell", CELL)
    assert ran.code == 0, ran.text
    assert guests(world) == [["a", "c"], ["b"]]
    assert list(verdicts(world)) == ["a", "b", "c"]


# -- order ------------------------------------------------------------------------------------------
MIXED = {
    "a": ("exit 0",),
    "b": RETIRES,
    "c": ("clean",),
    "d": ("panic",),
    "e": ("dirty", "stuck"),
    "f": ("clean",),
    "g": ("dirty", "warn", "retire the kernel is tainted"),
    "h": ("exit 4",),
    "i": ("clean",),
}


def test_shuffled_cases_get_the_same_verdicts_in_declared_order(world: World) -> None:
    run(world, MIXED)
    declared, orders = list(verdicts(world).items()), {order(world)}
    for seed in ("1", "2", "3"):
        run(world, MIXED, "--shuffle", seed)
        assert list(verdicts(world).items()) == declared
        orders.add(order(world))
    assert len(orders) == 4


def test_a_seed_means_the_same_order_each_time_and_another_in_each_cell(world: World) -> None:
    cases = {name: ("exit 0",) for name in "abcdefgh"}
    first = guests(world) if run(world, cases, "--shuffle", "7").code == 0 else []
    assert json.loads((world.latest / "results.json").read_text())["run"]["properties"]["shuffle"] == "7"
    assert run(world, cases, "--shuffle", "7").code == 0
    assert guests(world) == first and sorted(first[0]) == list("abcdefgh") != first[0]
    control = "unpatched.INDEX=y.NOUUID=n"
    scripts = [a for name in cases for a in ("--case", str(world.root / f"{name}.sh"))]
    assert world.test("--cell", control, *scripts, "--shuffle", "7").code == 0
    there = re.findall(r" start case=\d+ id=(\S+)", (world.latest / control / "verdict.log").read_text())
    assert there != first[0]


@pytest.mark.parametrize("seed", ["0", ""])
def test_no_seed_is_the_declared_order(world: World, seed: str) -> None:
    assert run(world, {name: ("exit 0",) for name in "dcba"}, "--shuffle", seed).code == 0
    assert guests(world) == [list("dcba")]


def test_random_tells_the_seed_it_took(world: World) -> None:
    ran = run(world, {"a": ("exit 0",)}, "--shuffle", "random")
    told = re.search(r"--shuffle (\d+)", ran.out)
    assert told, ran.text
    found = json.loads((world.latest / "results.json").read_text())["run"]["properties"]["shuffle"]
    assert found == told[1]


def test_a_seed_that_is_none_is_a_usage_error(world: World) -> None:
    ran = run(world, {"a": ("exit 0",)}, "--shuffle", "randm")
    assert ran.code == 2
    assert "randm" in ran.text
