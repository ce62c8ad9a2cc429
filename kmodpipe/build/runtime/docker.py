"""Run jobs in containers of one image, through the Docker SDK."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from kmodpipe.build.outputs import OBJECT_BYTES
from kmodpipe.build.runtime import docker_engine, docker_errors, docker_users
from kmodpipe.build.runtime.job import REPRODUCIBLE, Ended, EngineWentAway, Job
from kmodpipe.build.runtime.job_output import DiskGuard, Log
from kmodpipe.util import os_errors, process, process_id
from kmodpipe.util.errors import InfraError, Interrupted
from kmodpipe.util.process_id import boot_id
from kmodpipe.util.workers import Thread

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

# Each container has this label; the value identifies the process that made it, to recognise leftovers.
LABEL = "org.kmodpipe.owner"
_BEGAN_LABEL = "org.kmodpipe.began"
_PLACE_LABEL = "org.kmodpipe.pid-namespace"
_MADE_LABEL = "org.kmodpipe.made"
# How often to check the engine while a container writes nothing, and how long it may take to answer.
_LOOK_S = 10.0
_ANSWER_S = 20.0
# How long to wait for an engine that stopped to be restarted.
_BACK_S = 15.0
_PIDS = 4096
_TMP_MIB = 2048


def memory_mib() -> int:
    """Return how much memory one container may use: nine tenths of this machine's.

    A build that exceeds it is killed, before the kernel's OOM killer picks another program.
    """
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // (1 << 20) * 9 // 10


def _is_used(labels: Mapping[str, str]) -> bool:
    """Return whether the process that made a container, by the container's labels, still runs."""
    pid, _, boot = labels.get(LABEL, "").partition("-")
    made = labels.get(_MADE_LABEL, "")
    age_s = time.time() - int(made) if made.isdigit() else 0.0
    # Earlier versions wrote less.
    more = filter(None, (labels.get(_BEGAN_LABEL), labels.get(_PLACE_LABEL)))
    return process_id.runs(" ".join((pid, boot, *more)), age_s)


def _in_memory(room_mib: int, users: docker_users.Users) -> str:
    """Return the options of a tmpfs that is a container's user's."""
    return f"exec,nosuid,nodev,mode=1777,size={room_mib}m,uid={users.uid},gid={users.gid}"


def owner() -> str:
    """Return the value of `LABEL` for this process, ``pid-boot_id``."""
    return f"{os.getpid()}-{boot_id()}"


class DockerRuntime:
    """Runs jobs in containers of one image."""

    name = "docker"
    isolation = "a container without network, root or capabilities"
    same_paths = True

    def __init__(
        self,
        client: DockerClient,
        image_id: str,
        *,
        memory_mib: int | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        """``memory_mib`` limits each container; ``warn`` is called with a message if the engine restarts."""
        self.client = client
        self.image_id = image_id
        self._memory_mib = memory_mib
        self._warn = warn
        # The engine did not answer in time, or stopped and did not come back.
        self._silent = self._gone = False

    @cached_property
    def users(self) -> docker_users.Users:
        """The users of containers on this engine. Raises InfraError if it does not answer."""
        return docker_users.of(self.client)

    def identity(self) -> Mapping[str, str]:
        return {"runtime": self.name, "image": self.image_id}

    def run(self, job: Job, on_line: Callable[[str], None] | None = None) -> Ended:
        """Run a job in a container of its own, and remove the container.

        Raises EngineWentAway if the engine was restarted, Interrupted after `Children.stop_all`, and
        InfraError if the engine fails, the container is killed, or memory runs out.
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
            # The status may still be 0: a recipe may ignore that a compiler was killed.
            raise InfraError(
                f"{job.name} ran out of memory: the kernel killed a process of its container",
                where=f"log: {job.log}",
                hint="give the machine more memory, or run with fewer --jobs",
                detail=tail,
            )
        if log.error:
            raise os_errors.failed(
                f"the log of {job.name} cannot be written", log.error, str(job.log), detail=tail
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

        users = self.users
        for folder in job.folders:
            if folder.writable and not folder.memory_mib and os.getuid() == 0:
                os.chown(folder.path, users.uid, users.gid)
        paths = {f.name: f.inside or f"/{f.name.lower()}" for f in job.folders}
        memory_mib = self._memory_mib
        process.children().announce(self._as_line(job, paths))
        return self.client.containers.create(
            self.image_id,
            # One stream for both: the log keeps the order of the lines, and none is cut by another.
            ["sh", "-c", 'exec sh "$0" 2>&1', f"{paths['RECIPE']}/{job.script}"],
            user=str(users),
            userns_mode=users.userns,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            read_only=True,
            tmpfs={
                "/tmp": _in_memory(_TMP_MIB, users),
                **{paths[f.name]: _in_memory(f.memory_mib, users) for f in job.folders if f.memory_mib},
            },
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
                _BEGAN_LABEL: process_id.start_ticks(os.getpid()),
                _PLACE_LABEL: process_id.namespace(),
                _MADE_LABEL: str(int(time.time())),
                "org.kmodpipe.job": job.name,
            },
            environment={"HOME": "/tmp", **REPRODUCIBLE, **job.env, **paths},
            # Mounts and not volumes: those cannot have a colon in the path.
            mounts=[
                Mount(paths[f.name], str(f.path), type="bind", read_only=not f.writable)
                for f in job.folders
                if not f.memory_mib
            ],
            working_dir="/tmp",
        )

    @staticmethod
    def _follow(container: Container, log: Log) -> Thread:
        # Attached before the start, so that no line is lost.
        stream = container.attach(stream=True, stdout=True, stderr=True)

        def read() -> None:
            # A dropped connection ends the stream too: whether the container ended is read from its state.
            with suppress(Exception):
                for chunk in stream:
                    log.take(chunk)

        return Thread(read, f"log-{container.short_id}")

    def _wait(self, container: Container, job: Job, reader: Thread, deadline: float) -> Mapping[str, object]:
        """Wait until the container ends. Return its state, empty if something else removed it."""
        from docker.errors import NotFound

        disk = DiskGuard(job)
        looked = time.monotonic()
        while True:
            reader.join(0.1)
            if process.stopping():
                raise Interrupted("interrupted while a container ran", where=job.name)
            disk.check()
            if time.monotonic() > deadline:
                raise InfraError(
                    f"{job.name} had no end after {job.timeout_s:g} s",
                    where=f"log: {job.log}",
                    hint="read the end of the log: what does the build wait for? Is the machine overloaded?",
                )
            if reader.is_alive():
                # If the stream is silent, the engine may hang.
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

    def _as_line(self, job: Job, paths: Mapping[str, str]) -> str:
        """Return the job as a command line that does the same, without its limits."""
        argv = [
            "docker",
            "run",
            "--rm",
            "--network=none",
            "--cap-drop=ALL",
            f"--user={self.users}",
            *([f"--userns={self.users.userns}"] if self.users.userns else []),
        ]
        for folder in job.folders:
            if folder.memory_mib:
                argv += ["--tmpfs", f"{paths[folder.name]}:{_in_memory(folder.memory_mib, self.users)}"]
                continue
            argv += ["-v", f"{folder.path}:{paths[folder.name]}{'' if folder.writable else ':ro'}"]
        for name, value in {**paths, **job.env}.items():
            argv += ["-e", f"{name}={value}"]
        return process.pasteable([*argv, self.image_id, "sh", f"{paths['RECIPE']}/{job.script}"])

    def _require_answer(self, job: Job, within_s: float) -> None:
        """Raise InfraError if the engine accepts connections, but does not answer."""
        self._silent = docker_engine.look(within_s).state is docker_engine.State.SILENT
        if self._silent:
            raise InfraError(
                f"Docker Engine stopped answering while {job.name} ran",
                where=f"log: {job.log}",
                hint="restart the engine; the same command then goes on, and removes what is left there",
            )

    def _failed(self, job: Job, container: Container | None, error: Exception) -> InfraError:
        """Return the error for a failed call to the engine, EngineWentAway if it was restarted."""
        from requests.exceptions import RequestException

        if isinstance(error, RequestException) and docker_engine.look(2).state is docker_engine.State.STOPPED:
            # Only the first job waits until the engine is back.
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
            hint="check whether the engine still runs: invoke doctor",
        )

    @staticmethod
    def _is_back() -> bool:
        """Wait for an engine that stopped; return whether it answers again."""
        deadline = time.monotonic() + _BACK_S
        while time.monotonic() < deadline and not process.stopping():
            if docker_engine.look(2).state is docker_engine.State.ANSWERS:
                return True
            time.sleep(0.25)
        return False

    @staticmethod
    def _remove(container: Container) -> None:
        """Remove a container if the engine answers; otherwise the next run's `sweep` does it."""
        if docker_engine.look(5).state is docker_engine.State.ANSWERS:
            with docker_errors.ignored():
                container.remove(force=True)

    def sweep(self) -> int:
        """Remove the containers of processes that have ended; return how many."""
        from docker.errors import DockerException

        swept = 0
        with docker_errors.ignored():
            found = self.client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True)
            for container in found:
                if _is_used(container.labels):
                    continue
                with suppress(DockerException):
                    container.remove(force=True)
                    swept += 1
        return swept
