"""Find or make a run's stages: in the store, in the share, or by building them."""

from __future__ import annotations

import shutil
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kmodpipe.build.recipes import WorkDir
from kmodpipe.build.stage import Stage
from kmodpipe.cache.share import origin
from kmodpipe.cache.store import Artifact
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.workspace import Workspace
from kmodpipe.util import costs, os_errors
from kmodpipe.util.digest import digest_of


@dataclass
class Tally:
    """The names of the stages that a command made, found in the cache, or pulled from the share."""

    made: list[str] = field(default_factory=list)
    cached: list[str] = field(default_factory=list)
    pulled: list[str] = field(default_factory=list)


class _NotShared(Exception):
    """The share does not have what was to be pulled."""


class StageMaker:
    """Finds stages in the store or makes them, with a step on the screen and a log."""

    def __init__(self, workspace: Workspace, folder: RunFolder) -> None:
        self._workspace = workspace
        self._folder = folder
        self.tally = Tally()
        self._lock = threading.Lock()

    def has(self, stage: Stage) -> bool:
        """Return whether the store has a stage, after pulling it from the share if that has it."""
        store, share = self._workspace.store, self._workspace.share
        found = store.find(stage.kind, stage.inputs, stage.check) is not None
        if found or share is None:
            return found

        def pull(folder: Path) -> None:
            if not share.pull(stage.kind, digest_of(stage.inputs), folder, None, stage.check):
                raise _NotShared

        with suppress(_NotShared):
            store.make(
                stage.kind, stage.inputs, stage.label, pull, check=stage.check, need_mib=stage.need_mib
            )
            with self._lock:
                self.tally.pulled.append(f"{stage.kind} {stage.label}")
            return True
        return False

    def ensure(self, stage: Stage) -> Artifact:
        """Return a stage's artifact from the store or the share; make it if neither has it.

        Its log is in the run's folder. Raises what the stage's ``make`` raises.
        """
        store, screen = self._workspace.store, self._workspace.screen
        log = self._folder.log(stage)
        name = f"{stage.kind} {stage.label}"
        share = self._workspace.share
        artifact = store.find(stage.kind, stage.inputs, stage.check)
        if artifact is None:
            why = store.why_missed(stage.kind, stage.inputs, stage.label)
            with screen.step(name) as step:

                def make(folder: Path) -> None:
                    key = digest_of(stage.inputs)
                    if share and share.pull(stage.kind, key, folder, step, stage.check):
                        return
                    stage.make(WorkDir(folder, log, step))
                    if log.is_file():
                        shutil.copyfile(log, folder / "build.log")

                part = costs.Part.CONFIGURE if stage.kind == "config" else costs.Part.COMPILE
                with costs.step(part), os_errors.explained(*self._workspace.places):
                    artifact = store.make(
                        stage.kind, stage.inputs, stage.label, make,
                        check=stage.check, need_mib=stage.need_mib, waiting=screen.say,
                    )  # fmt: skip
                pulled = origin(artifact)
                step.finish(f"pulled from {pulled.partition('@')[0]}" if pulled else f"made ({why})")
            with self._lock:
                (self.tally.pulled if pulled else self.tally.made).append(name)
        else:
            with self._lock:
                if name not in self.tally.pulled:
                    self.tally.cached.append(name)
        if share and not origin(artifact):
            share.push(artifact, stage.label)
        if not log.exists() and (artifact.path / "build.log").is_file():
            shutil.copyfile(artifact.path / "build.log", log)
        return artifact
