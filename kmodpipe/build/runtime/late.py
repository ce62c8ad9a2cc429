"""A runtime whose engine is asked when the first job runs: what is in the store needs none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from kmodpipe.build.runtime.docker import DockerRuntime
from kmodpipe.build.runtime.job import Ended, Job
from kmodpipe.util.errors import InfraError


class Unready(InfraError):
    """What a command counted on is not there: it cannot go on, whatever cell asked for it."""


class ImageGone(Unready):
    """The engine has not the image that a command counted on. Begun again, it takes the one that there is."""


class LateDocker:
    """Containers of an image that is known, on an engine that is not asked yet."""

    name = DockerRuntime.name
    isolation = DockerRuntime.isolation
    same_paths = DockerRuntime.same_paths

    def __init__(self, image_id: str, connect: Callable[[], DockerRuntime]) -> None:
        """``connect`` returns a runtime of that image, with nothing in it of killed processes.

        It raises Unready if it cannot.
        """
        self._image_id = image_id
        self._connect = connect
        self._runtime: DockerRuntime | None = None
        self._lock = threading.Lock()

    def identity(self) -> Mapping[str, str]:
        return {"runtime": self.name, "image": self._image_id}

    def run(self, job: Job, on_line: Callable[[str], None] | None = None) -> Ended:
        """Run a job as `DockerRuntime.run` does; connect before the first."""
        with self._lock:
            if self._runtime is None:
                self._runtime = self._connect()
        return self._runtime.run(job, on_line)

    def sweep(self) -> int:
        """Leave what killed processes left to the moment of connecting."""
        return 0
