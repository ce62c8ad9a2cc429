"""`invoke watch` with a real kernel: a line of a series is edited, and what it breaks and mends is seen."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import require_machinery
from tests.support import REPO
from tests.support.terminal import Terminal

pytestmark = [
    pytest.mark.integration,
    pytest.mark.thorough,
    pytest.mark.kernels,
    pytest.mark.timeout(6000),
]

CELL, CASE = "edited.INDEX=y.NOUUID=n", "uuid-remount-index-nouuid"
# The mount option sets the other value: the UUID is verified after all.
GOOD, BAD = "+\t\t\tconfig->index = OVL_INDEX_NOUUID;", "+\t\t\tconfig->index = OVL_INDEX_ON;"
FIRST_S, ROUND_S = 2400, 1500


def save(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    part = path.with_name(f"{path.name}~")
    part.write_text(text.replace(old, new, 1))
    part.replace(path)


def test_a_line_of_a_series_turns_a_case_red_and_green_again(tmp_path: Path) -> None:
    require_machinery()
    series = tmp_path / "edited"
    shutil.copytree(REPO / "patches/index-nouuid", series)
    patch = series / "0003-ovl-add-the-index-nouuid-mount-option.patch"
    argv = [sys.executable, "-m", "invoke", "watch", "--series", str(series), "--cell", CELL, "--case", CASE]
    out = tmp_path / "out"
    terminal = Terminal([*argv, "--out", str(out)], REPO, os.environ, columns=160)
    try:
        terminal.wait("✓ 2 as expected", "fixed 1", within_s=FIRST_S)
        terminal.mark()
        save(patch, GOOD, BAD)
        terminal.wait("series edited", f"✗ {CASE}: expected mounted, observed ESTALE", within_s=ROUND_S)
        terminal.wait("✗ 1 as expected, 1 failing", "first verdict", within_s=ROUND_S)
        # A guest of the failing cell, with the module that fails.
        terminal.press("s")
        terminal.wait("a shell in its guest", within_s=ROUND_S)
        terminal.wait("guest:", within_s=ROUND_S)
        terminal.press("cat /sys/module/overlay/parameters/index; exit\r")
        terminal.wait("q quit", within_s=ROUND_S)
        terminal.mark()
        save(patch, BAD, "+\t\t\tconfig->index = OVL_INDEX_NOPE;")
        terminal.wait("does not build: ", "OVL_INDEX_NOPE", "observed ESTALE", within_s=ROUND_S)
        terminal.mark()
        save(patch, "+\t\t\tconfig->index = OVL_INDEX_NOPE;", GOOD)
        terminal.wait("✓ 2 as expected", "fixed 1", f"✓ {CASE}: ", within_s=ROUND_S)
        terminal.press("q")
        assert terminal.end(120) == 0
        assert terminal.settings == terminal.before
    finally:
        terminal.close()
