"""The toy world in a scene: the real commands, recipes, store and channel, with nothing to wait for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from tests.faults import REPO, Ended, Scene, ended, left_here, make_scene
from tests.support import toy

# One cell with a module to build, and the run of it.
CELL = "toy-fix.INDEX=y.NOUUID=y"
ONE = ("test", "--no-control", "--cell", CELL)


@dataclass(frozen=True)
class Toys:
    """A toy project whose cache, HOME, TMPDIR and results are the scene's."""

    scene: Scene
    world: toy.World

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """All that a command in this world has."""
        path = f"{self.world.root / 'bin'}:{os.environ['PATH']}"
        return self.scene.environment({"PATH": path, "PYTHONPATH": str(REPO), **(more or {})})

    def argv(self, *words: str | Path) -> list[str]:
        """A command; those that build do it on the host, with the toy's make."""
        return self.scene.argv(*_on_the_host(words))

    def start(self, *words: str | Path, prefix: Sequence[str] = (), **more: str) -> Popen[str]:
        """The same in the background, behind ``prefix``."""
        return self.scene.start(
            *_on_the_host(words), env=self.environment(more), cwd=self.world.root, prefix=prefix
        )

    def invoke(
        self, *words: str | Path, prefix: Sequence[str] = (), timeout_s: float = 120, **more: str
    ) -> Ended:
        """The same to its end."""
        return ended(self.start(*words, prefix=prefix, **more), timeout_s)

    def program(self, name: str) -> Path:
        """What plays the program ``name``."""
        return self.world.root / "bin" / name

    def meanwhile(self, program: str, when: str, harm: str) -> None:
        """Let ``program`` run the shell commands ``harm`` when its words fit ``when``, and go on then as it
        would."""
        path = self.program(program)
        head, _, played = path.read_text().partition("\n")
        path.write_text(f'{head}\ncase "$*" in {when}) {harm};; esac\n{played}')

    def let_go(self) -> None:
        """Let the cases of a world that waits come to their end."""
        self._go.touch()

    def left(self) -> list[str]:
        """What is left of runs that have ended."""
        return list(left_here(self.scene))

    @property
    def _go(self) -> Path:
        return self.world.root / "go"

    def _wait(self) -> None:
        script = self.world.root / "images/guest/cases/remount/run.sh"
        script.write_text(f"#!/bin/sh\n# toy: until {self._go}\n# toy: observe-module\n")
        case = script.with_name("case.toml")
        case.write_text(case.read_text().replace("timeout_s = 5", "timeout_s = 60"))


def toys(scene: Scene, name: str = "", *, waits: bool = False) -> Toys:
    """A toy project in the scene, or in one of its own within it, called ``name``. Its case ``waits`` in the
    guest until `Toys.let_go`, and for good without."""
    own = make_scene(scene.root / name) if name else scene
    made = Toys(own, toy.build(own.root / "toy"))
    if waits:
        made._wait()
    return made


def _on_the_host(words: Sequence[str | Path]) -> tuple[str | Path, ...]:
    builds = words[0] in ("build", "test", "ci", "plan")
    return (*words, "--runtime", "host") if builds else tuple(words)
