"""A GitLab runner on this machine: gitlab-ci-local, from npm."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.integration.conftest import require

GITLAB_RUNNER = "gitlab-ci-local@4.64.1"


def runner(tmp_path: Path) -> Path:
    """gitlab-ci-local, from npm into a folder of this test."""
    require(shutil.which("npm") is not None, "npm is not installed (invoke setup --tests)")
    require(shutil.which("rsync") is not None, "rsync is not installed (invoke setup --tests)")
    done = subprocess.run(
        ["npm", "install", "--no-fund", "--no-audit", "--prefix", str(tmp_path / "npm"), GITLAB_RUNNER],
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    require(done.returncode == 0, f"npm does not give {GITLAB_RUNNER}: {done.stderr[-300:]}")
    return tmp_path / "npm/node_modules/.bin/gitlab-ci-local"
