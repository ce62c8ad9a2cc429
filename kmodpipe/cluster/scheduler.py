"""Connect to a Dask scheduler, or start one: local processes, or one of Dask's launchers.

What comes from a scheduler and its workers is read as plain data: the client takes bytes and MessagePack, and
no pickles. Dask itself starts functions by their names, so whoever can connect to a scheduler can run
programs on its workers: local ones are behind certificates that are made for the run.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kmodpipe.cluster.settings import CLASSES, ClusterToml, TlsToml
from kmodpipe.util import document, process
from kmodpipe.util.errors import InfraError, KmodpipeError, UserError, unknown_name
from kmodpipe.util.files import temporary
from kmodpipe.util.screen import Screen
from kmodpipe.util.text import count

if TYPE_CHECKING:
    from distributed import Client, Security

HINT = "pip install 'kmodpipe[cluster]'"
LOCAL = "local"
_CONNECT_S = 10.0
_START_S = 60.0
_MOST_LOCAL = 512
_PATIENCE_S, _LAUNCHER_PATIENCE_S = 15.0, 600.0
_FLAGS = {"ca": "--tls-ca-file", "cert": "--tls-cert", "key": "--tls-key"}
_ADDRESS = re.compile(r"(tcp|tls)://[^/\s]+:[0-9]{1,5}/?")


@dataclass(frozen=True)
class Place:
    """Where a run goes, from the word behind --on."""

    # tcp://… or tls://…; empty for one that is started.
    address: str = ""
    # The number of local workers; 0 for another place.
    local: int = 0
    # The launcher's table.
    declared: ClusterToml | None = None
    tls: TlsToml | None = None
    requires: Mapping[str, float] = field(default_factory=dict)
    name: str = ""

    @property
    def lasts(self) -> bool:
        """Whether it is still there when the command has ended."""
        return bool(self.address)

    @property
    def patience_s(self) -> float:
        """How long to wait for the first worker."""
        asked = self.declared.patience_s if self.declared else 0.0
        launched = self.declared is not None and self.declared.launcher
        return asked or (_LAUNCHER_PATIENCE_S if launched else _PATIENCE_S)


def parse(on: str, declared: Mapping[str, ClusterToml]) -> Place:
    """Return the place that ``--on`` names. Raise UserError."""
    word, colon, number = on.partition(":")
    if word == LOCAL:
        if colon and not (number.isascii() and number.isdigit() and 1 <= int(number) <= _MOST_LOCAL):
            raise UserError(
                f"--on local takes a number of workers from 1 to {_MOST_LOCAL}, not {number!r}",
                hint="--on local:4, or --on local",
            )
        return Place(local=int(number or 0) or max(os.cpu_count() or 1, 1), name=on)
    if "://" in on:
        if not _ADDRESS.fullmatch(on):
            raise UserError(
                f"{on} is no address of a scheduler",
                where="--on",
                hint="tcp://HOST:8786, or tls:// with certificates",
            )
        tls = next((one.tls for one in declared.values() if one.scheduler == on and one.tls), None)
        return Place(address=on.rstrip("/"), tls=tls, name=on)
    if on not in declared:
        if on in CLASSES:
            raise UserError(
                f"{on} is a launcher, which takes settings",
                where="--on",
                hint=f'[tool.kmodpipe.cluster.lab] with launcher = "{on}" and its options, and --on lab',
            )
        hint = "tcp://HOST:PORT, local[:N], or a table [tool.kmodpipe.cluster.NAME]"
        raise unknown_name("cluster", on, [*declared, LOCAL], where="--on", hint=hint)
    one = declared[on]
    return Place(address=one.scheduler, declared=one, tls=one.tls, requires=one.requires, name=on)


def require_dask() -> None:
    """Raise UserError if Dask's scheduler is not installed."""
    try:
        import_module("distributed")
    except ImportError as e:
        raise UserError(f"--on needs Dask: {e}", hint=HINT) from None


@contextmanager
def connected(place: Place, cache: Path, screen: Screen) -> Iterator[Client]:
    """Yield a client of the scheduler; what was started for it is ended behind the block.

    Raise InfraError if it cannot be reached within seconds, or does not start.
    """
    require_dask()
    import dask

    with ExitStack() as stack:
        # Ours is the last word on how long a dead scheduler is waited for; on retries too.
        times = {"connect": f"{_CONNECT_S:g}s", "tcp": "30s"}
        stack.enter_context(dask.config.set({f"distributed.comm.timeouts.{k}": v for k, v in times.items()}))
        _quieten()
        if place.local:
            address, security = stack.enter_context(_local(place.local, cache, screen))
        elif place.address:
            address, security = place.address, None
        else:
            address, security = stack.enter_context(_launched(place, screen))
        yield stack.enter_context(_client(address, security, place))


@contextmanager
def _client(address: str, security: Security | None, place: Place) -> Iterator[Client]:
    client = client_of(address, place, security)
    try:
        yield client
    finally:
        with suppress(Exception):
            client.close(timeout=5)


def client_of(address: str, place: Place, security: Security | None = None) -> Client:
    """Return a client of a scheduler. Raise InfraError if it does not answer within seconds."""
    from distributed import Client

    where = urlsplit(address)
    secure = security or _security(place)
    try:
        # At once: Dask would try again for a while where nothing listens.
        socket.create_connection((where.hostname or "", where.port or 0), _CONNECT_S).close()
        return Client(
            address,
            security=secure,
            timeout=f"{_CONNECT_S:g}s",
            set_as_default=False,
            name="kmodpipe",
            # What is read: bytes as they are, plain values; an exception as its text.
            serializers=["dask", "pickle", "msgpack"],
            deserializers=["dask", "msgpack", "error"],
        )
    except (OSError, TimeoutError, ValueError, TypeError, RuntimeError) as e:
        raise unreachable(address, e) from e


def unreachable(address: str, error: BaseException) -> InfraError:
    """Return the error for a scheduler that does not answer."""
    text = " ".join(str(error).split())[:300]
    secure = address.startswith("tls://")
    if isinstance(error, ConnectionRefusedError | socket.gaierror):
        text = (error.strerror or text).lower()
    if "ssl" in text.lower() or "certificate" in text.lower() or (secure and "TLS" in text):
        hint = (
            "certificates: [tool.kmodpipe.cluster.NAME.tls], or distributed.comm.tls of Dask's configuration"
        )
        return InfraError(
            f"the scheduler and this client do not agree on TLS: {text}", where=address, hint=hint
        )
    return InfraError(
        f"no scheduler answers: {text or type(error).__name__}",
        where=address,
        hint="is this its address? dask scheduler prints it; tls:// if it has certificates",
    )


def _security(place: Place) -> Security | None:
    """Return the certificates for a tls:// address; None for tcp://. Raise UserError if there are none."""
    from distributed import Security

    if place.tls:
        for name in ("ca", "cert", "key"):
            path = Path(getattr(place.tls, name))
            if not path.is_file():
                raise UserError(f"there is no such certificate: {name}", where=str(path))
        return Security(
            require_encryption=True,
            tls_ca_file=place.tls.ca,
            tls_client_cert=place.tls.cert,
            tls_client_key=place.tls.key,
        )
    if not place.address.startswith("tls://"):
        return None
    found = Security(require_encryption=True)
    if not (found.tls_ca_file and found.tls_client_cert and found.tls_client_key):
        raise UserError(
            "a tls:// scheduler needs certificates, and there are none",
            where=place.address,
            hint="ca, cert and key in [tool.kmodpipe.cluster.NAME.tls], or Dask's distributed.comm.tls",
        )
    return found


# -- processes of this machine ------------------------------------------------------------------------
@contextmanager
def _local(number: int, cache: Path, screen: Screen) -> Iterator[tuple[str, Security]]:
    """Start a scheduler and workers as processes of this machine; yield the address."""
    children: list[subprocess.Popen[bytes]] = []
    with temporary("cluster-") as folder:
        try:
            with screen.step(f"start {count(number, 'local worker')}") as step:
                security = _temporary_security(folder)
                threads = max((os.cpu_count() or 1) // number, 1)
                address = _start(number, threads, folder, cache / "logs", children)
                step.finish(f"{count(threads, 'processor')} each")
            yield address, security
        finally:
            for child in reversed(children):
                process.end(child, grace_s=3.0)


def _start(
    number: int, threads: int, folder: Path, logs: Path, children: list[subprocess.Popen[bytes]]
) -> str:
    """Start a local scheduler and its workers, and return the scheduler's address."""
    file = folder / "scheduler.json"
    common = [
        *(word for name in ("ca", "cert", "key") for word in (_FLAGS[name], str(folder / name))),
        "--protocol", "tls", "--scheduler-file", str(file), "--host", "127.0.0.1",
    ]  # fmt: skip
    env = _environment(folder)
    logs.mkdir(parents=True, exist_ok=True)
    children.append(
        _spawn(
            ["dask_scheduler", *common, "--port", "0", "--no-dashboard", "--no-show"],
            logs / "cluster-scheduler.log", env,
        )
    )  # fmt: skip
    address = _address_in(file, children[0], logs)
    for n in range(1, number + 1):
        own = ["--name", f"local-{n}", "--nthreads", str(threads), "--memory-limit", "0", "--no-dashboard"]
        argv = ["dask_worker", *common, *own, "--local-directory", str(folder)]
        children.append(_spawn(argv, logs / f"cluster-worker-{n}.log", env))
    return address


def _environment(folder: Path) -> dict[str, str]:
    kept = {n: v for n, v in os.environ.items() if n.startswith(("KMODPIPE_", "DOCKER_", "PYTHON", "DASK_"))}
    # Three deaths of workers end a task; the scheduler counts those beyond the first two.
    return {**kept, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "2",
            "DASK_TEMPORARY_DIRECTORY": str(folder)}  # fmt: skip


def _spawn(argv: Sequence[str], log: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    module, *rest = argv
    with log.open("wb") as f:
        return process.spawn(
            [sys.executable, "-m", f"distributed.cli.{module}", *rest],
            stdout=f.fileno(), stderr=f.fileno(), env=env,
        )  # fmt: skip


def _address_in(file: Path, child: subprocess.Popen[bytes], logs: Path) -> str:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and child.poll() is None:
        with suppress(OSError, document.Unreadable, KeyError):
            return str(document.read_object(file)["address"])
        time.sleep(0.05)
    raise InfraError(
        "the local scheduler does not start", where=str(logs), hint="look at cluster-scheduler.log"
    )


def _temporary_security(folder: Path) -> Security:
    from distributed import Security

    try:
        made = Security.temporary()
    except ImportError as e:
        raise UserError(f"--on local needs certificates: {e}", hint=HINT) from None
    for name, text in (
        ("ca", made.tls_ca_file),
        ("cert", made.tls_scheduler_cert),
        ("key", made.tls_scheduler_key),
    ):
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(str(text))
    return made


# -- Dask's launchers ---------------------------------------------------------------------------------
@contextmanager
def _launched(place: Place, screen: Screen) -> Iterator[tuple[str, Security | None]]:
    """Start what a launcher starts; yield the scheduler's address."""
    declared = place.declared
    assert declared is not None and declared.launcher is not None  # noqa: S101
    module, name = CLASSES[declared.launcher]
    package = module.partition(".")[0]
    try:
        launcher = getattr(import_module(module), name)
    except ImportError as e:
        hint = f"pip install {package.replace('_', '-')}"
        raise UserError(f"{declared.launcher} needs {package}: {e}", where=place.name, hint=hint) from None
    given: dict[str, Any] = dict(declared.options)
    if place.tls:
        given["security"] = _security(place)
    try:
        with screen.step(f"start {place.name}: {name}") as step:
            cluster = launcher(**given)
            if declared.launcher != "ssh":
                cluster.scale(declared.workers)
            step.finish(str(cluster.scheduler_address))
    except KmodpipeError:
        raise
    except Exception as e:
        raise InfraError(
            f"{name} does not start: {type(e).__name__}: {' '.join(str(e).split())[:300]}",
            where=place.name,
            hint=f"its settings are options of [tool.kmodpipe.cluster.{place.name}], as {package} has them",
        ) from e
    try:
        yield str(cluster.scheduler_address), getattr(cluster, "security", None)
    finally:
        with suppress(Exception):
            cluster.close()


def _quieten() -> None:
    """Keep Dask's own messages off the screen: what they say is said by us, or shown by its dashboard."""
    import logging

    for name in ("distributed", "tornado", "bokeh", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
