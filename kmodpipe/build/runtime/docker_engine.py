"""Look for the Docker Engine of this machine, connect to it, start it.

Looking changes nothing, and takes a limited time. An engine that is started here outlives this process, as a
service does: later runs use it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from kmodpipe.build.runtime import docker_errors
from kmodpipe.util import proc_stat, process
from kmodpipe.util.errors import InfraError, Interrupted, KmodpipeError
from kmodpipe.util.lines import tail_of
from kmodpipe.util.sudo import RootShell

if TYPE_CHECKING:
    from docker import DockerClient

    from kmodpipe.util.screen import Screen

DEFAULT_ENDPOINT = "unix:///var/run/docker.sock"
_CALL_TIMEOUT_S = 60


class State(StrEnum):
    """The state of an engine."""

    ANSWERS = "answers"
    NOT_INSTALLED = "not installed"
    STOPPED = "not running"
    DENIED = "permission denied"
    SILENT = "no answer"


@dataclass(frozen=True)
class Look:
    """What looking for the engine found."""

    state: State
    endpoint: str
    version: str = ""  # if it answers
    detail: str = ""  # the reason if it does not

    @property
    def is_default(self) -> bool:
        """Whether this is the machine's own engine, which `start` can start, and not another chosen one."""
        return self.endpoint == DEFAULT_ENDPOINT


def endpoint() -> str:
    """Return the engine's address: from DOCKER_HOST, the Docker CLI's context, or the default socket."""
    if os.environ.get("DOCKER_HOST"):
        return os.environ["DOCKER_HOST"]
    from docker.context import ContextAPI
    from docker.errors import DockerException

    try:
        context = ContextAPI.get_context(os.environ.get("DOCKER_CONTEXT"))
    except (DockerException, OSError, ValueError):
        context = None
    host = str(context.Host) if context is not None and context.Host else DEFAULT_ENDPOINT
    # The SDK's default context writes the address of the default socket in another way.
    return DEFAULT_ENDPOINT if host.removeprefix("http+") == DEFAULT_ENDPOINT else host


def look(timeout_s: float = 5) -> Look:
    """Look for the engine, for about ``timeout_s`` seconds at most. Does not raise if there is none."""
    return _dial(timeout_s)[0]


def connect(timeout_s: float = 5) -> DockerClient:
    """Return a client of the running engine, whose calls time out after 60 s.

    Raises InfraError if the engine is not installed, does not run, denies access, or does not answer.
    """
    found, client = _dial(timeout_s)
    if client is None:
        raise unusable(found)
    client.api.timeout = _CALL_TIMEOUT_S
    return client


def unusable(found: Look) -> InfraError:
    """Return the error for an engine that does not answer, with what to do about it."""
    if not found.is_default and found.state is not State.DENIED:
        return InfraError(
            f"the Docker Engine chosen by DOCKER_HOST or the Docker context does not answer: {found.detail}",
            where=found.endpoint,
            hint="start that engine, or unset DOCKER_HOST / DOCKER_CONTEXT to use this machine's own",
        )
    what, hint = {
        State.NOT_INSTALLED: ("Docker Engine is not installed", "run: invoke setup"),
        State.STOPPED: ("Docker Engine is installed and not running", "run: invoke setup"),
        State.DENIED: (
            "Docker Engine runs, and this user may not use its socket",
            "run: invoke setup (it adds you to the group docker), or run as root with sudo",
        ),
        State.SILENT: (
            "Docker Engine takes connections and does not answer",
            "look at its log, then restart it",
        ),
    }[found.state]
    return InfraError(what, where=found.endpoint, hint=hint, detail=found.detail)


def _dial(timeout_s: float) -> tuple[Look, DockerClient | None]:
    """Look for the engine; return a client too if it answers."""
    import docker

    where = endpoint()
    try:
        # The constructor requests the engine's version, and negotiates the version of the API.
        client = docker.from_env(timeout=max(1, round(timeout_s)))
        version = str(client.version().get("Version", "unknown"))
    except docker_errors.sdk_errors(OSError, ValueError) as e:
        state, detail = _why(e)
        if state is State.STOPPED and not _installed():
            state = State.NOT_INSTALLED
        return Look(state, where, detail=detail), None
    return Look(State.ANSWERS, where, version), client


def _installed() -> bool:
    # Not "docker", which is the client; and dockerd lies in sbin, which a user's PATH may not contain.
    return shutil.which("dockerd", path=process.clean_environment()["PATH"]) is not None


def _why(error: BaseException) -> tuple[State, str]:
    """Return the state that an SDK error stands for, from the exceptions that it wraps, and the reason."""
    from requests.exceptions import Timeout

    for e in _chain(error):
        if isinstance(e, PermissionError):
            return State.DENIED, "permission denied"
        if isinstance(e, FileNotFoundError):
            return State.STOPPED, "there is no such socket"
        if isinstance(e, ConnectionRefusedError):
            return State.STOPPED, "nothing listens on the socket"
        if isinstance(e, Timeout | TimeoutError):
            return State.SILENT, "no answer in time"
    return State.STOPPED, (str(error) or type(error).__name__).splitlines()[0][:200]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield ``error`` and all it wraps: causes, contexts, and exceptions among the arguments."""
    queue, seen = [error], set[int]()
    while queue:
        e = queue.pop(0)
        if id(e) in seen:
            continue
        seen.add(id(e))
        yield e
        inner = [e.__cause__, e.__context__, *e.args]
        queue += [i for i in inner if isinstance(i, BaseException)]


# -- starting --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Way:
    """One way to start the engine."""

    name: str
    argv: tuple[str, ...]
    log: Path
    journal: tuple[str, ...] = ()  # a command that prints why the engine did not start


def ways(log: Path, *, root: Path = Path("/"), daemon_args: Sequence[str] = ()) -> tuple[Way, ...]:
    """Return the ways to start an engine on this machine, best first.

    They are systemd if it runs; else the init script, then the daemon itself. With ``daemon_args``, which are
    for a private engine, only the daemon itself.
    """
    direct = Way("dockerd", detached(["dockerd", *daemon_args], _pid_file(log)), log)
    if daemon_args:
        return (direct,)
    if (root / "run/systemd/system").is_dir():
        # No daemon beside a unit that fails: what matters is the unit's own error.
        journal = ("journalctl", "--no-pager", "-n", "20", "-u", "docker")
        return (Way("systemctl", ("systemctl", "start", "docker"), log, journal),)
    if os.access(root / "etc/init.d/docker", os.X_OK):
        script_log = root / "var/log/docker.log"
        return Way("service", ("service", "docker", "start"), script_log), direct
    return (direct,)


def _pid_file(log: Path) -> Path:
    return log.with_name(f"{log.name}.pid")


def detached(argv: Sequence[str], pid_file: Path) -> tuple[str, ...]:
    """Return a command that starts ``argv`` in a session of its own, and writes its pid to ``pid_file``."""
    return ("setsid", "--fork", "sh", "-c", 'echo $$ > "$0" && exec "$@"', os.fspath(pid_file), *argv)


def start(
    screen: Screen,
    *,
    log: Path,
    shell: RootShell,
    timeout_s: float = 30,
    daemon_args: Sequence[str] = (),
    root: Path = Path("/"),
) -> str:
    """Start the engine, and wait up to ``timeout_s`` for each way until it answers; it outlives this process.

    Return the name of the way that worked, '' if the engine ran already; "permission denied" counts as an
    answer. Raises InfraError with the last lines of the last way's log.
    """
    if look(2).state in (State.ANSWERS, State.DENIED):
        return ""
    log.parent.mkdir(parents=True, exist_ok=True)

    def start_by(way: Way) -> str:
        with screen.step(f"start Docker Engine ({way.name})") as step:
            _try(way, log, shell, timeout_s)
            step.finish("running")
        return way.name

    *first, last = ways(log, root=root, daemon_args=daemon_args)
    for way in first:
        try:
            return start_by(way)
        except Interrupted:
            raise
        except KmodpipeError:
            # The step on the screen shows that it failed; only the error of the last way is raised.
            continue
    return start_by(last)


def _try(way: Way, log: Path, shell: RootShell, timeout_s: float) -> None:
    """Start the engine in one way; raise InfraError with the end of the log if it does not answer."""
    begin = way.log.stat().st_size if way.log.exists() else 0
    hint = f"read {way.log}; then run: invoke setup"
    _pid_file(log).unlink(missing_ok=True)
    try:
        if way.argv[0] == "setsid":
            _launch(shell.argv(way.argv), log, foreground=shell.sudo)
        else:
            shell.run(way.argv, timeout_s=timeout_s, log=log)
    except Interrupted:
        raise
    except KmodpipeError as e:
        e.detail = _journal(way, begin, shell) or e.detail
        e.hint = e.hint or hint
        raise
    deadline = time.monotonic() + timeout_s
    ended = False
    while time.monotonic() < deadline and not ended:
        if process.stopping():
            raise Interrupted("interrupted while Docker Engine started", where=process.pasteable(way.argv))
        # Checked before the engine is: one that answers now must not count as ended.
        ended = way.argv[0] == "setsid" and _has_ended(_pid_file(log))
        if look(2).state in (State.ANSWERS, State.DENIED):
            return
        time.sleep(0.2)
    what = "Docker Engine ended at once" if ended else f"Docker Engine did not answer within {timeout_s:g} s"
    where = f"{process.pasteable(shell.argv(way.argv))}; log: {way.log}"
    raise InfraError(what, where=where, detail=_journal(way, begin, shell), hint=hint)


def _launch(argv: Sequence[str], log: Path, *, foreground: bool) -> None:
    """Run a command that starts a daemon and returns; the daemon's output goes to ``log``."""
    with log.open("ab") as f:
        child = process.spawn(
            argv,
            cwd=Path("/"),
            stdin=subprocess.DEVNULL,
            stdout=f.fileno(),
            stderr=f.fileno(),
            foreground=foreground,
            may_outlive=True,
        )
    try:
        status = child.wait(10)
    except subprocess.TimeoutExpired:
        process.kill_group(child)
        status = -9
    finally:
        process.forget(child)
    if status != 0:
        raise InfraError(
            f"the daemon's start {process.describe_status(status)}",
            where=process.pasteable(argv),
            hint="run the command above by hand, and read what it says",
        )


def _has_ended(pid_file: Path) -> bool:
    """Return whether the daemon whose pid is in ``pid_file`` has ended; False until the file is written."""
    try:
        pid = int(pid_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    stat = proc_stat.of(pid)
    return stat is None or stat.dead


def _journal(way: Way, begin: int, shell: RootShell) -> str:
    """Return the last lines that the engine wrote, to the journal or to its log after byte ``begin``."""
    if way.journal:
        try:
            return process.run(shell.argv(way.journal), timeout_s=10, check=False).tail
        except InfraError:
            return ""
    return tail_of(way.log, begin)
