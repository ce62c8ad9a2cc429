"""Whether the containers of an engine have the files of this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from docker import DockerClient

from kmodpipe.build.runtime import DockerRuntime, Ended, Job, docker_engine, same_files
from kmodpipe.cache.store import Store
from kmodpipe.util.errors import InfraError


class Engine:
    """An engine that says this of itself."""

    def __init__(self, *options: str) -> None:
        self._options = options

    def info(self) -> dict[str, Any]:
        return {"SecurityOptions": [*self._options]}


def runtime(run: Callable[[Job], Ended], *options: str) -> DockerRuntime:
    made = DockerRuntime(cast(DockerClient, Engine(*options)), "sha256:1")
    made.run = run  # type: ignore[method-assign,assignment]
    return made


def shares(job: Job) -> Ended:
    places = {folder.name: folder.path for folder in job.folders}
    (places["OUT"] / "word").write_bytes((places["SRC"] / "word").read_bytes())
    return Ended(0, "", 0.1)


def says(text: str) -> Callable[[Job], Ended]:
    def run(job: Job) -> Ended:
        if text.startswith("cat"):
            return Ended(1, text, 0.1)
        raise InfraError(f"Docker failed while {job.name} ran: {text}")

    return run


def elsewhere(job: Job) -> Ended:
    """A machine that has the same folders, and its own files in them."""
    (next(f.path for f in job.folders if f.name == "OUT") / "word").write_text("0123456789abcdef")
    return Ended(0, "", 0.1)


@pytest.mark.parametrize(
    ("run", "told"),
    [
        (elsewhere, "has other files"),
        (says("cat: /src/word: No such file"), "has other files"),
        (
            says('invalid mount config for type "bind": bind source path does not exist: /x'),
            "has other files",
        ),
        (says("statfs /x: no such file or directory"), "has other files"),
        (says("runc create failed: error setting rlimit type 7"), "error setting rlimit type 7"),
    ],
)
def test_an_engine_with_other_files_is_refused_and_what_it_says_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[[Job], Ended], told: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://builds.example.org:2376")
    store = Store(tmp_path)
    with pytest.raises(InfraError, match=told) as e:
        same_files.require(runtime(run), store)
    if "files" in told:
        assert e.value.where == "tcp://builds.example.org:2376" and "same path" in e.value.hint
    same_files.require(runtime(shares), store)
    assert not list(store.work.iterdir())


def test_the_machines_own_engine_is_believed_unless_it_maps_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_engine, "endpoint", lambda: docker_engine.DEFAULT_ENDPOINT)
    same_files.require(runtime(elsewhere), Store(tmp_path))
    for mapping in ("name=userns", "name=rootless"):
        with pytest.raises(InfraError, match="has other files"):
            same_files.require(runtime(elsewhere, mapping), Store(tmp_path))
