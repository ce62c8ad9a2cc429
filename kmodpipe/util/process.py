"""The one door to subprocesses.

Argument lists only, a clean environment, one monotonic deadline, a process group of its own so that
grandchildren go with the child, output to a file or to a bounded buffer. A failure is reported once, with
the command as it can be pasted into a shell.
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
from io import BufferedWriter, FileIO
from pathlib import Path
from typing import IO, TypeVar

from kmodpipe.util import os_errors, proc_stat, reaper
from kmodpipe.util.errors import InfraError, Interrupted
from kmodpipe.util.lines import LineOutput
from kmodpipe.util.os_errors import from_system

# What a tool may need to reach the network through this machine's own settings; nothing else of the
# caller's environment (GIT_DIR, MAKEFLAGS, CROSS_COMPILE, LD_PRELOAD …) reaches a child.
_PASSED = (
    "PATH", "HOME", "TMPDIR", "TERM",
    "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO",
    "SSH_AUTH_SOCK", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR",
)  # fmt: skip

_Child = TypeVar("_Child", bound="subprocess.Popen[bytes]")

_CAPTURE_LIMIT = 16 * 1024 * 1024
_TERM_GRACE_S = 2.0


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment every child gets: a few passed names, a fixed locale, then ``extra``."""
    env = {name: os.environ[name] for name in _PASSED if name in os.environ}
    env.setdefault("PATH", os.defpath)
    if "sbin" not in env["PATH"]:
        env["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"
    env["LC_ALL"] = "C.UTF-8"
    env.update(extra or {})
    return env


def pasteable(argv: Sequence[str | os.PathLike[str]]) -> str:
    """``argv`` as one line for a shell."""
    return shlex.join(os.fspath(a) for a in argv)


@dataclass(frozen=True)
class Completed:
    """A finished child. ``stdout`` is at most 16 MiB and empty when it went to a log; ``tail`` holds the
    last lines of both streams; ``returncode`` is negative for a signal, as in ``subprocess``."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    tail: str
    duration_s: float
    timed_out: bool

    @property
    def text(self) -> str:
        return self.stdout.decode("utf-8", "replace")


class TooMuch(InfraError):
    """A command whose whole output is needed wrote more than is ever kept."""


class Children:
    """The running children of one command, so that all can be ended from any of its threads."""

    def __init__(self) -> None:
        self._live: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    @contextmanager
    def collecting(self) -> Iterator[Children]:
        """What is started in the block, and in threads of `util.workers` begun there, is one of these."""
        token = _CURRENT.set(self)
        try:
            yield self
        finally:
            _CURRENT.reset(token)

    @property
    def stopping(self) -> bool:
        """Whether `stop_all` was called; from then on no child is started."""
        return self._stopping.is_set()

    def stop_all(self) -> None:
        """End every child with its process group, and refuse new ones from now on."""
        self._stopping.set()
        with self._lock:
            children = list(self._live)
        for child in children:
            kill_group(child)

    def add(self, child: subprocess.Popen[bytes]) -> None:
        """Put a child on the list of those that `stop_all` ends, until `forget`."""
        with self._lock:
            self._live.add(child)

    def forget(self, child: subprocess.Popen[bytes]) -> None:
        """Take a child that has ended off that list."""
        with self._lock:
            self._live.discard(child)


# The default is for use as a library, where no command collects children of its own.
_CURRENT: ContextVar[Children] = ContextVar("children", default=Children())  # noqa: B039


def children() -> Children:
    """The current command's children; outside of `Children.collecting` those of the whole process."""
    return _CURRENT.get()


def stopping() -> bool:
    """Whether the current command ends: loops that wait for something other than a child look here."""
    return children().stopping


def kill_group(child: subprocess.Popen[bytes], *, grace_s: float = _TERM_GRACE_S) -> None:
    """SIGTERM, a short grace, SIGKILL; to the whole process group. Never raises for a dead child."""
    _signal_group(child, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        child.wait(grace_s)
    # The leader may be gone while a grandchild ignores SIGTERM: the group is killed in any case.
    _signal_group(child, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        child.wait(grace_s)


def end(child: subprocess.Popen[bytes], *, grace_s: float = _TERM_GRACE_S) -> None:
    """End a child of `spawn` where it still runs, forget it, and close its pipes."""
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
    # A foreground child leads no group.
    with suppress(ProcessLookupError, PermissionError):
        child.send_signal(number)


class Piped(subprocess.Popen[bytes]):
    """A child whose output comes through two pipes."""

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
    pass_fds: Sequence[int] = (),
    foreground: bool = False,
    may_outlive: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own (``foreground`` keeps the terminal's). Release it with `forget`.

    It ends when this process is killed, and so does all that it starts itself; unless it ``may_outlive`` us,
    as a service does and an installation has to. Raises InfraError where the program does not exist or may
    not be run.
    """

    def start(args: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            args, cwd=cwd, env=environment, stdin=stdin, stdout=stdout, stderr=stderr,
            pass_fds=pass_fds, start_new_session=not foreground,
        )  # fmt: skip

    return _start(start, argv, cwd=cwd, may_outlive=may_outlive)


def spawn_piped(
    argv: Sequence[str | os.PathLike[str]],
    *,
    stdin: int = subprocess.DEVNULL,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    may_outlive: bool = False,
) -> Piped:
    """`spawn` a child in a session of its own, with its output in pipes and ``env`` beside what all get."""
    return _start(
        lambda args, environment: Piped(args, cwd, environment, stdin),
        argv, cwd=cwd, env=env, may_outlive=may_outlive,
    )  # fmt: skip


def pipe() -> tuple[FileIO, FileIO]:
    """Make a pipe for a stream of `spawn`: the end to read, and the one to give to the child and close."""
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
    """Call ``start`` with the arguments and the whole environment, and put the child on the list."""
    ours = children()
    if ours.stopping:
        raise Interrupted("interrupted before a command was started", where=pasteable(argv))
    if cwd is not None and not cwd.is_dir():
        raise InfraError(f"the folder to run {os.fspath(argv[0])} in does not exist", where=str(cwd))
    try:
        environment = clean_environment(env) | ({} if may_outlive else reaper.mark())
        child = start([os.fspath(a) for a in argv], environment)
    except FileNotFoundError as e:
        raise InfraError(
            f"{os.fspath(argv[0])} is not installed", where=pasteable(argv), hint="run: invoke setup"
        ) from e
    except OSError as e:
        shortage = from_system(e)
        raise InfraError(
            f"could not start {os.fspath(argv[0])}: {shortage.what if shortage else e}",
            where=pasteable(argv),
            hint=shortage.hint if shortage else "",
        ) from e
    ours.add(child)
    if ours.stopping:
        # `stop_all` came between the look above and the start, and may not have seen this child.
        kill_group(child)
        ours.forget(child)
        raise Interrupted("interrupted while a command was started", where=pasteable(argv))
    return child


def is_stopped(child: subprocess.Popen[bytes]) -> bool:
    """Whether a child is stopped, as after SIGSTOP or under a debugger."""
    stat = proc_stat.of(child.pid)
    return stat is not None and stat.stopped


def forget(child: subprocess.Popen[bytes]) -> None:
    """Take a child that has ended off the list that `Children.stop_all` ends."""
    children().forget(child)


class _Output:
    """Where a child's bytes go: a log file or a bounded buffer, and always the last lines."""

    def __init__(self, log: Path | None, on_line: Callable[[str], None] | None, *, whole: bool) -> None:
        self._whole = whole
        self.kept = bytearray()
        self._lines = LineOutput(on_line, streams=2)
        try:
            self._file = log.open("ab") if log else None
        except OSError as e:
            raise InfraError(f"the log cannot be written: {e.strerror}", where=str(log)) from e

    def take(self, data: bytes, *, is_stdout: bool) -> None:
        if self._file:
            self._write(self._file, data)
        elif is_stdout:
            room = _CAPTURE_LIMIT - len(self.kept)
            self.kept += data[:room]
            if self._whole and room < len(data):
                raise TooMuch(f"it says more than {_CAPTURE_LIMIT >> 20} MiB")
        self._lines.feed(data, 0 if is_stdout else 1)

    @staticmethod
    def _write(file: BufferedWriter, data: bytes) -> None:
        try:
            file.write(data)
            file.flush()
        except OSError as e:
            raise InfraError(f"the log cannot be written: {e.strerror}", where=file.name) from e

    def close(self) -> str:
        if self._file:
            # A failed write has raised its own error already.
            with suppress(OSError):
                self._file.close()
        return self._lines.close()


def _pump(child: Piped, output: _Output, deadline: float) -> bool:
    """Read both pipes until the child has ended. False when the deadline passed first."""
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
            # A daemonised grandchild may hold the pipes open for ever: the child's own end is what counts.
            if child.poll() is not None and not selector.select(0.05):
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
    """Run a command to its end, its deadline or an interruption.

    With ``log`` both streams are appended to that file; without, stdout is kept (16 MiB at most).
    ``check`` turns a non-zero status into InfraError. A deadline is always an InfraError. ``whole``: a
    command that writes more than is kept is ended, with TooMuch.
    """
    output = _Output(log, on_line, whole=whole)
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
    return Completed(
        tuple(os.fspath(a) for a in argv), child.returncode, bytes(output.kept), tail, duration_s, False
    )


def describe_status(returncode: int) -> str:
    """``exited with status 2`` or ``was killed by SIGKILL``."""
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
