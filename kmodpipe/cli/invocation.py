"""One call of a command: where the project is, what was typed, the screen, and what can be interrupted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kmodpipe.util.process import Children
from kmodpipe.util.screen import Screen
from kmodpipe.util.signals import Signals

if TYPE_CHECKING:
    from kmodpipe.pipeline.config import Project
    from kmodpipe.publish.receivers.base import Receiver


@dataclass(frozen=True)
class Invocation:
    """What every command gets beside its options."""

    # The folder of the project: the one with pyproject.toml.
    root: Path
    # The command as it was typed.
    command: str = ""
    screen: Screen = field(default_factory=Screen)
    # The signals that interrupt it; none where this process has not taken them over.
    signals: Signals = field(default_factory=Signals)
    # What it has started and an interruption ends.
    children: Children = field(default_factory=Children)

    def project(self) -> Project:
        """Read what the project declares. Raises UserError naming what is wrong."""
        from kmodpipe.pipeline import config

        project = config.load(self.root)
        receivers_of(project)
        return project

    @contextmanager
    def cache(self) -> Iterator[Path]:
        """The cache, made where it is not there yet; no other command empties it while the block runs."""
        from kmodpipe.cache import users
        from kmodpipe.pipeline import config

        cache = config.cache_folder()
        with users.using(cache, self.screen.say):
            yield cache


def receivers_of(project: Project) -> Mapping[str, Receiver]:
    """Return the receivers that the project declares. Raises UserError for a declaration that is wrong."""
    if not project.receivers:
        return {}
    # Here, so that a project without receivers does not pay for the import.
    from kmodpipe.publish import receivers

    return receivers.parse(project.receivers, project.file)
