"""`config check`: every file of a project is named, and every fault in any of them, with file, line and
field."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from kmodpipe.cli import commands, config_check
from kmodpipe.util.errors import UserError
from tests.support import REPO, toy
from tests.support.toy import World
from tests.wrong_inputs import edit

PROJECT, MATRIX, FRAGMENT = "pyproject.toml", "kconfigs/matrix.toml", "kconfigs/guest.config"
CASE, SERIES = "images/guest/cases/remount/case.toml", "patches/toy-fix/series.toml"
CLAIMS, BENIGN = "images/guest/cases/claims.toml", "kconfigs/benign.toml"
RULE = '[[benign]]\nkind = "WARNING"\ntitle = "WARNING in foo"\nreason = "it is harmless"\n'


@pytest.fixture
def world(tmp_path: Path) -> World:
    return toy.build(tmp_path)


def add(name: str, text: str) -> Callable[[World], None]:
    def change(world: World) -> None:
        path = world.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((path.read_text() if path.exists() else "") + text)

    return change


def fifo(world: World) -> None:
    (world.root / CASE).unlink()
    os.mkfifo(world.root / CASE)


def own_cases(world: World) -> None:
    add(BENIGN, RULE)(world)
    edit(PROJECT, 'tree = "toy"\n', f'tree = "toy"\nbenign = "{BENIGN}"\n')(world)
    add(CLAIMS, '[tables.A]\ntitle = "All of it"\nA1 = "it mounts"\n')(world)
    edit(CASE, 'id = "remount"\n', 'id = "remount"\nproves = ["A1"]\n')(world)
    add("images/guest/cases/own.sh", "#!/bin/sh\n")(world)


def said(world: World) -> list[str]:
    return [line.strip() for line in config_check.lines(config_check.check(world.root))]


def test_each_file_is_named_with_what_it_holds(world: World) -> None:
    own_cases(world)
    assert said(world) == [
        f"✓ {PROJECT}: 1 kernel",
        f"✓ {MATRIX}: 2 axes, 0 flavours",
        f"✓ {FRAGMENT}: 2 symbols",
        f"✓ {SERIES}: 1 patch",
        f"✓ {CASE}: 1 case",
        "✓ images/guest/cases/own.sh: 1 case",
        f"✓ {CLAIMS}: 1 claim",
        f"✓ {BENIGN}: 1 rule",
        "8 files, nothing wrong",
    ]


NO_FIELD = "there is no such field; did you mean"
FAULTS: dict[str, tuple[Callable[[World], object], str]] = {
    "a field": (
        edit(PROJECT, 'tree = "toy"\n', 'tree = "toy"\ntreee = 1\n'),
        f"{PROJECT}:3: tool.kmodpipe.treee: {NO_FIELD}",
    ),
    "a tree's field": (
        add(PROJECT, '[tool.kmodpipe.trees.x]\ngit = "https://x/"\nrfe = "v1"\n'),
        "tool.kmodpipe.trees.x.rfe: " + NO_FIELD,
    ),
    "a whole tree": (
        add(PROJECT, "[tool.kmodpipe.trees.x]\nsummary = 'x'\n"),
        "tool.kmodpipe.trees.x: exactly one of git",
    ),
    "a distribution's kernel": (
        add(PROJECT, '[tool.kmodpipe.kernels.x]\ndebian-kernel = "linux-image-amd64"\n'),
        "tool.kmodpipe.kernels.x: debian-kernel needs suites",
    ),
    "a deadline": (edit(PROJECT, "boot_s", "bot_s"), "unknown deadline 'bot_s'; did you mean boot_s"),
    "the default tree": (
        edit(PROJECT, 'tree = "toy"', 'tree = "toi"'),
        f"{PROJECT}:2: tool.kmodpipe.tree: unknown kernel 'toi'; did you mean toy?",
    ),
    "the default series": (
        edit(PROJECT, '["toy-fix"]', '["toy-fx"]'),
        f"{PROJECT}:3: tool.kmodpipe.series: unknown series 'toy-fx'; did you mean toy-fix?",
    ),
    "no matrix": (
        edit(PROJECT, "kconfigs/matrix.toml", "no.toml"),
        "tool.kmodpipe.matrix: the matrix file does not exist",
    ),
    "a receiver": (
        add(PROJECT, '[tool.kmodpipe.receivers.x]\nkind = "htpp"\n'),
        "receivers.x] has no kind that is known",
    ),
    "a receiver's field": (
        add(PROJECT, '[tool.kmodpipe.receivers.x]\nkind = "http"\nulr = "https://x/{run}"\n'),
        "tool.kmodpipe.receivers.x.ulr: " + NO_FIELD,
    ),
    "an axis' field": (edit(MATRIX, "symbol", "symbl"), f"{MATRIX}:4: axes.INDEX.symbl: {NO_FIELD} symbol?"),
    "an axis' name": (edit(MATRIX, "axes.INDEX", "axes.index"), f"{MATRIX}:3: an axis is named in capitals"),
    "a flavour's name": (add(MATRIX, "[flavours.X]\nsummary = 'some'\n"), "'X' cannot be a flavour's name"),
    "a device": (
        add(MATRIX, "[flavours.x]\nsummary = 'some'\ndevices = ['nvem']\n"),
        "flavours.x.devices: unknown device 'nvem'; did you mean nvme?",
    ),
    "the matrix's kernels": (
        edit(MATRIX, "base = ", "kernels = ['toi']\nbase = "),
        "kernels: unknown kernel 'toi'",
    ),
    "the module's source": (
        edit(MATRIX, "base = ", "module = { source = 'no' }\nbase = "),
        "module: the module's source is no folder",
    ),
    "no fragment": (
        edit(MATRIX, "guest.config", "guests.config"),
        "fragments: the fragment guests.config does not exist",
    ),
    "a fragment's line": (add(FRAGMENT, "CONFIG_X\n"), f"{FRAGMENT}:3: not a configuration line: 'CONFIG_X'"),
    "a symbol twice": (add(FRAGMENT, "CONFIG_64BIT=n\n"), "64BIT is set twice in one fragment"),
    "a case that is no file": (fifo, "remount/case.toml: case.toml cannot be read: it is a FIFO"),
    "a value of the matrix": (
        edit(PROJECT, '"kconfigs/matrix.toml"', "3"),
        f"{PROJECT}:4: tool.kmodpipe.matrix: takes text, not a number",
    ),
    "a series' field": (add(SERIES, "modul = 'x'\n"), f"{SERIES}:3: modul: {NO_FIELD} module?"),
    "a patch": (
        add("patches/other/series", "0001.patch\n"),
        "patches/other/series: there is no patch 0001.patch",
    ),
    "a case's field": (edit(CASE, "goal", "gaol"), f"case.remount.gaol: {NO_FIELD} goal?"),
    "no script": (
        edit(CASE, "run.sh", "rn.sh"),
        "case 'remount': there is no script 'rn.sh' beside case.toml",
    ),
    "an axis in a rule": (
        add(CASE, "[[case.expect]]\noutcome='x'\nreason='some'\nwhen={ INDXE = 'y' }\n"),
        "unknown axis 'INDXE'; did you mean INDEX? (case remount)",
    ),
    "no case": (
        edit(PROJECT, 'tree = "toy"\n', 'tree = "toy"\ncases = "no"\n'),
        "the folder of cases does not exist: no",
    ),
    "a claim": (
        edit(CASE, 'id = "remount"\n', 'id = "remount"\nproves = ["A2"]\n'),
        "proves A2, which the file does not define",
    ),
    "a rule": (add(BENIGN, "[[benign]]\nknid = 'x'\n"), f"{BENIGN}:6: benign[2].knid: {NO_FIELD} kind?"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_file_line_and_field(world: World, name: str) -> None:
    change, text = FAULTS[name]
    if name in ("a claim", "a rule"):
        own_cases(world)
        if name == "a claim":
            edit(CASE, 'proves = ["A1"]\n', "")(world)
    change(world)
    found = [line for line in said(world) if text in line]
    assert found, "\n".join(said(world))


def test_all_faults_of_all_files_are_found_at_once(world: World) -> None:
    told = [
        "a field",
        "a tree's field",
        "a deadline",
        "the default tree",
        "a receiver's field",
        "a flavour's name",
        "no fragment",
        "a series' field",
        "an axis in a rule",
    ]
    for name in told:
        FAULTS[name][0](world)
    add("kconfigs/other.config", "CONFIG_X\n")(world)
    edit(MATRIX, '"guests.config"', '"guests.config", "other.config"')(world)
    lines = said(world)
    for name in told:
        # Without the line, which another fault moves.
        text = re.sub(r"^\S+:\d+: ", "", FAULTS[name][1])
        assert any(text in line for line in lines), name
    assert any(line.startswith("kconfigs/other.config:1: not a configuration line") for line in lines)
    assert lines[-1] == "11 faults in 5 of 5 files", "\n".join(lines)


def test_a_fault_of_an_axis_makes_none_of_the_cases_that_name_it(world: World) -> None:
    add(CASE, "[[case.expect]]\noutcome='x'\nreason='some'\nwhen={ INDEX = 'y' }\n")(world)
    edit(MATRIX, "symbol", "symbl")(world)
    assert [line.partition(" ")[0] for line in said(world) if "INDEX" in line] == [
        f"{MATRIX}:4:",
        f"{MATRIX}:3:",
    ]


def test_a_matrix_in_the_projects_file_is_read_there(world: World) -> None:
    table = (world.root / PROJECT).read_text().replace("tool.kmodpipe.", "").replace("[tool.kmodpipe]\n", "")
    own = '[matrix]\nfragments = ["guest.config", "no.config"]\n[matrix.axes.A]\nsymbol = "X"\nvalue = 1\n'
    (world.root / "kmodpipe.toml").write_text(table.replace('matrix = "kconfigs/matrix.toml"\n', "") + own)
    lines = said(world)
    assert any("matrix.axes.A.value: " + NO_FIELD in line for line in lines), lines
    assert any("matrix.fragments: the fragment no.config does not exist" in line for line in lines), lines


def test_the_command_ends_with_2_and_its_document_has_every_fault(world: World) -> None:
    assert world.command(commands.config).code == 0
    FAULTS["an axis' field"][0](world)
    ran = world.command(commands.config)
    assert ran.code == 2 and f"✗ {MATRIX}" in ran.text
    found = config_check.check(world.root)
    document = json.loads(json.dumps(config_check.document(found, 2)))
    assert (document["schema"], document["exit_code"]) == ("kmodpipe-config", 2)
    (file,) = [one for one in document["files"] if one["faults"]]
    assert file["file"] == MATRIX
    assert file["faults"][0] == {
        "what": f"{NO_FIELD} symbol?", "line": 4, "field": "axes.INDEX.symbl", "hint": "",
    }  # fmt: skip


def test_what_is_right_beside_what_is_wrong_is_read_all_the_same(world: World) -> None:
    add(PROJECT, "[tool.kmodpipe.receivers]\nx = 3\ny = { kind = 'htpp' }\n")(world)
    lines = said(world)
    assert any("receivers.x: takes a table, not a number" in line for line in lines), lines
    assert any("receivers.y] has no kind that is known" in line for line in lines), lines


@pytest.mark.parametrize("text", ["tool = 3", "[tool]", "[tool.other]"])
def test_a_pyproject_without_a_table_of_ours_is_no_project(tmp_path: Path, text: str) -> None:
    (tmp_path / PROJECT).write_text(text)
    with pytest.raises(UserError, match=r"no \[tool.kmodpipe\]"):
        config_check.check(tmp_path)


def test_without_a_project_there_is_nothing_to_check(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        config_check.check(tmp_path)
    assert "kmodpipe init" in raised.value.hint


@pytest.mark.parametrize(
    "root", [REPO, REPO / "examples/hello", REPO / "examples/echo"], ids=lambda p: p.name
)
def test_nothing_is_wrong_with_our_own(root: Path) -> None:
    assert [one for one in config_check.check(root) if one.faults] == []
