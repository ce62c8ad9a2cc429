"""A machine that is not as it should be, and one that changes under a run: clocks, HOME, TMPDIR, umask,
locale, streams, file systems, and files that somebody edits meanwhile."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from tests.faults import Ended, Outcome, Scene, ended
from tests.faults.way import fault
from tests.faults.way.disks import disk
from tests.faults.way.judging import latest, outcome, problems
from tests.faults.way.toys import CELL, ONE, Toys, toys


def in_shell(play: Toys, line: str, **more: str) -> Ended:
    """``line`` in a shell, with ``$KMODPIPE`` for the command under test."""
    env = play.environment({**more, "KMODPIPE": " ".join(play.argv(*ONE))})
    done = subprocess.run(
        ["bash", "-c", line], cwd=play.world.root, env=env, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)


def passed(scene: Scene, *others: str) -> list[str]:
    """What speaks against the results of a run that passed, with verdicts of no other kind but ``others``."""
    if not (scene.latest / "results.json").is_file():
        return ["there are no results"]
    verdicts = [case.verdict.value for _, case in latest(scene).results()]
    return [] if {*verdicts} == {"pass", *others} else [f"the verdicts are {verdicts}"]


# -- clocks ----------------------------------------------------------------------------------------------
_DAYS_S = 10 * 86400


def _clock_of_its_own(scene: Scene, says: str) -> tuple[Path, dict[str, str]]:
    """The file that says what the clock is, and the environment of a program that goes by it."""
    shim, clock = scene.root / "clock.so", scene.root / "clock"
    source = Path(__file__).with_name("clock.c")
    subprocess.run(["gcc", "-O2", "-Wall", "-shared", "-fPIC", "-o", shim, source], check=True)
    clock.write_text(says)
    return clock, {"LD_PRELOAD": str(shim), "CLOCK_FILE": str(clock)}


def _clock(scene: Scene, seconds: int) -> Outcome:
    """A run whose clock is set by ``seconds`` at the moment that its module is built."""
    play = toys(scene)
    clock, env = _clock_of_its_own(scene, "+0")
    play.meanwhile("make", "*.ko*", f'echo "{seconds:+}" > "{clock}"')
    got = play.invoke(*ONE, **env)
    found = problems(got, 0) + passed(scene)
    run = latest(scene)
    began, ended = datetime.fromisoformat(run.started), datetime.fromisoformat(run.finished)
    if not 0 <= (ended - began).total_seconds() < 60:
        found.append(f"started {run.started}, finished {run.finished}")
    found += [f"{c.case} took {c.duration_s} s" for _, c in run.results() if c.duration_s < 0]
    events = [json.loads(line) for line in (scene.latest / "events.jsonl").read_text().splitlines()]
    if max(e["time"] for e in events) - min(e["time"] for e in events) < abs(seconds) - 60:
        found.append("the clock did not jump")
    found += [f"a step took {e['seconds']} s" for e in events if not 0 <= e.get("seconds", 0) < 60]
    found += problems(play.invoke("build", "--no-control", "--cell", CELL), 0, "0 steps made")
    return outcome(got, "all; the run took the time that it took", found)


@fault("clock-back", "the clock is set back by ten days during a run")
def clock_back(scene: Scene) -> Outcome:
    return _clock(scene, -_DAYS_S)


@fault("clock-forward", "the clock is set forward by ten days during a run")
def clock_forward(scene: Scene) -> Outcome:
    return _clock(scene, _DAYS_S)


@fault("clock-stopped", "the clock stands still, and three runs begin in the same second")
def clock_stopped(scene: Scene) -> Outcome:
    play = toys(scene)
    found = problems(play.invoke(*ONE), 0)
    _, env = _clock_of_its_own(scene, "@1770091506")
    children = [play.start("build", "--no-control", "--cell", CELL, **env) for _ in range(3)]
    runs = [ended(child, 60) for child in children]
    for one in runs:
        found += problems(one, 0, "0 steps made")
    left = [p.name for p in scene.out.glob("20260203-040506-*")]
    found += [] if len(left) == 3 else [f"three runs left {left}"]
    return outcome(runs[0], "three runs, three folders", found)


@fault("time-zones", "odd time zones, and one that does not exist")
def time_zones(scene: Scene) -> Outcome:
    play = toys(scene)
    found: list[str] = []
    for zone in ("Pacific/Kiritimati", "No/Such:Zone", "<+1345>-13:45"):
        got = play.invoke(*ONE, TZ=zone)
        found += problems(got, 0) + passed(scene)
        started = latest(scene).started
        late = time.time() - datetime.fromisoformat(started).timestamp()
        found += [] if 0 <= late < 120 else [f"TZ={zone}: started {started}"]
    return outcome(got, "all; times are in UTC", found)


# -- the environment -----------------------------------------------------------------------------------------
@fault("home-unset", "neither HOME nor any XDG variable is set")
def home_unset(scene: Scene) -> Outcome:
    play = toys(scene)
    unset = "unset HOME XDG_CACHE_HOME XDG_RUNTIME_DIR XDG_CONFIG_HOME"
    got = in_shell(play, f"{unset} KMODPIPE_CACHE; exec $KMODPIPE")
    found = problems(got, 3, "neither HOME nor XDG_CACHE_HOME is set", hint=True)
    found += problems(in_shell(play, f"{unset}; exec $KMODPIPE"), 0) + passed(scene)
    return outcome(got, "with KMODPIPE_CACHE set, all works", found)


@fault("home-unusable", "HOME is a folder that cannot be written, or is missing")
def home_unusable(scene: Scene) -> Outcome:
    play = toys(scene)
    found: list[str] = []
    for home in ("/proc", "/sys"):
        got = in_shell(play, f"unset KMODPIPE_CACHE; HOME={home} exec $KMODPIPE")
        found += problems(got, 3, "the cache folder cannot be used", home, hint=True)
        found += problems(in_shell(play, f"HOME={home} exec $KMODPIPE"), 0)
    missing = scene.root / "not" / "there"
    found += problems(in_shell(play, f"HOME={missing} exec $KMODPIPE"), 0) + passed(scene)
    return outcome(got, "with KMODPIPE_CACHE set, all works", found)


@fault("tmpdir-missing", "TMPDIR does not exist")
def tmpdir_missing(scene: Scene) -> Outcome:
    play = toys(scene)
    got = play.invoke(*ONE, TMPDIR=str(scene.root / "nowhere"))
    return outcome(got, "all", problems(got, 0), passed(scene))


@fault("umask", "a umask that takes every right away, and one that gives all")
def odd_umask(scene: Scene) -> Outcome:
    play = toys(scene)
    found: list[str] = []
    for mask in ("0777", "0000"):
        got = in_shell(play, f"umask {mask}; exec $KMODPIPE")
        found += problems(got, 0) + passed(scene)
    made = [*scene.latest.resolve().rglob("*"), *(scene.cache / "store").rglob("*")]
    open_to_all = [p for p in made if not p.is_symlink() and p.stat().st_mode & 0o002]
    found += [f"{p} may be written by all" for p in open_to_all[:3]]
    return outcome(got, "all, with the rights that the builder needs", found)


@fault("locale", "locales that are C, broken, or cannot print a tick; columns that are none")
def odd_locale(scene: Scene) -> Outcome:
    play = toys(scene)
    found: list[str] = []
    bare = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for env in (
        {"LC_ALL": "C", **bare},
        {"LC_ALL": "xx_YY.ISO-8859-1", "LANG": "nonsense", **bare},
        {"PYTHONIOENCODING": "ascii"},
        {"COLUMNS": "1"},
        {"COLUMNS": "-3"},
        {"COLUMNS": "wide", "TERM": "nonsense"},
    ):
        # Long enough to be cut, with an ellipsis, where others are told what they wait for.
        got = play.invoke(*ONE, *("--case", "remount") * 8, **env)
        found += [f"{env}: {text}" for text in (*problems(got, 0), *passed(scene))]
    return outcome(got, "all", found)


# -- streams ---------------------------------------------------------------------------------------------
@fault("streams-closed", "stdin, stdout and stderr are closed")
def streams_closed(scene: Scene) -> Outcome:
    play = toys(scene)
    got = in_shell(play, "exec $KMODPIPE <&- >&- 2>&-")
    found = problems(got, 0) + passed(scene)
    return Outcome("nothing: nobody listens", got.code, "all results", tuple(found))


@fault("pipe-closed", "nobody reads stderr any more: 2>&1 | head -1, and stdout goes to a file")
def pipe_closed(scene: Scene) -> Outcome:
    play = toys(scene)
    shown = scene.root / "shown"
    got = in_shell(play, f'$KMODPIPE 2> >(head -c1 >/dev/null) >"{shown}"')
    found = problems(got, 0) + passed(scene)
    found += [] if "1 passed" in shown.read_text() else ["the table was lost"]
    both = in_shell(play, "$KMODPIPE 2>&1 | head -1; exit ${PIPESTATUS[0]}")
    found += problems(both, 0) + passed(scene)
    return Outcome("the table, where it is read", got.code, "the run goes to its end", tuple(found))


@fault("stdout-full", "stdout is a full disk")
def stdout_full(scene: Scene) -> Outcome:
    play = toys(scene)
    got = in_shell(play, "exec $KMODPIPE >/dev/full")
    said = "the output cannot be written: no space left on device"
    return outcome(got, "all results", problems(got, 3, said), passed(scene))


@fault("stderr-full", "stderr is a full disk")
def stderr_full(scene: Scene) -> Outcome:
    play = toys(scene)
    got = in_shell(play, "exec $KMODPIPE 2>/dev/full")
    return outcome(got, "all", problems(got, 0, "1 passed"), passed(scene))


# -- file systems ----------------------------------------------------------------------------------------
@fault("cache-noexec", "the cache is on a file system that runs no programs", as_root=True)
def cache_noexec(scene: Scene) -> Outcome:
    play = toys(scene)
    with disk(scene.cache, 64) as whole:
        whole.remount("noexec")
        got = play.invoke(*ONE)
        found = problems(got, 3, "runs no programs (noexec)", hint=True)
    return outcome(got, "nothing was begun", found)


# -- edits under a run -------------------------------------------------------------------------------------
def _edited(scene: Scene, when: str, edit: Callable[[Toys, Path], str]) -> Outcome:
    """A run under which everything is edited when make is called with ``when``: it uses what it read."""
    play = toys(scene)
    play.meanwhile("make", when, edit(play, scene.root))
    got = play.invoke("test")
    found = problems(got, 0, "5 passed")
    return outcome(got, "what the run read when it began", found, passed(scene, "skip"))


def _save_and_spoil(paths: list[Path]) -> str:
    """Shell commands that put nonsense in each file, at once, whatever they hold."""
    return "; ".join(f'printf "nonsense BROKEN\\n" > "{path}"' for path in paths)


@fault("edit-tree", "the folder of --tree is edited while it is built")
def edit_tree(scene: Scene) -> Outcome:
    def edit(play: Toys, root: Path) -> str:
        tree = play.world.tree
        return _save_and_spoil([tree / "fs/toy/toy.c", tree / "fs/toy/Kconfig", tree / "init/main.c"])

    return _edited(scene, "*config*", edit)


@fault("edit-project", "series, matrix, cases, recipes and pyproject.toml are edited during a run")
def edit_project(scene: Scene) -> Outcome:
    def edit(play: Toys, root: Path) -> str:
        project = play.world.root
        names = ["pyproject.toml", "tasks.py", "kconfigs/matrix.toml", "kconfigs/guest.config"]
        names += ["images/guest/lib.sh", "images/guest/recipe.sh"]
        folders = ("patches/toy-fix", "images/guest/cases/remount", "images/builder")
        found = [p for folder in folders for p in (project / folder).iterdir()]
        return _save_and_spoil([*(project / name for name in names), *found])

    return _edited(scene, "*allnoconfig*|*tinyconfig*", edit)


@fault("checkout", "another branch of the project is checked out during a run, and back")
def checkout(scene: Scene) -> Outcome:
    from tests.support.trees import commit_all, git

    play = toys(scene)
    project = play.world.root
    commit_all(project, "as it is")
    git(project, "checkout", "-q", "-b", "other")
    for path in (*(project / "images/builder").iterdir(), *(project / "patches/toy-fix").iterdir()):
        path.write_text("exit 9\n")
    commit_all(project, "another")
    git(project, "checkout", "-q", "main")
    switch = f"GIT_CONFIG_GLOBAL=/dev/null git -C {project} checkout -q -f other"
    trigger = scene.root / "trigger"
    trigger.touch()
    once = f'[ ! -e "{trigger}" ] || {{ rm "{trigger}"; {switch}; }}'
    play.meanwhile("make", "*config*", once)
    got = play.invoke("test")
    found = problems(got, 0, "5 passed") + passed(scene, "skip")
    found += [] if git(project, "branch", "--show-current") == "other" else ["nothing was checked out"]
    git(project, "checkout", "-q", "-f", "main")
    found += problems(play.invoke("build"), 0, "0 steps made")
    return outcome(got, "what the run read when it began; no artifact of the other branch", found)
