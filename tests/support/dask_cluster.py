"""A Dask scheduler and workers as separate processes, each worker with a cache of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.processes import gone
from tests.support.servers import free_port, wait_for_port

FLAGS = {"ca": "--tls-ca-file", "cert": "--tls-cert", "key": "--tls-key"}
Process = subprocess.Popen[bytes]


@dataclass
class Cluster:
    """One scheduler and its workers, by name."""

    folder: Path
    environment: Mapping[str, str]
    port: int
    cache: Callable[[str], Path]
    scheduler: Process | None = None
    # The flags of its certificates; none for tcp://.
    tls: Sequence[str] = ()
    workers: dict[str, Process] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"{'tls' if self.tls else 'tcp'}://127.0.0.1:{self.port}"

    def start_scheduler(self, **env: str) -> None:
        argv = [
            "dask_scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--no-dashboard",
            "--no-show",
        ]
        found = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "2", **env}
        self.scheduler = self._start(argv, "scheduler", found)
        wait_for_port(self.port, self.scheduler)

    def start_worker(self, name: str, *more: str, **env: str) -> None:
        argv = [
            "dask_worker", self.address, "--name", name, "--nthreads", "1", "--no-dashboard",
            "--memory-limit", "0", "--local-directory", str(self.folder), *more,
        ]  # fmt: skip
        self.workers[name] = self._start(argv, name, {"KMODPIPE_CACHE": str(self.cache(name)), **env})

    def _start(self, argv: list[str], name: str, env: Mapping[str, str]) -> Process:
        module, *rest = [*argv, *self.tls, *(("--protocol", "tls") if self.tls else ())]
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{module}", *rest], cwd=self.folder,
                env={**self.environment, **env}, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def worker_of(self, word: str) -> int:
        """The process of the worker that has a cell's job with this word on its command line, or with
        --prepare a base's; 0 if none has."""
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError):
                words = (place / "cmdline").read_bytes().split(b"\0")
                if b"kmodpipe" not in words or word.encode() not in words:
                    continue
                if (b"--prepare" in words) is not (word == "--prepare"):
                    continue
                parent = _parent(int(place.name))
                # A job whose worker is gone ends in a moment, as a child of init.
                if self._is_ours(parent):
                    return parent
        return 0

    def worker_with_guest(self) -> int:
        """The process of a worker on which a cell's guest runs; 0 if there is none."""
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError):
                words = (place / "cmdline").read_bytes()
                # Not what measures the machine, nor what proves an accelerator.
                if words.startswith(b"qemu-system") and b"/shared/bzImage-" in words:
                    job = _parent(int(place.name))
                    if b"--cell" in Path(f"/proc/{job}/cmdline").read_bytes().split(b"\0") and self._is_ours(
                        _parent(job)
                    ):
                        return _parent(job)
        return 0

    def _is_ours(self, pid: int) -> bool:
        return f"KMODPIPE_TEST_CLUSTER={self.folder}".encode() in Path(f"/proc/{pid}/environ").read_bytes()

    def name_of(self, pid: int) -> str:
        """The name of a worker's process, which Dask starts as a child of the one that we start."""
        parents = {pid, _parent(pid)}
        return next(name for name, child in self.workers.items() if child.pid in parents)

    def kill(self, pid: int, within_s: float = 20) -> str:
        """Kill a worker without a word, and what would start it again; return its name."""
        name = self.name_of(pid)
        os.killpg(self.workers[name].pid, signal.SIGKILL)
        self.workers.pop(name).wait(within_s)
        assert gone(pid, within_s)
        return name

    def start_again(self, name: str, *more: str) -> None:
        """Start a worker again that ends because its scheduler is gone."""
        old = self.workers.pop(name)
        with suppress(subprocess.TimeoutExpired):
            old.wait(60)
        with suppress(ProcessLookupError):
            os.killpg(old.pid, signal.SIGKILL)
        old.wait(20)
        self.start_worker(name, *more)

    def kill_worker_of(self, word: str, within_s: float = 180) -> int:
        """Kill the worker, without a word, that has a job with this word; return its process id."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if pid := self.worker_of(word):
                os.kill(pid, signal.SIGKILL)
                # Its jobs go with it.
                while self.worker_of(word) == pid and time.monotonic() < deadline:
                    time.sleep(0.02)
                return pid
            time.sleep(0.05)
        raise AssertionError(f"no worker had a job with {word}")

    def kill_scheduler(self) -> None:
        assert self.scheduler is not None
        self.scheduler.kill()
        self.scheduler.wait(20)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def end(self) -> None:
        for child in (*self.workers.values(), *([self.scheduler] if self.scheduler else [])):
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
        for child in (*self.workers.values(), *([self.scheduler] if self.scheduler else [])):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                child.wait(10)
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait(10)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@contextmanager
def cluster(
    folder: Path,
    environment: Mapping[str, str],
    *names: str,
    cache: Callable[[str], Path] | None = None,
    tls: Sequence[str] = (),
) -> Iterator[Cluster]:
    """Start a scheduler and workers of these names; end them behind the block."""
    folder.mkdir(parents=True, exist_ok=True)
    found = Cluster(
        folder, {**environment, "KMODPIPE_TEST_CLUSTER": str(folder)}, free_port(),
        cache or (lambda name: folder / "caches" / name), tls=tls,
    )  # fmt: skip
    try:
        found.start_scheduler()
        for name in names:
            found.start_worker(name)
        yield found
    finally:
        found.end()
