"""What a command line asked for, and the records that its words stand for."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kmodpipe.util import paths
from kmodpipe.util.errors import UserError
from kmodpipe.util.screen import Screen

if TYPE_CHECKING:
    from kmodpipe.judge.attempts import Tries
    from kmodpipe.judge.cases import Case
    from kmodpipe.pipeline.config import Project
    from kmodpipe.pipeline.workspace import Asked


@dataclass(frozen=True)
class Asking:
    """What the command line said; empty means the project's default."""

    root: Path
    tree: str = ""
    head: bool = False
    series: Sequence[str] = ()
    matrix: str = ""
    module: str = ""
    flavour: Sequence[str] = ()
    cell: Sequence[str] = ()
    case: Sequence[str] = ()
    shuffle: str = ""
    attempts: int = 1
    repeat: int = 1
    runtime: str = "docker"
    jobs: int = 0
    out: str = "out"
    quiet: bool = False
    yes: bool = False
    tests: bool = False
    all: bool = False
    each_patch: bool = False
    share: str = ""
    run: str = ""
    to: str = ""
    receivers: Sequence[str] = ()
    pending: bool = False
    dry_run: bool = False
    again: bool = False
    against: str = ""
    format: str = ""
    fail_on: Sequence[str] = ()
    html: str = ""
    junit: str = ""
    strict: bool = False
    open: bool = False
    latest: bool = False
    if_changed: bool = False
    per_job: int = 0
    prepare: bool = False
    plan: str = ""
    dir: Sequence[str] = ()
    screen: Screen = field(default_factory=Screen)


def project_of(asking: Asking) -> Project:
    """The checkout that the commands are run in."""
    from kmodpipe.pipeline import config

    return config.load(asking.root)


def resolve(asking: Asking) -> Asked:
    """Every name of the command line turned into a record. Raises UserError with the near names."""
    from kmodpipe.pipeline import workspace
    from kmodpipe.pipeline.workspace import Request

    project = project_of(asking)
    if asking.jobs < 0:
        raise UserError("--jobs is a number from 1 up", hint="0 means one a processor")
    request = Request(
        tree=asking.tree or project.tree,
        series=tuple(asking.series) or project.series,
        matrix=Path(asking.matrix).absolute() if asking.matrix else project.matrix,
        out=Path(asking.out).absolute(),
        jobs=asking.jobs or project.jobs,
        runtime=asking.runtime,
        head=asking.head,
        module=asking.module or None,
        flavours=tuple(asking.flavour),
        cells=tuple(asking.cell),
        cases=tuple(c for c in asking.case if not _is_script(c)),
        case_files=tuple(Path(c) for c in asking.case if _is_script(c)),
        shuffle=_seed(asking.shuffle),
        each_patch=asking.each_patch,
        share=asking.share or project.share,
        latest=asking.latest,
    )
    return workspace.resolve(project, request)


def _seed(shuffle: str) -> int:
    """The seed that --shuffle means. Raises UserError."""
    if shuffle == "random":
        return secrets.randbelow(999_999) + 1
    if not re.fullmatch(r"[0-9]{0,9}", shuffle, re.ASCII):
        raise UserError(
            f"--shuffle takes a number or the word random, not {shuffle!r}", hint="0 keeps the declared order"
        )
    return int(shuffle or "0")


def asked_tries(asking: Asking) -> Tries:
    """How often each case is to run. Raises UserError."""
    from kmodpipe.judge.attempts import MOST_ATTEMPTS, MOST_REPEATS, Tries

    for name, value, most in (
        ("attempts", asking.attempts, MOST_ATTEMPTS),
        ("repeat", asking.repeat, MOST_REPEATS),
    ):
        if not 1 <= value <= most:
            raise UserError(f"--{name} takes a number from 1 to {most}, not {value}")
    if asking.attempts > 1 and asking.repeat > 1:
        raise UserError(
            "--attempts and --repeat exclude each other",
            hint="--repeat runs a case as often whether it fails or not, and tells the rate",
        )
    return Tries(asking.attempts, asking.repeat)


def _is_script(case: str) -> bool:
    return "/" in case or paths.is_file(Path(case))


def cache_folder() -> Path:
    """The cache, made where it is not there yet."""
    from kmodpipe.pipeline import config

    return config.cache_folder()


@contextmanager
def used_cache(asking: Asking) -> Iterator[Path]:
    """The cache, which nobody empties while the block runs."""
    from kmodpipe.cache import users

    cache = cache_folder()
    with users.using(cache, asking.screen.say):
        yield cache


def chosen_cases(asked: Asked) -> tuple[Case, ...]:
    """The cases by name, and scripts by path; only the scripts where nothing else is named."""
    from kmodpipe.judge import cases

    known = cases.load(asked.project.cases)
    cases.check_axes(known, asked.matrix.axes, asked.matrix.flavours)
    scripts = tuple(cases.from_script(path) for path in asked.request.case_files)
    named = cases.select(known, asked.request.cases) if asked.request.cases or not scripts else ()
    chosen = (*named, *scripts)
    ids = [c.id for c in chosen]
    if doubled := sorted({i for i in ids if ids.count(i) > 1}):
        raise UserError(f"two cases with one name: {', '.join(doubled)}", hint="rename the script")
    return chosen
