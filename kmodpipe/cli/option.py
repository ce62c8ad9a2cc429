"""Declare an option of a command: `options` has the groups that are made of them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any


class Use(enum.Flag):
    """Where else an option is used."""

    # The question of --if-changed: another value may lead to another verdict.
    QUESTION = enum.auto()
    # The command line of a fan-out job.
    JOB = enum.auto()
    # The command line that runs one result again.
    REPEAT = enum.auto()


class Values(enum.Enum):
    """What the values of an option are, as the help calls one; `completion` lists those that it can know."""

    FLAG = ""
    NUMBER = "N"
    TEXT = "TEXT"
    FILE = "FILE"
    FOLDER = "FOLDER"
    CELL = "CELL"
    CASE = "CASE"
    SERIES = "SERIES"
    TREE = "TREE"
    FLAVOUR = "FLAVOUR"
    RUNTIME = "RUNTIME"
    RUN = "RUN"
    AGAINST = "RUN|series:NAME"
    RECEIVER = "RECEIVER"
    MODULE = "MODULE"
    PLAN_FORM = "CI"
    CI_NAME = "github|gitlab|none"
    ANNOTATION = "github|none"
    REPORT_FORM = "FORM"
    CHANGE = "CHANGE"
    SEED = "SEED"
    SHARE = "REPOSITORY"
    EDIT_KIND = "KIND"
    SCHEDULER = "SCHEDULER"


_NOWHERE = Use(0)
EVERYWHERE = Use.QUESTION | Use.JOB | Use.REPEAT


@dataclass(frozen=True)
class Option:
    """One option of a group."""

    name: str
    default: object
    help: str
    # One letter, or "".
    short: str
    uses: Use
    # Why no verdict depends on it; empty if it is part of the question.
    exempt: str
    # A file or folder, which is absolute in the command line that runs a result again.
    is_path: bool
    values: Values

    @property
    def flag(self) -> str:
        """The option as it is typed: ``--each-patch``."""
        return "--" + self.name.replace("_", "-")

    @property
    def repeatable(self) -> bool:
        """Whether it may be given several times."""
        return isinstance(self.default, tuple)


def option(
    default: object,
    help: str,
    uses: Use = _NOWHERE,
    *,
    exempt: str = "",
    short: str = "",
    path: bool = False,
    of: Values = Values.TEXT,
) -> Any:
    """Declare an option as the field of a group. ``of`` is left out for a flag and for a number."""
    if isinstance(default, bool):
        of = Values.FLAG
    elif isinstance(default, int):
        of = Values.NUMBER
    elif path and of is Values.TEXT:
        of = Values.FILE
    known = {"help": help, "short": short, "uses": uses, "exempt": exempt, "path": path, "values": of}
    return field(default=default, metadata=known)
