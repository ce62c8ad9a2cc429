"""What all hostile inputs have in common: a guarded place outside, and commands that are tried on them."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import Ended, Outcome, Registry, Scene

fault = Registry("hostile")

# What is told where something was not foreseen.
_UNFORESEEN = re.compile(r"Traceback \(most recent|a defect in kmodpipe")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202e]")


class Outside:
    """A folder that is nobody's business: what is in it must be there afterwards, unchanged, and ``secret``,
    the content of its one file that is worth reading, must be nowhere else."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.folder = scene.root / "outside"
        self.folder.mkdir()
        self.secret = f"secret-{secrets.token_hex(12)}"
        self.canary = self.folder / "canary"
        self.canary.write_text(f"{self.secret}\n")
        self.victim = self.folder / "victim"
        self.victim.write_text("as it was\n")
        self._before = self._state()

    def _state(self) -> dict[str, tuple[int, int, bytes]]:
        return {
            path.name: (path.lstat().st_mode, path.lstat().st_mtime_ns, path.read_bytes())
            for path in self.folder.iterdir()
        }

    def problems(self, told: str, *, own: Iterable[Path] = ()) -> Iterator[str]:
        """What was written here, and where the secret is found: in ``told``, in what the runs left. ``own``
        are the files that the fault itself put there."""
        for name in self._before.keys() ^ self._state().keys():
            yield f"outside: {name} was made or removed"
        for name, state in self._state().items():
            if self._before.get(name, state) != state:
                yield f"outside: {name} was written to"
        if self.secret in told:
            yield "the secret is on the screen"
        for folder in (
            self._scene.out,
            self._scene.cache,
            self._scene.root / "tmp",
            self._scene.root / "home",
        ):
            yield from (f"the secret is in {path}" for path in self._holders(folder, set(own)))

    def _holders(self, folder: Path, own: set[Path]) -> Iterator[Path]:
        wanted = self.secret.encode()
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink() and path not in own and wanted in path.read_bytes():
                yield path


@dataclass(frozen=True)
class Try:
    """One hostile input: the command that takes it, its exit code, and what the error has to say."""

    name: str
    words: Sequence[str | Path]
    says: str
    code: int = 2
    env: Mapping[str, str] = field(default_factory=dict)


def unforeseen(text: str) -> bool:
    """Whether a command met something that was not foreseen."""
    return _UNFORESEEN.search(text) is not None


def problems_of(one: Try, ended: Ended) -> Iterator[str]:
    if ended.code != one.code:
        yield f"{one.name}: exit code {ended.code}, not {one.code}: {ended.text.strip()[-300:]!r}"
    if not re.search(one.says, ended.text, re.DOTALL):
        yield f"{one.name}: nothing says {one.says!r}: {ended.text.strip()[-300:]!r}"
    if _UNFORESEEN.search(ended.text):
        yield f"{one.name}: not foreseen: {ended.text.strip()[-300:]!r}"
    if _CONTROLS.search(ended.text):
        yield f"{one.name}: control characters on the screen"
    if one.code and "error: " not in ended.err:
        yield f"{one.name}: no error is told"


def outcome_of(scene: Scene, tries: Sequence[Try], outside: Outside, *, own: Iterable[Path] = ()) -> Outcome:
    """Try each, three at a time; the outcome tells the first one's sentence, and every problem of all."""
    with ThreadPoolExecutor(3) as pool:
        ended = list(pool.map(lambda one: scene.invoke(*one.words, env=one.env, timeout_s=120), tries))
    problems = [told for one, end in zip(tries, ended, strict=True) for told in problems_of(one, end)]
    problems += outside.problems("".join(end.text for end in ended), own=own)
    kept = f"{len(tries)} inputs; nothing outside read or written"
    return Outcome(ended[0].sentence(), ended[0].code, kept, tuple(problems))
