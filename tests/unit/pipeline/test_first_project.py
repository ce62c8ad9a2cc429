"""What `init` writes for what was found, and for what was answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.judge import cases
from kmodpipe.kconfig.matrix import load_matrix
from kmodpipe.kconfig.own_source import OwnSource
from kmodpipe.pipeline import config, first_ci, first_look, first_project
from kmodpipe.pipeline.first_project import Choice, Proposal
from kmodpipe.util.errors import UserError
from tests.support.trees import make_tree, write


def propose(root: Path, ci: str = "") -> Proposal:
    """What is written where nobody is asked."""
    first_project.require_new(root)
    seen = first_look.look(root)
    return first_project.propose(root, seen, first_project.choose(seen, ci))


@pytest.mark.parametrize(
    ("folder", "source", "names"),
    [(".", ".", ["a", "b-c"]), ("src/linux", "./src/linux", ["a"]), ('o"d', './o"d', ["a"])],
)
def test_a_module_gets_kernels_and_a_case(tmp_path: Path, folder: str, source: str, names: list[str]) -> None:
    write(tmp_path, {f"{folder}/Kbuild": f"obj-m := {' '.join(f'{name}.o' for name in names)}\n"})
    assert first_project.write(tmp_path, propose(tmp_path)) == ()
    project = config.load(tmp_path)
    matrix = load_matrix(project.matrix)
    assert matrix.module == OwnSource(source=source)
    assert matrix.kernels == ("debian-11", "debian-12", "debian-13")
    assert set(matrix.kernels) <= set(project.kernels)
    (case,) = cases.load(project.cases)
    assert f"for name in {' '.join(names).replace('-', '_')}; do" in case.path.read_text()


def test_how_make_is_run_is_written_where_kbuilds_own_way_would_not_do(tmp_path: Path) -> None:
    write(tmp_path, {"dkms.conf": "PACKAGE_NAME=$(cat name)\n", "Kbuild": "obj-m := a.o\n"})
    made = propose(tmp_path)
    first_project.write(tmp_path, made)
    matrix = load_matrix(config.load(tmp_path).matrix)
    assert matrix.module == OwnSource(source=".", make="-C {kit} M={obj} modules")
    assert any("dkms.conf is not used" in note for note in made.notes)


def test_answers_are_what_is_written(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"one/Kbuild": "obj-m := a.o\n", "two/Kbuild": "obj-m := b.o\n", "tests/mine.sh": "#!/bin/sh\n"},
    )
    seen = first_look.look(tmp_path)
    choice = Choice("module", seen.modules[1], ("debian-unstable",), "tests")
    made = first_project.propose(tmp_path, seen, choice)
    assert "modules are built in one as well" in made.notes[0]
    first_project.write(tmp_path, made)
    project = config.load(tmp_path)
    matrix = load_matrix(project.matrix)
    assert (matrix.module, matrix.kernels) == (OwnSource(source="./two"), ("debian-unstable",))
    # There are cases: none is written beside them.
    assert [case.id for case in cases.load(project.cases)] == ["mine"]


def test_a_kernel_tree_is_named_wherever_it_is(tmp_path: Path) -> None:
    make_tree(tmp_path)
    first_project.write(tmp_path, propose(tmp_path))
    assert str(tmp_path) not in (tmp_path / config.OWN_FILE).read_text()
    project = config.load(tmp_path)
    assert project.trees[project.tree].path == tmp_path
    # What it is tested with is its own, and nothing of overlayfs's.
    matrix = load_matrix(project.matrix)
    assert (matrix.module, matrix.axes, list(matrix.flavours)) == (None, {}, ["kasan"])
    assert [case.id for case in cases.load(project.cases)] == ["load"]


def test_an_empty_folder_is_for_series(tmp_path: Path) -> None:
    made = propose(tmp_path)
    first_project.write(tmp_path, made)
    assert "place for series" in made.found
    assert config.load(tmp_path).tree in config.load(tmp_path).kernels
    assert load_matrix(config.load(tmp_path).matrix).axes == {}


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write(tmp_path, {"Kbuild": "obj-m := a.o\n", ".github/workflows/kmodpipe.yml": "mine\n"})
    assert first_project.write(tmp_path, propose(tmp_path)) == (".github/workflows/kmodpipe.yml",)
    assert (tmp_path / ".github/workflows/kmodpipe.yml").read_text() == "mine\n"
    with pytest.raises(UserError, match="there already"):
        propose(tmp_path)


def test_a_project_of_a_pyproject_is_one(tmp_path: Path) -> None:
    write(tmp_path, {"pyproject.toml": '[tool.kmodpipe]\ntree = "debian-6.12"\n'})
    with pytest.raises(UserError, match="a project already"):
        propose(tmp_path)


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_the_file_for_a_ci_runs_the_main_job(tmp_path: Path, ci: str) -> None:
    first_project.write(tmp_path, propose(tmp_path, ci))
    (path,) = [*tmp_path.glob(".github/workflows/*.yml"), *tmp_path.glob(".gitlab-ci.yml")]
    assert "kmodpipe ci" in path.read_text()


def test_a_gitlab_file_of_ones_own_is_told_what_to_include(tmp_path: Path) -> None:
    write(tmp_path, {".gitlab-ci.yml": "build: {script: make}\n"})
    made = propose(tmp_path)
    assert first_project.write(tmp_path, made) == ()
    assert (tmp_path / ".gitlab/kmodpipe.yml").is_file()
    assert "include: {local: .gitlab/kmodpipe.yml}" in made.notes[-1]


def test_no_file_for_a_ci_is_an_answer_too(tmp_path: Path) -> None:
    write(tmp_path, {".gitlab-ci.yml": ""})
    written = {config.OWN_FILE, "kmodpipe-cases/load.sh", "patches/README"}
    assert set(propose(tmp_path, first_ci.NONE).files) == written
