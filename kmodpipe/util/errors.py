"""The exception tree and the exit codes.

Every error says what happened, where, and what to do next. Only `kmodpipe.cli` turns one into an exit
status; nothing else exits.

    0  all as expected
    1  kernel or test failure    (KernelFailure, or a verdict that is not the expected one)
    2  usage                     (UserError)
    3  infrastructure            (InfraError)
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from enum import IntEnum

_LONGEST = 2000
_NAME_SHOWN = 200


class ExitCode(IntEnum):
    OK = 0
    FAILURE = 1
    USAGE = 2
    INFRA = 3


class KmodpipeError(Exception):
    """Base of all errors that kmodpipe raises on purpose.

    ``what`` is one sentence, ``where`` a file, step or name, ``hint`` the next thing to do, ``detail``
    evidence such as the last lines of a log.
    """

    exit_code = ExitCode.INFRA

    def __init__(self, what: str, *, where: str = "", hint: str = "", detail: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint
        self.detail = detail

    @property
    def sentence(self) -> str:
        """What happened, and where, for a line of something else."""
        return f"{self.what} ({self.where})" if self.where else self.what

    def __str__(self) -> str:
        text = _one_line(self.what)
        if self.where:
            text += f"\n  where: {_one_line(self.where)}"
        if self.detail:
            text += "\n" + "\n".join(f"  | {line}" for line in self.detail.rstrip("\n").splitlines())
        if self.hint:
            text += f"\n  hint: {_one_line(self.hint)}"
        return text


def _one_line(text: str) -> str:
    """Return ``text`` on one line, cut: a name with a newline must not look like a line of ours."""
    shown = text.replace("\r", "\\r").replace("\n", "\\n")
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}… ({len(shown)} characters)"


class UserError(KmodpipeError):
    """The request cannot be done as it stands: a wrong name, option, file or configuration."""

    exit_code = ExitCode.USAGE


Report = Callable[[UserError], None]
"""What is done with a fault of a file. With another than `raised`, a reader goes on without what is wrong."""


def raised(error: UserError) -> None:
    """Raise an error, so that the first fault ends the reading."""
    raise error


class KernelFailure(KmodpipeError):
    """The kernel tree, the series or the module under test is at fault."""

    exit_code = ExitCode.FAILURE


class InfraError(KmodpipeError):
    """The infrastructure is at fault: network, daemon, disk, memory, QEMU itself."""

    exit_code = ExitCode.INFRA


class Interrupted(InfraError):
    """A signal ended the command: what was running is stopped, and nothing is half written."""


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return the names that are most like ``name``, the nearest first; none if none is like it."""
    names = sorted(known)
    near = difflib.get_close_matches(name[:_NAME_SHOWN], names, n=3, cutoff=0.5)
    return near + [n for n in names if name and name.lower() in n.lower() and n not in near][:3]


def unknown_name(kind: str, name: str, known: Iterable[str], *, where: str = "", hint: str = "") -> UserError:
    """Return the error for a name that does not exist, with the nearest names."""
    names = sorted(known)
    near = nearest(name, names)
    if near:
        known_text = "did you mean " + " or ".join(near) + "?"
    elif names:
        shown = ", ".join(names[:12]) + (f" … ({len(names)} in all)" if len(names) > 12 else "")
        known_text = f"known: {shown}"
    else:
        known_text = f"no {kind} is defined"
    shown = name if len(name) <= _NAME_SHOWN else f"{name[:_NAME_SHOWN]}…"
    return UserError(f"unknown {kind} {shown!r}; {known_text}", where=where, hint=hint)
