"""The fast twin of integration/test_forgery.py: the lies are a toy guest's, everything else is real."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from junitparser import JUnitXml
from lxml import etree

from tests.support import toy
from tests.support.toy import World

CELL = "toy-fix.INDEX=y.NOUUID=n"
CASES = {
    "says-and-fails": ("say", "exit 1"),
    "says-and-dies": ("say", "quit"),
    "overhears-and-fails": ("overhear", "exit 1"),
    "overhears-and-dies": ("overhear", "quit"),
    "overhears": ("overhear", "exit 0"),
    "forges-and-fails": ("forge", "say", "exit 1"),
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, toy.Ran]:
    """Each case alone in its guest."""
    world = toy.build(tmp_path_factory.mktemp("forgery"))
    folder = world.root / "images/guest/cases/remount"
    table = ""
    for name, lines in CASES.items():
        (folder / f"{name}.sh").write_text("#!/bin/sh\n" + "".join(f"# toy: {line}\n" for line in lines))
        table += f'[[case]]\nid = "{name}"\nsummary = "lies"\nscript = "{name}.sh"\ngoal = "mounted"\n'
        table += 'alone = true\n[[case.expect]]\noutcome = "mounted"\nreason = "it does"\n'
    (folder / "case.toml").write_text(table)
    return world, world.test("--cell", CELL)


def results(world: World) -> dict[str, Any]:
    cells = json.loads((world.latest / "results.json").read_text())["run"]["cells"]
    cell = next(c for c in cells if c["cell"] == CELL)
    return {c["case"]: c for c in cell["cases"]}


def test_no_lie_is_a_pass(ran: tuple[World, toy.Ran]) -> None:
    world, done = ran
    assert done.code == 1, done.text
    assert {name: c["verdict"] for name, c in results(world).items()} == {
        "says-and-fails": "fail",
        "says-and-dies": "fail",
        "overhears-and-fails": "error",
        "overhears-and-dies": "fail",
        "overhears": "error",
        "forges-and-fails": "fail",
    }


def test_the_files_and_the_screen_are_whole(ran: tuple[World, toy.Ran]) -> None:
    world, done = ran
    path = world.latest / "junit.xml"
    tree = etree.parse(str(path))
    assert [c.get("name") for c in tree.iter("testcase") if c.get("classname") == CELL] == list(CASES)
    assert [s.name for s in JUnitXml.fromfile(str(path))] == ["(run)", CELL]
    text = path.read_text()
    assert "ATTACHMENT" in text and not re.search(r"\[\[ATTACHMENT", text, re.IGNORECASE)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", done.text)
