"""``--sample``: fewer cells with the same pairs, in the toy world."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from kmodpipe import results
from kmodpipe.cli import commands
from kmodpipe.results import State
from tests.support import toy
from tests.support.toy import Ran, World

MORE = "".join(f'[axes.{name}]\nsymbol = "TOY_FS_{name}"\n' for name in ("A", "B", "C"))
SYMBOLS = "".join(f'\nconfig TOY_FS_{name}\n\tbool "{name}"\n\tdepends on 64BIT\n' for name in ("A", "B"))
# Two values that exclude each other.
SYMBOLS += '\nconfig TOY_FS_C\n\tbool "C"\n\tdepends on !TOY_FS_A\n'


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = toy.build(tmp_path)
    (world.root / "kconfigs/matrix.toml").write_text(toy.MATRIX + MORE)
    (world.tree / "Kconfig").write_text(toy.KCONFIG + SYMBOLS)
    return world


def cells(ran: Ran, world: World) -> list[results.CellResult]:
    assert ran.code == 0, ran.text
    return list(results.load(world.latest / "results.json").cells)


def test_every_legal_pair_is_in_a_cell_and_each_cell_is_compared(world: World) -> None:
    ran = world.command(commands.test, sample=2)
    found = cells(ran, world)
    own = [cell for cell in found if cell.variant == "toy-fix"]
    assert {cell.state for cell in found} == {State.RAN}
    assert 5 <= len(own) <= 8 and len(found) <= 2 * len(own)
    pairs = {(a, b) for c in own for a in c.choice.items() for b in c.choice.items() if a != b}
    for first in ("A", "B", "C", "INDEX", "NOUUID"):
        for second in ("A", "B", "C", "INDEX", "NOUUID"):
            for one in "yn":
                for other in "yn":
                    pair = ((first, one), (second, other))
                    impossible = {first, second} == {"A", "C"} and one == other == "y"
                    impossible |= {pair[0], pair[1]} == {("INDEX", "n"), ("NOUUID", "y")}
                    assert (pair in pairs) is (first != second and not impossible), pair
    assert f"sample of toy-fix: {len(own)} of 32 cells have every pair of values" in ran.text
    assert "no legal cell of toy-fix has INDEX=n with NOUUID=y" in ran.text
    run = results.load(world.latest / "results.json")
    assert all(results.control_of(run, cell) for cell in own)
    assert "INDEX=n with NOUUID=y" in run.properties["sample"]
    # The same again.
    assert [c.cell for c in cells(world.command(commands.test, sample=2), world)] == [c.cell for c in found]


def test_the_control_alone_is_sampled_and_a_plan_says_so(world: World) -> None:
    asked = {"sample": 1, "series": ["none"], "module": "fs/toy"}
    assert len(cells(world.command(commands.test, **asked), world)) == 2
    shown = " ".join(world.command(commands.plan, **asked).out.split())
    assert "sample of unpatched: 2 of 32 cells have every value that a legal cell has" in shown


def test_a_plan_of_jobs_has_the_sample_only(world: World, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    early = world.command(commands.matrix, sample=2, to=str(plan))
    assert early.code == 2 and "invoke patch" in early.text
    assert world.command(commands.patch).code == 0
    made = world.command(commands.matrix, sample=2, to=str(plan))
    assert made.code == 0, made.text
    content = json.loads(plan.read_text())["plan"]
    assert len(content["cells"]) <= 16
    assert all("--sample" not in job["arguments"] for job in content["jobs"])


def test_a_plan_over_two_kernels_waits_until_the_series_is_applied_on_both(
    world: World, tmp_path: Path
) -> None:
    plan, declared = tmp_path / "plan.json", (world.root / "pyproject.toml").read_text()
    for name, minor in (("old", 5), ("new", 6)):
        tree = shutil.copytree(world.tree, world.tree.parent / name)
        (tree / "Makefile").write_text(f"VERSION = 6\nPATCHLEVEL = {minor}\nSUBLEVEL = 0\nEXTRAVERSION =\n")
        declared += f'[tool.kmodpipe.trees.{name}]\npath = "{tree}"\n'
    (world.root / "pyproject.toml").write_text(declared)
    both = ["old", "new"]
    assert world.command(commands.patch, tree=["old"]).code == 0
    assert world.command(commands.fetch, tree=["new"]).code == 0
    early = world.command(commands.matrix, tree=both, sample=1, to=str(plan))
    assert early.code == 2 and "new cannot be sampled" in early.text and "invoke patch" in early.text
    assert not plan.exists()
    assert world.command(commands.patch, tree=both).code == 0
    made = world.command(commands.matrix, tree=both, sample=1, to=str(plan))
    assert made.code == 0, made.text
    planned = [cell["cell"] for cell in json.loads(plan.read_text())["plan"]["cells"]]
    for kernel in both:
        assert sum(cell.startswith(f"toy-fix.{kernel}.") for cell in planned) >= 2, planned


@pytest.mark.parametrize("strength", [-1, 7])
def test_a_strength_that_makes_no_sense_is_refused(world: World, strength: int) -> None:
    got = world.command(commands.test, sample=strength)
    assert got.code == 2 and "--sample takes a number from 1 to 6" in got.text
