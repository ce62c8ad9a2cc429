"""What no case notices, from the command line to the answer, in the toy world."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kmodpipe.results import coverage
from kmodpipe.results.coverage import CaseCoverage, CellCoverage, Coverage, FileCounts, FileLines
from tests.support import toy
from tests.support.toy import World

CELL = "toy-fix.INDEX=y.NOUUID=n"
# The first patch is the toy world's own. The second is C, which a toy guest does not run.
CODE = """\
From: toy <toy@localhost.invalid>
Subject: [PATCH 2/2] toy: more

---
diff --git a/fs/toy/toy.c b/fs/toy/toy.c
--- a/fs/toy/toy.c
+++ b/fs/toy/toy.c
@@ -1,5 +1,18 @@
+/* a comment alone is no hunk; this one has code */
+static int never(int x)
+{
+\tif (x)
+\t\treturn -EINVAL;
+\treturn 0;
+}
 /* what a toy guest observes with this module */
 outcome: mounted
 index: CONFIG_TOY_FS_INDEX
+defines: helper
+1
+2
+3
+4
+5
 nouuid: CONFIG_TOY_FS_NOUUID
 end
diff --git a/fs/toy/NOTES.md b/fs/toy/NOTES.md
new file mode 100644
--- /dev/null
+++ b/fs/toy/NOTES.md
@@ -0,0 +1 @@
+a note
"""
USER = """\
From: toy <toy@localhost.invalid>
Subject: [PATCH 3/3] toy: use it

---
diff --git a/fs/toy/toy.c b/fs/toy/toy.c
--- a/fs/toy/toy.c
+++ b/fs/toy/toy.c
@@ -16,3 +16,4 @@
 5
 nouuid: CONFIG_TOY_FS_NOUUID
 end
+uses: helper
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = toy.build(tmp_path)
    folder = made.root / "patches/toy-fix"
    (folder / "0002-toy-more.patch").write_text(CODE.replace("[PATCH 2/2]", "[PATCH]"))
    (folder / "0003-toy-use.patch").write_text(USER.replace("[PATCH 3/3]", "[PATCH]"))
    (folder / "series").write_text("0001-toy-mount.patch\n0002-toy-more.patch\n0003-toy-use.patch\n")
    return made


def ablate(world: World, **asked: Any) -> toy.Ran:
    return world.command(toy.commands.ablate, **asked)


def answer(world: World) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((world.latest / "ablate.json").read_text())
    return found


def by_id(world: World) -> Mapping[str, dict[str, Any]]:
    return {one["id"]: one for one in answer(world)["findings"]}


def test_each_hunk_is_noticed_or_told(world: World) -> None:
    ran = ablate(world, kind=["hunk"], cell=[CELL])
    assert ran.code == 1, ran.text
    found = by_id(world)
    assert {name: one["status"] for name, one in found.items()} == {
        # The symbol of its own is Kconfig's; the cell is one without it.
        "1.1": "same-module",
        "1.2": "noticed-by-case",
        "2.1": "unnoticed",
        "2.2": "no-code",
        "3.1": "unnoticed",
    }
    mount = found["1.2"]
    assert (mount["case"], mount["cell"], mount["before"], mount["after"]) == (
        "remount", CELL, "mounted", "ESTALE",
    )  # fmt: skip
    # What it defines is used by another hunk, which goes with it.
    assert found["2.1"]["together"] == ["3.1"] and found["3.1"]["together"] == []
    assert ran.text.splitlines().count(
        "no case notices 2 of 5 hunks (1 noticed, 1 of the same module, 1 no code)"
    )
    shown = " ".join(ran.text.split())
    assert "✗ 2.1 fs/toy/toy.c:1, never(): left out, with 3.1, which need it, no case notices" in shown
    assert "a case would have to: in never(), run with `x` true or false" in shown


def test_a_cell_that_kconfig_refuses_without_a_hunk(world: World) -> None:
    ran = ablate(world, only=["1.1"], cell=["toy-fix.INDEX=y.NOUUID=y"])
    assert ran.code == 0, ran.text
    (found,) = answer(world)["findings"]
    assert found["status"] == "noticed-by-kconfig" and "TOY_FS_NOUUID" in found["reason"]


def test_what_no_case_notices_can_be_tried_by_hand(world: World) -> None:
    ablate(world, only=["3.1"], cell=[CELL])
    folder = world.latest / "unnoticed/toy-fix-3-1"
    ran = world.command(toy.commands.test, series=[str(folder)], cell=["toy-fix-3-1.INDEX=y.NOUUID=n"])
    assert ran.code == 0, ran.text
    assert (
        "uses: helper"
        not in (next((world.cache / "trees").glob("patched-*/fs/toy/NOTES.md")).parent / "toy.c").read_text()
        or len(list((world.cache / "trees").glob("patched-*/fs/toy/NOTES.md"))) == 2
    )


def test_mistakes_and_what_the_compiler_notices(world: World) -> None:
    ran = ablate(world, only=["2.1"], kind=["condition", "error", "constant", "call"], cell=[CELL])
    assert ran.code == 1, ran.text
    found = answer(world)["findings"]
    assert {(one["kind"], one["was"], one["becomes"]) for one in found} == {
        ("condition", "x", "!(x)"), ("error", "x", "(x) && 0"), ("error", "-EINVAL", "0"),
        ("constant", "EINVAL", "(EINVAL + 1)"), ("constant", "0", "(0 + 1)"),
    }  # fmt: skip
    assert {one["status"] for one in found} == {"unnoticed"}


def test_a_second_run_goes_on_and_a_third_has_nothing_to_do(world: World) -> None:
    first = ablate(world, kind=["hunk"], cell=[CELL], budget="1s", only=["1.2", "3.1"])
    assert first.code in (0, 1), first.text
    second = ablate(world, kind=["hunk"], cell=[CELL], only=["1.2", "3.1"])
    assert second.code == 1 and "not tried" not in answer(world)["summary"], second.text
    made, before = world.made(), answer(world)["findings"]
    third = ablate(world, kind=["hunk"], cell=[CELL], only=["1.2", "3.1"])
    assert third.code == 1 and world.made() == made
    assert answer(world)["findings"] == before
    assert not list(world.latest.glob("toy-fix-*/guests-*")), "no guest was booted"


def test_a_new_case_runs_alone_and_may_notice(world: World) -> None:
    assert ablate(world, only=["3.1"], kind=["hunk"], cell=[CELL]).code == 1
    folder = world.root / "images/guest/cases/helper"
    folder.mkdir()
    (folder / "case.toml").write_text(toy.CASE_TOML.replace('"remount"', '"helper"'))
    (folder / "run.sh").write_text("#!/bin/sh\n# toy: observe-module\n# more\n")
    assert ablate(world, only=["3.1"], kind=["hunk"], cell=[CELL]).code == 1
    ran = [path.name for path in world.latest.glob("toy-fix-3-1.*/guests-1/output*/*")]
    ran += [path.name for path in world.latest.glob("toy-fix-3-1.*/guests-1/console.log")]
    assert ran, "the new case was booted"


@pytest.mark.parametrize(
    ("statuses", "status", "unsteady"),
    [
        # The whole series, the edit, the edit again, the whole series again.
        ("0 1 1 0", "noticed-by-case", []),
        ("0 1 0 0", "unnoticed", [f"flip in {CELL}"]),
        ("0 1 1 1", "unnoticed", [f"flip in {CELL}"]),
        ("0 0", "unnoticed", []),
    ],
)
def test_a_difference_counts_if_it_comes_again(
    world: World, statuses: str, status: str, unsteady: list[str]
) -> None:
    script = world.script("flip.sh", f"statuses {statuses}")
    ran = ablate(world, only=["3.1"], kind=["hunk"], cell=[CELL], case=[script], jobs=1)
    (found,) = answer(world)["findings"]
    assert (found["status"], found["unsteady"]) == (status, unsteady), ran.text


def test_the_coverage_of_the_same_series_chooses_the_cases(world: World) -> None:
    assert world.test("--cell", CELL).code == 0
    covered = CellCoverage(
        "toy-fix",
        files={"fs/toy/toy.c": FileLines((4, 5, 6))},
        cases={"remount": CaseCoverage(files={"fs/toy/toy.c": FileCounts({6: 1})})},
    )
    coverage.save(Coverage(cells={CELL: covered}), world.latest)
    taken = world.latest.name
    ran = ablate(world, only=["2.1"], kind=["condition", "constant"], cell=[CELL])
    assert "cases were chosen by the coverage of" in ran.text and taken in ran.text
    never, executed = by_id(world)["2.1-condition-1"], by_id(world)["2.1-constant-2"]
    assert (never["line"], never["executed_by"], never["tried"]) == (4, [], [])
    assert never["reason"] == "no case that could notice executes it"
    assert (executed["line"], executed["executed_by"], executed["tried"]) == (6, ["remount"], [CELL])
    # That of another series, or of an earlier version of it, is not taken.
    patch = world.root / "patches/toy-fix/0003-toy-use.patch"
    patch.write_text(patch.read_text().replace("toy: use it", "toy: use it at last"))
    (world.root / "patches/toy-fix/0002-toy-more.patch").write_text(
        CODE.replace("[PATCH 2/2]", "[PATCH]").replace("+5", "+five")
    )
    patch.write_text(patch.read_text().replace(" 5\n", " five\n"))
    assert "no run of invoke cover fits this series" in ablate(world, only=["2.2"], cell=[CELL]).text
    refused = ablate(world, only=["2.2"], cell=[CELL], coverage=str(world.root / "out" / taken))
    assert refused.code == 2 and "not that of toy-fix as it is now" in " ".join(refused.text.split())


def test_series_toml_explains_and_is_held_to_it(world: World) -> None:
    toml = world.root / "patches/toy-fix/series.toml"
    entry = '[[unnoticed]]\nfile = "fs/toy/toy.c"\nline = "{}"\nreason = "{}"\n'
    toml.write_text(f"{toml.read_text()}{entry.format('  uses:   helper', 'the guest has no eyes for it')}")
    ran = ablate(world, only=["3.1"], kind=["hunk"], cell=[CELL])
    assert ran.code == 0, ran.text
    assert by_id(world)["3.1"]["status"] == "explained"
    assert world.command(toy.commands.config).code == 0
    # One about what is noticed, and one about nothing.
    toml.write_text(
        f"{toml.read_text()}{entry.format('outcome: mounted', 'so')}{entry.format('not there', 'so')}"
    )
    ran = ablate(world, cell=[CELL])
    assert ran.code == 1
    assert answer(world)["stale"] == [
        f"fs/toy/toy.c: 'outcome: mounted': noticed by remount in {CELL}",
        "fs/toy/toy.c: 'not there': nothing of the series fits",
    ]
    checked = world.command(toy.commands.config)
    assert (
        checked.code == 2 and "no hunk in fs/toy/toy.c adds or removes the line 'not there'" in checked.text
    )


def test_an_id_that_there_is_not(world: World) -> None:
    ran = ablate(world, only=["2.11"], cell=[CELL])
    assert ran.code == 2 and "unknown edit '2.11'; did you mean 2.1" in " ".join(ran.text.split())


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"series": ["toy-fix", "none"], "kind": ["hnuk"]}, "unknown kind 'hnuk'; did you mean hunk"),
        ({"budget": "soon"}, "--budget takes a time such as 90s"),
        ({"series": ["none"], "module": "fs/toy"}, "ablate takes one series, 0 are given"),
        ({"each_patch": True}, "ablate takes one series, 3 are given"),
        ({"cell": ["unpatched.*"]}, "none of the chosen cells is one of toy-fix"),
        ({"coverage": "nowhere"}, "this run has no coverage.json"),
    ],
)
def test_what_is_refused_before_anything_is_built(world: World, asked: dict[str, Any], told: str) -> None:
    ran = ablate(world, **asked)
    assert ran.code == 2 and told in " ".join(ran.text.split()), ran.text
    assert world.made() == []
