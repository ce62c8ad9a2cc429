"""Fan-out, shared builds and nights without changes, with the real ones: Debian's docker-registry, a GitLab
runner, a git daemon, and the warm cells of this machine's cache."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml

from kmodpipe import results
from kmodpipe.build.runtime import DockerRuntime, docker_engine
from kmodpipe.cache.place import cache_folder
from kmodpipe.results import EffectKind
from tests import mutants
from tests.integration.conftest import require, require_machinery
from tests.integration.gitlab_runner import runner
from tests.support import toy, toy_packages
from tests.support.servers import free_port, git_daemon, wait_for_port
from tests.support.toy import World
from tests.support.toy_packages import Archive
from tests.support.trees import commit_all, git, write

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

REPO = Path(__file__).resolve().parents[2]
KEY = "a key that machines share, and no registry"
FIXED = "toy-fix.INDEX=y.NOUUID=n"
RELEASE = """\
mkdir "$OUT/etc"
printf 'ID=debian\\nVERSION_CODENAME=bookworm\\n' > "$OUT/etc/os-release"
"""


@dataclass(frozen=True)
class Registry:
    """A docker-registry on loopback, and where it keeps its files."""

    share: str
    data: Path

    def layers(self, kind: str) -> list[Path]:
        """The blobs of the layers of one kind of artifact."""
        found = []
        for tag in self.data.glob(f"docker/registry/v2/repositories/*/_manifests/tags/{kind}-*/current/link"):
            document = json.loads(self._blob(tag.read_text()).read_text())
            found += [self._blob(layer["digest"]) for layer in document["layers"]]
        return found

    def _blob(self, digest: str) -> Path:
        name = digest.strip().removeprefix("sha256:")
        return self.data / "docker/registry/v2/blobs/sha256" / name[:2] / name / "data"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    program = shutil.which("docker-registry")
    require(program is not None, "docker-registry is not installed (invoke setup --tests)")
    port, data = free_port(), tmp_path / "registry"
    config = tmp_path / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {data}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    child = subprocess.Popen(
        [str(program), "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for_port(port, child)
        yield Registry(f"127.0.0.1:{port}/kmodpipe", data)
    finally:
        child.terminate()
        child.wait(20)


# -- two machines and a registry, in the toy world ----------------------------------------------------
def machine(tmp_path: Path, name: str) -> World:
    """A machine that has nothing yet but the tree and the project."""
    world = toy.build(tmp_path / name)
    # One kernel tree for all: its content is its identity, wherever it is.
    return world


def run_cells(world: World, share: str, key: str = KEY, **more: str) -> toy.Ran:
    asked = ("test", "--runtime", "host", "--share", share, "--cell", "*.INDEX=y.NOUUID=n")
    return world.invoke(*asked, KMODPIPE_SHARE_KEY=key, **more)


def results_of(world: World) -> Any:
    return json.loads((world.latest / "results.json").read_text())["run"]


def origins(world: World) -> set[str]:
    return {cell["properties"].get("base.from", "") for cell in results_of(world)["cells"]}


def test_a_machine_with_an_empty_cache_compiles_modules_only(tmp_path: Path, registry: Registry) -> None:
    first, second = machine(tmp_path, "first"), machine(tmp_path, "second")
    ran = run_cells(first, registry.share)
    assert ran.code == 0, ran.text
    assert first.made().count("bzImage modules") == 1
    assert origins(first) == {""}
    ran = run_cells(second, registry.share)
    assert ran.code == 0, ran.text
    assert "bzImage modules" not in second.made()
    assert second.made().count("fs/toy/toy.ko") == 2
    (origin,) = origins(second)
    assert re.fullmatch(rf"{registry.share}@sha256:[0-9a-f]{{64}}", origin)
    again = second.invoke("build", "--runtime", "host", "--cell", "*.INDEX=y.NOUUID=n")
    assert "0 steps made" in again.out, again.text


@pytest.mark.thorough
def test_what_is_not_sealed_with_our_key_is_not_taken(tmp_path: Path, registry: Registry) -> None:
    first, second = machine(tmp_path, "first"), machine(tmp_path, "second")
    run_cells(first, registry.share, key="the key of somebody else")
    ran = run_cells(second, registry.share)
    assert ran.code == 0, ran.text
    assert "is not sealed with this machine's key" in ran.text
    assert second.made().count("bzImage modules") == 1
    # What was built here was pushed over it, and is taken by who has the same key.
    same = machine(tmp_path, "same")
    assert run_cells(same, registry.share).code == 0
    assert "bzImage modules" not in same.made()
    # Without any key, programs of a stranger's base do not run with the user's own rights.
    third = machine(tmp_path, "third")
    ran = run_cells(third, registry.share, key="")
    assert ran.code == 0 and "nothing is pulled without a key" in " ".join(ran.text.split())
    assert third.made().count("bzImage modules") == 1


@pytest.mark.thorough
def test_two_machines_have_the_same_packages_for_their_tools(tmp_path: Path, registry: Registry) -> None:
    def tooled(name: str) -> tuple[World, Archive]:
        world = machine(tmp_path, name)
        (world.root / "images/guest/recipe.sh").write_text(toy.RECIPE + RELEASE)
        archive = toy_packages.build(tmp_path / f"{name}.archive", world.root / "bin")
        return world, archive

    (first, old), (second, new) = tooled("first"), tooled("second")
    old.add("toytool", {"usr/bin/toytool": "a program"}, "1.0-1")
    new.add("toytool", {"usr/bin/toytool": "a newer program"}, "2.0-1")
    script = "#!/bin/sh\n# tools: toytool\n# toy: exit 0\n"
    for world in (first, second):
        case = Path(world.script("tool.sh"))
        case.write_text(script)
        ran = world.invoke(
            "test", "--runtime", "host", "--share", registry.share, "--cell", "*.INDEX=y.NOUUID=n",
            "--case", str(case), KMODPIPE_SHARE_KEY=KEY,
        )  # fmt: skip
        assert ran.code == 0, ran.text
        assert {cell["properties"]["tools.toytool"] for cell in results_of(world)["cells"]} == {"1.0-1"}
    assert not any(" install " in call for call in new.calls)
    assert len(registry.layers("pins")) == 1


@pytest.mark.thorough
def test_a_registry_that_lies_or_fails_costs_nothing_but_the_build(
    tmp_path: Path, registry: Registry
) -> None:
    first = machine(tmp_path, "first")
    run_cells(first, registry.share)
    (layer,) = registry.layers("base")
    content = bytearray(layer.read_bytes())
    content[len(content) // 2] ^= 1
    layer.write_bytes(content)
    second = machine(tmp_path, "second")
    ran = run_cells(second, registry.share)
    assert ran.code == 0, ran.text
    assert "base" in ran.text and "that are not sha256:" in ran.text
    assert second.made().count("bzImage modules") == 1
    gone = f"127.0.0.1:{free_port()}/kmodpipe"
    started = time.monotonic()
    third = machine(tmp_path, "third")
    ran = run_cells(third, gone)
    assert ran.code == 0, ran.text
    assert ran.text.count("cannot be reached") == 1
    assert time.monotonic() - started < 60


# -- changed since last night? ------------------------------------------------------------------------
@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[World, Path, str]]:
    """A toy world, the repository that its tree is served from by a git daemon, and the URL."""
    world = toy.build(tmp_path / "world")
    repository = tmp_path / "served" / "linux"
    shutil.copytree(world.tree, repository)
    git(repository, "init", "-q", "-b", "next")
    commit_all(repository, "the tree")
    with git_daemon(repository) as port:
        yield world, repository, f"git://127.0.0.1:{port}/linux"


@pytest.mark.thorough
def test_a_branch_that_moved_is_run_and_its_commits_are_named(served: tuple[World, Path, str]) -> None:
    world, repository, url = served
    head = f'git = "{url}"\nhead = "next"'
    project = world.root / "pyproject.toml"
    project.write_text(re.sub(r'path = ".*"', head, project.read_text()))
    asked = ("ci", "--head", "--if-changed", "--runtime", "host", "--cell", "*.INDEX=y.NOUUID=n")
    first = world.invoke(*asked)
    assert first.code == 0, first.text
    still = world.invoke(*asked)
    assert still.code == 0 and "nothing changed since run" in still.out

    old = git(repository, "rev-parse", "HEAD")
    for number in range(40):
        write(repository, {"init/main.c": f"int main{number};\n"})
        commit_all(repository, f"init: step {number}")
    new = git(repository, "rev-parse", "HEAD")
    moved = world.invoke(*asked)
    assert moved.code == 0, moved.text
    assert f"40 commits came in ({old[:12]}..{new[:12]})" in moved.out
    assert "init: step 39" in moved.out and "… and 20 more" in moved.out
    run = results_of(world)
    assert run["properties"]["tree.identity"] == f"git:{new}"
    assert run["properties"]["since.commits"].startswith("40 commits came in")

    # Rewound to another history: said so, and not told as what came in.
    git(repository, "reset", "-q", "--hard", old)
    write(repository, {"init/main.c": "int other;\n"})
    commit_all(repository, "init: another way")
    rewound = world.invoke(*asked)
    assert rewound.code == 0, rewound.text
    assert "no direct line" in rewound.out and "init: another way" in rewound.out
    # By a branch's name it is the same question every night, and the branch as it is that night.
    named = ("ci", "--tree", f"{url}#next", "--runtime", "host", "--cell", "unpatched.INDEX=y.NOUUID=n")
    assert world.invoke(*named).code == 0
    write(repository, {"init/main.c": "int later;\n"})
    commit_all(repository, "init: later")
    assert "init: later" in world.invoke(*named, "--if-changed").out


def test_a_plan_pins_a_head_that_moves(served: tuple[World, Path, str]) -> None:
    world, repository, url = served
    old = git(repository, "rev-parse", "HEAD")
    planned = world.invoke(
        "matrix", "--tree", f"{url}#next", "--runtime", "host", "--to", "plan.json", "--per-job", "8"
    )
    assert planned.code == 0, planned.text
    write(repository, {"init/main.c": "int later;\n"})
    commit_all(repository, "init: later")
    plan = json.loads((world.root / "plan.json").read_text())["plan"]
    (job,) = plan["jobs"]
    ran = world.invoke("ci", *job["arguments"], "--out", "out/01")
    assert ran.code == 0, ran.text
    collected = world.invoke("collect", "--plan", "plan.json", "--dir", "out/01")
    assert collected.code == 0, collected.text
    assert results_of(world)["properties"]["tree.identity"] == f"git:{old}"


# -- the real kernel: a GitLab pipeline, and a machine that has nothing -------------------------------
MUTANT = "nouuid-relaxed-for-every-index"
KILLED, FAILING, CONTROL = (
    f"{MUTANT}.INDEX=n.NOUUID=n",
    f"{MUTANT}.INDEX=y.NOUUID=n",
    "unpatched.INDEX=y.NOUUID=n",
)
# It comes along: what the killed one is compared with.
COMPANION = "unpatched.INDEX=n.NOUUID=n"
CASES = ("remount-on-to-on", "uuid-remount-index-nouuid")


def checkout(tmp_path: Path, share: str) -> Path:
    """A clone as a user has it: our file copied to .gitlab-ci.yml unchanged, a series of their own that
    holds a mistake, and the project's variables. Its virtual environment is the one that runs this test."""
    clone = tmp_path / "project"
    git(tmp_path, "clone", "-q", str(REPO), str(clone))
    for name in git(REPO, "ls-files", "--modified", "--others", "--exclude-standard").splitlines():
        if (REPO / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPO / name, clone / name)
    shutil.copy(clone / "docs/ci/gitlab-fanout.yml", clone / ".gitlab-ci.yml")
    next(m for m in mutants.load() if m.name == MUTANT).make_series(clone / "patches")
    (clone / ".venv").symlink_to(sys.prefix)
    cells = " ".join(f"--cell {cell}" for cell in (CONTROL, FAILING, KILLED))
    cases = " ".join(f"--case {case}" for case in CASES)
    write(clone, {".gitlab-ci-local-variables.yml": f"""\
KMODPIPE_ENGINE: ""
KMODPIPE_CACHE: {{type: variable, values: {{"*": {cache_folder()}}}}}
KMODPIPE_SHARE: {share}
KMODPIPE_SHARE_KEY: {KEY}
KMODPIPE_ARGS: --series {MUTANT} {cells} {cases}
"""})  # fmt: skip
    git(clone, "add", "--force", ".")
    commit_all(clone, "as a user has it")
    git(clone, "remote", "set-url", "origin", "https://gitlab.example.org/group/kmodpipe.git")
    return clone


def kill_job(clone: Path, job: str, deadline_s: float = 400) -> bool:
    """Kill the process of one job as soon as it has begun its run: nobody cleans up, nobody reports."""
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
                inside = (process / "cwd").resolve().is_relative_to(clone)
            except OSError:
                continue
            ours = inside and b"ci" in words and f"out/{job}".encode() in words
            if ours and any((process / "cwd").resolve().glob(f"out/{job}/2*/results.json")):
                os.kill(int(process.name), signal.SIGKILL)
                return True
        time.sleep(0.1)
    return False


@pytest.mark.thorough
def test_a_gitlab_pipeline_with_a_failing_cell_and_one_that_never_reported(
    tmp_path: Path, registry: Registry
) -> None:
    require_machinery()
    program, clone = runner(tmp_path), checkout(tmp_path, registry.share)
    env = {name: value for name, value in os.environ.items() if not name.startswith("KMODPIPE")}
    pipeline = subprocess.Popen(
        [str(program), "--force-shell-executor", "--shell-isolation", "--no-color", "--concurrency", "3"],
        cwd=clone, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    killed: list[bool] = []
    killer = threading.Thread(target=lambda: killed.append(kill_job(clone, "04")))
    killer.start()
    try:
        said, _ = pipeline.communicate(timeout=600)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(pipeline.pid, signal.SIGKILL)
        killer.join()
        # The killed job's container, as the next run on that machine would.
        DockerRuntime(docker_engine.connect(), "").sweep()
    assert killed == [True], said[-5000:]
    assert re.search(rf"PASS .*02 {re.escape(CONTROL)}", said), said[-5000:]
    assert re.search(rf"FAIL .*03 {re.escape(FAILING)}", said)
    assert re.search(rf"FAIL .*04 {re.escape(KILLED)}", said)
    (latest,) = (clone / "collected").glob("2*")
    run = results.load(latest / "results.json")
    cells = {cell.cell: cell for cell in run.cells}
    assert list(cells) == [COMPANION, CONTROL, FAILING, KILLED]
    assert "began and did not end it" in cells[KILLED].reason
    assert f"missing: {KILLED}" in said
    kinds = {e.case: e.kind for e in results.effects(run) if e.cells == (FAILING,)}
    assert kinds == {CASES[0]: EffectKind.REGRESSED, CASES[1]: EffectKind.FIXED}
    suites = JUnitXml.fromfile(str(latest / "junit.xml"))
    assert (suites.failures, suites.errors) == (1, 2)
    assert (latest / cells[FAILING].artifacts["console.log"]).stat().st_size > 1000
    assert_one_runner_runs_and_then_rests(program, clone, env)
    assert_a_machine_with_nothing_compiles_modules_only(tmp_path, registry)


def assert_one_runner_runs_and_then_rests(program: Path, clone: Path, env: Mapping[str, str]) -> None:
    """The file for one runner: on a push it runs, and on a schedule not again what is unchanged."""
    shutil.copy(clone / "docs/ci/gitlab-ci.yml", clone / ".gitlab-ci.yml")
    told = clone / ".gitlab-ci-local-variables.yml"
    told.write_text(re.sub(r"ARGS: .*", f"ARGS: --cell {CONTROL} --case {CASES[1]}", told.read_text()))

    def pipeline(source: str) -> str:
        done = subprocess.run(
            [str(program), "--force-shell-executor", "--shell-isolation", "--no-color",
             "--variable", f"CI_PIPELINE_SOURCE={source}"],
            cwd=clone, env=env, capture_output=True, text=True, timeout=400, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "1 passed, 0 failed" in pipeline("push")
    assert list((clone / "out").glob("2*/junit.xml"))
    assert "nothing changed since run" in pipeline("schedule")


def assert_a_machine_with_nothing_compiles_modules_only(tmp_path: Path, registry: Registry) -> None:
    """Another machine: an engine without images, a store without artifacts. Only the tree is here: fetching
    it is not what this is about."""
    cache = tmp_path / "second"
    (cache / "trees").mkdir(parents=True)
    for path in (cache_folder() / "trees").glob("deb-linux-source-5.10-*"):
        # Its files are newer than what the first machine made of them: a tree that was just fetched.
        subprocess.run(["cp", "-r", "--preserve=links", str(path), str(cache / "trees")], check=True)
    shutil.copytree(cache_folder() / "trees" / "pins", cache / "trees" / "pins")
    out = ("--out", str(tmp_path / "out"))
    with empty_engine(tmp_path) as address:
        env = {"KMODPIPE_CACHE": str(cache), "KMODPIPE_SHARE_KEY": KEY, "DOCKER_HOST": address}
        asked = ("test", "--cell", CONTROL, "--case", CASES[1], "--share", registry.share)
        done = invoke(REPO, *asked, *out, **env)
        again = invoke(REPO, "build", "--cell", CONTROL, "--share", "none", *out, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 steps made" in again.stdout, again.stdout + again.stderr
    first = min((tmp_path / "out").glob("2*"))
    run = results.load(first / "results.json")
    (cell,) = run.cells
    wanted = re.compile(rf"{registry.share}@sha256:[0-9a-f]{{64}}")
    assert wanted.fullmatch(run.properties["builder.from"])
    assert wanted.fullmatch(cell.properties["base.from"]) and wanted.fullmatch(cell.properties["guest.from"])
    ended = [json.loads(line) for line in (first / "events.jsonl").read_text().splitlines()]
    made = {e["step"] for e in ended if e["event"] == "end" and e["outcome"].startswith("made")}
    assert {step.partition(" ")[0] for step in made} <= {"config", "module"}
    pulled = {e["step"].partition(" ")[0] for e in ended if "pulled from" in str(e.get("outcome"))}
    assert {"base", "guest", "config"} <= pulled
    log = (first / CONTROL / "build.log").read_text()
    assert re.findall(r"^  CC \[M\]", log, re.MULTILINE)
    assert not re.findall(r"^  (?:HOSTCC|HOSTLD|AS|CC(?! \[M\])|LD(?! \[M\])) .*", log, re.MULTILINE)


@contextmanager
def empty_engine(tmp_path: Path) -> Iterator[str]:
    """A Docker Engine of its own, without an image and without a network."""
    require(os.getuid() == 0 and shutil.which("dockerd") is not None, "an engine of its own needs root")
    folder = Path(tempfile.mkdtemp(prefix="kp-"))
    argv = [
        "unshare", "--net", "dockerd", f"--data-root={folder}/data", f"--exec-root={folder}/exec",
        f"--pidfile={folder}/pid", f"--host=unix://{folder}/s", "--bridge=none", "--iptables=false",
    ]  # fmt: skip
    with (tmp_path / "dockerd.log").open("wb") as log:
        child = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not (folder / "s").exists() and time.monotonic() < deadline and child.poll() is None:
            time.sleep(0.1)
        assert (folder / "s").exists(), (tmp_path / "dockerd.log").read_text()[-2000:]
        yield f"unix://{folder}/s"
    finally:
        child.terminate()
        child.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def invoke(where: Path, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "invoke", *argv], cwd=where, env={**os.environ, "COLUMNS": "200", **env},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
