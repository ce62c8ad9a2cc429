"""Programs around parts of the guest's agent, compiled for this machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import REPO

AGENT = REPO / "images" / "guest" / "agent"


def compile_with(folder: Path, program: str, *parts: str) -> Path:
    """``program``, the text of a main.c, compiled in ``folder`` together with these files of the agent."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler; the guests of the integration tests prove it as well")
    made, main = folder / "program", folder / "main.c"
    main.write_text(program)
    argv = [compiler, "-std=gnu11", "-Wall", "-Werror", f"-I{AGENT}", "-o", made]
    subprocess.run([*argv, main, *(AGENT / part for part in parts)], check=True)
    return made
