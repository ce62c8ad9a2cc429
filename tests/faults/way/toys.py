"""The toy world in a scene: the real commands, recipes, store and channel, with nothing to wait for."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from tests import toy
from tests.faults import REPO, Ended, Outcome, Scene, ended


@dataclass(frozen=True)
class Toys:
    """A toy project whose cache, HOME, TMPDIR and results are the scene's."""

    scene: Scene
    world: toy.World

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        path = f"{self.world.root / 'bin'}:{os.environ['PATH']}"
        return {"PATH": path, "PYTHONPATH": str(REPO), **(more or {})}

    def invoke(self, *words: str | Path, timeout_s: float = 120, **more: str) -> Ended:
        """A command; those that build do it on the host, with the toy's make."""
        return ended(self.start(*words, **more), timeout_s)

    def start(self, *words: str | Path, **more: str) -> Popen[str]:
        runtime = ("--runtime", "host") if words[0] in ("build", "test", "ci", "plan") else ()
        return self.scene.start(*words, *runtime, env=self.environment(more), cwd=self.world.root)


def toys(scene: Scene) -> Toys:
    return Toys(scene, toy.build(scene.root / "toy"))


# -- judging -------------------------------------------------------------------------------------------
def results(scene: Scene) -> dict[str, object]:
    """The run in results.json, or nothing where there is none; half a file is an error."""
    path = scene.latest / "results.json"
    run: dict[str, object] = json.loads(path.read_text())["run"] if path.is_file() else {}
    return run


def problems(
    got: Ended, code: int, *sentences: str, hint: bool = False, never: Iterable[str] = ()
) -> list[str]:
    """What speaks against the way a command ended: its exit code, a sentence that is missing, a traceback."""
    found = [f"exit code {got.code}, not {code}"] if got.code != code else []
    shown = " ".join(got.text.split())
    found += [f"does not say {text!r}" for text in sentences if text not in shown]
    found += ["gives no hint"] if hint and "hint:" not in got.text else []
    # A traceback of a program that was run is evidence, and stands behind a bar.
    wrong = ("a defect in kmodpipe", "\nTraceback (most recent call last)", "Exception ignored", *never)
    found += [f"says {text!r}" for text in wrong if text in got.text]
    return [f"{text}: {got.text[-500:]}" for text in found[:1]] + found[1:]


def outcome(got: Ended, kept: str, *found: Sequence[str]) -> Outcome:
    """What came of a fault: how the command under it ended, and all that speaks against it."""
    return Outcome(got.sentence(), got.code, kept, tuple(p for some in found for p in some))
