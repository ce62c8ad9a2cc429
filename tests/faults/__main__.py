"""``python -m tests.faults [GROUP | GROUP/NAME ...]``: inject faults, print what came of each.

Patterns with * work. ``--list`` names them; ``--keep FOLDER`` leaves there what the runs left, logs included;
``--corpus`` puts the consoles of the kernel's faults into tests/corpus/console (see README there);
``--tree NAME`` seeds the kernel's faults into that declared tree, as far as its code is alike.
The exit status is 1 where any was not reported as it must be, lost a result, or left something behind.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path

from rich.console import Console

from tests import faults
from tests.faults import Injection, Outcome, Row, forgery, kernel
from tests.faults.groups import INJECTIONS
from tests.faults.kernel.port import ported
from tests.support.trees import declared


def chosen(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """The names that fit a pattern; all where there is none."""
    return [n for n in names if not patterns or any(fnmatch(n, p) or n.startswith(f"{p}/") for p in patterns)]


def kernel_rows(
    seeded: Sequence[kernel.Fault], folder: Path, *, corpus: bool = False, tree: str = ""
) -> list[Row]:
    if not seeded:
        return []
    if tree:
        seeded, homeless = ported(seeded, declared(tree).path, folder / "ported")
        rest = [
            Row("kernel", str(one), one.fault, Outcome("no place in this tree", 0, "")) for one in homeless
        ]
        return [*_seeded_rows(seeded, folder, tree=tree), *rest]
    return _seeded_rows(seeded, folder, corpus=corpus)


def _seeded_rows(
    seeded: Sequence[kernel.Fault], folder: Path, *, corpus: bool = False, tree: str = ""
) -> list[Row]:
    ran = kernel.run_faults(seeded, folder, tree=tree)
    if ran.code != 1:
        broken = Outcome(ran.said.strip()[-400:], ran.code, "", ("the run of the seeded faults broke",))
        return [Row("kernel", "*", "all of them", broken)]
    for fault in seeded if corpus else ():
        if not kernel.problems(fault, ran):
            kernel.take_log(fault, ran)
    return kernel.rows(seeded, ran)


def forgery_rows(names: Sequence[str], folder: Path) -> list[Row]:
    """All lies are told in one run, and what was asked for is shown."""
    if not names:
        return []
    rows = forgery.rows(forgery.run(forgery.make_project(folder)))
    return [row for row in rows if f"{row.group}/{row.name}" in names]


def row_of(injection: Injection, folder: Path) -> Row:
    try:
        return faults.run(injection, folder)
    except Exception as e:
        broken = Outcome(f"{type(e).__name__}: {e}", -1, "", ("the injection itself broke",))
        return Row(injection.group, injection.name, injection.fault, broken)


def main(arguments: Sequence[str]) -> int:
    # What is started in the background, or by nohup, ignores them, and so would all that is injected into.
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("patterns", nargs="*", metavar="GROUP[/NAME]")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--corpus", action="store_true")
    parser.add_argument("--tree", default="")
    asked = parser.parse_args(arguments)
    screen = Console(width=None if sys.stdout.isatty() else 200)
    seeded = {f"kernel/{one}": one for one in kernel.load()}
    injected = {str(one): one for one in INJECTIONS}
    lies = [f"forgery/{name}" for name in (*forgery.NAMES, "files")]
    names = chosen([*seeded, *lies, *injected], asked.patterns)
    if asked.list or not names:
        screen.print("\n".join(names or ["no such fault; --list names them"]), markup=False)
        return 0 if names else 2
    with tempfile.TemporaryDirectory(prefix="kmodpipe-faults-") as made:
        folder = asked.keep.absolute() if asked.keep else Path(made)
        wanted = [seeded[n] for n in names if n in seeded]
        rows = kernel_rows(wanted, folder / "kernel", corpus=asked.corpus, tree=asked.tree)
        rows += forgery_rows([n for n in names if n in lies], folder / "forgery")
        for name in (n for n in names if n in injected):
            screen.print(f"· {name}", markup=False, highlight=False)
            rows.append(row_of(injected[name], folder / name))
    screen.print(faults.table(rows))
    bad = [row for row in rows if row.outcome.problems]
    screen.print(f"{len(rows)} faults, {len(bad)} not as they must be", highlight=False)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
