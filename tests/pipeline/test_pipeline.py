"""The whole way, from the command line to junit.xml, in the toy world: only make and QEMU are played."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from junitparser import JUnitXml

from kmodpipe.cli import commands
from tests.support import REPO, toy
from tests.support.toy import World

CELL = "toy-fix.INDEX=y.NOUUID=n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return toy.build(tmp_path)


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, toy.Ran]:
    """A world after one whole run, for those who only look."""
    world = toy.build(tmp_path_factory.mktemp("tested"))
    return world, world.test()


def results(world: World) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((world.latest / "results.json").read_text())
    return found


def verdicts(world: World) -> dict[str, dict[str, tuple[str, str]]]:
    """cell → case → (verdict, outcome)."""
    return {
        cell["cell"]: {case["case"]: (case["verdict"], case["outcome"]) for case in cell["cases"]}
        for cell in results(world)["run"]["cells"]
    }


def message(world: World, cell: str, case: str) -> str:
    return next(
        str(c["message"])
        for row in results(world)["run"]["cells"]
        if row["cell"] == cell
        for c in row["cases"]
        if c["case"] == case
    )


FIXED = "toy-fix.INDEX=y.NOUUID=n"
CONTROL = "unpatched.INDEX=y.NOUUID=n"


def test_matrix_runs_legal_cells_and_names_why_others_are_skipped(tested: tuple[World, toy.Ran]) -> None:
    world, ran = tested
    assert ran.code == 0, ran.text
    found = verdicts(world)
    assert found[CONTROL]["remount"] == ("pass", "ESTALE")
    assert found[FIXED]["remount"] == ("pass", "mounted")
    assert {c: v["remount"][0] for c, v in found.items() if v["remount"][0] == "skip"} == {
        "unpatched.INDEX=y.NOUUID=y": "skip",
        "unpatched.INDEX=n.NOUUID=y": "skip",
        "toy-fix.INDEX=n.NOUUID=y": "skip",
    }
    reasons = {c["cell"]: c["reason"] for c in results(world)["run"]["cells"]}
    assert "no symbol TOY_FS_NOUUID" in reasons["unpatched.INDEX=y.NOUUID=y"]
    assert "depends on TOY_FS_INDEX, but TOY_FS_INDEX=n" in reasons["toy-fix.INDEX=n.NOUUID=y"]
    assert "FIXED " in ran.out and "remount" in ran.out
    effects = {(e["case"], e["kind"]) for e in results(world)["effects"]}
    assert ("remount", "fixed") in effects


def test_results_are_as_their_schema_says(tested: tuple[World, toy.Ran]) -> None:
    world, _ = tested
    schema = json.loads((REPO / "docs" / "schemas" / "results.schema.json").read_text())
    jsonschema.validate(results(world), schema, jsonschema.Draft202012Validator)


def test_junit_has_a_suite_a_cell_and_a_case_each(tested: tuple[World, toy.Ran]) -> None:
    world, _ = tested
    suites = {s.name: list(s) for s in JUnitXml.fromfile(str(world.latest / "junit.xml"))}
    assert suites.pop("(run)") == []
    assert len(suites) == 8
    assert all(len(cases) == 1 for cases in suites.values())


def test_base_is_built_once_and_a_second_run_compiles_nothing(world: World) -> None:
    world.test()
    made = world.made()
    assert made.count("bzImage modules") == 1
    assert made.count("fs/toy/toy.ko") == 5
    again = world.test()
    assert again.code == 0
    assert world.made() == made


def test_one_line_in_the_series_rebuilds_its_modules_only(world: World) -> None:
    world.test()
    before = len(world.made())
    patch = world.root / "patches/toy-fix/0001-toy-mount.patch"
    patch.write_text(patch.read_text().replace("+outcome: mounted", "+outcome: EINVAL"))
    ran = world.test()
    assert world.made()[before:] == ["fs/toy/toy.ko"] * 3
    assert ran.code == 1
    assert verdicts(world)[FIXED]["remount"] == ("fail", "EINVAL")
    assert message(world, FIXED, "remount").startswith("expected mounted, observed EINVAL")


def test_new_warnings_of_the_compiler_are_told(world: World) -> None:
    source = world.tree / "fs/toy/toy.c"
    source.write_text("WARNED\n" + source.read_text())
    patch = world.root / "patches/toy-fix/0001-toy-mount.patch"
    text = patch.read_text().replace("@@ -1,4 +1,5 @@\n", "@@ -1,5 +1,7 @@\n+first\n WARNED\n")
    patch.write_text(text)
    assert "new compiler warning" not in world.test().out, "the old one has moved"
    patch.write_text(text.replace("+first\n", "+WARNED\n"))
    ran = world.test()
    assert ran.code == 0, ran.text
    assert "1 new compiler warning:" in ran.out
    assert "fs/toy/toy.c:1: unused variable 'WARNED' [-Wunused-variable] (toy-fix, 3 cells)" in ran.out


def test_plan_tells_what_changed(world: World) -> None:
    first = world.invoke("plan", "--runtime", "host")
    assert first.code == 0, first.text
    assert "waits" in first.out
    world.test()
    patch = world.root / "patches/toy-fix/0001-toy-mount.patch"
    patch.write_text(patch.read_text().replace("+outcome: mounted", "+outcome: EINVAL"))
    world.invoke("patch")
    planned = world.invoke("plan", "--runtime", "host").out
    line = next(row for row in planned.splitlines() if row.startswith(f"module {FIXED}"))
    assert "to do" in line and "changed: source" in line
    assert re.search(r"^base \w+ +cached", planned, flags=re.M)
    assert world.made() == world.made()


def test_series_outside_the_module_gets_a_base_of_its_own(world: World) -> None:
    patch = world.root / "patches/toy-fix/0001-toy-mount.patch"
    patch.write_text(
        patch.read_text()
        + "diff --git a/init/main.c b/init/main.c\n--- a/init/main.c\n+++ b/init/main.c\n@@ -1 +1 @@\n"
        "-int main;\n+int main2;\n"
    )
    ran = world.test()
    assert ran.code == 0, ran.text
    assert world.made().count("bzImage modules") == 2


def test_module_that_does_not_compile_fails_its_cells_and_no_other(world: World) -> None:
    patch = world.root / "patches/toy-fix/0001-toy-mount.patch"
    patch.write_text(patch.read_text().replace("+outcome: mounted", "+BROKEN"))
    ran = world.test()
    assert ran.code == 1
    assert "fs/toy/toy.c:2: 'BROKEN' undeclared" in " ".join(ran.text.split())
    found = verdicts(world)
    assert found[CONTROL]["remount"] == ("pass", "ESTALE")
    assert found[FIXED]["remount"][0] == "fail"
    built = world.invoke("build", "--runtime", "host")
    assert built.code == 1 and "fs/toy/toy.c:2" in built.text


def test_patch_that_does_not_apply_is_a_usage_error(world: World) -> None:
    patch = world.root / "patches/toy-fix/0001-toy-mount.patch"
    patch.write_text(patch.read_text().replace("-outcome: ESTALE", "-outcome: nonsense"))
    ran = world.test()
    assert ran.code == 2
    assert "0001-toy-mount.patch" in ran.text and "fs/toy/toy.c" in ran.text
    assert "Traceback" not in ran.text


def test_symbol_of_a_fragment_that_does_not_survive_stops_before_any_compiler(world: World) -> None:
    fragment = world.root / "kconfigs/guest.config"
    fragment.write_text(fragment.read_text() + "CONFIG_TOY_NOTHING=y\n")
    ran = world.test()
    assert ran.code == 2
    assert "the symbol TOY_NOTHING does not exist" in ran.text
    assert "where: guest.config:3" in ran.text
    assert "bzImage modules" not in world.made()


@pytest.mark.parametrize(
    ("argv", "near"),
    [
        (("--tree", "toi"), "toy"),
        (("--series", "toy-fixx"), "toy-fix"),
        (("--cell", "toy-fix.INDEX=y.NOUUID=x"), FIXED),
        (("--case", "remounts"), "remount"),
    ],
)
def test_unknown_name_is_a_usage_error_with_the_near_names(
    world: World, argv: tuple[str, ...], near: str
) -> None:
    ran = world.test(*argv)
    assert ran.code == 2
    assert "unknown" in ran.text and near in ran.text
    assert "Traceback" not in ran.text


def test_command_line_gives_the_exit_status(world: World) -> None:
    ran = world.invoke("test", "--runtime", "podman")
    assert ran.code == 2
    assert "unknown runtime 'podman'" in ran.err
    ran = world.invoke(
        "test", "--runtime", "host", "--no-control", "--cell", FIXED, "--quiet", "--junit", "ci/j.xml",
        GITHUB_STEP_SUMMARY=str(world.root / "summary.md"),
    )  # fmt: skip
    assert ran.code == 0, ran.text
    handed = (world.root / "ci" / "j.xml").read_text()
    assert handed == (world.latest / "junit.xml").read_text()
    assert (world.root / "summary.md").read_text().startswith("### ✓ kmodpipe: `toy-fix`")
    assert "remount" in ran.out and "→ module" not in ran.err


# -- what a guest may do ----------------------------------------------------------------------------
def one_cell(world: World, *scripts: str) -> toy.Ran:
    named = [part for script in scripts for part in ("--case", script)]
    return world.test("--cell", FIXED, *named)


def test_panic_costs_one_case_and_the_next_runs_in_a_fresh_guest(world: World) -> None:
    scripts = [
        world.script("a.sh", "exit 0"),
        world.script("b.sh", "print before", "panic"),
        world.script("c.sh", "exit 0"),
    ]
    ran = one_cell(world, *scripts)
    assert ran.code == 1
    found = verdicts(world)[FIXED]
    assert found["a"][0] == "pass"
    assert found["b"][0] == "fail"
    assert found["c"][0] == "pass"
    assert "toy_fill_super" in message(world, FIXED, "b")
    assert (world.latest / FIXED / "console-2.log").is_file()


def test_warning_in_the_kernel_fails_a_case_that_exits_0(world: World) -> None:
    ran = one_cell(world, world.script("a.sh", "warn", "exit 0"), world.script("b.sh", "exit 0"))
    assert ran.code == 1
    found = verdicts(world)[FIXED]
    assert found["a"][0] == "fail"
    assert found["b"][0] == "pass"
    assert "WARNING in toy_fill_super" in message(world, FIXED, "a")


def test_a_warning_that_is_known_to_be_harmless_is_let_off_and_told(world: World) -> None:
    project, rules = world.root / "pyproject.toml", world.root / "kconfigs/benign.toml"
    before = project.read_text()
    project.write_text(
        before.replace("[tool.kmodpipe]\n", '[tool.kmodpipe]\nbenign = "kconfigs/benign.toml"\n')
    )
    rule = '[[benign]]\nkind = "WARNING"\ntitle = "WARNING in toy_fill_super"\nmodule = "toy"\n'
    try:
        rules.write_text(f'{rule}reason = "the toy warns in all its boots"\n')
        ran = one_cell(world, world.script("a.sh", "warn", "exit 0"), world.script("b.sh", "panic"))
        assert ran.code == 1
        assert [verdicts(world)[FIXED][case][0] for case in ("a", "b")] == ["pass", "fail"]
        text = (world.latest / "results.json").read_text()
        assert '"benign": "the toy warns in all its boots"' in text
        assert "let off: the toy warns in all its boots" in (world.latest / "junit.xml").read_text()
        rules.write_text(rule)
        refused = one_cell(world, world.script("a.sh", "exit 0"))
        assert refused.code == 2 and "reason" in refused.text, refused.text
    finally:
        project.write_text(before)


@pytest.mark.parametrize(
    ("lines", "verdict", "code"),
    [
        (("exit 0",), "pass", 0),
        (("exit 4",), "skip", 3),
        (("exit 7",), "fail", 1),
        (("hang",), "fail", 1),
        (("quit",), "fail", 1),
        (("forge", "exit 1"), "fail", 1),
        (("forge", "quit"), "fail", 1),
    ],
)
def test_script_of_ones_own(world: World, lines: tuple[str, ...], verdict: str, code: int) -> None:
    ran = one_cell(world, world.script("own.sh", *lines))
    assert verdicts(world)[FIXED]["own"][0] == verdict, ran.text
    assert ran.code == code, ran.text


def test_module_that_the_kernel_refuses_is_no_pass(world: World) -> None:
    patch = world.root / "patches/toy-fix/0001-toy-mount.patch"
    patch.write_text(patch.read_text().replace("+outcome: mounted", "+outcome: mounted NO_LOAD"))
    ran = world.test("--cell", FIXED)
    assert ran.code == 1, ran.text
    assert verdicts(world)[FIXED]["remount"][0] == "fail"
    assert "ENOEXEC" in message(world, FIXED, "remount")


def test_another_kernel_than_the_one_built_is_never_believed(world: World) -> None:
    # A make that gives out another bzImage than the one of its vmlinux.
    make, other = world.root / "bin/make", "s/[0-9a-f]\\{40\\}/" + "0" * 40 + "/"
    swap = f'case "$word" in O=*) sed -i "{other}" "${{word#O=}}/arch/x86/boot/bzImage" 2>/dev/null; esac'
    played = make.read_text().replace("exec ", "").rstrip("\n")
    make.write_text(f'{played} || exit\nfor word in "$@"; do {swap}; done\ntrue\n')
    ran = world.test("--cell", FIXED)
    assert ran.code == 3
    assert verdicts(world)[FIXED]["remount"][0] == "error"
    assert "another kernel" in message(world, FIXED, "remount")


def test_another_module_with_the_same_build_id_is_never_believed(world: World) -> None:
    patch = world.root / "patches/toy-fix/0001-toy-mount.patch"
    patch.write_text(patch.read_text().replace("+outcome: mounted", "+outcome: mounted STRANGER"))
    ran = world.test("--cell", FIXED)
    assert ran.code == 3
    assert verdicts(world)[FIXED]["remount"][0] == "error"
    assert "another module toy" in message(world, FIXED, "remount")
    assert "SHA-256 000" in message(world, FIXED, "remount")


def test_a_script_that_an_earlier_case_wrote_over_is_never_believed(world: World) -> None:
    scripts = [
        world.script("a.sh", "rewrite kmodpipe/cases/b/b.sh", "exit 0"),
        world.script("b.sh", "exit 1"),
        world.script("c.sh", "rewrite kmodpipe/lib.sh", "exit 0"),
        world.script("d.sh", "exit 0"),
    ]
    assert one_cell(world, *scripts).code == 3
    found = {case: told[0] for case, told in verdicts(world)[FIXED].items()}
    assert found == {"a": "pass", "b": "error", "c": "pass", "d": "error"}
    assert "not the script and lib.sh that were packed" in message(world, FIXED, "b")


def test_interruption_keeps_results_and_the_next_run_goes_on(world: World) -> None:
    slow = world.script("slow.sh", "sleep 30", "exit 0")
    quick = world.script("quick.sh", "exit 0")
    running = world.start("test", "--runtime", "host", "--cell", "toy-fix.*", "--case", quick, "--case", slow)
    deadline = time.monotonic() + 30
    while not list(world.root.glob(f"out/2*/{FIXED}/verdict.log")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=20)
    assert running.returncode == 3, err
    assert "interrupted" in err
    found = verdicts(world)[FIXED]
    assert found["slow"][0] == "error"
    assert (world.latest / "junit.xml").is_file()
    left = subprocess.run(["pgrep", "-f", str(world.root)], capture_output=True, text=True, check=False)
    assert left.stdout == ""
    before = world.made()
    assert world.test("--cell", "toy-fix.*", "--case", quick).code == 0
    assert [t for t in world.made()[len(before) :] if t == "bzImage modules"] == []


def test_reproduce_script_boots_the_same_cell_again(tested: tuple[World, toy.Ran]) -> None:
    world, _ = tested
    script = world.latest / FIXED / "reproduce.sh"
    done = subprocess.run(
        ["sh", str(script)], env=world.environment(), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mounted" in done.stdout


def test_a_run_says_what_it_was(tested: tuple[World, toy.Ran]) -> None:
    world, _ = tested
    properties = results(world)["run"]["properties"]
    assert properties["builder.runtime"] == "host"
    assert properties["tree.kernel-version"] == "5.10.223"
    assert properties["series.toy-fix.0001-toy-mount.patch"]
    assert properties["accel"]


def test_a_run_leaves_a_report_and_when_it_did_what(tested: tuple[World, toy.Ran]) -> None:
    world, ran = tested
    assert "report.html" in ran.out
    page = (world.latest / "report.html").read_text()
    assert "toy-fix" in page and "Where the time went" in page
    run = results(world)["run"]
    spans = {(s["kind"], s["subject"]) for s in run["timeline"]}
    assert {("module", FIXED), ("test", FIXED), ("guest", FIXED), ("config", "unpatched")} <= spans
    test, guest = (
        [s for s in run["timeline"] if s["kind"] == k and s["subject"] == FIXED] for k in ("test", "guest")
    )
    assert test[0]["began"] <= guest[0]["began"] and guest[0]["seconds"] <= test[0]["seconds"]
    assert {c["guest"] for cell in run["cells"] for c in cell["cases"] if c["verdict"] == "pass"} == {1}
    assert run["properties"]["repeat-with"] == "invoke test --runtime host"


def test_clean_frees_the_cache_and_leaves_results_alone(world: World) -> None:
    world.test("--cell", FIXED)
    runs = sorted(p.name for p in (world.root / "out").iterdir())
    tried = world.command(commands.clean, dry_run=True, all=True)
    assert tried.code == 0 and "would be removed" in tried.text
    assert list((world.cache / "store").glob("module/*")) and list((world.cache / "trees").iterdir())
    cleaned = world.command(commands.clean)
    assert cleaned.code == 0, cleaned.text
    assert not list((world.cache / "store").glob("module/*"))
    assert sorted(p.name for p in (world.root / "out").iterdir()) == runs
    assert world.command(commands.clean, out=str(world.root)).code == 0
    assert (world.root / "pyproject.toml").is_file()


# -- each patch ---------------------------------------------------------------------------------------
def test_each_patch_is_a_variant_judged_by_before_and_after(tmp_path: Path) -> None:
    world = toy.build(tmp_path)
    folder = world.root / "patches" / "toy-fix"
    first = "0000-toy-docs.patch"
    (folder / first).write_text(
        "From: toy <toy@localhost.invalid>\nSubject: [PATCH] toy: a comment\n\n---\n"
        "diff --git a/fs/toy/Makefile b/fs/toy/Makefile\n--- a/fs/toy/Makefile\n+++ b/fs/toy/Makefile\n"
        "@@ -1 +1,2 @@\n+# toy\n obj-$(CONFIG_TOY_FS) += toy.o\n"
    )
    names = (folder / "series").read_text()
    (folder / "series").write_text(f"{first}\n{names}")

    ran = world.invoke("test", "--runtime", "host", "--each-patch", "--cell", "*INDEX=y.NOUUID=n")

    assert ran.code == 0, ran.text
    found = verdicts(world)
    assert found["toy-fix@1.INDEX=y.NOUUID=n"]["remount"] == ("pass", "ESTALE")
    assert found["toy-fix.INDEX=y.NOUUID=n"]["remount"] == ("pass", "mounted")


def test_limits_are_scaled_by_a_speed_that_is_measured_at_the_start(world: World) -> None:
    """A machine that takes 0.4 s for what the reference does in 0.25: the rest is in the record."""
    script = world.script("loop.sh", "hang")
    argv = ("test", "--runtime", "host", "--no-control", "--cell", CELL, "--case", script)
    Path(f"{world.calls}.speed").write_text("0.4")
    ran = world.invoke(*argv)
    assert ran.code == 1, ran.text
    run = json.loads((world.latest / "results.json").read_text())["run"]
    factor = float(run["properties"]["speed.factor"])
    assert 1.3 <= factor < 4
    assert 0.35 <= float(run["properties"]["speed.seconds"]) < 1
    assert len(run["properties"]["load.begin"].split()) == len(run["properties"]["load.end"].split()) == 3
    (cell,) = (c for c in run["cells"] if c["cell"] == CELL)
    silence = f"no sign of life for 2 s (×{factor:g} for this machine's speed: {2 * factor:g} s); QEMU had "
    assert silence in cell["cases"][0]["message"]
    spent = cell["properties"]["guest.1.time"]
    assert re.fullmatch("[0-9.]+ s, [0-9.]+ s of processor time, [0-9.]+ s waiting", spent)
    assert "this machine's speed: a test program took " in ran.text


def test_a_case_that_was_close_to_its_limit_is_told(world: World) -> None:
    case = world.root / "images/guest/cases/remount"
    (case / "case.toml").write_text(toy.CASE_TOML.replace("timeout_s = 5", "timeout_s = 1"))
    with (case / "run.sh").open("a") as script:
        script.write("# toy: sleep 0.75\n")
    assert world.test("--cell", CELL).code == 0
    run = json.loads((world.latest / "results.json").read_text())["run"]
    (found,) = (c["cases"][0] for c in run["cells"] if c["cell"] == CELL)
    assert found["verdict"] == "pass" and found["limit_used"] > 0.5
    assert re.search("close to its limit: [0-9]+% of 1 s; QEMU had ", found["evidence"])
    assert "% of its time limit" in (world.latest / "junit.xml").read_text()
