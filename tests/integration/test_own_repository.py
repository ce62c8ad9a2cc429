"""A module's own repository, which is not ours: its CI files, the action and the component, run for real.

GitLab's run in gitlab-ci-local; of GitHub's, the steps with a script are run here in their order. A wheel of
this checkout stands for the package index, and one kernel of Debian's for all.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from junitparser import JUnitXml

from kmodpipe.cache.place import cache_folder
from tests.integration.conftest import require, require_machinery
from tests.integration.gitlab_runner import runner
from tests.integration.wheel import ENVIRONMENT, Built, run
from tests.support import REPO
from tests.support.trees import commit_all, git, write

pytestmark = [
    pytest.mark.integration,
    pytest.mark.thorough,
    pytest.mark.kernels,
    pytest.mark.timeout(900),
]

KERNEL = "debian-12"
SCHEMAS = "check-jsonschema==0.39.0"
COMPONENTS = "https://gitlab.example.org:443/tools/kmodpipe.git"


@pytest.fixture(autouse=True)
def machinery() -> None:
    require_machinery()


def repository(folder: Path, python: Path, *argv: str) -> Path:
    """A module's repository in which `init` was run, with a change on its branch."""
    shutil.copytree(REPO / "examples/hello", folder, ignore=shutil.ignore_patterns("kmodpipe*"))
    commit_all(folder, "first")
    run(python, "-m", "kmodpipe", "init", "--yes", *argv, cwd=folder)
    config = folder / "kmodpipe.toml"
    config.write_text(config.read_text().replace('"debian-11", "debian-12", "debian-13"', f'"{KERNEL}"'))
    commit_all(folder, "test it with kmodpipe")
    git(folder, "checkout", "-q", "-b", "topic")
    write(folder, {"hello.c": (folder / "hello.c").read_text().replace("answer = 42", "answer = 43")})
    commit_all(folder, "another answer")
    git(folder, "remote", "add", "origin", "https://gitlab.example.org/me/hello.git")
    return folder


def assert_a_verdict_for_the_change(out: Path) -> None:
    """It was built, booted and judged beside where the branch began."""
    (results,) = out.glob("2*/results.json")
    ran = json.loads(results.read_text())["run"]
    assert {cell["variant"]: cell["state"] for cell in ran["cells"]} == {
        "unpatched": "ran",
        "worktree": "ran",
    }
    suites = JUnitXml.fromfile(str(out / "junit.xml"))
    assert (suites.tests, suites.failures, suites.errors) == (2, 0, 0)


# -- GitLab -----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class GitLab:
    """The runner, in a repository, with the project's variables and the rest of its environment."""

    program: Path
    root: Path
    env: Mapping[str, str]

    def pipeline(self, text: str = "") -> str:
        """Run the pipeline of ``.gitlab-ci.yml``, or of another text for it; return what it shows."""
        if text:
            write(self.root, {".gitlab-ci.yml": text})
        variables = f'KMODPIPE_CACHE: {{type: variable, values: {{"*": {cache_folder()}}}}}\n'
        write(self.root, {".gitlab-ci-local-variables.yml": f'{variables}KMODPIPE_ENGINE: ""\n'})
        commit_all(self.root, "a pipeline")
        shutil.rmtree(self.root / "out", ignore_errors=True)
        done = subprocess.run(
            [str(self.program), "--force-shell-executor", "--shell-isolation", "--no-color"],
            cwd=self.root, env={**ENVIRONMENT, **self.env}, timeout=600, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder's files."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_gitlab_runs_the_component_the_remote_file_and_what_init_wrote(
    tmp_path: Path, built: Built, python: Path
) -> None:
    root = repository(tmp_path / "hello", python, "--ci", "gitlab")
    # kmodpipe's own project on that GitLab.
    shutil.copytree(built.source, tmp_path / "kmodpipe")
    commit_all(tmp_path / "kmodpipe", "a release")
    git(tmp_path / "kmodpipe", "tag", "v0")
    write(
        tmp_path,
        {
            "gitconfig": f'[url "file://{tmp_path}/kmodpipe"]\n\tinsteadOf = {COMPONENTS}\n',
            "constraint": f"kmodpipe @ {built.wheel.as_uri()}\n",
        },
    )
    env = {"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"), "PIP_CONSTRAINT": str(tmp_path / "constraint")}
    here = GitLab(runner(tmp_path), root, env)

    said = here.pipeline()
    assert_a_verdict_for_the_change(root / "out")
    assert "2 passed, 0 failed" in said

    inputs = {"kernels": KERNEL, "version": str(built.wheel), "engine": "", "job": "hello on kernels"}
    component = "$CI_SERVER_FQDN/tools/kmodpipe/kmodpipe@v0"
    said = here.pipeline(yaml.safe_dump({"include": [{"component": component, "inputs": inputs}]}))
    assert_a_verdict_for_the_change(root / "out")
    assert "hello on kernels" in said
    assert "debian-12" in (root / "out/summary.md").read_text()

    with served(REPO / "docs/ci") as address:
        variables = {"KMODPIPE_KERNELS": KERNEL, "KMODPIPE_PACKAGE": str(built.wheel), "KMODPIPE_ENGINE": ""}
        said = here.pipeline(
            yaml.safe_dump(
                {
                    "include": [{"remote": f"{address}/gitlab-remote.yml"}],
                    "kmodpipe": {"variables": {**variables, "KMODPIPE_ARGS": "--case load --series none"}},
                }
            )
        )
    assert "1 passed, 0 failed" in said


# -- GitHub -----------------------------------------------------------------------------------------------
_EXPRESSION = re.compile(r"\$\{\{ *([\w.-]+) *\}\}")


@dataclass
class Job:
    """A job on a runner of GitHub's, as far as its scripts see one."""

    root: Path
    place: Path
    env: dict[str, str]
    # Of expressions: ``inputs.kernels``.
    values: dict[str, str] = field(default_factory=dict)
    said: str = ""

    def __post_init__(self) -> None:
        for name in ("temp", "bin"):
            (self.place / name).mkdir(parents=True)
        # Nobody's devices change here.
        (self.place / "bin/sudo").write_text("#!/bin/sh\n")
        (self.place / "bin/sudo").chmod(0o755)
        files = {
            name: str(self.place / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_PATH")
        }
        self.env |= {
            **files,
            "PATH": f"{self.place}/bin:{os.environ['PATH']}",
            "RUNNER_TEMP": str(self.place / "temp"),
            "GITHUB_WORKSPACE": str(self.root),
            "GITHUB_ACTIONS": "true",
            "CI": "true",
        }

    def file(self, name: str) -> str:
        """What the steps have written to a file of GitHub's."""
        path = Path(self.env[name])
        return path.read_text() if path.exists() else ""

    def run(self, steps: Sequence[Mapping[str, Any]]) -> int:
        """Run the steps that have a script, as bash does on a runner, up to one that fails."""
        for step in steps:
            if "run" not in step:
                continue
            own = {name: self.filled(str(value)) for name, value in step.get("env", {}).items()}
            script = self.place / "step.sh"
            script.write_text(self.filled(step["run"]))
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
                cwd=self.root / self.filled(step.get("working-directory", ".")),
                env={**ENVIRONMENT, **self.env, **own}, timeout=600, check=False,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            self.said += done.stdout
            if done.returncode:
                return done.returncode
        return 0

    def filled(self, text: str) -> str:
        """A text with the values of its expressions."""
        return _EXPRESSION.sub(lambda found: self.values[found[1]], text)


def action(built: Built, root: Path, place: Path, **inputs: str) -> Job:
    """Run the steps of the action with these inputs; the job that did it, and its ``exit``."""
    document = yaml.safe_load((REPO / "action.yml").read_text())
    defaults = {name: one.get("default", "") for name, one in document["inputs"].items()}
    assert set(inputs) <= set(defaults)
    values = {f"inputs.{name}": str(value) for name, value in {**defaults, **inputs}.items()}
    values["steps.python.outputs.python-path"] = sys.executable
    env = {"KMODPIPE_CACHE": str(cache_folder()), "GITHUB_ACTION_PATH": str(built.source)}
    job = Job(root, place, env, values)
    job.values["exit"] = str(job.run(document["runs"]["steps"]))
    return job


def test_the_action_tests_the_repository_that_uses_it(tmp_path: Path, built: Built, python: Path) -> None:
    root = repository(tmp_path / "hello", python)
    # With its own checkout, as `uses: OWNER/kmodpipe@REF` has it.
    job = action(built, root, tmp_path / "one", kernels=KERNEL)
    assert job.values["exit"] == "0", job.said
    assert_a_verdict_for_the_change(root / "out")
    outputs = dict(line.split("=", 1) for line in job.file("GITHUB_OUTPUT").splitlines())
    assert outputs["exit-code"] == "0" and Path(outputs["results"]).is_file()
    assert KERNEL in job.file("GITHUB_STEP_SUMMARY")
    # Later steps of the job have the program.
    (folder,) = job.file("GITHUB_PATH").split()
    assert run(f"{folder}/kmodpipe", "--version", cwd=root).startswith("kmodpipe ")
    # A wheel instead, and a change that does not compile: the step fails as the run did.
    write(root, {"hello.c": "#include <linux/module.h>\nint a = b;\n"})
    words = {"version": str(built.wheel), "arguments": "--case load", "junit": ""}
    failed = action(built, root, tmp_path / "two", **words)
    assert failed.values["exit"] == "1", failed.said
    assert "exit-code=1" in failed.file("GITHUB_OUTPUT")
    assert "hello.c:2" in failed.said


def test_the_workflow_that_init_writes_runs(tmp_path: Path, built: Built, python: Path) -> None:
    root = repository(tmp_path / "hello", python, "--ci", "github")
    (job,) = yaml.safe_load((root / ".github/workflows/kmodpipe.yml").read_text())["jobs"].values()
    # This machine's own mirror, and the Python that setup-python would bring.
    env = {"KMODPIPE_CACHE": str(cache_folder()), "PIP_CONSTRAINT": str(tmp_path / "constraint")}
    (tmp_path / "constraint").write_text(f"kmodpipe @ {built.wheel.as_uri()}\n")
    run(sys.executable, "-m", "venv", tmp_path / "python", cwd=tmp_path)
    made = Job(root, tmp_path / "job", env)
    made.env["PATH"] = f"{tmp_path}/python/bin:{made.env['PATH']}"
    assert made.run(job["steps"]) == 0, made.said
    assert_a_verdict_for_the_change(root / "out")
    assert KERNEL in made.file("GITHUB_STEP_SUMMARY")


def test_the_files_are_what_github_and_gitlab_take(tmp_path: Path, python: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--target", tmp_path / "schemas", SCHEMAS],
        env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    require(done.returncode == 0, f"pip does not give {SCHEMAS}: {done.stderr[-300:]}")
    for ci in ("github", "gitlab"):
        (tmp_path / ci).mkdir()
        run(python, "-m", "kmodpipe", "init", "--yes", "--ci", ci, cwd=tmp_path / ci)
    (_, job) = yaml.safe_load_all((REPO / "templates/kmodpipe.yml").read_text())
    write(tmp_path, {"component.yml": yaml.safe_dump(job).replace("$[[ inputs.cache ]]", "pull-push")})
    docs = REPO / "docs/ci"
    kinds = {
        "github-actions": [REPO / "action.yml"],
        "github-workflows": [*docs.glob("github-*.yml"), tmp_path / "github/.github/workflows/kmodpipe.yml"],
        "gitlab-ci": [
            *docs.glob("gitlab-*.yml"),
            tmp_path / "gitlab/.gitlab-ci.yml",
            tmp_path / "component.yml",
        ],
    }
    for kind, files in kinds.items():
        done = subprocess.run(
            [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{kind}", *files],
            env={**ENVIRONMENT, "PYTHONPATH": str(tmp_path / "schemas")},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
