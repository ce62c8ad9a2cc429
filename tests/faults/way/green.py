"""Runs that would be green though nothing was tested, and answers to another question than the one asked."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tests.faults import Ended, Outcome, Scene
from tests.faults.way import fault
from tests.faults.way.judging import COMMAND, latest, outcome, problems
from tests.faults.way.toys import CELL, Toys, toys

PATCH = "patches/toy-fix/0001-toy-mount.patch"
MATRIX = "kconfigs/matrix.toml"
CASE = "images/guest/cases/remount/case.toml"


def edit(play: Toys, file: str, old: str, new: str) -> None:
    path = play.world.root / file
    text = path.read_text()
    if old not in text:
        raise ValueError(f"{file} does not have {old!r}")
    path.write_text(text.replace(old, new, 1))


def said_everywhere(scene: Scene, text: str) -> list[str]:
    """Which of a run's files do not have the sentence."""
    files = [scene.latest / name for name in ("results.json", "junit.xml", "report.html")]
    return [f"{file.name} does not say {text!r}" for file in files if text not in file.read_text()]


def told_in(got: Ended, text: str, kept: str, *found: Sequence[str]) -> Outcome:
    """What came of a fault, reported by the line that has ``text``."""
    line = next((line.strip() for line in got.text.splitlines() if text in line), got.sentence())
    return Outcome(line, got.code, kept, tuple(p for some in found for p in some))


# -- nothing was tested ----------------------------------------------------------------------------------
_WORDS = {
    "depends": ("+\tdepends on TOY_FS_INDEX", "+\tdepends on TOY_FS_INDX"),
    "select": ("+\tdepends on TOY_FS_INDEX", "+\tdepends on TOY_FS_INDEX\n+\tselect TOY_FS_INDX"),
    "imply": ("+\tdepends on TOY_FS_INDEX", "+\tdepends on TOY_FS_INDEX\n+\timply TOY_FS_INDX"),
    "default": ("+\tdepends on TOY_FS_INDEX", "+\tdepends on TOY_FS_INDEX\n+\tdefault y if TOY_FS_INDX"),
    "not": ("+\tdepends on TOY_FS_INDEX", "+\tdepends on TOY_FS && !TOY_FS_INDX"),
}


def _misspelt(scene: Scene, word: str) -> Outcome:
    play = toys(scene)
    old, new = _WORDS[word]
    edit(play, PATCH, old, new)
    if new.count("\n"):
        edit(play, PATCH, "@@ -4,3 +4,7 @@", "@@ -4,3 +4,8 @@")
    got = play.invoke("test")
    place = f"fs/toy/Kconfig:{11 if new.count(chr(10)) else 10}"
    told = (f"series toy-fix: {place}: TOY_FS_NOUUID", "TOY_FS_INDX", "is TOY_FS_INDEX meant")
    found = problems(got, 1, *told)
    run = latest(scene)
    control = {c.state.value for c in run.cells if c.cell == "unpatched.INDEX=y.NOUUID=n"}
    found += [] if control == {"ran"} else [f"the control's cell is {control}"]
    states = {c.state.value for c in run.cells if c.variant == "toy-fix"}
    found += [] if states == {"build-failed"} else [f"the cells of the series are {states}"]
    return told_in(got, "series toy-fix: ", "the control", found, said_everywhere(scene, "TOY_FS_INDX"))


@fault("kconfig-depends", "a series' Kconfig depends on a misspelt symbol")
def kconfig_depends(scene: Scene) -> Outcome:
    return _misspelt(scene, "depends")


@fault("kconfig-not", "a series' Kconfig depends on the opposite of a misspelt symbol")
def kconfig_not(scene: Scene) -> Outcome:
    return _misspelt(scene, "not")


@fault("kconfig-select", "a series' Kconfig selects a misspelt symbol")
def kconfig_select(scene: Scene) -> Outcome:
    return _misspelt(scene, "select")


@fault("kconfig-imply", "a series' Kconfig implies a misspelt symbol")
def kconfig_imply(scene: Scene) -> Outcome:
    return _misspelt(scene, "imply")


@fault("kconfig-default", "a default of a series' Kconfig has a misspelt condition")
def kconfig_default(scene: Scene) -> Outcome:
    return _misspelt(scene, "default")


@fault("axis-misspelt", "an axis' symbol is misspelt: no cell of any variant can have its value")
def axis_misspelt(scene: Scene) -> Outcome:
    play = toys(scene)
    edit(play, MATRIX, '"TOY_FS_NOUUID"', '"TOY_FS_NOUID"')
    got = play.invoke("test")
    told = ("the symbol TOY_FS_NOUID does not exist; did you mean TOY_FS_NOUUID",)
    return outcome(got, "nothing was booted", problems(got, 2, *told, hint=True))


@fault("axis-impossible", "a value of an axis needs what no fragment requests")
def axis_impossible(scene: Scene) -> Outcome:
    play = toys(scene)
    edit(play, PATCH, "+\tdepends on TOY_FS_INDEX", "+\tdepends on TOY_FS_INDEX && TOY_FS=n")
    got = play.invoke("test")
    told = ("axis NOUUID=y (TOY_FS_NOUUID): no cell of any variant can have it", "TOY_FS = n")
    return outcome(got, "nothing was booted", problems(got, 2, *told, hint=True))


@fault("all-skipped", "every case skips itself, in every cell")
def all_skipped(scene: Scene) -> Outcome:
    play = toys(scene)
    words = (*COMMAND, "--case", play.world.script("allskip.sh", "exit 4"))
    got = play.invoke(*words)
    told = "no case was judged: every case was skipped in all 2 cells that ran"
    found = problems(got, 3, told) + said_everywhere(scene, told)
    found += problems(play.invoke("report", "--format", "mail"), 0, told, never=("Tested-by",))
    found += problems(play.invoke(*words, "--allow-empty"), 0, told, "--allow-empty accepts that")
    return told_in(got, "! no case", "with --allow-empty, exit 0", found)


@fault("series-skipped", "every case is skipped with one series of two")
def series_skipped(scene: Scene) -> Outcome:
    play = toys(scene)
    edit(play, CASE, "goal =", 'needs = ["TOY_FS_NOUUID"]\ngoal =')
    folder = play.world.root / "patches/other"
    folder.mkdir()
    (folder / "series").write_text("0001.patch\n")
    (folder / "series.toml").write_text('summary = "another"\nmodule = "fs/toy"\n')
    (folder / "0001.patch").write_text("--- /dev/null\n+++ b/fs/toy/more.c\n@@ -0,0 +1 @@\n+int more;\n")
    got = play.invoke("test", "--series", "toy-fix", "--series", "other")
    told = "no case was judged with series other: every case was skipped"
    found = problems(got, 3, told, never=("with series toy-fix",)) + said_everywhere(scene, told)
    return told_in(got, "! no case", "the results of the other series", found)


# -- another's answer ------------------------------------------------------------------------------------
_CHANGES = {
    "design": ("patches/toy-fix/series.toml", "module", 'design = "toy"\nmodule'),
    "axes": ("patches/toy-fix/series.toml", "module", 'axes = { NOUUID = "TOY_FS_NOUUID" }\nmodule'),
    "cpus": (MATRIX, "[axes.INDEX]", '[flavours.two]\nsummary = "two"\ncpus = 2\n[axes.INDEX]'),
    "base_make": (MATRIX, "cpus = 2", 'cpus = 2\nbase_make = { KCSAN_SANITIZE = "n" }'),
    "deadline": ("pyproject.toml", "boot_s = 20", "boot_s = 21"),
    "expectation": (CASE, '"ESTALE"', '"EINVAL"'),
}


@fault("answer-of-another", "edits that no build depends on, each before a run with --if-changed")
def answer_of_another(scene: Scene) -> Outcome:
    play = toys(scene)
    words = ("ci", "--if-changed", "--cell", CELL)
    found = problems(play.invoke(*words), 0, "no earlier run")
    for name, change in _CHANGES.items():
        edit(play, *change)
        got = play.invoke(*words)
        if "changed since run" not in got.text:
            found.append(f"{name}: not seen: {got.text[-300:]}")
    linked = play.world.root / "images/guest/linked"
    (play.world.root / "elsewhere").write_text("one\n")
    linked.symlink_to(play.world.root / "elsewhere")
    play.invoke(*words)
    (play.world.root / "elsewhere").write_text("two\n")
    # It failed with another design, and does so again.
    found += problems(play.invoke(*words), 1, "the recipes for kernels and guests")
    last = play.invoke(*words)
    found += problems(last, 1, "nothing changed since run")
    return told_in(last, "nothing changed", "each edit was tested", found)


def _collected(scene: Scene, file: str, old: str, new: str, told: str) -> Outcome:
    """Jobs of one plan, the second judged by something else."""
    play = toys(scene)
    plan = scene.root / "plan.json"
    (play.world.root / "kconfigs/benign.toml").write_text("benign = []\n")
    edit(play, "pyproject.toml", "[tool.kmodpipe]\n", '[tool.kmodpipe]\nbenign = "kconfigs/benign.toml"\n')
    words = ("--runtime", "host", "--per-job", "4", "--to", plan)
    found = problems(play.invoke("matrix", *words), 0)
    jobs = json.loads(plan.read_text())["plan"]["jobs"]
    for number, job in enumerate(jobs):
        if number == len(jobs) - 1:
            edit(play, file, old, new)
        play.invoke("ci", *(word for cell in job["cells"] for word in ("--cell", cell)), "--allow-empty")
    got = play.invoke("collect", "--plan", plan, "--dir", scene.out)
    return outcome(got, "the jobs' results", found, problems(got, 3, "not parts of one run", told))


@fault("collect-expectations", "a job of a plan judged its cases by other expectations")
def collect_expectations(scene: Scene) -> Outcome:
    return _collected(scene, *_CHANGES["expectation"], "the cases, or what is expected of them")


@fault("collect-benign", "a job of a plan let off other reports of the kernel")
def collect_benign(scene: Scene) -> Outcome:
    rule = '[[benign]]\nkind = "WARNING"\ntitle = "WARNING in toy"\nreason = "the toy warns always"\n'
    return _collected(scene, "kconfigs/benign.toml", "benign = []\n", rule, "the known benign reports")
