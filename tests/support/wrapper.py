"""The compiler's wrapper of the recipes, as they make it."""

from __future__ import annotations

import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tests.support import REPO


@cache
def wrapper() -> Path:
    """Compile ``images/builder/cc.c`` once a process, and return the program."""
    folder = Path(tempfile.mkdtemp(prefix="kmodpipe-wrapper-"))
    subprocess.run(
        ["sh", "-eu", "-c", '. "$RECIPE/wrapper.sh"'],
        env={"PATH": "/usr/bin:/bin", "RECIPE": str(REPO / "images/builder"), "OBJ": str(folder)},
        check=True,
    )
    return folder / ".cc"
