"""Open the runtime that a command builds in.

For a command that may find everything in the store, the engine is asked when the first job runs (`late`): to
load its library and to ask it takes a sixth of an unchanged build. The image, whose id is a part of
every key, is then the one that the last command of the checkout opened.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from kmodpipe.build import builder_image, image_cleanup, shared_image
from kmodpipe.build.runtime import (
    DockerRuntime,
    HostRuntime,
    ImageGone,
    LateDocker,
    Runtime,
    Unready,
    docker_engine,
    memory_mib,
    same_files,
)
from kmodpipe.cache.share import Share
from kmodpipe.cache.store import Store
from kmodpipe.pipeline import snapshot
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.source.distribution import AptSource
from kmodpipe.util import costs, kept, process
from kmodpipe.util.errors import InfraError
from kmodpipe.util.screen import Screen

if TYPE_CHECKING:
    from docker import DockerClient

RUNTIME = "runtime"
"""The kind of `util.kept` for runtimes; one that failed is to be forgotten."""
_T = TypeVar("_T")
# The kind of the note on the image that was opened last.
_OPENED = "image"


@costs.step(costs.Part.ENGINE)
def require_engine(spec: RunSpec) -> DockerClient | None:
    """Return a client of the engine that the run builds in; None if it needs none.

    Raise InfraError if it does not answer.
    """
    if spec.runtime == "host":
        return None
    try:
        return docker_engine.connect(3)
    except InfraError as e:
        raise with_way_out(e) from e


def with_way_out(error: InfraError) -> InfraError:
    """Return an error of the engine with a hint at building without it, which is the user's decision."""
    hint = f"{error.hint}; or build without Docker: --runtime host"
    return InfraError(error.what, where=error.where, detail=error.detail, hint=hint)


@costs.step(costs.Part.ENGINE)
def late(images: Path, cache: Path, screen: Screen) -> Runtime | None:
    """Return a runtime that asks the engine when the first job runs.

    None if no command has opened an image of these recipes on this engine yet.
    """
    noted = kept.noted(cache, _OPENED, images)
    image_id = str(noted.get("id", ""))
    if not image_id or noted != _note(images, image_id):
        return None
    image_cleanup.note_use(cache, images, image_id)

    @costs.step(costs.Part.ENGINE)
    def connect() -> DockerRuntime:
        try:
            client = docker_engine.connect()
            if builder_image.find(client, images) != image_id:
                kept.note(cache, _OPENED, images, {})
                raise ImageGone(
                    "the engine has another builder image than the last command had",
                    hint="run the same command again: it takes that one, or makes one",
                )
            runtime = _docker(client, image_id, cache, screen)
            # A container that a killed process left may have written to its folder.
            if runtime.sweep():
                Store(cache).sweep()
        except Unready:
            raise
        except InfraError as e:
            found = with_way_out(e)
            raise Unready(found.what, where=found.where, detail=found.detail, hint=found.hint) from e
        return runtime

    return LateDocker(image_id, connect)


def again_if_gone(command: Callable[[], _T], screen: Screen) -> _T:
    """Return what a command returns; begin it again if the builder image that it counted on is gone."""
    try:
        return command()
    except ImageGone as e:
        screen.say(f"{e.what}: beginning again")
        process.children().go_on()
        return command()


def _note(images: Path, image_id: str) -> Mapping[str, str]:
    """Return what is noted of an image that was opened."""
    engine = " ".join(os.environ.get(name, "") for name in ("DOCKER_HOST", "DOCKER_CONTEXT"))
    return {"id": image_id, "tag": builder_image.tag(images), "engine": engine}


@costs.step(costs.Part.ENGINE)
def open_runtime(
    name: str,
    images: Path,
    cache: Path,
    screen: Screen,
    share: Share | None = None,
    *,
    release: str = builder_image.RELEASE,
    compiler: str = "",
    packages: AptSource | None = None,
    client: DockerClient | None = None,
) -> Runtime:
    """Return the runtime of that name. For Docker, connect to the engine and get a builder image.

    ``release`` is whose image it is, ``packages`` where that release's packages come from, ``compiler`` what
    a module's kernel asks for, which the host has to have, and ``client`` a connection to use. The share's
    builder image is preferred to one of this machine. Raises InfraError if the engine does not answer or has
    no image, with a hint at --runtime host.
    """
    if name == "host":
        screen.warn(
            "--runtime host: builds run without isolation: commands in Makefiles of the tree and the series "
            "run as you, with your files and your network"
        )
        return HostRuntime(compiler)

    def connect() -> DockerRuntime:
        return _open_docker(client, images, cache, screen, share, release, packages)

    key = (str(images), snapshot.recipes_digest(images), str(cache), release, repr(packages), share is None)
    return kept.once(RUNTIME, key, connect)


def _open_docker(
    client: DockerClient | None,
    images: Path,
    cache: Path,
    screen: Screen,
    share: Share | None,
    release: str,
    packages: AptSource | None,
) -> DockerRuntime:
    try:
        client = client or docker_engine.connect()
        image_id = share and shared_image.pull(client, images, share, Store(cache), screen, release)
        if not image_id:
            image_id = builder_image.ensure(client, images, cache, screen, release=release, packages=packages)
            if share:
                shared_image.push(client, images, image_id, share, Store(cache), screen, release)
    except InfraError as e:
        raise with_way_out(e) from e
    image_cleanup.note_use(cache, images, image_id, release)
    if release == builder_image.RELEASE and not share:
        note = _note(images, image_id)
        if kept.noted(cache, _OPENED, images) != note:
            kept.note(cache, _OPENED, images, note)
    return _docker(client, image_id, cache, screen)


def _docker(client: DockerClient, image_id: str, cache: Path, screen: Screen) -> DockerRuntime:
    runtime = DockerRuntime(client, image_id, memory_mib=memory_mib(), warn=screen.warn)
    same_files.require(runtime, Store(cache))
    return runtime
