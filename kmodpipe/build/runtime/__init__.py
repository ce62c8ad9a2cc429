"""Run build recipes: in a container of the builder image, or directly on the host.

A job is a shell recipe with named folders. A variable of each folder's name (SRC, OBJ …) holds its path, so
that the same recipe runs in a container, where the paths are fixed, and on the host, where they are not. In
a container the job has no network, no root, no capabilities and a read-only root file system, and can write
only to the folders marked writable.

    job            the records of a job and its end; the interface of a runtime
    docker         run jobs in containers
    docker_engine  find this machine's engine, connect to it, start it
    docker_errors  turn exceptions of the SDK into our errors
    job_output     write a container's log, and watch the disk that it writes to
    docker_users   whose files containers can use, by the kind of engine
    same_files     try whether containers have the files of this machine
    late           ask the engine when the first job runs
    host           run jobs on this machine, with its own compiler
"""

from kmodpipe.build.runtime.docker import LABEL, DockerRuntime, memory_mib, owner
from kmodpipe.build.runtime.host import HostRuntime
from kmodpipe.build.runtime.job import REPRODUCIBLE, Ended, EngineWentAway, Folder, Job, Runtime
from kmodpipe.build.runtime.late import ImageGone, LateDocker, Unready

__all__ = [
    "LABEL",
    "REPRODUCIBLE",
    "DockerRuntime",
    "Ended",
    "EngineWentAway",
    "Folder",
    "HostRuntime",
    "ImageGone",
    "Job",
    "LateDocker",
    "Runtime",
    "Unready",
    "memory_mib",
    "owner",
]
