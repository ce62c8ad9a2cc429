"""As whom containers run, by what the engine says of itself."""

from __future__ import annotations

import os
from typing import Any, cast

from docker import DockerClient

from kmodpipe.build.runtime import docker_users
from kmodpipe.build.runtime.docker_users import Users

NOBODY = 65534


class Engine:
    """An engine that says this of itself."""

    def __init__(self, *options: str) -> None:
        self._options = options

    def info(self) -> dict[str, Any]:
        return {"SecurityOptions": [*self._options] or None}


def users(*options: str) -> Users:
    return docker_users.of(cast(DockerClient, Engine(*options)))


def test_the_user_of_a_container_is_one_who_may_write_here() -> None:
    mine = (os.getuid(), os.getgid()) if os.getuid() else (NOBODY, NOBODY)
    assert users() == users("name=seccomp,profile=default") == Users(*mine)
    # The words of Docker 20.10 and 26.1, and of podman 4.3.
    assert users("name=seccomp,profile=default", "name=userns") == Users(*mine, "host", doubtful=True)
    assert users("name=seccomp,profile=builtin", "name=rootless") == Users(0, 0, doubtful=True)
