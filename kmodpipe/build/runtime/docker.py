"""Jobs in containers of one image, through the Docker SDK."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from kmodpipe.build.outputs import OBJECT_BYTES
from kmodpipe.build.runtime import docker_engine, docker_errors
from kmodpipe.build.runtime.job import REPRODUCIBLE, Ended, EngineWentAway, Job
from kmodpipe.build.runtime.job_output import Log, Room
from kmodpipe.util import process, process_id
from kmodpipe.util.errors import InfraError, Interrupted
from kmodpipe.util.process_id import boot_id
from kmodpipe.util.workers import Thread

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

LABEL = "org.kmodpipe.owner"
"""Every container carries it; its value names the process that made it, so that leftovers are recognised."""
_BEGAN_LABEL = "org.kmodpipe.began"
# While a container writes nothing: how often to look for the engine, how long it has to answer, and how long
# one that went away has to come back.
_LOOK_S = 10.0
_ANSWER_S = 20.0
_BACK_S = 15.0
_PIDS = 4096

_NOBODY = 65534
_TMP_MIB = 2048


def memory_mib() -> int:
    """Return what one container may use: nine tenths of this machine's memory. A build that wants all of it
    is killed before any other program."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // (1 << 20) * 9 // 10


def owner() -> str:
    """Return a name for this process that no other has, before or after a reboot."""
    return f"{os.getpid()}-{boot_id()}"


class DockerRuntime:
    """Jobs as containers of one image, through the Docker SDK."""

    name = "docker"
    isolation = "a container without network, root or capabilities"

    def __init__(
        self,
        client: DockerClient,
        image_id: str,
        *,
        memory_mib: int | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        """``warn`` takes a message when the engine went away and came back."""
        self._client = client
        self.image_id = image_id
        self._memory_mib = memory_mib
        self._warn = warn
        self._silent = self._gone = False
        # As root on the host, the user nobody in the container; otherwise the caller, who owns the folders.
        self._uid = os.getuid() or _NOBODY
        self._gid = os.getgid() if os.getuid() else _NOBODY

    def identity(self) -> Mapping[str, str]:
        return {"runtime": self.name, "image": self.image_id}

    def run(self, job: Job, on_line: Callable[[str], None] | None = None) -> Ended:
        """Run a job in a container of its own, which is gone when this returns.

        Raises InfraError where the daemon fails, the container is killed or memory runs out, EngineWentAway
        where the daemon ended and is there again, and Interrupted after `Children.stop_all`.
        """
        if process.stopping():
            raise Interrupted("interrupted before a container was started", where=job.name)
        if self._silent:
            self._require_answer(job, 2)
        log = Log(job.log, on_line)
        started = time.monotonic()
        container: Container | None = None
        try:
            container = self._create(job)
            reader = self._follow(container, log)
            container.start()
            reader.start()
            state = self._wait(container, job, reader, started + job.timeout_s)
        except docker_errors.sdk_errors() as e:
            raise self._failed(job, container, e) from e
        finally:
            if container is not None and not self._silent:
                self._remove(container)
            tail = log.close()
        if state.get("OOMKilled"):
            # The status may still be 0: make can swallow the death of one compiler.
            raise InfraError(
                f"{job.name} ran out of memory: the kernel killed a process of its container",
                where=f"log: {job.log}",
                hint="give the machine more memory, or run with fewer --jobs",
                detail=tail,
            )
        if log.trouble:
            raise InfraError(
                f"the log of {job.name} cannot be written: {log.trouble.strerror}",
                where=str(job.log),
                detail=tail,
            )
        if not state.get("Status"):
            raise InfraError(
                f"the container of {job.name} was removed while it ran",
                where=f"log: {job.log}",
                hint="something outside kmodpipe removed it; run the same command again",
                detail=tail,
            )
        status = int(str(state.get("ExitCode", 255)))
        if status in (137, 143):
            raise InfraError(
                f"the container of {job.name} was killed (status {status})",
                where=f"log: {job.log}",
                hint="something outside kmodpipe ended it; run the same command again",
                detail=tail,
            )
        return Ended(status, tail, time.monotonic() - started)

    def _create(self, job: Job) -> Container:
        from docker.types import LogConfig, Mount, Ulimit

        for folder in job.folders:
            if folder.writable and os.getuid() == 0:
                os.chown(folder.path, self._uid, self._gid)
        paths = {f.name: f"/{f.name.lower()}" for f in job.folders}
        memory_mib = self._memory_mib
        return self._client.containers.create(
            self.image_id,
            # One stream: the log has both in the order they were written, and no line cut by the other's.
            ["sh", "-c", 'exec sh "$0" 2>&1', f"{paths['RECIPE']}/{job.script}"],
            user=f"{self._uid}:{self._gid}",
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            read_only=True,
            tmpfs={"/tmp": f"exec,nosuid,nodev,mode=1777,size={_TMP_MIB}m"},
            network_mode="none",
            pids_limit=_PIDS,
            ulimits=[Ulimit(name="fsize", soft=OBJECT_BYTES, hard=OBJECT_BYTES)],
            init=True,
            # The output is read as it comes; the engine would keep all of it once more, without a bound.
            log_config=LogConfig(type=LogConfig.types.NONE),
            mem_limit=f"{memory_mib}m" if memory_mib else None,
            memswap_limit=f"{memory_mib}m" if memory_mib else None,
            labels={
                LABEL: owner(),
                _BEGAN_LABEL: process_id.began(os.getpid()),
                "org.kmodpipe.job": job.name,
            },
            environment={"HOME": "/tmp", **REPRODUCIBLE, **job.env, **paths},
            # Not as volumes: a colon in a path would end it there.
            mounts=[
                Mount(paths[f.name], str(f.path), type="bind", read_only=not f.writable) for f in job.folders
            ],
            working_dir="/tmp",
        )

    @staticmethod
    def _follow(container: Container, log: Log) -> Thread:
        # Attached before the start, so that not a line is missed.
        stream = container.attach(stream=True, stdout=True, stderr=True)

        def read() -> None:
            # A dropped connection ends the stream as well: the container's state is what counts.
            with suppress(Exception):
                for chunk in stream:
                    log.take(chunk)

        return Thread(read, f"log-{container.short_id}")

    def _wait(self, container: Container, job: Job, reader: Thread, deadline: float) -> Mapping[str, object]:
        """Wait for the container's end. Return its state, empty where it was removed from outside."""
        from docker.errors import NotFound

        room = Room(job)
        looked = time.monotonic()
        while True:
            reader.join(0.1)
            if process.stopping():
                raise Interrupted("interrupted while a container ran", where=job.name)
            room.check()
            if time.monotonic() > deadline:
                raise InfraError(f"{job.name} had no end after {job.timeout_s:g} s", where=f"log: {job.log}")
            if reader.is_alive():
                # A stream that is silent may come from an engine that hangs.
                if time.monotonic() - looked > _LOOK_S:
                    self._require_answer(job, _ANSWER_S)
                    looked = time.monotonic()
                continue
            try:
                container.reload()
            except NotFound:
                return {}
            state: Mapping[str, object] = container.attrs["State"]
            if not state.get("Running") and state.get("Status") != "created":
                return state
            time.sleep(0.05)

    def _require_answer(self, job: Job, within_s: float) -> None:
        """Raise InfraError where the engine takes connections and is silent."""
        self._silent = docker_engine.look(within_s).state is docker_engine.State.SILENT
        if self._silent:
            raise InfraError(
                f"Docker Engine stopped answering while {job.name} ran",
                where=f"log: {job.log}",
                hint="restart the engine; the same command then goes on, and removes what is left there",
            )

    def _failed(self, job: Job, container: Container | None, error: Exception) -> InfraError:
        """Return the error for a failed call to the engine: it has ended, or was only restarted."""
        from requests.exceptions import RequestException

        if isinstance(error, RequestException) and docker_engine.look(2).state is docker_engine.State.STOPPED:
            # One job waits for it; those behind it need not wait in vain as well.
            back = not self._gone and self._is_back()
            self._gone = not back
            if back:
                if container is not None:
                    self._remove(container)
                if self._warn:
                    self._warn(f"Docker Engine was restarted while {job.name} ran")
                return EngineWentAway(
                    f"Docker Engine was restarted while {job.name} ran",
                    where=f"log: {job.log}",
                    hint="run the same command again",
                )
            return InfraError(
                f"Docker Engine ended while {job.name} ran",
                where=f"log: {job.log}",
                hint="start it (invoke setup does); then the same command goes on: what was built stays",
            )
        return InfraError(
            f"Docker failed while {job.name} ran: {docker_errors.first_line(error)}",
            where=f"log: {job.log}",
            hint="is the engine still running? invoke doctor tells",
        )

    def _is_back(self) -> bool:
        deadline = time.monotonic() + _BACK_S
        while time.monotonic() < deadline and not process.stopping():
            if docker_engine.look(2).state is docker_engine.State.ANSWERS:
                return True
            time.sleep(0.25)
        return False

    @staticmethod
    def _remove(container: Container) -> None:
        """Remove a container, if the engine answers; one that is left is swept by the next run."""
        if docker_engine.look(5).state is docker_engine.State.ANSWERS:
            with docker_errors.ignored():
                container.remove(force=True)

    def sweep(self) -> int:
        """Remove containers whose maker is gone; returns how many."""
        from docker.errors import DockerException

        swept = 0
        with docker_errors.ignored():
            found = self._client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True)
            for container in found:
                pid, _, boot = container.labels.get(LABEL, "").partition("-")
                if process_id.runs(f"{pid} {boot} {container.labels.get(_BEGAN_LABEL, '')}"):
                    continue
                with suppress(DockerException):
                    container.remove(force=True)
                    swept += 1
        return swept
