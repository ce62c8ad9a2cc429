"""The pages of docs/ that have commands: run as a reader runs them, on real kernels.

Each begins in an empty folder, as its reader does. `python -m tests.pages PAGE --write` writes new output
into one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import require_machinery
from tests.support import pages

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.kernels, pytest.mark.timeout(3600)]
PAGES = sorted(path for path in pages.DOCS.rglob("*.md") if pages.is_run(path))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(pages.DOCS).as_posix())
def test_what_a_page_shows(page: Path, tmp_path: Path) -> None:
    require_machinery()
    work = tmp_path / "work"
    work.mkdir()
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    assert "\n\n".join(pages.problems(pages.run(page, work, env, 3500))) == ""
