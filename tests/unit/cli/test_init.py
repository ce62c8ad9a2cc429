"""What every command begins with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import REPO


@pytest.mark.parametrize("forbidden", [False, True])
def test_a_checkout_compiles_its_modules_once_unless_that_is_forbidden(
    tmp_path: Path, forbidden: bool
) -> None:
    for name in ("kmodpipe", "images", "kconfigs"):
        shutil.copytree(REPO / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("tasks.py", "pyproject.toml"):
        shutil.copy(REPO / name, tmp_path)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env |= {"PYTHONPATH": str(tmp_path)} | ({"PYTHONDONTWRITEBYTECODE": "1"} if forbidden else {})
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "plan", "--help"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    compiled = {path.name.partition(".")[0] for path in tmp_path.rglob("*.pyc")}
    assert compiled >= {"tasks", "commands", "errors"} if not forbidden else not compiled
