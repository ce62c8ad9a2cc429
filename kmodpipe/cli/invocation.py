"""One call of a command: project, command line, screen, and what an interruption ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kmodpipe.util import costs, kept
from kmodpipe.util.process import Children
from kmodpipe.util.screen import Screen
from kmodpipe.util.signals import Signals

if TYPE_CHECKING:
    from kmodpipe.pipeline.config import Project
    from kmodpipe.publish.receivers.base import Receiver


@dataclass(frozen=True)
class Invocation:
    """What every command gets in addition to its options."""

    # The folder of the project: the one with kmodpipe.toml or pyproject.toml.
    root: Path
    # The command as it was typed.
    command: str = ""
    screen: Screen = field(default_factory=Screen)
    # The signals that interrupt it; none if this process has not installed handlers.
    signals: Signals = field(default_factory=Signals)
    # The child processes, which an interruption ends.
    children: Children = field(default_factory=Children)
    # The name of the program that was called: kmodpipe or invoke.
    program: str = "invoke"

    def project(self, *, required: bool = True) -> Project:
        """Read and return what the project declares. Raise UserError if a declaration is wrong.

        What is about the machine needs none: then it is not ``required``.
        """
        from kmodpipe.pipeline import config

        costs.started()
        project = config.load(self.root, required=required)
        receivers_of(project)
        return project

    def look_ahead(self) -> None:
        """Begin to look at the trees that were used last, while the modules of a command are imported."""
        from kmodpipe.cache import look_ahead
        from kmodpipe.cache.place import cache_path

        if path := cache_path():
            look_ahead.begin(path, self.root)

    @contextmanager
    def cache(self) -> Iterator[Path]:
        """Yield the cache's folder, made if needed; no other command empties it while the block runs."""
        from kmodpipe.cache import users
        from kmodpipe.cache.place import cache_folder

        cache = cache_folder()
        with users.using(cache, self.screen.say), kept.on_disk(cache / kept.FOLDER):
            yield cache


def receivers_of(project: Project) -> Mapping[str, Receiver]:
    """Return the receivers that the project declares. Raise UserError for a wrong declaration."""
    if not project.receivers:
        return {}
    # Imported here, so that a project without receivers does not spend the time.
    from kmodpipe.publish import receivers

    return receivers.parse(project.receivers, project.file, project.at)
