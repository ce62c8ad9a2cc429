"""The wheel of this checkout, and an environment that has it and knows nothing of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support import REPO

SHIPPED = ("images", "kconfigs")
# The caller's own environment must not lend the new one its modules.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV" and not k.startswith("PYTHON")}


@dataclass(frozen=True)
class Built:
    """A copy of the repository's files as they are now, and what was built from it."""

    source: Path
    sdist: Path
    wheel: Path

    def shipped(self) -> Mapping[str, tuple[bytes, bool]]:
        """Content and executable bit of each tracked file that has to be in the wheel."""
        names = _git_files("--cached", *SHIPPED)
        return {n: ((REPO / n).read_bytes(), os.access(REPO / n, os.X_OK)) for n in names}


def _git_files(*arguments: str) -> list[str]:
    command = ["git", "ls-files", "-z", "--exclude-standard", *arguments]
    listed = subprocess.run(command, cwd=REPO, check=True, capture_output=True, text=True).stdout
    return [name for name in listed.split("\0") if name and (REPO / name).is_file()]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def index_answers(folder: Path) -> bool:
    """Whether packages can be had: a wheel is built by what pip downloads."""
    probe = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, "setuptools>=77"]
    return subprocess.run(probe, env=ENVIRONMENT, capture_output=True, check=False).returncode == 0


def build(work: Path) -> Built:
    """The sdist, and the wheel that is built from the sdist."""
    # A copy: a build folder left in the checkout would be packed as well.
    source = work / "source"
    for name in _git_files("--cached", "--others"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPO / name, source / name, follow_symlinks=False)
    out = work / "dist"
    run(sys.executable, "-m", "build", "--outdir", out, source, cwd=work)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return Built(source, sdist, wheel)


def environment(wheel: Path, folder: Path) -> Path:
    """The interpreter of an environment that holds the wheel and what it requires, and nothing else."""
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv/bin/python"
    run(python, "-m", "pip", "install", "-q", wheel, cwd=folder)
    return python
