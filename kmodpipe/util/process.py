"""Start and run child processes; nothing else in the package does.

Each child gets a list of arguments (no shell), a clean environment, a deadline by the monotonic clock, and a
process group of its own, so that its own children end with it. Its output goes to a file or into a bounded
buffer. Errors contain the command as it can be pasted into a shell.
"""

from __future__ import annotations

import os
import selectors
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import IO, TypeVar

from kmodpipe.util import os_errors, proc_stat, reaper
from kmodpipe.util.child_output import Output
from kmodpipe.util.errors import InfraError, Interrupted
from kmodpipe.util.os_errors import from_system

# The variables that a child inherits: what a tool needs to reach the network with this machine's settings.
# All others (GIT_DIR, MAKEFLAGS, CROSS_COMPILE, LD_PRELOAD …) could change the result.
_PASSED = (
    "PATH", "HOME", "TMPDIR", "TERM",
    "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO",
    "SSH_AUTH_SOCK", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR",
)  # fmt: skip

_Child = TypeVar("_Child", bound="subprocess.Popen[bytes]")

_TERM_GRACE_S = 2.0


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a child: the variables in `_PASSED`, a fixed locale, and ``extra``."""
    env = {name: os.environ[name] for name in _PASSED if name in os.environ}
    env.setdefault("PATH", os.defpath)
    if "sbin" not in env["PATH"]:
        env["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"
    env["LC_ALL"] = "C.UTF-8"
    env.update(extra or {})
    return env


def pasteable(argv: Sequence[str | os.PathLike[str]]) -> str:
    """Return ``argv`` as one line for a shell."""
    return shlex.join(os.fspath(a) for a in argv)


@dataclass(frozen=True)
class Completed:
    """A child that has ended."""

    argv: tuple[str, ...]
    returncode: int  # negative for a signal, as in ``subprocess``
    stdout: bytes  # at most 16 MiB; empty if it went to a log
    tail: str  # the last lines of both streams
    duration_s: float

    @property
    def text(self) -> str:
        """``stdout`` decoded."""
        return self.stdout.decode("utf-8", "replace")


class Children:
    """The running children of one command, which any of its threads can end."""

    def __init__(self) -> None:
        self._live: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        # Called with each command that is run, as one line for a shell.
        self.announce: Callable[[str], None] = lambda line: None

    @contextmanager
    def collecting(self) -> Iterator[Children]:
        """Collect the children that are started in the block, and in threads of `util.workers` made in it."""
        token = _CURRENT.set(self)
        try:
            yield self
        finally:
            _CURRENT.reset(token)

    @property
    def stopping(self) -> bool:
        """Whether `stop_all` was called: no child can be started any more."""
        return self._stopping.is_set()

    def stop_all(self) -> None:
        """End every child with its process group, and refuse new ones from now on."""
        self._stopping.set()
        with self._lock:
            children = list(self._live)
        for child in children:
            kill_group(child)

    def go_on(self) -> None:
        """Take new ones again: for a command that begins anew after an error, with which it had ended all."""
        self._stopping.clear()

    def add(self, child: subprocess.Popen[bytes]) -> None:
        """Add a child to those that `stop_all` ends."""
        with self._lock:
            self._live.add(child)

    def forget(self, child: subprocess.Popen[bytes]) -> None:
        """Remove a child that has ended from those that `stop_all` ends."""
        with self._lock:
            self._live.discard(child)


# The default is for the use as a library, where no command calls `Children.collecting`.
_CURRENT: ContextVar[Children] = ContextVar("children", default=Children())  # noqa: B039


def children() -> Children:
    """Return the current command's children; outside of `Children.collecting` those of the process."""
    return _CURRENT.get()


def stopping() -> bool:
    """Return whether the current command is ending; to be checked by loops that wait for no child."""
    return children().stopping


def kill_group(child: subprocess.Popen[bytes], *, grace_s: float = _TERM_GRACE_S) -> None:
    """Send SIGTERM to a child's process group, wait ``grace_s``, send SIGKILL. Ignores a dead child."""
    _signal_group(child, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        child.wait(grace_s)
    # In any case: the child may have ended while a child of its own ignores SIGTERM.
    _signal_group(child, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        child.wait(grace_s)


def end(child: subprocess.Popen[bytes], *, grace_s: float = _TERM_GRACE_S) -> None:
    """End a child of `spawn` if it still runs, remove it from the command's children, close its pipes."""
    if child.poll() is None:
        kill_group(child, grace_s=grace_s)
    forget(child)
    for stream in (child.stdout, child.stderr):
        if stream:
            stream.close()


def _signal_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)
        return
    # A foreground child has no process group of its own.
    with suppress(ProcessLookupError, PermissionError):
        child.send_signal(number)


class Piped(subprocess.Popen[bytes]):
    """A child with stdout and stderr in pipes."""

    stdout: IO[bytes]
    stderr: IO[bytes]

    def __init__(self, argv: Sequence[str], cwd: Path | None, env: Mapping[str, str], stdin: int) -> None:
        super().__init__(
            argv, cwd=cwd, env=env, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip


def spawn(
    argv: Sequence[str | os.PathLike[str]],
    *,
    stdout: int,
    stderr: int,
    stdin: int = subprocess.DEVNULL,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    foreground: bool = False,
    may_outlive: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, or with ``foreground`` in that of the terminal; ``env`` is added
    to its environment.

    Call `forget` when it has ended. If this process is killed, the child and all its descendants are killed
    too, unless it ``may_outlive`` this process, as a service and an installation must. Raises InfraError if
    the program does not exist or cannot be run.
    """

    def start(args: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            args, cwd=cwd, env=environment, stdin=stdin, stdout=stdout, stderr=stderr,
            pass_fds=pass_fds, start_new_session=not foreground,
        )  # fmt: skip

    return _start(start, argv, cwd=cwd, env=env, may_outlive=may_outlive)


def spawn_piped(
    argv: Sequence[str | os.PathLike[str]],
    *,
    stdin: int = subprocess.DEVNULL,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    may_outlive: bool = False,
) -> Piped:
    """Start a child as `spawn` does, with stdout and stderr in pipes and ``env`` added to its environment."""
    return _start(
        lambda args, environment: Piped(args, cwd, environment, stdin),
        argv, cwd=cwd, env=env, may_outlive=may_outlive,
    )  # fmt: skip


def pipe() -> tuple[FileIO, FileIO]:
    """Make a pipe for a stream of `spawn`. Return the end to read, and the child's end, which is to be closed
    after `spawn`."""
    reading, writing = os.pipe()
    return FileIO(reading, "r"), FileIO(writing, "w")


def _start(
    start: Callable[[Sequence[str], Mapping[str, str]], _Child],
    argv: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path | None,
    env: Mapping[str, str] | None = None,
    may_outlive: bool,
) -> _Child:
    """Call ``start`` with the arguments and the environment; add the child to the command's children."""
    ours = children()
    if ours.stopping:
        raise Interrupted("interrupted before a command was started", where=pasteable(argv))
    if cwd is not None and not cwd.is_dir():
        raise InfraError(
            f"the folder to run {os.fspath(argv[0])} in does not exist",
            where=str(cwd),
            hint="was it removed meanwhile? Run the same command again",
        )
    ours.announce(pasteable(argv))
    try:
        environment = clean_environment(env) | ({} if may_outlive else reaper.mark())
        child = start([os.fspath(a) for a in argv], environment)
    except FileNotFoundError as e:
        raise InfraError(
            f"{os.fspath(argv[0])} is not installed", where=pasteable(argv), hint="run: invoke setup"
        ) from e
    except OSError as e:
        program = f"could not start {os.fspath(argv[0])}"
        if shortage := from_system(e):
            shortage.what, shortage.where = f"{program}: {shortage.what}", pasteable(argv)
            raise shortage from e
        raise os_errors.failed(program, e, pasteable(argv)) from e
    ours.add(child)
    if ours.stopping:
        # `stop_all` was called since the check above, and may have missed this child.
        kill_group(child)
        ours.forget(child)
        raise Interrupted("interrupted while a command was started", where=pasteable(argv))
    return child


def is_stopped(child: subprocess.Popen[bytes]) -> bool:
    """Return whether a child is stopped, as after SIGSTOP or under a debugger."""
    stat = proc_stat.of(child.pid)
    return stat is not None and stat.stopped


def forget(child: subprocess.Popen[bytes]) -> None:
    """Remove a child that has ended from the command's children."""
    children().forget(child)


def _pump(child: Piped, output: Output, deadline: float) -> bool:
    """Read both pipes until the child ends; return False if the deadline passes first."""
    with selectors.DefaultSelector() as selector:
        for stream in (child.stdout, child.stderr):
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            for key, _ in selector.select(min(left, 0.25)):
                data = os.read(key.fd, 65536)
                if data:
                    output.take(data, is_stdout=key.fileobj is child.stdout)
                else:
                    selector.unregister(key.fileobj)
            # Not until the pipes are closed: a daemon that the child started may hold them open for ever.
            # Where none is left open, there is nothing to wait for either.
            if selector.get_map() and child.poll() is not None and not selector.select(0.05):
                break
    with suppress(subprocess.TimeoutExpired):
        child.wait(max(deadline - time.monotonic(), 0))
    return child.poll() is not None


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    timeout_s: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    log: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    check: bool = True,
    whole: bool = False,
    hint: str = "",
    may_outlive: bool = False,
) -> Completed:
    """Run a command to its end.

    With ``log`` both streams are appended to that file, else stdout is returned (at most 16 MiB). With
    ``whole`` a command that writes more to stdout is ended, and OutputTooLarge raised. ``on_line`` is called
    with each line of both streams. Raises InfraError after ``timeout_s`` and, with ``check``, for a status
    other than 0; Interrupted after `Children.stop_all`.
    """
    output = Output(log, on_line, whole=whole)
    try:
        child = spawn_piped(
            argv, cwd=cwd, env=env, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            may_outlive=may_outlive,
        )  # fmt: skip
    except BaseException:
        output.close()
        raise
    started = time.monotonic()
    feeder: threading.Thread | None = None
    try:
        if child.stdin is not None:
            feeder = threading.Thread(target=_feed, args=(child.stdin, stdin or b""), daemon=True)
            feeder.start()
        finished = _pump(child, output, started + timeout_s)
    finally:
        end(child)
        tail = output.close()
        if feeder is not None:
            feeder.join(_TERM_GRACE_S)
    duration_s = time.monotonic() - started
    command = pasteable(argv)
    if stopping():
        raise Interrupted("interrupted while a command ran", where=command)
    if not finished:
        raise InfraError(f"no end after {timeout_s:g} s", where=command, detail=tail, hint=hint)
    if check and child.returncode != 0:
        if os_errors.says_full(tail):
            raise os_errors.full(f"{os.fspath(argv[0])} ran", where=command, detail=tail)
        raise InfraError(
            f"{os.fspath(argv[0])} {describe_status(child.returncode)}", where=command, detail=tail, hint=hint
        )
    given = tuple(os.fspath(a) for a in argv)
    return Completed(given, child.returncode, bytes(output.kept), tail, duration_s)


def describe_status(returncode: int) -> str:
    """Return a text such as ``exited with status 2`` or ``was killed by SIGKILL``."""
    if returncode >= 0:
        return f"exited with status {returncode}"
    try:
        return f"was killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was killed by signal {-returncode}"


def _feed(stream: IO[bytes], data: bytes) -> None:
    with suppress(BrokenPipeError, OSError):
        stream.write(data)
    with suppress(BrokenPipeError, OSError):
        stream.close()
