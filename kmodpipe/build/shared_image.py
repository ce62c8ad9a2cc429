"""Exchange the builder image through a share: one engine saves it, another loads it, with the same id.

It travels as a file and not by ``docker push``: so it is sealed and checked like every shared artifact, and
the engine needs neither a login nor the registry in its "insecure-registries" if that is on plain HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kmodpipe.build import builder_image, saved_image
from kmodpipe.build.runtime import docker_errors
from kmodpipe.cache.share import Share
from kmodpipe.cache.store import Store
from kmodpipe.util import process
from kmodpipe.util.errors import InfraError, Interrupted
from kmodpipe.util.files import write_atomically
from kmodpipe.util.lock import lock
from kmodpipe.util.screen import Screen

if TYPE_CHECKING:
    from docker import DockerClient

_CHUNK = 2 * 1024 * 1024


def pull(
    client: DockerClient,
    images: Path,
    share: Share,
    store: Store,
    screen: Screen,
    release: str = builder_image.RELEASE,
) -> str | None:
    """Load a release's shared builder image into the engine; return its id, None if that is not possible.

    It is preferred to an image of this machine: cache keys contain the image's id, so that machines can only
    share what they built in the same image.
    """
    name = builder_image.tag(images, release=release).partition(":")[2]
    found = share.image(name)
    if found is None:
        return None
    image_id, origin, layer = found
    try:
        with lock(store.cache / "locks" / "builder-image", waiting=screen.say):
            if not _has(client, image_id):
                with (
                    screen.step(f"pull {builder_image.described(release)} from {share.place}"),
                    store.scratch("image-") as scratch,
                ):
                    _load(client, share.pull_image(layer, scratch), scratch, image_id)
                    _record(store, image_id).parent.mkdir(parents=True, exist_ok=True)
                    write_atomically(_record(store, image_id), origin)
            _name(client, images, image_id, release)
    except Interrupted:
        raise
    except (InfraError, OSError) as e:
        share.give_up("the builder image was not pulled", e, reading=True)
        return None
    return image_id


def push(
    client: DockerClient,
    images: Path,
    image_id: str,
    share: Share,
    store: Store,
    screen: Screen,
    release: str = builder_image.RELEASE,
) -> None:
    """Push this machine's builder image of a release to the share, unless it has one."""
    name = builder_image.tag(images, release=release).partition(":")[2]
    if not share.pushes_image:
        return
    try:
        if share.has_image(name):
            return
        with screen.step(f"share {builder_image.described(release)}"), store.scratch("image-") as scratch:
            with (scratch / "image.tar").open("wb") as f:
                # By its id: an image saved by name takes that name when it is loaded, from any other image.
                for chunk in client.api.get_image(image_id, chunk_size=_CHUNK):
                    if process.stopping():
                        raise Interrupted("interrupted while the builder image was saved")
                    f.write(chunk)
            share.push_image(name, image_id, scratch)
    except Interrupted:
        raise
    except docker_errors.sdk_errors(InfraError, OSError) as e:
        share.give_up("the builder image was not shared", e, reading=False)


def origin(store: Store, image_id: str) -> str:
    """Return where the builder image was pulled from, '' if it was built on this machine."""
    try:
        return _record(store, image_id).read_text().strip()
    except OSError:
        return ""


def _wrapped(what: str) -> AbstractContextManager[None]:
    """As `docker_errors.wrapped`, with the exception's type as the reason."""
    return docker_errors.wrapped(what, reason=docker_errors.type_name)


def _record(store: Store, image_id: str) -> Path:
    """Return the path of the file that holds where an image was pulled from."""
    return store.cache / "images" / image_id.removeprefix("sha256:")


def _has(client: DockerClient, image_id: str) -> bool:
    from docker.errors import ImageNotFound

    with _wrapped(f"Docker failed while looking for {image_id[:19]}"), suppress(ImageNotFound):
        return str(client.images.get(image_id).id) == image_id
    return False


def _load(client: DockerClient, saved: Path, scratch: Path, image_id: str) -> None:
    loadable = saved_image.without_names(saved, scratch, image_id)
    refused = "the engine does not load the shared builder image"
    before = _ids(client)
    with _wrapped(refused), loadable.open("rb") as f:
        for event in client.api.load_image(f, quiet=True):  # type: ignore[no-untyped-call]
            if isinstance(event, Mapping) and "error" in event:
                raise InfraError(f"{refused}: {event['error']}")
    if not _has(client, image_id):
        # Nothing names it, and nothing would use it.
        for other in _ids(client) - before:
            with docker_errors.ignored():
                client.images.remove(other)
        raise InfraError(
            f"the shared builder image has another id than its manifest gives ({image_id[:19]})",
            hint="another kind of engine gives the same image another id",
        )


def _ids(client: DockerClient) -> set[str]:
    with _wrapped("Docker failed while its images were listed"):
        return {str(row["Id"]) for row in client.api.images(all=False)}


def _name(client: DockerClient, images: Path, image_id: str, release: str) -> None:
    """Name a pulled image: by this checkout's name if that is free, else as shared.

    The next ``docker image prune`` would remove an image without a name.
    """
    with _wrapped("Docker failed while the builder image was named"):
        if client.images.get(image_id).tags:
            return
        repository, _, version = builder_image.tag(images, release=release).partition(":")
        if builder_image.find(client, images, release=release):
            version = f"shared-{image_id.removeprefix('sha256:')[:12]}"
        client.images.get(image_id).tag(repository, version)
