"""Where build recipes run: a container of the builder image, or the host behind the same interface.

A job is a shell recipe with named folders. It sees each folder's path in a variable of that name (SRC,
OBJ …), so that the same recipe runs in a container, where the paths are fixed, and on the host, where
they are not. In a container it has no network, no root, no capabilities, a read-only root file system,
and only the folders marked writable can be written.

    job            folders, a job, how it ended, what a runtime is
    docker         jobs in containers
    docker_engine  look for the engine of this machine, start it
    docker_errors  what the SDK raises, as our errors
    job_output     the log of such a job, and the disk that it writes to
    host           jobs on this machine, with its own compiler
"""

from kmodpipe.build.runtime.docker import LABEL, DockerRuntime, memory_mib, owner
from kmodpipe.build.runtime.host import HostRuntime
from kmodpipe.build.runtime.job import REPRODUCIBLE, Ended, EngineWentAway, Folder, Job, Runtime

__all__ = [
    "LABEL",
    "REPRODUCIBLE",
    "DockerRuntime",
    "Ended",
    "EngineWentAway",
    "Folder",
    "HostRuntime",
    "Job",
    "Runtime",
    "memory_mib",
    "owner",
]
