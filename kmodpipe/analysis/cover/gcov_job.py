"""Run gcov over many counters at once, in the builder: counters and notes come from untrusted code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from kmodpipe.analysis.cover import gcov_json
from kmodpipe.build.runtime import Folder, Job, Runtime
from kmodpipe.results.coverage import FileCounts, FileLines
from kmodpipe.util import document, shipped
from kmodpipe.util.errors import InfraError
from kmodpipe.util.screen import Step
from kmodpipe.util.text import count

_TIMEOUT_S = 1800
Source = Mapping[str, tuple[FileLines, FileCounts]]
"""What gcov says of an object file: by source file, which lines have code and which were executed."""


@dataclass(frozen=True)
class Pair:
    """The notes of an object file, and counters of it; without counters, nothing was executed."""

    notes: Path
    counters: bytes | None

    @property
    def key(self) -> str:
        """Equal for what gives the same answer."""
        return sha256(self.notes.read_bytes() + b"\0" + (self.counters or b"")).hexdigest()


class Gcov:
    """Collects pairs, runs gcov once over the different ones, and gives the answers."""

    def __init__(self, runtime: Runtime, images: Path, jobs: int) -> None:
        self._runtime, self._images, self._jobs = runtime, images, jobs
        # By their key; its place in the dictionary is their number.
        self._pairs: dict[str, Pair] = {}
        self._answers: dict[str, Source | None] = {}

    def add(self, pair: Pair) -> str:
        """Take a pair; return the key by which its answer is found."""
        key = pair.key
        self._pairs.setdefault(key, pair)
        return key

    def run(
        self, scratch: Path, log: Path, place: Callable[[str], str | None], step: Step | None = None
    ) -> None:
        """Run gcov over all pairs, and read what it prints; ``place`` as `gcov_json.read` takes it."""
        given, out = scratch / "counters", scratch / "out"
        given.mkdir()
        out.mkdir()
        for number, pair in enumerate(self._pairs.values()):
            folder = given / str(number)
            folder.mkdir()
            (folder / "x.gcno").write_bytes(pair.notes.read_bytes())
            if pair.counters is not None:
                (folder / "x.gcda").write_bytes(pair.counters)
        job = Job(
            name="what was executed",
            script="gcov.sh",
            folders=(
                Folder("RECIPE", shipped.part(self._images, "coverage")),
                Folder("COUNTERS", given),
                Folder("OUT", out, writable=True),
            ),
            log=log,
            timeout_s=_TIMEOUT_S,
            env={"JOBS": str(self._jobs)},
        )
        if step:
            step.update(f"gcov over {count(len(self._pairs), 'object')}")
        ended = self._runtime.run(job)
        if ended.status:
            raise InfraError(
                f"gcov could not be run (status {ended.status})",
                where=f"log: {log}",
                detail=ended.tail,
                hint="the builder has to have the gcov of its compiler: invoke setup",
            )
        for number, key in enumerate(self._pairs):
            if step:
                step.update("what gcov says", done=number, total=len(self._pairs))
            self._answers[key] = _read(out / f"{number}.json", place)

    def answer(self, key: str) -> Source | None:
        """Return the answer to a pair; None if gcov could not read it."""
        return self._answers[key]


def _read(path: Path, place: Callable[[str], str | None]) -> Source | None:
    try:
        text = document.read(path, most=gcov_json.MOST_BYTES)
        return gcov_json.read(text, place) if text else None
    except (OSError, document.Unreadable):
        return None
