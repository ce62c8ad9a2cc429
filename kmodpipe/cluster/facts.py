"""What a worker is: found out on it, and compared with what the client needs before it gets work."""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from kmodpipe import __version__
from kmodpipe.build import builder_image
from kmodpipe.build.runtime import docker_engine, memory_mib
from kmodpipe.cache.place import cache_folder
from kmodpipe.cache.store import Store
from kmodpipe.pipeline import question
from kmodpipe.util.errors import InfraError, KmodpipeError
from kmodpipe.util.screen import Mode, Screen
from kmodpipe.vm import accel, speed

# A base's build, with the files that it leaves until it is packed.
BASE_DISK_MIB = 4096
CELL_DISK_MIB = 512
# What QEMU and our own process take beside the guest's memory.
BESIDE_GUEST_MIB = 384
BASE_MEMORY_MIB = 1024
_ALWAYS = 1e6


@dataclass(frozen=True)
class Facts:
    """One worker."""

    name: str
    host: str
    kmodpipe: str
    # A digest of the program's code.
    program: str
    arch: str
    # How many guests at once: the processors that Dask gives to the worker.
    threads: int
    memory_mib: int
    disk_mib: int
    cache: str
    accel: str = ""
    accel_reason: str = ""
    speed: float = 1.0
    # The id of its builder image; empty if it has none, or needs none.
    image: str = ""
    # The resource that says that it can do the work that was asked for.
    resource: str = ""
    # Why it cannot do our work; empty if it can.
    trouble: str = ""

    @property
    def resources(self) -> Mapping[str, float]:
        """What it offers, in the words of `graph.needs`."""
        return {
            self.resource: _ALWAYS,
            "guest": self.threads,
            "build": 1,
            "memory-mib": self.memory_mib,
            "disk-mib": self.disk_mib,
            "kvm": float(self.accel == "kvm"),
            f"arch-{self.arch}": _ALWAYS,
        }

    def to_json(self) -> bytes:
        """Return the facts as JSON."""
        return json.dumps(asdict(self)).encode()


def own_program() -> str:
    """Return the digest of this program's code."""
    return question.program_digest()


def parse(data: object, worker: str) -> Facts:
    """Return the facts that a worker sent; if they cannot be read, those of one that can do no work."""
    try:
        if not isinstance(data, bytes):
            raise ValueError(str(data)[:300])
        return TypeAdapter(Facts).validate_python(json.loads(data))
    except (ValueError, ValidationError) as e:
        trouble = f"it does not answer as kmodpipe {__version__}: {_why(data, e)}"
        return Facts(worker, worker, "", "", "", 0, 0, 0, "", trouble=trouble)


def _why(data: object, error: Exception) -> str:
    if isinstance(data, ImportError):
        return f"its Python has no kmodpipe with clusters ({data})"
    return " ".join(str(data if isinstance(data, BaseException) else error).split())[:300]


def look(name: str, threads: int, wanted: Wanted) -> Facts:
    """Return the facts about this machine and process. Takes two seconds if nothing of it is known yet."""
    plain = {
        "name": name, "host": socket.gethostname(), "kmodpipe": __version__, "program": own_program(),
        "arch": platform.machine(), "threads": threads, "resource": wanted.resource,
    }  # fmt: skip
    found: dict[str, object] = {**plain, "memory_mib": 0, "disk_mib": 0, "cache": ""}
    trouble = []
    if found["program"] != wanted.program:
        trouble.append(f"it has kmodpipe {__version__} with other code than the client's {wanted.version}")
    try:
        cache = cache_folder()
        found |= {"cache": str(cache), "disk_mib": shutil.disk_usage(cache).free // 1024**2}
        found |= {"memory_mib": _available_mib()}
        if not trouble and wanted.boots:
            found |= _machine(cache)
        if not trouble and wanted.runtime != "host":
            found |= {"image": _image(wanted.image)}
            if wanted.image_id and found["image"] != wanted.image_id:
                trouble.append("its builder image is not that of the others; --share gives one to all")
    except KmodpipeError as e:
        trouble.append(f"{e.what} ({e.hint})" if e.hint else e.what)
    except OSError as e:
        trouble.append(str(e))
    return TypeAdapter(Facts).validate_python({**found, "trouble": "; ".join(trouble)})


@dataclass(frozen=True)
class Wanted:
    """What a client says that a worker has to be. Plain values: it travels."""

    program: str
    version: str = __version__
    runtime: str = "docker"
    # Whether guests are booted.
    boots: bool = True
    # The name of the builder image, and its id if all have to have that one.
    image: str = ""
    image_id: str = ""

    @property
    def resource(self) -> str:
        """The resource that only a worker has that runs this very program, and can do work of this kind."""
        return f"kmodpipe-{self.program[:16]}-{self.runtime}{'' if self.boots else '-build'}"


def _machine(cache: Path) -> dict[str, object]:
    """Prove the accelerator, and measure the speed with it."""
    silent = Screen(Mode.QUIET, out=io.StringIO())
    proved = accel.probe(cache, silent)
    with Store(cache).scratch("speed-") as scratch:
        measured = speed.measure(proved, scratch)
    return {"accel": proved.name, "accel_reason": proved.reason, "speed": measured.factor}


def _image(tag: str) -> str:
    """Return the id of the builder image, empty if it has yet to be made. Raise InfraError without engine."""
    seen = docker_engine.look(3)
    if seen.state is not docker_engine.State.ANSWERS:
        raise docker_engine.unusable(seen)
    try:
        return builder_image.image_id(docker_engine.connect(3), tag) or ""
    except InfraError:
        return ""


def _available_mib() -> int:
    """Return the memory that programs can still get, in MiB."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) // 1024
    except (OSError, ValueError, IndexError):
        pass
    return memory_mib() or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024**2
