"""How many guests a cell's cases have: several at once where a cell has the machine for itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import toy
from tests.support.toy import World

CELL = "toy-fix.INDEX=y.NOUUID=n"
MANY = 41


@pytest.fixture
def world(tmp_path: Path) -> World:
    return toy.build(tmp_path)


def run(world: World, lines: dict[int, str], *argv: str, number: int = MANY) -> toy.Ran:
    scripts = [world.script(f"case-{n:02}.sh", lines.get(n, "exit 0")) for n in range(number)]
    cases = [word for script in scripts for word in ("--case", script)]
    return world.invoke("test", "--runtime", "host", *argv, *cases)


def cell(world: World, name: str = CELL) -> Any:
    found = json.loads((world.latest / "results.json").read_text())["run"]["cells"]
    return next(one for one in found if one["cell"] == name)


def test_a_cell_alone_has_a_guest_for_each_job(world: World) -> None:
    ran = run(world, {7: "exit 5"}, "--cell", CELL, "--no-control", "--jobs", "2")
    assert ran.code == 1, ran.text
    cases = cell(world)["cases"]
    assert [one["case"] for one in cases] == [f"case-{n:02}" for n in range(MANY)]
    assert {one["case"] for one in cases if one["verdict"] != "pass"} == {"case-07"}
    assert cell(world)["properties"]["boots"] == "2"
    assert sorted(one["guest"] for one in cases) == [1] * 21 + [2] * 20
    assert {path.name for path in (world.latest / CELL).glob("reproduce*")} == {
        "reproduce.sh",
        "reproduce-2.sh",
    }


def test_a_crash_costs_one_case_of_one_guest(world: World) -> None:
    ran = run(world, {4: "panic", 31: "panic"}, "--cell", CELL, "--no-control", "--jobs", "2")
    assert ran.code == 1, ran.text
    bad = {one["case"] for one in cell(world)["cases"] if one["verdict"] != "pass"}
    assert bad == {"case-04", "case-31"} and cell(world)["properties"]["boots"] == "4"


@pytest.mark.parametrize(
    ("number", "argv"),
    [
        (MANY, ("--cell", CELL, "--no-control", "--jobs", "1")),
        (39, ("--cell", CELL, "--no-control", "--jobs", "2")),
        # The control's cell has the other job.
        (MANY, ("--cell", CELL, "--jobs", "2")),
    ],
)
def test_else_it_has_one(world: World, number: int, argv: tuple[str, ...]) -> None:
    assert run(world, {}, *argv, number=number).code == 0
    assert cell(world)["properties"]["boots"] == "1"


def test_the_next_run_deals_by_how_long_the_cases_took(world: World) -> None:
    words = ("--cell", CELL, "--no-control", "--jobs", "2")
    assert run(world, {}, *words).code == 0
    (note,) = (world.cache / "kept/case-times").iterdir()
    took = json.loads(note.read_text())
    assert set(took) == {f"case-{n:02}" for n in range(MANY)}
    note.write_text(json.dumps({**took, "case-00": 10 * took["case-00"]}))
    assert run(world, {}, *words).code == 0
    guests = {one["case"]: one["guest"] for one in cell(world)["cases"]}
    # As long as the 15 or 16 others in its guest and ten more.
    assert sum(guest == guests["case-00"] for guest in guests.values()) == 16
    assert run(world, {}, *words, "--shuffle", "7").code == 0
    assert sorted(one["guest"] for one in cell(world)["cases"]) == [1] * 21 + [2] * 20
