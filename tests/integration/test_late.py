"""An engine that is asked when the first job runs: it may have stopped by then, or have another image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kmodpipe.build import builder_image
from kmodpipe.build.runtime import Folder, ImageGone, Job, Runtime, Unready
from kmodpipe.cache.place import cache_folder
from kmodpipe.pipeline import runtimes
from kmodpipe.util import process
from kmodpipe.util.screen import Screen
from tests.faults.way.engines import Private
from tests.integration.conftest import require_machinery
from tests.support import REPO

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
IMAGES = REPO / "images"


@pytest.fixture(scope="module")
def private() -> Iterator[Private]:
    require_machinery()
    # That there is an image to copy.
    runtimes.open_runtime("docker", IMAGES, cache_folder(), Screen())
    made = Private()
    yield made
    made.close()


@pytest.fixture
def engine(private: Private, monkeypatch: pytest.MonkeyPatch) -> Iterator[Private]:
    monkeypatch.setenv("DOCKER_HOST", private.socket)
    with process.Children().collecting():
        yield private


def said(runtime: Runtime, folder: Path) -> str:
    """What a job says that runs in it."""
    for name in ("recipe", "out"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "recipe/say.sh").write_text("echo here\n")
    folders = (Folder("RECIPE", folder / "recipe"), Folder("OUT", folder / "out", writable=True))
    return runtime.run(Job("a job", "say.sh", folders, folder / "log", 60)).tail.strip()


def test_what_was_opened_once_is_asked_when_a_job_runs(engine: Private, tmp_path: Path) -> None:
    cache, screen = tmp_path / "cache", Screen()
    assert runtimes.late(IMAGES, cache, screen) is None
    opened = runtimes.open_runtime("docker", IMAGES, cache, screen)
    late = runtimes.late(IMAGES, cache, screen)
    assert late and late.identity() == opened.identity()
    assert said(late, tmp_path) == said(opened, tmp_path) == "here"

    # Nothing of it is known of another engine, nor of other recipes.
    with pytest.MonkeyPatch.context() as other:
        other.setenv("DOCKER_HOST", "unix:///nowhere")
        assert runtimes.late(IMAGES, cache, screen) is None
    (tmp_path / "images/builder").mkdir(parents=True)
    (tmp_path / "images/builder/Dockerfile").write_text("FROM scratch\n")
    assert runtimes.late(tmp_path / "images", cache, screen) is None

    engine.stop()
    stopped = runtimes.late(IMAGES, cache, screen)
    assert stopped and stopped.identity() == opened.identity()
    with pytest.raises(Unready) as caught:
        said(stopped, tmp_path)
    assert not isinstance(caught.value, ImageGone) and "--runtime host" in caught.value.hint
    engine.start()
    assert said(stopped, tmp_path) == "here"


def test_an_image_that_was_made_anew_is_no_other_by_the_same_name(engine: Private, tmp_path: Path) -> None:
    cache, screen = tmp_path / "cache", Screen()
    opened = runtimes.open_runtime("docker", IMAGES, cache, screen)
    late = runtimes.late(IMAGES, cache, screen)
    client = engine.client()
    repository, _, tag = builder_image.tag(IMAGES).partition(":")
    made = client.containers.create(f"{repository}:{tag}", ["true"])
    new = made.commit(repository, tag)
    made.remove()
    assert late and opened.identity()["image"] != new.id

    ran: list[Runtime | None] = []

    def command() -> str:
        runtime = runtimes.late(IMAGES, cache, screen)
        ran.append(runtime)
        return said(runtime or runtimes.open_runtime("docker", IMAGES, cache, screen), tmp_path)

    assert runtimes.again_if_gone(command, screen) == "here"
    # The second time with the image that there is, which is known from then on.
    assert ran[0] and ran[1] is None and len(ran) == 2
    after = runtimes.late(IMAGES, cache, screen)
    assert after and after.identity()["image"] == new.id
    with pytest.raises(ImageGone):
        said(late, tmp_path)
