"""No case finds what another one left: in the toy world, where the agent's part is played."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import toy
from tests.toy import World

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


RETIRES = ("dirty", "left module:busy", "retire after case b: a module is not what it was (EAGAIN)")


def test_a_retired_guests_cases_count_and_the_rest_go_on_in_a_fresh_one(world: World) -> None:
    ran = run(world, {"a": ("exit 0",), "b": RETIRES, "c": ("clean",), "d": ("exit 0",)})
    assert ran.code == 0, ran.text
    assert set(verdicts(world).values()) == {"pass"}
    assert guests(world) == [["a", "b"], ["c", "d"]]
    assert "left behind: module:busy" in result(world, "b")["evidence"]
    assert cell(world)["properties"]["boot.1"].startswith("retired: after case b: a module")


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
