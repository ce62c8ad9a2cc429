"""Dead axes on the whole way, in the toy world."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from junitparser import Failure, JUnitXml

from tests.support import toy
from tests.support.toy import World


@pytest.fixture
def mistaken(tmp_path: Path) -> World:
    """A series whose code tests another name than its Kconfig defines."""
    world = toy.build(tmp_path)
    patch = world.root / "patches/toy-fix/0001-toy-mount.patch"
    text = patch.read_text()
    patch.write_text(text.replace("+nouuid: CONFIG_TOY_FS_NOUUID", "+nouuid: CONFIG_TOY_NOUUID"))
    assert patch.read_text() != text
    return world


def run_of(world: World) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((world.latest / "results.json").read_text())["run"]
    return found


def test_green_cells_of_a_dead_axis_fail_the_run(mistaken: World) -> None:
    ran = mistaken.test()
    assert ran.code == 1, ran.text
    shown = " ".join(ran.text.split())
    assert "axis NOUUID (TOY_FS_NOUUID) is dead in toy-fix: nothing reads CONFIG_TOY_FS_NOUUID" in shown
    assert "fs/toy/toy.c:4 tests CONFIG_TOY_NOUUID, which no Kconfig file defines" in shown
    run = run_of(mistaken)
    (dead,) = run["dead_axes"]
    assert dead["cells"] == [["toy-fix.INDEX=y.NOUUID=y", "toy-fix.INDEX=y.NOUUID=n"]]
    assert {c["verdict"] for cell in run["cells"] for c in cell["cases"]} == {"pass", "skip"}
    suites = {s.name: list(s) for s in JUnitXml.fromfile(str(mistaken.latest / "junit.xml"))}
    assert suites.pop("(run)") == []
    (case,) = suites.pop("toy-fix")
    assert case.name == "(axis NOUUID)" and isinstance(case.result[0], Failure)
    assert len(suites) == 8


def test_build_alone_tells_a_dead_axis(mistaken: World) -> None:
    built = mistaken.invoke("build", "--runtime", "host")
    assert built.code == 1
    assert "is dead in toy-fix" in built.err and "was TOY_FS_NOUUID meant?" in built.err


def _kept(world: World) -> Path:
    (found,) = (world.cache / "kept/code").iterdir()
    return found


def _living(made: dict[str, str]) -> object:
    return {cell: f"{number:064x}" for number, cell in enumerate(made)}


@pytest.mark.parametrize(
    "damage",
    [
        None,
        lambda made: {},
        lambda made: [],
        lambda made: dict.fromkeys(made, ""),
        lambda made: dict.fromkeys(made),
        lambda made: {f"{cell}.": content for cell, content in made.items()},
    ],
    ids=["whole", "empty", "a-list", "no-digests", "null", "other-cells"],
)
def test_a_dead_axis_is_told_again_by_what_was_kept_of_the_modules(
    mistaken: World, damage: Callable[[dict[str, str]], object] | None
) -> None:
    assert mistaken.invoke("build", "--runtime", "host").code == 1
    kept = _kept(mistaken)
    if damage:
        (entry,) = json.loads(kept.read_text())
        kept.write_text(json.dumps([{**entry, "made": damage(entry["made"])}]))
    again = mistaken.invoke("build", "--runtime", "host")
    assert again.code == 1 and "is dead in toy-fix" in again.err


def test_modules_of_other_bytes_are_compared_anew(mistaken: World) -> None:
    """What was kept, made a lie, counts for the very modules that it was kept of."""
    assert mistaken.invoke("build", "--runtime", "host").code == 1
    kept = _kept(mistaken)
    (entry,) = json.loads(kept.read_text())
    kept.write_text(json.dumps([{**entry, "made": _living(entry["made"])}]))
    assert "is dead" not in mistaken.invoke("build", "--runtime", "host").err
    patch = mistaken.root / "patches/toy-fix/0001-toy-mount.patch"
    patch.write_text(patch.read_text().replace("+nouuid: CONFIG_TOY_NOUUID", "+nouuid: CONFIG_TOY_NO_UUID"))
    assert "is dead in toy-fix" in mistaken.invoke("build", "--runtime", "host").err


def test_living_axes_are_not_mentioned(tmp_path: Path) -> None:
    world = toy.build(tmp_path)
    ran = world.test()
    assert ran.code == 0 and "axis" not in ran.text
    assert run_of(world)["dead_axes"] == []
