"""Find or build the image that `check` works in: a builder image with the tools of the lists' bots on top.

    kmodpipe-check:<digest12>     images/check/Dockerfile on top of a builder image

It is made when it is needed first. The digest covers the Dockerfile and the builder image's id: what is
compiled in it is compiled by the compiler of the cells, and their own keys know nothing of it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kmodpipe.build import builder_image
from kmodpipe.build.builder_image import BASE_LABEL, LABEL
from kmodpipe.build.image_build import build_image
from kmodpipe.build.runtime import docker_errors
from kmodpipe.util import shipped
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import InfraError
from kmodpipe.util.files import require_space
from kmodpipe.util.lock import lock

if TYPE_CHECKING:
    from docker import DockerClient

    from kmodpipe.util.screen import Screen

# The version of the code below: raise it when a new image must differ from those built before.
RECIPE = 1
NAME = "kmodpipe-check"
_NEED_MIB = 1024


def dockerfile(images: Path) -> bytes:
    """Return the Dockerfile. Raise InfraError if it cannot be read."""
    path = shipped.part(images, "check") / "Dockerfile"
    try:
        return path.read_bytes()
    except OSError as e:
        hint = f"the checkout is damaged: {e}"
        raise InfraError("the Dockerfile of the checks cannot be read", where=str(path), hint=hint) from e


def tag(images: Path, builder: str, name: str = NAME) -> str:
    """Return the name of the image on top of the builder image of that id."""
    text = dockerfile(images).decode("utf-8", "replace")
    return f"{name}:{digest_of({'dockerfile': text, 'recipe': RECIPE, 'builder': builder})[:12]}"


def ensure(
    client: DockerClient, images: Path, builder: str, cache: Path, screen: Screen, name: str = NAME
) -> str:
    """Return the id of the image on top of the builder image; build it if it does not exist (a minute).

    Of several processes only one builds it. Raise InfraError with the last lines of the log and its path.
    """
    wanted = tag(images, builder, name)
    if found := builder_image.image_id(client, wanted):
        return found
    log = cache / "logs" / "check-image.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with lock(cache / "locks" / "check-image", waiting=screen.say):
        if found := builder_image.image_id(client, wanted):
            return found
        require_space(cache, _NEED_MIB, "the image of the checks")
        log.write_bytes(b"")
        labels = {LABEL: "check", BASE_LABEL: builder}
        with screen.step("build the image of the checks") as step:
            build_image(client, dockerfile(images), wanted, builder, labels, step, log)
        _remove_others(client, wanted, name, builder)
        found = builder_image.image_id(client, wanted)
    if found is None:
        what = "the engine built the image of the checks, but does not list it"
        raise InfraError(
            what, where=str(log), hint="read the log, and what the engine logged; then try again"
        )
    return found


def _remove_others(client: DockerClient, wanted: str, name: str, builder: str) -> None:
    """Remove images of earlier Dockerfiles on the same builder, and those whose builder image is gone."""
    from docker.errors import DockerException

    with docker_errors.ignored():
        known = {str(one["Id"]) for one in client.api.images(all=False)}
        for one in client.images.list(filters={"label": f"{LABEL}=check"}):
            base = one.labels.get(BASE_LABEL, "")
            ours = bool(one.tags) and all(own.startswith(f"{name}:") for own in one.tags)
            if ours and wanted not in one.tags and (base == builder or base not in known):
                with suppress(DockerException):
                    client.images.remove(one.tags[0])
