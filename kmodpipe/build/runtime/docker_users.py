"""Whose files a container's processes can use, by the kind of engine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kmodpipe.build.runtime import docker_errors

if TYPE_CHECKING:
    from docker import DockerClient

# The user and group "nobody" of the builder image.
_NOBODY = 65534


@dataclass(frozen=True)
class Users:
    """How a container has to run, so that it can write where it may."""

    # The user and group in the container.
    uid: int
    gid: int
    # ``host`` to turn the engine's own mapping of users off for this container.
    userns: str | None = None
    # The engine maps users in some way: whether its containers can use our files has to be tried.
    doubtful: bool = False

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid}"


def of(client: DockerClient) -> Users:
    """Return the users for an engine. Raise InfraError if it does not answer.

    Containers of root run as nobody, who gets the folders that they write to; those of a user as the user,
    who owns them. Two kinds of engine see other users (docs.docker.com: "Rootless mode", "Isolate containers
    with a user namespace"): in a rootless one, root is the user whom it runs as; one with ``userns-remap``
    gives each container users that own nothing outside.
    """
    with docker_errors.wrapped("the Docker Engine does not describe itself"):
        options = client.info().get("SecurityOptions") or []
    names = {str(option).split(",")[0] for option in options}
    if "name=rootless" in names:
        return Users(0, 0, doubtful=True)
    mine = (os.getuid(), os.getgid()) if os.getuid() else (_NOBODY, _NOBODY)
    if "name=userns" in names:
        return Users(*mine, userns="host", doubtful=True)
    return Users(*mine)
