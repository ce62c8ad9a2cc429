"""`invoke bisect` in the toy world: patches, commits and symbols, and what cannot be answered."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support import toy
from tests.support.toy import World
from tests.support.trees import commit_all, git, write

GOOD = "outcome: ESTALE"
CELL = "posted.INDEX=y.NOUUID=n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return toy.build(tmp_path)


def bisect(world: World, **asked: Any) -> toy.Ran:
    return world.command(toy.commands.bisect, **{"case": ["remount"], **asked})


def answer(world: World) -> Any:
    return json.loads((world.latest / "bisect.json").read_text())


def series_of(world: World, states: Sequence[Mapping[str, str]]) -> str:
    """A series whose patches bring the tree from one state of its files to the next."""
    repo = world.root / "repo"
    shutil.copytree(world.tree, repo)
    commit_all(repo, "base")
    for number, state in enumerate(states, 1):
        write(repo, state)
        commit_all(repo, f"toy: step {number}")
    folder = world.root / "posted"
    git(repo, "format-patch", "-q", "-o", str(folder), f"HEAD~{len(states)}")
    return str(folder)


def module(outcome: str, *more: str) -> dict[str, str]:
    lines = ["/* what a toy guest observes with this module */", outcome, *more, "index: CONFIG_TOY_FS_INDEX"]
    return {"fs/toy/toy.c": "\n".join([*lines, "end"]) + "\n"}


def six(at: int, to: str = "outcome: mounted", broken: Sequence[int] = ()) -> list[dict[str, str]]:
    """Six steps, of which number ``at`` changes the outcome, and those ``broken`` do not build."""
    return [
        module(to if n >= at else GOOD, f"step: {n}", *(["BROKEN"] if n in broken else []))
        for n in range(1, 7)
    ]


def bases(world: World) -> int:
    return sum("bzImage" in targets for targets in world.made())


def ran_in(world: World) -> list[str]:
    return [step["name"] for step in answer(world)["steps"]]


# -- patches ----------------------------------------------------------------------------------------------
def test_the_first_patch_is_found_in_logarithmic_steps(world: World) -> None:
    posted = series_of(world, six(4))
    ran = bisect(world, series=[posted])
    assert ran.code == 0, ran.text
    found = answer(world)
    assert (found["result"], found["case"]) == ("found", "remount")
    assert [one["name"] for one in found["found"]] == ["0004-toy-step-4.patch"]
    assert ran_in(world) == ["unpatched", "posted", "posted@3", "posted@4"]
    before, after = found["before"], found["after"]
    assert (before["name"], before["outcomes"]) == ("posted@3", {"ESTALE": 1})
    assert (after["name"], after["outcomes"]) == ("posted@4", {"mounted": 1})
    said = "patch 4 of 6 of posted (0004-toy-step-4.patch) changes remount: ESTALE before, mounted with it"
    assert said in ran.text
    assert re.search(r"3 steps left, about \d+ s: posted@3", ran.text)
    # Only the module is built again.
    assert bases(world) == 1
    see = f"--series {posted} --each-patch --cell '{CELL.replace('posted', 'posted@4')}' --case remount"
    assert see.replace("'", "") in after["command"].replace("'", "")


def test_the_command_of_the_answer_shows_it(world: World) -> None:
    posted = series_of(world, six(5))
    bisect(world, series=[posted])
    words = answer(world)["after"]["command"]
    cell = re.search(r"--cell '?([^ ']+)", words)
    assert cell and cell[1] == "posted@5.INDEX=y.NOUUID=n"
    ran = world.command(
        toy.commands.test, series=[posted], each_patch=True, cell=[cell[1]], case=["remount"], no_control=True
    )
    assert "observed mounted" in ran.text or ran.code == 0, ran.text


def test_a_patch_that_does_not_build_is_skipped(world: World) -> None:
    ran = bisect(world, series=[series_of(world, six(5, broken=[3]))])
    assert ran.code == 0, ran.text
    assert [one["name"] for one in answer(world)["found"]] == ["0005-toy-step-5.patch"]
    (skipped,) = [one for one in answer(world)["steps"] if one["side"] == "skipped"]
    assert skipped["outcomes"] == {"does not build": 1}
    assert skipped["name"] == "posted@3" and "BROKEN" in skipped["why"]


def test_one_of_two_where_what_is_between_cannot_be_tried(world: World) -> None:
    ran = bisect(world, series=[series_of(world, six(4, broken=[3]))])
    assert ran.code == 1, ran.text
    assert [one["name"] for one in answer(world)["suspects"]] == [
        "0003-toy-step-3.patch", "0004-toy-step-4.patch",
    ]  # fmt: skip
    assert "posted@3 was skipped: does not build (" in ran.text


def test_an_outcome_of_neither_end_is_skipped_and_shown(world: World) -> None:
    states = [*six(5)[:3], module("outcome: EIO", "step: 4"), *six(5)[4:]]
    ran = bisect(world, series=[series_of(world, states)])
    assert ran.code == 1 and "posted@4 was skipped: EIO (as at neither end)" in ran.text, ran.text


def test_ends_that_are_the_same_are_said_with_their_outcome(world: World) -> None:
    ran = bisect(world, series=[series_of(world, [module(GOOD, "step: 1")])])
    assert ran.code == 2, ran.text
    assert "both ends are the same: no case has another outcome at posted than at unpatched" in ran.text
    assert answer(world)["result"] == "same" and "ESTALE" in ran.text
    one = bisect(world, series=[str(world.root / "posted")], cell=["posted.INDEX=n.NOUUID=n"])
    assert one.code == 2
    assert "both ends are the same: remount is ESTALE at unpatched and at posted" in one.text


def test_several_cases_that_differ_are_offered(world: World) -> None:
    other = world.script("other.sh", "observe-module")
    posted = series_of(world, six(2))
    ran = world.command(toy.commands.bisect, series=[posted], case=["remount", other])
    assert ran.code == 2, ran.text
    assert "2 cases differ between unpatched and posted: remount, other; choose one" in ran.text
    assert [one["case"] for one in answer(world)["differences"]] == ["remount", "other"]


def test_a_choice_that_the_tree_rules_out_is_passed_over(world: World) -> None:
    """No patch brings the symbol of the axis NOUUID: cells with it at y are ruled out."""
    ran = bisect(world, series=[series_of(world, six(4))])
    assert ran.code == 0 and answer(world)["bad"]["cell"] == "posted.INDEX=y.NOUUID=n", ran.text
    chosen = bisect(world, series=[str(world.root / "posted")], cell=["posted.INDEX=y.NOUUID=y"])
    assert chosen.code == 2 and "the tree has no symbol TOY_FS_NOUUID" in chosen.text, chosen.text


def test_a_symbol_that_comes_with_a_patch_is_n_before_it(world: World) -> None:
    ran = bisect(world, series=["toy-fix"], cell=["toy-fix.INDEX=y.NOUUID=y"])
    assert ran.code == 0, ran.text
    assert answer(world)["good"]["cell"] == "unpatched.INDEX=y.NOUUID=n"


@pytest.mark.timeout(300)
def test_a_flaky_case_is_repeated_until_the_answer_is_sure(world: World) -> None:
    posted = series_of(world, six(3, "outcome: EIO in 8 of 10, else ESTALE"))
    ran = bisect(
        world, series=[posted], repeat=10, confidence="0.999", cell=["posted.INDEX=n.NOUUID=n"], jobs=4
    )
    assert ran.code == 0, ran.text
    found = answer(world)
    assert [one["name"] for one in found["found"]] == ["0003-toy-step-3.patch"]
    assert 0.999 <= found["confidence"] < 1
    # One in nine times it is EIO ten times of ten.
    assert set(found["before"]["outcomes"]) == {"ESTALE"}
    assert {"EIO"} <= set(found["after"]["outcomes"]) <= {"EIO", "ESTALE"}
    assert re.search(r"confidence 99\.9\d %|confidence 99\.9\d%", ran.text)


# -- commits ----------------------------------------------------------------------------------------------
@pytest.fixture
def repo(world: World) -> Path:
    """Eight commits: the sixth changes the outcome, and the fourth does not build."""
    repo = world.root / "linux"
    shutil.copytree(world.tree, repo)
    commit_all(repo, "base")
    git(repo, "tag", "v1")
    for n in range(1, 9):
        broken = ["BROKEN"] if n == 4 else []
        write(repo, module("outcome: mounted" if n >= 6 else GOOD, f"step: {n}", *broken))
        commit_all(repo, f"toy: commit {n}")
    git(repo, "tag", "v2")
    return repo


def test_the_first_commit_of_a_range(world: World, repo: Path) -> None:
    ran = bisect(world, tree=[f"{repo.as_uri()}#v1..v2"], module="fs/toy")
    assert ran.code == 0, ran.text
    found = answer(world)
    full = git(repo, "rev-parse", "v2~2")
    assert found["found"] == [{"name": full, "title": "toy: commit 6"}]
    assert f"commit {full[:12]} (toy: commit 6) changes remount: ESTALE before, mounted with it" in ran.text
    # The base is one: only the module differs between the commits.
    assert bases(world) == 1
    log = (world.latest / "bisect.log").read_text()
    assert "git bisect start" in log and f"first bad commit: [{full}]" in log
    assert f"#{full}" in found["after"]["command"] and "--series none" in found["after"]["command"]
    git(repo, "bisect", "replay", str(world.latest / "bisect.log"))


def test_a_commit_that_does_not_build_is_skipped(world: World, repo: Path) -> None:
    ran = bisect(world, tree=[f"{repo}#v1..v2"], module="fs/toy")
    assert ran.code == 0, ran.text
    sides = {one["title"]: one["side"] for one in answer(world)["steps"]}
    assert sides["toy: commit 4"] == "skipped"


def test_a_commit_that_changes_vmlinux_gets_a_base_of_its_own(world: World, repo: Path) -> None:
    write(repo, {"init/main.c": "int main; /* changed */\n"})
    commit_all(repo, "init: a comment")
    write(repo, module("outcome: EIO", "step: 10"))
    commit_all(repo, "toy: worse")
    ran = bisect(world, tree=[f"{repo}#v2..main"], module="fs/toy")
    assert ran.code == 0, ran.text
    assert answer(world)["found"][0]["title"] == "toy: worse"
    assert bases(world) == 2


def test_a_range_that_changes_nothing_in_the_end(world: World, repo: Path) -> None:
    git(repo, "revert", "--no-edit", "v2")
    git(repo, "tag", "before", "v2~1")
    ran = bisect(world, tree=[f"{repo}#before..main"], module="fs/toy", cell=["unpatched.INDEX=n.NOUUID=n"])
    assert ran.code == 2 and "both ends are the same: remount is mounted at" in ran.text, ran.text


def test_a_merge_that_breaks_what_both_sides_did_well(world: World) -> None:
    repo = world.root / "linux"
    shutil.copytree(world.tree, repo)
    commit_all(repo, "base")
    git(repo, "tag", "v1")
    git(repo, "checkout", "-q", "-b", "side")
    write(repo, {"fs/toy/side.h": "int side;\n"})
    commit_all(repo, "toy: on the side")
    git(repo, "checkout", "-q", "main")
    write(repo, module(GOOD, "step: 1"))
    commit_all(repo, "toy: on main")
    git(repo, "merge", "-q", "--no-commit", "side")
    write(repo, module("outcome: EIO"))
    commit_all(repo, "Merge branch 'side'")
    ran = bisect(world, tree=[f"{repo}#v1..main"], module="fs/toy")
    assert ran.code == 0, ran.text
    assert answer(world)["found"][0]["title"] == "Merge branch 'side'"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("v1..v1", "the range is empty: v1 and v1 are the same commit"),
        ("v2..v1", "v2 is no ancestor of v1: it is the other way round"),
        ("v1..v3", "unknown branch or tag 'v3'; did you mean v2 or v1?"),
        ("v1...v2", "a range is GOOD..BAD, not v1...v2"),
        ("..v2", "a range has a good end"),
    ],
)
def test_ranges_that_are_none(world: World, repo: Path, wanted: str, said: str) -> None:
    ran = bisect(world, tree=[f"{repo}#{wanted}"], module="fs/toy")
    assert ran.code == 2 and said in ran.text, ran.text
    assert world.made() == []


def test_a_good_end_of_another_line_of_history(world: World, repo: Path) -> None:
    git(repo, "checkout", "-q", "-b", "other", "v1")
    write(repo, {"README": "x\n"})
    commit_all(repo, "another line")
    ran = bisect(world, tree=[f"{repo}#other..v2"], module="fs/toy")
    assert ran.code == 2 and "other is no ancestor of v2" in ran.text, ran.text


def test_the_commits_of_a_module_of_its_own_source(world: World) -> None:
    repo = world.root / "mine"
    write(repo, {"Kbuild": "obj-m += mine.o\n", "mine.c": f"/* mine */\n{GOOD}\nend\n"})
    commit_all(repo, "mine: base")
    git(repo, "tag", "v1")
    for n in range(1, 6):
        text = f"/* mine */\noutcome: {'EIO' if n >= 4 else 'ESTALE'}\nstep: {n}\nend\n"
        write(repo, {"mine.c": text})
        commit_all(repo, f"mine: commit {n}")
    ran = bisect(world, module=f"{repo}#v1..main", cell=["unpatched.INDEX=n.NOUUID=n"])
    assert ran.code == 0, ran.text
    assert answer(world)["found"][0]["title"] == "mine: commit 4"
    full = git(repo, "rev-parse", "main~1")
    assert f"--module {repo.as_uri()}#{full}" in answer(world)["after"]["command"].replace("'", "")
    assert bases(world) == 1


# -- symbols ----------------------------------------------------------------------------------------------
KCONFIG = """\
config TOY_FS
\ttristate "a toy file system"

config TOY_FS_INDEX
\tbool "index by default"
\tdepends on TOY_FS

config TOY_A
\tbool "a"

config TOY_B
\tbool "b"

config TOY_C
\tbool "c"

config TOY_D
\tbool "needs c"
\tdepends on TOY_C

config TOY_SILENT
\tbool
"""
TOY = "/* by configuration */\noutcome: seen-CONFIG_TOY_A-CONFIG_TOY_D\nend\n"


@pytest.fixture
def configs(world: World) -> tuple[str, str]:
    write(world.tree, {"fs/toy/Kconfig": KCONFIG, "fs/toy/toy.c": TOY})
    good, bad = world.root / "good.config", world.root / "bad.config"
    good.write_text("CONFIG_TOY_B=y\n# CONFIG_TOY_A is not set\nCONFIG_64BIT=y\n")
    bad.write_text("CONFIG_TOY_A=y\nCONFIG_TOY_C=y\nCONFIG_64BIT=y\nCONFIG_TOY_SILENT=y\nCONFIG_GONE=y\n")
    return str(good), str(bad)


def by_config(world: World, configs: tuple[str, str], **more: Any) -> toy.Ran:
    world_args = {"module": "fs/toy", "cell": ["unpatched.INDEX=n.NOUUID=n"], **more}
    return bisect(world, good_config=configs[0], bad_config=configs[1], **world_args)


def test_the_symbol_that_makes_the_difference(world: World, configs: tuple[str, str]) -> None:
    ran = by_config(world, configs)
    assert ran.code == 0, ran.text
    found = answer(world)
    assert found["found"] == [{"name": "TOY_A=y", "title": "(n at the good end)"}]
    assert "left out, not in this tree: GONE" in ran.text
    assert "left out, without a prompt, Kconfig sets them: TOY_SILENT" in ran.text
    assert "the other way round: without it, the bad configuration has seen-n-n" in ran.text
    fragment = re.search(r"--config (\S+)", found["look"][-1])
    assert fragment and "CONFIG_TOY_A=y" in Path(fragment[1]).read_text()


def test_symbols_that_only_together_make_it(world: World, configs: tuple[str, str]) -> None:
    Path(configs[1]).write_text("CONFIG_TOY_B=y\nCONFIG_TOY_C=y\nCONFIG_TOY_D=y\nCONFIG_64BIT=y\n")
    ran = by_config(world, configs)
    assert ran.code == 0, ran.text
    assert [one["name"] for one in answer(world)["found"]] == ["TOY_C=y", "TOY_D=y"]


def test_configurations_that_agree(world: World, configs: tuple[str, str]) -> None:
    ran = by_config(world, (configs[0], configs[0]))
    assert ran.code == 2 and "the two configurations have the same symbols" in ran.text, ran.text
    alone = bisect(world, good_config=configs[0])
    assert alone.code == 2 and "two configurations are compared" in alone.text


# -- words ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"series": ["toy-fix"], "tree": ["/x#a..b"]}, "one question at a time"),
        ({"series": ["none"], "module": "fs/toy"}, "there is nothing to search"),
        ({"repeat": 0}, "--repeat takes a number from 1 to"),
        ({"repeat": 5, "confidence": "1.5"}, "--confidence takes a number between"),
        ({"case": ["remuont"]}, "unknown case 'remuont'; did you mean remount"),
        ({"no_control": True}, "bisect compares two ends"),
        ({"module": "fs/toy#a..b"}, "only a module of its own source"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_done(
    world: World, asked: dict[str, Any], said: str
) -> None:
    ran = bisect(world, **asked)
    assert ran.code == 2 and said in ran.text, ran.text
    assert world.made() == []


def test_the_answer_as_a_document(world: World) -> None:
    ran = bisect(world, series=["toy-fix"], cell=["toy-fix.INDEX=n.NOUUID=n"], json=True)
    assert ran.code == 0 and answer(world)["schema"] == "kmodpipe-bisect", ran.text
