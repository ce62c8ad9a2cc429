"""Wrong inputs of every kind, with what has to be said of each: flags, values, names, files, patches.

`python -m tests.wrong_inputs` prints the table. Each row is a command line in a fresh toy project, after its
`change`; the program runs in this process, with its own parsing, help and exit codes.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.cli.program import Program
from tests.support import toy
from tests.support.toy import World

Change = Callable[[World], object]


@dataclass(frozen=True)
class Row:
    """One wrong input."""

    kind: str
    # The words behind `kmodpipe`; {root} is the project's folder.
    words: str
    # All of it has to be said.
    said: tuple[str, ...]
    change: Change = lambda world: None
    code: int = 2


@dataclass(frozen=True)
class Ended:
    """What came of a row."""

    code: int
    out: str
    err: str


def write(name: str, text: str) -> Change:
    """Write a file of the project."""

    def change(world: World) -> None:
        path = world.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return change


def edit(name: str, old: str, new: str) -> Change:
    """Replace text in a file of the project."""

    def change(world: World) -> None:
        path = world.root / name
        text = path.read_text()
        assert old in text, f"{name} has no {old!r}"
        path.write_text(text.replace(old, new))

    return change


FRAGMENT, MATRIX, PROJECT = "kconfigs/guest.config", "kconfigs/matrix.toml", "pyproject.toml"
CASE, SERIES = "images/guest/cases/remount/case.toml", "patches/toy-fix/series.toml"
PATCH = "patches/toy-fix/0001-toy-mount.patch"
RUN = "--runtime host"

ROWS = (
    # -- flags and words
    Row("flag", "tset", ("unknown command 'tset'", "did you mean test", "kmodpipe --help")),
    Row("flag", "test --jbos 3", ("unknown option '--jbos'", "did you mean --jobs", "kmodpipe test --help")),
    Row("flag", "test -x", ("unknown option '-x'",)),
    Row("flag", "build --case x", ("build has no option --case", "matrix have it")),
    Row("flag", "test remount", ("test takes options only", "'remount'", "--case")),
    Row("flag", "--cell x test", ("--cell is an option of a command", "kmodpipe test --cell")),
    Row("flag", "test --each-patch=yes", ("--each-patch takes no value",)),
    Row("flag", "test --jobs", ("--jobs takes a number", "there is none")),
    Row("flag", "test --cell --quiet", ("--cell takes a value", "there is none")),
    Row("flag", "config chekc", ("unknown word behind config 'chekc'", "did you mean check")),
    Row("flag", "--print-completion-script csh", ("unknown shell 'csh'", "bash")),
    # -- values
    Row("value", "test --jobs x", ("--jobs takes a whole number", "'x'")),
    Row("value", "test --jobs 1.5", ("--jobs takes a whole number", "'1.5'")),
    Row("value", "test --jobs=-1", ("--jobs is a number from 1 up",)),
    Row("value", "test --tree=", ("--tree takes a value", "empty")),
    Row("value", f"test {RUN} --attempts 0", ("--attempts takes a number from 1",)),
    Row("value", f"test {RUN} --attempts 2 --repeat 2", ("--attempts and --repeat exclude each other",)),
    Row("value", "boot --folder nowhere", ("this is no folder", "--folder nowhere")),
    Row("value", "boot --writable", ("--writable says how the guest has a folder", "--folder names it")),
    Row(
        "value", f"boot {RUN} --case remount --case ./x.sh", ("boot begins with one case, 2 match",),
        write("x.sh", "#!/bin/sh\n"),
    ),
    Row("value", f"test {RUN} --shuffle often", ("--shuffle takes a number or the word random", "'often'")),
    Row("value", "test --runtime dokcer", ("unknown runtime 'dokcer'", "did you mean docker")),
    Row("value", "matrix --format gitlub", ("unknown format 'gitlub'", "did you mean gitlab or github")),
    Row("value", "report --format mial", ("unknown format 'mial'", "did you mean mail")),
    Row("value", "report --fail-on nwe --against x", ("unknown change 'nwe'", "did you mean new")),
    Row("value", "report --strict", ("--strict is a profile of the JUnit file",)),
    Row("value", "clean --keep 3", ("--keep is for results",)),
    Row("value", "clean --results --keep=-2", ("--keep takes a number from 0 up",)),
    Row("value", f"test {RUN} --cell unpatched.* --no-control", ("--no-control leaves no cell",)),
    # -- names
    Row("name", f"test {RUN} --tree ty", ("unknown kernel 'ty'", "did you mean toy")),
    Row("name", f"test {RUN} --series toy-fx", ("toy-fx", "toy-fix")),
    Row("name", f"test {RUN} --case remuont", ("remuont", "did you mean remount")),
    Row("name", f"test {RUN} --cell toy-fix.INDEX=y.NOUUID=x", ("unknown cell", "toy-fix.INDEX=y.NOUUID=n")),
    Row("name", f"test {RUN} --flavour xsf", ("unknown flavour 'xsf'",)),
    Row("name", f"test {RUN} --module fs/tyo", ("fs/tyo", "fs/toy")),
    Row("name", f"test {RUN} --cell toy-fix.INDEX=n.NOUUID=y", ("depends on TOY_FS_INDEX",)),
    Row("name", "report --run nowhere", ("there is no run 'nowhere'",)),
    Row("name", "publish --to squad", ("squad",)),
    # -- files
    Row("file", f"test {RUN} --matrix no.toml", ("the matrix file does not exist", "no.toml")),
    Row("file", f"test {RUN} --case ./no.sh", ("case script", "no.sh")),
    Row("file", f"test {RUN} --junit {{root}}", ("--junit takes the name of a file, this is a folder",)),
    Row("file", "collect --plan no.json", ("the plan cannot be read", "no.json")),
    Row(
        "file", f"plan {RUN}", ("pyproject.toml:2", "there is no such field", "did you mean tree"),
        edit(PROJECT, 'tree = "toy"\n', 'tre = "toy"\ntree = "toy"\n'),
    ),
    Row(
        "file", f"plan {RUN}", ("pyproject.toml:3", "series: takes a list of names, not text"),
        edit(PROJECT, 'series = ["toy-fix"]', 'series = "toy-fix"'),
    ),
    Row(
        "file", f"plan {RUN}", ("unknown kernel 'tyo'", "did you mean toy", "pyproject.toml:2"),
        edit(PROJECT, 'tree = "toy"', 'tree = "tyo"'),
    ),
    Row(
        "file", f"plan {RUN}", ("unknown deadline 'boots_s'", "did you mean boot_s", "pyproject.toml:8"),
        edit(PROJECT, "boot_s", "boots_s"),
    ),
    Row(
        "file", f"plan {RUN}", ("matrix.toml:4", "axes.INDEX.symbl", "did you mean symbol", "is missing"),
        edit(MATRIX, 'symbol = "TOY_FS_INDEX"', 'symbl = "TOY_FS_INDEX"'),
    ),
    Row("file", f"plan {RUN}", ("not TOML", "line 1"), write(MATRIX, "axes == 3\n")),
    Row(
        "file", f"plan {RUN}", ("the fragment gone.config does not exist",),
        edit(MATRIX, "guest.config", "gone.config"),
    ),
    Row(
        "file", f"test {RUN}", ("TOY_FSS does not exist", "did you mean TOY_FS", "guest.config:2"),
        edit(FRAGMENT, "TOY_FS=m", "TOY_FSS=m"),
    ),
    Row(
        "file", f"test {RUN}", ("TOY_FS_INDX does not exist", "TOY_FS_INDEX", "matrix.toml:4"),
        edit(MATRIX, "TOY_FS_INDEX", "TOY_FS_INDX"),
    ),
    Row(
        "file", f"plan {RUN}", ("not a configuration line", "guest.config:3"),
        edit(FRAGMENT, "=m\n", "=m\nTOY\n"),
    ),
    Row(
        "file", f"test {RUN}", ("case.toml:6", "remount.gaol", "did you mean goal"),
        edit(CASE, "goal =", "gaol ="),
    ),
    Row(
        "file", f"test {RUN}", ("case.toml:5", "timeout_s", "a whole number"),
        edit(CASE, "timeout_s = 5", 'timeout_s = "5"'),
    ),
    Row(
        "file", f"test {RUN}", ("case.toml:6", "remount.tool", "did you mean tools"),
        edit(CASE, "goal =", 'tool = ["bash"]\ngoal ='),
    ),
    Row(
        "file", f"test {RUN}", ("case.toml:6", "remount.tools[1]", "small letters, 'GNU bash' is not"),
        edit(CASE, "goal =", 'tools = ["GNU bash"]\ngoal ='),
    ),
    Row(
        "file", f"test {RUN}", ("case.toml:6", "remount.needs[1]", "neither a symbol nor a program"),
        edit(CASE, "goal =", 'needs = ["CONFIG_user_ns"]\ngoal ='),
    ),
    Row(
        "file", f"test {RUN}", ("case.toml:6", "the case's file data.bin does not exist"),
        edit(CASE, "goal =", 'files = ["data.bin"]\ngoal ='),
    ),
    Row(
        "file", f"test {RUN}", ("case.toml:6", "not the name of a file of the case: '../../lib.sh'"),
        edit(CASE, "goal =", 'files = ["../../lib.sh"]\ngoal ='),
    ),
    Row(
        "file", f"plan {RUN}", ("series.toml:2", "modul: there is no such field; did you mean module"),
        edit(SERIES, "module", "modul"),
    ),
    # -- patches
    Row("patch", "patch --series empty.mbox", ("empty.mbox",), write("empty.mbox", "")),
    Row(
        "patch", "patch", ("does not apply", "0001-toy-mount.patch"),
        edit(PATCH, "-outcome: ESTALE", "-outcome: other"),
    ),
    Row("patch", "patch", ("0002-toy-mount.patch",), edit("patches/toy-fix/series", "0001", "0002")),
)  # fmt: skip


@contextlib.contextmanager
def _inside(world: World) -> Iterator[None]:
    """Run the block in the project, with its environment; signal handlers are restored."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = [signal.getsignal(number) for number in numbers]
    before = dict(os.environ), Path.cwd(), handlers, os.umask(0o022)
    os.environ.clear()
    os.environ.update(world.environment())
    os.chdir(world.root)
    try:
        yield
    finally:
        environment, folder, handlers, mask = before
        os.umask(mask)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)


def run(row: Row, folder: Path) -> Ended:
    """Run a row in a fresh project below ``folder``."""
    world = toy.build(folder)
    row.change(world)
    words = [word.format(root=world.root) for word in row.words.split()]
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with _inside(world), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            Program.of("kmodpipe").run(["kmodpipe", *words])
        except SystemExit as e:
            code = int(e.code or 0)
    return Ended(code, out.getvalue(), err.getvalue())


def problems(row: Row, ended: Ended) -> Mapping[str, str]:
    """Return what is wrong with how a row ended, by a word for it; empty if nothing is."""
    found = {}
    if ended.code != row.code:
        found["exit code"] = f"{ended.code} instead of {row.code}"
    text = " ".join(ended.err.split())
    if missing := [part for part in row.said if part not in text]:
        found["not said"] = ", ".join(missing)
    for bad in ("Traceback", "a defect in kmodpipe", "No idea what"):
        if bad in ended.err + ended.out:
            found["said"] = bad
    return found
