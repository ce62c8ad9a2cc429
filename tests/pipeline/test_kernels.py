"""Several kernels in one run, in the toy world: what ran where, compared with what, and what is skipped."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kmodpipe import results
from kmodpipe.cli import commands
from kmodpipe.results import CellResult, EffectKind, State, Verdict
from tests.support import toy
from tests.support.toy import Ran, World

TREES = {"old": "5.10.223", "mid": "6.1.55", "new": "6.12.4", "bare": "4.19.300"}
# The series is in this tree already.
IN_NEW = toy.TOY_C.replace("ESTALE", "mounted").replace("end", "nouuid: CONFIG_TOY_FS_NOUUID\nend")
EXPECT_MID = """\
[[case.expect]]
when = { kernel = ">=6.1", design = "none" }
outcome = "mounted"
reason = "the module of 6.1 mounts without the series"
[[case.expect]]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = toy.build(tmp_path_factory.mktemp("kernels"))
    declared = (world.root / "pyproject.toml").read_text()
    for name, version in TREES.items():
        tree = world.tree.parent / name
        shutil.copytree(world.tree, tree)
        major, minor, sub = version.split(".")
        (tree / "Makefile").write_text(
            f"VERSION = {major}\nPATCHLEVEL = {minor}\nSUBLEVEL = {sub}\nEXTRAVERSION =\n"
        )
        declared += f'[tool.kmodpipe.trees.{name}]\npath = "{tree}"\n'
    (world.root / "pyproject.toml").write_text(declared)
    (world.tree.parent / "new/fs/toy/toy.c").write_text(IN_NEW)
    shutil.rmtree(world.tree.parent / "bare/fs/toy")
    (world.tree.parent / "bare/Kconfig").write_text(toy.KCONFIG.replace('source "fs/toy/Kconfig"\n', ""))
    case = world.root / "images/guest/cases/remount/case.toml"
    case.write_text(toy.CASE_TOML.replace("[[case.expect]]\n", EXPECT_MID, 1))
    return world


@pytest.fixture
def world(made: World) -> World:
    return made


def on(world: World, *trees: str, **more: object) -> Ran:
    return world.command(commands.test, tree=list(trees), **more)


def run_of(world: World) -> results.Run:
    return results.load(world.latest / "results.json")


@pytest.fixture(scope="module")
def whole(made: World) -> tuple[Ran, results.Run]:
    """One run over three kernels; one of them has the series already."""
    got = on(made, "old", "mid", "new")
    return got, run_of(made)


def cells(run: results.Run, kernel: str, variant: str) -> list[CellResult]:
    return [cell for cell in run.cells if (cell.kernel, cell.variant) == (kernel, variant)]


def test_the_same_change_is_judged_on_each_kernel(whole: tuple[Ran, results.Run]) -> None:
    got, run = whole
    # In 6.1 the control should mount, and does not.
    assert got.code == 1, got.text
    assert [cell.cell for cell in cells(run, "old", "toy-fix")][:2] == [
        "toy-fix.old.INDEX=y.NOUUID=y",
        "toy-fix.old.INDEX=y.NOUUID=n",
    ]
    verdicts = {
        (cell.kernel, cell.variant): {case.verdict for case in cell.cases}
        for cell in run.cells
        if cell.state is State.RAN
    }
    assert verdicts[("old", "unpatched")] == {Verdict.PASS}
    assert verdicts[("old", "toy-fix")] == {Verdict.PASS}
    assert verdicts[("mid", "unpatched")] == {Verdict.FAIL}
    assert verdicts[("new", "unpatched")] == {Verdict.PASS}
    assert "toy-fix on old breaks nothing; fixes 1 case (remount)." in run_text(run)


def run_text(run: results.Run) -> str:
    from kmodpipe.report import wording

    return "\n".join(verdict.text() for verdict in wording.verdicts(run))


def test_a_series_that_does_not_apply_is_skipped_there_with_the_reason(
    whole: tuple[Ran, results.Run],
) -> None:
    got, run = whole
    skipped = cells(run, "new", "toy-fix")
    assert skipped and {cell.state for cell in skipped} == {State.SKIPPED}
    assert {"0001-toy-mount.patch does not apply to new (6.12.4)" in cell.reason for cell in skipped} == {
        True
    }
    assert "not tested on new: series toy-fix: 0001-toy-mount.patch does not apply" in got.text
    assert "toy-fix on new was skipped: series toy-fix" in run_text(run)


def test_each_series_cell_is_compared_on_its_own_kernel(whole: tuple[Ran, results.Run]) -> None:
    _, run = whole
    for cell in run.cells:
        if cell.variant == "toy-fix" and cell.state is State.RAN:
            control = results.control_of(run, cell)
            assert control and control.kernel == cell.kernel
    kinds = {(e.kernel, e.kind) for e in results.effects(run) if e.kind is not EffectKind.NOT_APPLICABLE}
    assert kinds == {("old", EffectKind.FIXED), ("mid", EffectKind.FIXED)}


def test_every_report_says_which_kernel(whole: tuple[Ran, results.Run], made: World) -> None:
    got, run = whole
    assert (
        "Linux 5.10.223 (old), Linux 6.1.55 (mid) and Linux 6.12.4 (new)"
        in (made.latest / "report.html").read_text()
    )
    suites = ElementTree.parse(made.latest / "junit.xml").getroot()
    kernels = {p.get("value") for p in suites.iter("property") if p.get("name") == "kernel"}
    assert kernels == {"old", "mid", "new"}
    assert run.properties["tree.mid.kernel-version"] == "6.1.55"
    assert "toy-fix against unpatched:" in got.text and "on 2 of 3 kernels" in got.text
    mail = made.command(commands.report, format="mail", series=["toy-fix"])
    assert "toy-fix on old" in mail.out and "toy-fix on mid" in mail.out
    page = made.command(commands.report, format="findings").out
    assert (
        "| unpatched on old | toy-fix on old | unpatched on mid | toy-fix on mid | unpatched on new |" in page
    )
    assert re.search(r"\*\*toy-fix on new\*\*: skipped, .*0001-toy-mount.patch.* does not apply", page), page


def test_one_kernel_has_no_name_in_its_cells(world: World) -> None:
    assert on(world, "old").code == 0
    assert {cell.kernel for cell in run_of(world).cells} == {""}
    assert run_of(world).cells[0].cell == "unpatched.INDEX=y.NOUUID=y"


def test_a_cell_of_one_kernel_needs_no_other_tree(made: World, tmp_path: Path) -> None:
    got = on(made, "old", "gone=" + str(made.tree), cell=["toy-fix.old.INDEX=y.NOUUID=n"])
    assert got.code == 0, got.text
    assert {cell.kernel for cell in run_of(made).cells} == {"old"}


def test_a_tree_without_the_module_is_skipped(world: World) -> None:
    got = on(world, "old", "bare", series=["none"], module="fs/toy")
    assert got.code == 0, got.text
    bare = [cell for cell in run_of(world).cells if cell.kernel == "bare"]
    assert {(cell.state, cell.reason) for cell in bare} == {
        (State.SKIPPED, "the tree has no module in fs/toy")
    }


def test_a_series_that_applies_nowhere_is_refused_with_each_reason(world: World) -> None:
    got = on(world, "new", "other=" + str(world.tree.parent / "new"))
    assert got.code == 2
    assert "applies to none of the kernels: new, other" in got.text
    assert "does not apply to other (6.12.4)" in got.text


def test_what_a_series_is_not_for_is_not_tried(world: World) -> None:
    toml = world.root / "patches/toy-fix/series.toml"
    before = toml.read_text()
    toml.write_text(before + 'applies-to = [">=5.4 <6"]\n')
    try:
        got = on(world, "old", "mid")
    finally:
        toml.write_text(before)
    reasons = {cell.reason for cell in cells(run_of(world), "mid", "toy-fix")}
    assert reasons == {"series toy-fix is for Linux >=5.4 <6; mid is 6.1.55"}, got.text


def test_a_port_takes_the_place_of_a_patch_on_the_kernels_that_it_is_for(world: World) -> None:
    folder = world.root / "patches/toy-fix"
    toml, port = folder / "series.toml", folder / "6.12/0001-toy-mount.patch"
    before = toml.read_text()
    port.parent.mkdir()
    port.write_text(
        "From: toy <toy@localhost.invalid>\nSubject: [PATCH] toy: mount\n\n---\n"
        "--- a/fs/toy/Kconfig\n+++ b/fs/toy/Kconfig\n@@ -4,3 +4,7 @@ config TOY_FS\n config TOY_FS_INDEX\n"
        ' \tbool "index by default"\n \tdepends on TOY_FS\n+\n+config TOY_FS_NOUUID\n'
        '+\tbool "no uuid by default"\n+\tdepends on TOY_FS_INDEX\n'
    )
    toml.write_text(before + '[[port]]\nkernel = ">=6.10"\nfolder = "6.12"\n')
    try:
        got = on(world, "old", "new", cell=["toy-fix.*.INDEX=y.NOUUID=y"])
    finally:
        toml.write_text(before)
        shutil.rmtree(port.parent)
    run = run_of(world)
    assert got.code == 0, got.text
    assert {cell.state for cell in cells(run, "new", "toy-fix")} == {State.RAN}
    assert [name for name in run.properties if name.startswith("port.")] == ["port.toy-fix.new"]
    assert run.properties["port.toy-fix.new"].startswith("6.12, SHA-256 over the patches: ")


def test_patch_alone_says_where_a_series_applies(world: World) -> None:
    got = world.command(commands.patch, tree=["old", "mid", "new"])
    assert got.code == 0
    assert "toy-fix: 1 patch applies to old" in got.out
    assert "toy-fix: not applied to new: series toy-fix: 0001-toy-mount.patch does not apply" in got.out


def test_the_matrix_names_the_kernels_unless_the_command_does(world: World) -> None:
    matrix = world.root / "kconfigs/matrix.toml"
    before = matrix.read_text()
    matrix.write_text('kernels = ["old", "new"]\n' + before)
    try:
        assert world.command(commands.test, cell=["*.INDEX=y.NOUUID=n"]).code == 0
        assert {cell.kernel for cell in run_of(world).cells} == {"old", "new"}
        assert on(world, "mid", cell=["*.INDEX=n.NOUUID=n"], series=["none"], module="fs/toy").code == 1
        assert {cell.kernel for cell in run_of(world).cells} == {""}
        matrix.write_text('kernels = ["old", "knew"]\n' + before)
        wrong = world.command(commands.plan)
    finally:
        matrix.write_text(before)
    assert wrong.code == 2 and "did you mean new?" in wrong.text
    assert re.search(r"matrix\.toml:1", wrong.text)


@pytest.mark.parametrize(
    ("trees", "said"),
    [
        (["old", "old"], "two kernels with one name: old"),
        (["old", "a/b=old"], "unknown kernel 'a/b=old'"),
        (["old", "x=old", "x=mid"], "two kernels with one name: x"),
        (["old", "y=odl"], "did you mean old?"),
    ],
)
def test_kernels_that_cannot_be_told_apart_or_found(world: World, trees: list[str], said: str) -> None:
    got = on(world, *trees)
    assert got.code == 2 and said in got.text, got.text


@pytest.mark.usefixtures("whole")
def test_a_plan_has_the_rows_of_each_kernel(world: World) -> None:
    got = world.command(commands.plan, tree=["old", "mid", "new"])
    assert got.code == 0
    text = " ".join(got.out.split())
    assert "module toy-fix.mid.INDEX=y.NOUUID=n" in text
    assert "patch toy-fix on new to do" in text or "patch toy-fix on new" in text


@pytest.mark.usefixtures("whole")
def test_jobs_of_a_plan_are_merged_whatever_kernel_they_have(world: World, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    trees = ["old", "new"]
    got = world.command(commands.matrix, tree=trees, cell=["*.INDEX=y.NOUUID=n"], to=str(plan), per_job=1)
    assert got.code == 0, got.text
    jobs = json.loads(plan.read_text())["plan"]["jobs"]
    assert [job["cells"] for job in jobs] == [
        [f"{variant}.{kernel}.INDEX=y.NOUUID=n"] for kernel in trees for variant in ("unpatched", "toy-fix")
    ]
    for number, job in enumerate(jobs):
        words = job["arguments"]
        ran = world.invoke("ci", *words, "--out", str(tmp_path / f"out/{number}"))
        assert ran.code == 0, ran.text
    merged = world.command(
        commands.collect, plan=str(plan), dir=[f"{tmp_path}/out/*"], out=str(tmp_path / "merged")
    )
    assert merged.code == 0, merged.text
    run = results.load(next((tmp_path / "merged").glob("2*/results.json")))
    assert {(c.kernel, c.variant, c.state) for c in run.cells} == {
        ("old", "unpatched", State.RAN), ("old", "toy-fix", State.RAN),
        ("new", "unpatched", State.RAN), ("new", "toy-fix", State.SKIPPED),
    }  # fmt: skip


def test_a_night_runs_again_if_one_of_the_trees_has_changed(world: World, tmp_path: Path) -> None:
    tree = tmp_path / "moving"
    shutil.copytree(world.tree.parent / "mid", tree)
    asked = {
        "tree": ["old", f"moving={tree}"], "series": ["none"], "module": "fs/toy", "if_changed": True,
        "cell": ["*.INDEX=n.NOUUID=n"], "out": str(tmp_path / "out"),
    }  # fmt: skip
    first = world.command(commands.ci, **asked)
    assert first.code == 1, first.text  # mid's control does not mount
    assert "nothing changed" in world.command(commands.ci, **asked).text
    (tree / "fs/toy/toy.c").write_text(toy.TOY_C + "\n")
    again = world.command(commands.ci, **asked)
    assert "the tree moving (" in again.text and "the tree old" not in again.text
