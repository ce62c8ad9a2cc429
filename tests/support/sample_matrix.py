"""Two variants, and a matrix with flavours."""

from __future__ import annotations

from pathlib import Path

from kmodpipe import kconfig
from kmodpipe.kconfig import Matrix, Variant

PATCHED = Variant("index-nouuid", "index-nouuid", {})
CONTROL = Variant("unpatched", "none", {})

MATRIX = """\
fragments = ["all.config"]
[axes.INDEX]
symbol = "FS_INDEX"
[flavours.xfs]
summary = "disks with xfs"
fragments = ["xfs.config", "more.config"]
env = { KMODPIPE_FS = "xfs" }
tools = ["xfs"]
[flavours.kasan]
summary = "a kernel with KASAN"
"""


def flavoured(folder: Path) -> Matrix:
    """The matrix, from files in ``folder``."""
    (folder / "all.config").write_text("CONFIG_FS=m\n# CONFIG_QUOTA is not set\n")
    (folder / "xfs.config").write_text("CONFIG_XFS_FS=m\nCONFIG_QUOTA=y\n")
    (folder / "more.config").write_text("CONFIG_XFS_FS=y\n")
    (folder / "m.toml").write_text(MATRIX)
    return kconfig.load_matrix(folder / "m.toml")
