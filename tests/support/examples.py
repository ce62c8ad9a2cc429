"""The examples: folders below examples/, with the commands that their README.md shows."""

from __future__ import annotations

import itertools
import shlex
from pathlib import Path

from tests.support import REPO

EXAMPLES = REPO / "examples"
# Those of modules of a tree; the others are projects of their own.
FOLDERS = tuple(sorted(path.parent.name for path in EXAMPLES.glob("*/matrix.toml")))
BEGINS = "    invoke test "


def commands(folder: str) -> list[list[str]]:
    """Return the arguments of each command in an example's README.md, in their order."""
    text = (EXAMPLES / folder / "README.md").read_text("utf-8").replace("\\\n", " ")
    return [shlex.split(line)[1:] for line in text.splitlines() if line.startswith(BEGINS)]


def values(command: list[str], option: str) -> list[str]:
    """Return what a command gives an option, each time that it does."""
    return [after for word, after in itertools.pairwise(command) if word == option]


def paths(command: list[str], option: str) -> list[Path]:
    """Return the files or folders that a command gives an option."""
    return [REPO / value for value in values(command, option)]
