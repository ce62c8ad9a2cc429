"""`python -m kmodpipe COMMAND`: the tasks as a program, for the project in or above the current folder."""

from __future__ import annotations

from pathlib import Path

from invoke.program import Program

from kmodpipe import __version__
from kmodpipe.cli.tasks import collection
from kmodpipe.pipeline.config import find_root

Program(version=__version__, namespace=collection(find_root(Path.cwd())), binary="kmodpipe").run()
