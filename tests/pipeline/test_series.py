"""Series without a design, and modules that do not fit, from the command line to the verdict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import toy
from tests.support.toy import World

CELL = "posted.INDEX=y.NOUUID=n"
HARMLESS = """\
From: toy <toy@localhost.invalid>
Subject: [PATCH] toy: a note

---
diff --git a/fs/toy/toy.c b/fs/toy/toy.c
--- a/fs/toy/toy.c
+++ b/fs/toy/toy.c
@@ -1,4 +1,5 @@
 /* what a toy guest observes with this module */
 outcome: ESTALE
+note: nothing
 index: CONFIG_TOY_FS_INDEX
 end
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return toy.build(tmp_path)


def mbox(world: World, text: str, name: str = "posted.mbox") -> str:
    path = world.root / name
    path.write_text("From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\n" + text)
    return str(path)


def beside_control(world: World, series: str, **more: str | bool) -> toy.Ran:
    """One cell of the series, with its control."""
    return world.command(toy.commands.test, series=[series], cell=[CELL], **more)


def result(world: World) -> tuple[str, str, str]:
    """Verdict, message and design of the series' cell."""
    run = json.loads((world.latest / "results.json").read_text())["run"]
    cell = next(c for c in run["cells"] if c["variant"] != "unpatched")
    return cell["cases"][0]["verdict"], cell["cases"][0]["message"], cell["design"]


def test_still_failing_as_before_is_no_failure_of_a_series_without_a_design(world: World) -> None:
    ran = beside_control(world, mbox(world, HARMLESS))
    said = "still failing as before: observed ESTALE, as without the series, where mounted is the goal"
    assert result(world) == ("pass", said, "")
    assert ran.code == 0, ran.text
    mail = world.command(toy.commands.report, format="mail")
    words = " ".join(mail.out.split())
    assert "breaks nothing; fixes nothing; leaves 1 case failing as without it; declares no design" in words


def test_a_fix_and_a_change_for_the_worse_without_a_design(world: World) -> None:
    fix = mbox(world, toy.SERIES_PATCH)
    assert beside_control(world, fix).code == 0
    assert result(world)[:2] == (
        "pass",
        "observed mounted, the case's goal; fixed: ESTALE without the series",
    )
    worse = mbox(world, toy.SERIES_PATCH.replace("+outcome: mounted", "+outcome: EINVAL"), "posted.mbox")
    assert beside_control(world, worse).code == 1
    assert result(world)[1] == "expected mounted, or ESTALE as without the series; observed EINVAL"


def test_without_its_control_a_goal_that_is_not_met_is_a_failure(world: World) -> None:
    assert beside_control(world, mbox(world, HARMLESS), no_control=True).code == 1
    assert "nothing to compare with: not run without the series" in result(world)[1]


def test_a_design_by_name(world: World) -> None:
    ran = beside_control(world, mbox(world, HARMLESS), design="toy-fix")
    assert ran.code == 1 and result(world)[1].startswith(
        "expected mounted, observed ESTALE: the series makes"
    )
    wrong = beside_control(world, mbox(world, HARMLESS), design="toy-fxi")
    assert wrong.code == 2 and "unknown design 'toy-fxi'; did you mean toy-fix" in wrong.text


def test_modules_that_do_not_fit_are_refused_before_anything_is_built(world: World) -> None:
    other = mbox(world, HARMLESS.replace("fs/toy/", "drivers/x/"), "other.mbox")
    matrix = world.root / "kconfigs/matrix.toml"
    matrix.write_text(f'module = "fs/toy"\n{matrix.read_text()}')
    for command in (toy.commands.plan, toy.commands.build, toy.commands.test):
        ran = world.command(command, series=[other])
        assert ran.code == 2 and "changes nothing of fs/toy" in ran.text and "--module drivers/x" in ran.text
        ran = world.command(command, series=["none"], module="fs/tyo")
        if command is not toy.commands.plan:
            assert ran.code == 2 and "unknown module folder 'fs/tyo'; did you mean fs/toy" in ran.text
    assert world.made() == []


def test_notices_of_a_series_are_shown(world: World) -> None:
    folder = world.root / "posted"
    folder.mkdir()
    (folder / "0001-x.patch").write_text(HARMLESS)
    (folder / "README").write_text("hello\n")
    ran = world.command(toy.commands.patch, series=[str(folder)])
    assert ran.code == 0 and "series posted: README: not of a kind that is read" in ran.text
