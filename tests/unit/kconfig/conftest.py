"""A matrix of two axes."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe import kconfig


@pytest.fixture
def matrix(tmp_path: Path) -> kconfig.Matrix:
    (tmp_path / "overlay.config").write_text("CONFIG_OVERLAY_FS=m\nCONFIG_OVERLAY_FS_INDEX=y\n")
    path = tmp_path / "matrix.toml"
    path.write_text(
        'fragments = ["overlay.config"]\n'
        '[axes.INDEX]\nsymbol = "CONFIG_OVERLAY_FS_INDEX"\n'
        '[axes.NOUUID]\nsymbol = "OVERLAY_FS_INDEX_NOUUID"\nvalues = ["n", "y"]\n'
    )
    return kconfig.load_matrix(path)
