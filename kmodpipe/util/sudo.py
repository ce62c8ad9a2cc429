"""Run commands that need root: directly as root, else through sudo, and only after the user agreed.

`obtain` asks once; after it `RootShell.run` never waits for a password.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.util import process
from kmodpipe.util.errors import InfraError, UserError
from kmodpipe.util.lines import tail_of

Ask = Callable[[str], bool]
"""Ask the user a yes-or-no question."""

_KEPT = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@dataclass(frozen=True)
class RootShell:
    """The right to run commands as root."""

    # Whether commands have to go through sudo.
    sudo: bool = False

    def argv(self, argv: Sequence[str]) -> tuple[str, ...]:
        """Return ``argv`` as this user has to type it."""
        if not self.sudo:
            return tuple(argv)
        # sudo drops the environment; the proxies are how this machine reaches its package mirror.
        kept = ",".join(name for name in _KEPT if name in os.environ)
        return ("sudo", "-n", *([f"--preserve-env={kept}"] if kept else []), *argv)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        log: Path,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
        hint: str = "",
    ) -> None:
        """Run a command as root and append its output to ``log``.

        Raises InfraError with the last lines for a status other than 0 and after ``timeout_s`` seconds.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        if not self.sudo:
            # An installation starts services that outlive it; cut off, it leaves packages half configured.
            process.run(
                argv, timeout_s=timeout_s, log=log, env=env, on_line=on_line, hint=hint, may_outlive=True
            )
            return
        settings = [f"{name}={value}" for name, value in (env or {}).items()]
        full = self.argv(["env", *settings, *argv] if settings else argv)
        start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as f:
            # In the terminal's own session: sudo remembers a password for the terminal it was typed at.
            child = process.spawn(
                full, stdin=subprocess.DEVNULL, stdout=f.fileno(), stderr=f.fileno(), foreground=True,
                may_outlive=True,
            )  # fmt: skip
        try:
            status = child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            # An ordinary user may not signal a process of root's.
            raise InfraError(
                f"no end after {timeout_s:g} s; it still runs as process {child.pid}",
                where=process.pasteable(full), detail=tail_of(log, start), hint=hint,
            ) from None  # fmt: skip
        finally:
            process.forget(child)
        if status != 0:
            raise InfraError(
                f"{argv[0]} {process.describe_status(status)}",
                where=process.pasteable(full), detail=tail_of(log, start), hint=hint,
            )  # fmt: skip


def obtain(
    uid: int, has_sudo: bool, commands: Sequence[Sequence[str]], ask: Ask | None, *, why: str
) -> RootShell:
    """Return the right to run ``commands`` as root: at once for root, through sudo once ``ask`` agrees.

    Raises UserError with the commands to type if there is no sudo, no terminal, a "no", or no password.
    """
    if uid == 0:
        return RootShell()
    typed = "\n".join(process.pasteable(["sudo", *c] if has_sudo else c) for c in commands)
    if not has_sudo:
        raise UserError(
            f"{why} needs root, and this machine has no sudo", detail=typed, hint="run these lines as root"
        )
    if ask is None:
        raise UserError(
            f"{why} needs root through sudo, and there is no terminal to ask at",
            detail=typed,
            hint="agree with: invoke setup --yes, or run these lines yourself",
        )
    if not ask(f"{why} needs root. These will be run:\n{typed}\nUse sudo for them?"):
        raise UserError(f"{why} was declined", detail=typed, hint="run these lines yourself, then try again")
    if not _authorised():
        raise UserError(
            f"sudo refused {why}: no right password, or no terminal to type it at",
            detail=typed,
            hint="run these lines yourself, then try again",
        )
    return RootShell(sudo=True)


def _authorised() -> bool:
    """Return whether sudo runs commands without a further question; ask for the password at a terminal."""
    if _sudo("-n", "true") == 0:
        return True
    return sys.stdin.isatty() and _sudo("-v") == 0


def _sudo(*argv: str) -> int:
    # sudo asks on /dev/tty, whatever its streams are.
    child = process.spawn(
        ["sudo", *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        foreground=True,
    )
    try:
        return child.wait(120)
    except subprocess.TimeoutExpired:
        child.terminate()
        return 1
    finally:
        process.forget(child)
