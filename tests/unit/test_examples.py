"""The examples load, are whole, and show each of their files in a command."""

from __future__ import annotations

import os
import subprocess

import pytest

from kmodpipe import kconfig, series
from kmodpipe.build.kbuild import split
from kmodpipe.judge import cases
from kmodpipe.pipeline.module_folder import changed_folders, changes
from tests.support import REPO
from tests.support.examples import EXAMPLES, FOLDERS, commands, paths, values

EACH = pytest.mark.parametrize("folder", FOLDERS)


def test_eight_kinds_of_modules_are_shown() -> None:
    assert len(FOLDERS) >= 8
    modules = {kconfig.load_matrix(EXAMPLES / folder / "matrix.toml").module for folder in FOLDERS}
    assert len(modules) >= 8
    assert sum((EXAMPLES / folder / "fix").is_dir() for folder in FOLDERS) >= 3


@EACH
def test_its_matrix_loads_and_uses_each_fragment(folder: str) -> None:
    matrix = kconfig.load_matrix(EXAMPLES / folder / "matrix.toml")
    used = {entry.origin.partition(":")[0] for entry in matrix.common}
    assert {path.name for path in (EXAMPLES / folder).glob("*.config")} <= used
    assert "guest.config" in used


@EACH
def test_its_readme_has_one_command_for_the_kernel_and_one_for_the_fix(folder: str) -> None:
    found = commands(folder)
    fix = (EXAMPLES / folder / "fix").is_dir()
    assert [values(command, "--series") for command in found] == [
        ["none"],
        *([[f"examples/{folder}/fix"]] if fix else []),
    ]
    for command in found:
        assert values(command, "--matrix") == [f"examples/{folder}/matrix.toml"]
        assert values(command, "--tree")
    named = {path for command in found for path in paths(command, "--case")}
    assert named == set((EXAMPLES / folder).glob("*.sh"))


@EACH
def test_its_scripts_are_cases(folder: str) -> None:
    for path in (EXAMPLES / folder).glob("*.sh"):
        assert cases.from_script(path).by_exit
        assert os.access(path, os.X_OK)
        # The guest's shell knows no more than this one.
        subprocess.run(["sh", "-n", path], check=True)


@EACH
def test_its_fix_is_a_series_for_its_module(folder: str) -> None:
    if not (EXAMPLES / folder / "fix").is_dir():
        return
    loaded = series.load(str(EXAMPLES / folder / "fix"), REPO / "patches")
    assert loaded.module == kconfig.load_matrix(EXAMPLES / folder / "matrix.toml").module
    assert loaded.module and changes(loaded, split(loaded.module)[0]) and len(changed_folders(loaded)) == 1
