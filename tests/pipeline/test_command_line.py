"""What a command line gives in the toy world: the control beside a series, typos, illegal cells …"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml

from kmodpipe.cli import commands
from tests.support import toy
from tests.support.toy import World

FIXED = "toy-fix.INDEX=y.NOUUID=n"
CONTROL = "unpatched.INDEX=y.NOUUID=n"
NOTHING = "nothing was compared: the unpatched tree did not run beside it"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return toy.build(tmp_path)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, toy.Ran]:
    """A world after a run of one cell without its control."""
    world = toy.build(tmp_path_factory.mktemp("alone"))
    return world, world.command(commands.test, cell=[FIXED], no_control=True)


def document(world: World) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((world.latest / "results.json").read_text())
    return found


def cells(world: World) -> dict[str, str]:
    return {cell["cell"]: cell["state"] for cell in document(world)["run"]["cells"]}


# -- both sides of a comparison -----------------------------------------------------------------------
def test_a_chosen_cell_brings_its_control_and_says_so(world: World) -> None:
    # NOUUID is the series' own symbol: the control stands in with that axis at n.
    ran = world.command(commands.test, cell=["toy-fix.INDEX=y.NOUUID=y"])
    assert ran.code == 0, ran.text
    assert cells(world) == {CONTROL: "ran", "toy-fix.INDEX=y.NOUUID=y": "ran"}
    assert f"to compare with: 1 cell of the unpatched tree as well ({CONTROL})" in ran.text
    assert {e["kind"] for e in document(world)["effects"]} == {"fixed"}
    suites = {s.name: s for s in JUnitXml.fromfile(str(world.latest / "junit.xml"))}
    told = {p.name: p.value for p in suites["toy-fix.INDEX=y.NOUUID=y"].properties()}
    assert told["compared-with"] == CONTROL


def test_without_the_control_the_screen_and_files_say_that_nothing_was_compared(
    alone: tuple[World, toy.Ran],
) -> None:
    world, ran = alone
    assert ran.code == 0 and cells(world) == {FIXED: "ran"}
    assert f"toy-fix: {NOTHING}" in ran.text and "fixed" not in ran.text.lower()
    assert "against unpatched" not in ran.text
    assert {e["kind"] for e in document(world)["effects"]} == {"not compared"}
    assert NOTHING in (world.latest / "junit.xml").read_text()
    assert NOTHING in (world.latest / "report.html").read_text()


@pytest.mark.parametrize("form", ["findings", "text", "markdown", "mail", "summary"])
def test_without_the_control_no_report_claims_a_comparison(alone: tuple[World, toy.Ran], form: str) -> None:
    world, _ = alone
    ran = world.command(commands.report, format=form)
    text = re.sub(r"[\s>]+", " ", ran.text)
    assert ran.code == 0 and "nothing was compared" in text
    assert not re.search(r"(fixes|breaks) \w|beside the unpatched tree\.|Tested-by", text)


# -- cells that the tree rules out --------------------------------------------------------------------
def test_an_illegal_cell_is_a_usage_error_with_the_reason_before_anything_is_built(world: World) -> None:
    for command in (commands.test, commands.build):
        ran = world.command(command, cell=["toy-fix.INDEX=n.NOUUID=y"])
        assert ran.code == 2, ran.text
        assert "TOY_FS_NOUUID depends on TOY_FS_INDEX, but TOY_FS_INDEX=n" in ran.text
    assert "bzImage modules" not in world.made()
    ran = world.command(commands.test, cell=["toy-fix.INDEX=n.NOUUID=y", FIXED])
    assert ran.code == 2, ran.text
    # A job of a plan may have such a cell beside others: it is skipped there, and alone it is refused.
    ran = world.command(commands.ci, cell=["toy-fix.INDEX=n.NOUUID=y", FIXED], no_control=True)
    assert ran.code == 0 and cells(world) == {FIXED: "ran", "toy-fix.INDEX=n.NOUUID=y": "skipped"}
    ran = world.command(commands.ci, cell=["toy-fix.INDEX=n.NOUUID=y"], no_control=True)
    assert ran.code == 2 and cells(world) == {"toy-fix.INDEX=n.NOUUID=y": "skipped"}


def test_a_pattern_with_legal_and_illegal_cells_runs(world: World) -> None:
    ran = world.command(commands.build, cell=["toy-fix.*"], no_control=True)
    assert ran.code == 0 and "skipped" in ran.text


def test_fewer_cells_of_the_same_series_configure_nothing_anew(world: World) -> None:
    world.command(commands.build, cell=["*INDEX=y.NOUUID=n"])
    configured = world.made().count("allnoconfig")
    for cell in ([FIXED], ["toy-fix.INDEX=y.*"], []):
        ran = world.command(commands.build, cell=cell)
        assert ran.code == 0, ran.text
        assert world.made().count("allnoconfig") == configured
    ran = world.command(commands.plan, cell=["toy-fix.INDEX=n.NOUUID=n"], json=True)
    steps = json.loads(ran.out[ran.out.index("{") :])["steps"]
    assert {s["state"] for s in steps if s["step"].startswith("configure")} == {"cached"}


# -- typos of symbols ---------------------------------------------------------------------------------
TYPOS = {
    "fragment": ("kconfigs/guest.config", "CONFIG_64BIT=y\nCONFIG_TOY_FSS=m\n", "guest.config:2", "TOY_FS"),
    "unset": (
        "kconfigs/guest.config", "CONFIG_TOY_FS=m\n# CONFIG_64BITS is not set\n", "guest.config:2", "64BIT",
    ),
    "axis": (
        "kconfigs/matrix.toml", toy.MATRIX.replace("FS_INDEX", "FS_INDX"), "matrix.toml:4", "TOY_FS_INDEX",
    ),
    "series": (
        "patches/toy-fix/series.toml", 'module = "fs/toy"\naxes = { NOUUID = "TOY_FS_NOUID" }\n',
        "series.toml:2", "TOY_FS_NOUUID",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TYPOS)
def test_a_symbol_that_no_variant_has_is_a_typo(world: World, name: str) -> None:
    file, text, where, near = TYPOS[name]
    (world.root / file).write_text(text)
    ran = world.command(commands.test)
    assert ran.code == 2 and f"does not exist; did you mean {near}" in ran.text and where in ran.text, (
        ran.text
    )
    assert world.command(commands.plan).code == 2
    assert world.made() == []


def test_a_symbol_that_a_series_brings_is_fine_also_in_a_common_fragment(world: World) -> None:
    fragment = world.root / "kconfigs/guest.config"
    fragment.write_text(fragment.read_text() + "CONFIG_TOY_FS_NOUUID=y\n")
    (world.root / "kconfigs/matrix.toml").write_text(
        'base = "tinyconfig"\nfragments = ["guest.config"]\n'
        '[axes.INDEX]\nsymbol = "TOY_FS_INDEX"\nvalues = ["y"]\n'
    )
    ran = world.command(commands.test)
    assert cells(world) == {"unpatched.INDEX=y": "ran", "toy-fix.INDEX=y": "ran"}, ran.text
    # Without any series, the one of the project still says that it is no typo.
    assert world.command(commands.build, series=["none"], module="fs/toy").code == 0


# -- interrupted, and documents -----------------------------------------------------------------------
def test_an_interrupted_run_says_how_far_it_came_and_latest_stays(world: World) -> None:
    quick = world.script("quick.sh", "exit 0")
    slow = world.script("slow.sh", "sleep 30", "exit 0")
    assert world.command(commands.test, cell=[FIXED], case=[quick]).code == 0
    whole = (world.root / "out" / "latest").resolve()
    words = ("test", "--runtime", "host", "--jobs", "1", "--case", quick, "--case", slow)
    running = world.start(*words)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        streams = [p for p in world.root.glob("out/2*/*/verdict.log") if not p.is_relative_to(whole)]
        if any(b"id=slow" in p.read_bytes() for p in streams):
            break
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=30)
    assert running.returncode == 3
    assert "interrupted by SIGINT after 1 of 10 results; what was running is stopped" in err, err
    assert str(world.latest) in err
    assert (world.root / "out" / "latest").resolve() == whole != world.latest.resolve()
    found = cells(world)
    assert [c for c, state in found.items() if state == "skipped"] == [
        "unpatched.INDEX=y.NOUUID=y", "unpatched.INDEX=n.NOUUID=y", "toy-fix.INDEX=n.NOUUID=y",
    ]  # fmt: skip
    early = document(world)["run"]["properties"]["ended-early"]
    assert early == "interrupted after 1 of 10 results"
    assert "s-error early" in (world.latest / "report.html").read_text()
    mail = world.command(commands.report, run=str(world.latest), format="mail", series=["toy-fix"])
    assert "The run is not whole: interrupted after 1 of 10 results." in mail.text
    assert "Tested-by" not in mail.text


def test_documents_are_all_that_stdout_gets(world: World) -> None:
    words = ("--runtime", "host", "--cell", FIXED)
    planned = world.invoke("plan", *words, "--json")
    assert json.loads(planned.out)["schema"] == "kmodpipe-steps" and planned.code == 0
    tested = world.invoke("test", *words, "--json", "-v")
    assert tested.code == 0 and json.loads(tested.out)["schema"] == "kmodpipe-results"
    assert re.search(r"^\+ .*qemu-system-x86_64 ", tested.err, re.M), tested.err
    reported = world.invoke("report", "--json")
    assert json.loads(reported.out) == json.loads(tested.out)
    compared = world.invoke("report", "--json", "--against", "series:toy-fix")
    assert compared.code == 2 and json.loads(compared.out)["exit_code"] == 2


def test_a_reader_that_stops_early_is_quiet_and_changes_no_exit_code(world: World) -> None:
    line = f"{sys.executable} -m kmodpipe plan --runtime host | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=world.root, env=world.environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "0" and done.stderr == ""


def test_a_step_with_a_failure_has_no_tick(world: World) -> None:
    ran = world.command(commands.test, cell=[FIXED], no_control=True, case=[world.script("bad.sh", "exit 1")])
    assert ran.code == 1
    assert f"✗ test {FIXED}: 1 failed" in ran.text and f"✓ test {FIXED}" not in ran.text


def test_a_case_without_an_expectation_is_judged_by_its_goal(world: World) -> None:
    toml = world.root / "images/guest/cases/remount/case.toml"
    toml.write_text(toml.read_text().split("[[case.expect]]")[0])
    # Alone, the control fails; beside a series that passes, it shows what that fixes.
    assert world.command(commands.test, cell=[CONTROL]).code == 1
    ran = world.command(commands.test, cell=[FIXED])
    assert ran.code == 0 and "FIXED " in ran.text
    found = {c["cell"]: c["cases"][0] for c in document(world)["run"]["cells"]}
    assert found[FIXED]["verdict"] == found[CONTROL]["verdict"] == "pass"
    assert "fixed by toy-fix" in found[CONTROL]["message"] and not found[CONTROL]["goal_met"]


def test_a_request_that_only_some_trees_know_holds_in_those(world: World) -> None:
    fragment = world.root / "kconfigs/guest.config"
    text = fragment.read_text()
    assert world.command(commands.build, cell=[FIXED], no_control=True).code == 0
    made = world.made()
    # This tree has none of it: nothing changes, and nothing is a typo.
    fragment.write_text(f"{text}# if known: CONFIG_OF_ANOTHER_KERNEL=y\n")
    ran = world.command(commands.build, cell=[FIXED], no_control=True)
    assert ran.code == 0 and world.made() == made, ran.text
    fragment.write_text(text.replace("CONFIG_64BIT=y", "# if known: # CONFIG_64BIT is not set"))
    ran = world.command(commands.build, cell=[FIXED], no_control=True)
    assert ran.code == 0 and "config toy-fix: made (changed: requests)" in ran.text, ran.text


def test_a_symbol_for_every_cell_goes_over_what_the_fragments_say(world: World) -> None:
    more = {"cell": [FIXED], "no_control": True}
    assert world.command(commands.build, **more).code == 0
    ran = world.command(commands.build, config=["64BIT=n"], **more)
    assert ran.code == 0 and "config toy-fix: made (changed: requests)" in ran.text, ran.text
    ran = world.command(commands.test, config=["64BIT=n"], **more)
    assert ran.code == 0, ran.text
    known = json.loads((world.root / "out/latest/results.json").read_text())["run"]
    assert "--config 64BIT=n" in known["properties"]["repeat-with"]
    for config, told in (
        ("64BITS=y", "the symbol 64BITS does not exist; did you mean 64BIT"),
        ("TOY_FS_INDEX=y", "TOY_FS_INDEX is the axis INDEX of the matrix"),
        ("nowhere.config", "neither SYMBOL=VALUE nor a file"),
    ):
        ran = world.command(commands.test, config=[config], **more)
        assert ran.code == 2 and told in ran.text, ran.text


def test_a_head_that_a_tree_does_not_have_is_refused_by_every_command(world: World) -> None:
    for body in (commands.fetch, commands.build, commands.matrix):
        ran = world.command(body, head=True)
        assert ran.code == 2 and "tree toy has no moving head" in ran.text, ran.text
    # The newest package has one, which a plan of many jobs cannot pin.
    project = world.root / "pyproject.toml"
    newest = 'debian-package = "linux-source"\nsuites = ["sid"]\nkeyring = "/none"\n'
    project.write_text(project.read_text().replace(f'path = "{world.tree}"\n', newest))
    ran = world.command(commands.matrix, head=True)
    assert ran.code == 2 and "a plan cannot pin the newest package of tree toy" in ran.text, ran.text
