"""What a case needs and the guest does not have is no verdict, before a kernel is built if possible."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import toy
from tests.support.toy import World

CELL = "toy-fix.INDEX=y.NOUUID=n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return toy.build(tmp_path)


def script(world: World, name: str, head: str, *toys: str) -> str:
    path = Path(world.script(name, *toys))
    path.write_text(head + path.read_text().removeprefix("#!/bin/sh\n"))
    return str(path)


def result(world: World, case: str) -> Any:
    (cell,) = json.loads((world.latest / "results.json").read_text())["run"]["cells"]
    return next(c for c in cell["cases"] if c["case"] == case)


def test_a_missing_interpreter_ends_the_run_before_a_kernel_is_built(world: World) -> None:
    ran = world.test("--cell", CELL, "--case", script(world, "a.sh", "#!/bin/bash\n"))
    assert ran.code == 3, ran.text
    assert "no verdict: the guest has no /bin/bash" in ran.text
    assert "# tools: bash" in ran.text
    assert not [target for target in world.made() if "bzImage" in target or "vmlinux" in target]


def test_a_missing_program_costs_its_own_case_alone_and_is_said_first(world: World) -> None:
    needy = script(world, "needy.sh", "#!/bin/sh\n# needs: setfattr getfattr\n", "exit 0")
    ran = world.test("--cell", CELL, "--case", needy, "--case", world.script("b.sh", "exit 0"))
    assert ran.code == 3, ran.text
    assert "no verdict on needy: the guest has no setfattr, getfattr" in ran.text
    assert result(world, "needy")["verdict"] == "error"
    assert result(world, "needy")["message"].startswith(
        "no verdict: the guest has no setfattr, getfattr; add tools"
    )
    assert result(world, "b")["verdict"] == "pass"


def test_a_symbol_that_the_kernel_does_not_have_skips_the_case(world: World) -> None:
    needy = script(world, "needy.sh", "#!/bin/sh\n# needs: CONFIG_TOY_FS CONFIG_USER_NS\n", "exit 0")
    world.test("--cell", CELL, "--case", needy, "--case", world.script("b.sh", "exit 0"))
    assert (result(world, "needy")["verdict"], result(world, "needy")["message"]) == (
        "skip",
        "needs CONFIG_USER_NS, which this kernel does not have",
    )


@pytest.mark.parametrize("status", [0, 1])
def test_a_program_that_is_missed_while_the_script_runs_is_no_verdict(world: World, status: int) -> None:
    called = world.script("a.sh", "print a.sh: line 7: setfattr: not found", f"exit {status}")
    ran = world.test("--cell", CELL, "--case", called)
    assert ran.code == 3, ran.text
    assert result(world, "a")["verdict"] == "error"
    assert result(world, "a")["message"].startswith("no verdict: the guest has no setfattr; ")
    junit = (world.latest / "junit.xml").read_text()
    assert "the guest has no setfattr" in junit and "<error" in junit


def test_a_script_that_skips_since_a_program_is_missing_is_skipped(world: World) -> None:
    called = world.script("a.sh", "print a.sh: line 7: setfattr: not found", "exit 4")
    world.test("--cell", CELL, "--case", called)
    assert result(world, "a")["verdict"] == "skip"


def test_what_a_case_printed_stands_in_a_file(world: World) -> None:
    world.test("--cell", CELL, "--case", world.script("a.sh", "print one\\ntwo", "exit 1"))
    text = (world.latest / CELL / "output" / "a.txt").read_text()
    assert "one" in text
    assert f"{CELL}/output/a.txt" in (world.latest / "report.html").read_text().replace("%3D", "=")


def test_only_the_chosen_cases_are_checked_against_the_matrix(world: World) -> None:
    toml = world.root / "images/guest/cases/remount/case.toml"
    toml.write_text(toml.read_text().replace('design = "toy-fix"', 'ELSEWHERE = "y"'))
    assert world.test("--cell", CELL, "--case", world.script("a.sh", "exit 0")).code == 0
    ran = world.test("--cell", CELL)
    assert ran.code == 2
    assert "unknown axis 'ELSEWHERE'" in ran.text


def test_cases_are_chosen_by_patterns(world: World) -> None:
    assert world.test("--cell", CELL, "--case", "rem*").code == 0
    assert result(world, "remount")["verdict"] == "pass"
    ran = world.test("--cell", CELL, "--case", "ren*")
    assert ran.code == 2
    assert "unknown case 'ren*'" in ran.text
