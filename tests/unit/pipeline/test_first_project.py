"""What `init` finds in a repository, and what it writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.judge import cases
from kmodpipe.kconfig.matrix import load_matrix
from kmodpipe.kconfig.own_source import OwnSource
from kmodpipe.pipeline import config, first_project
from kmodpipe.util.errors import UserError
from tests.support.trees import make_tree, write


@pytest.mark.parametrize(
    ("files", "source", "names"),
    [
        ({"Kbuild": "obj-m := a.o b-c.o\n"}, ".", ["a", "b-c"]),
        ({"Makefile": "obj-m += a.o\na-objs := x.o y.o\nall:\n\tmake\n"}, ".", ["a"]),
        ({"Makefile": "obj-$(CONFIG_A) := \\\n  a.o\n"}, ".", ["a"]),
        ({"src/Kbuild": "obj-m := a.o\n", "docs/Makefile": "html:\n"}, "./src", ["a"]),
        ({"dkms.conf": 'PACKAGE_NAME="a"\nBUILT_MODULE_NAME[0]="a"\n', "Makefile": "all:\n"}, ".", ["a"]),
    ],
)
def test_a_module_is_found_by_what_builds_it(
    tmp_path: Path, files: dict[str, str], source: str, names: list[str]
) -> None:
    write(tmp_path, files)
    made = first_project.propose(tmp_path)
    assert made.kind == "module"
    assert first_project.write(tmp_path, made) == ()
    project = config.load(tmp_path)
    matrix = load_matrix(project.matrix)
    assert matrix.module == OwnSource(source=source)
    assert set(matrix.kernels) <= set(project.kernels)
    (case,) = cases.load(project.cases)
    assert all(f"/sys/module/{name.replace('-', '_')}" in case.path.read_text() for name in names)


def test_a_kernel_tree_is_one(tmp_path: Path) -> None:
    make_tree(tmp_path)
    made = first_project.propose(tmp_path)
    first_project.write(tmp_path, made)
    project = config.load(tmp_path)
    assert (made.kind, project.trees[project.tree].path) == ("tree", tmp_path)


def test_an_empty_folder_is_for_series(tmp_path: Path) -> None:
    made = first_project.propose(tmp_path)
    first_project.write(tmp_path, made)
    assert made.kind == "empty"
    assert config.load(tmp_path).tree in config.load(tmp_path).kernels


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write(tmp_path, {"Kbuild": "obj-m := a.o\n", f"{first_project.CASES}/load.sh": "mine\n"})
    assert first_project.write(tmp_path, first_project.propose(tmp_path)) == (
        f"{first_project.CASES}/load.sh",
    )
    assert (tmp_path / first_project.CASES / "load.sh").read_text() == "mine\n"
    with pytest.raises(UserError, match="there already"):
        first_project.propose(tmp_path)


@pytest.mark.parametrize("ci", first_project.CI)
def test_the_file_for_a_ci_runs_the_main_job(tmp_path: Path, ci: str) -> None:
    first_project.write(tmp_path, first_project.propose(tmp_path, ci))
    (path,) = [*tmp_path.glob(".github/workflows/*.yml"), *tmp_path.glob(".gitlab-ci.yml")]
    assert "kmodpipe ci" in path.read_text()
