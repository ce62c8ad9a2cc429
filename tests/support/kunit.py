"""Hold `logs.ktap` against the kernel's own reader, tools/testing/kunit/kunit_parser.py, over its test data.

``python -m tests.support.kunit TREE...`` prints the table for kernel trees (it reads tools/testing/kunit);
without a tree, for Debian's packages linux-source-6.12 and linux-source-7.*, which it downloads. The exit
status is 1 if the two disagree without a reason that is known. Nothing of the kernel's is copied here.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kmodpipe.logs import ktap
from kmodpipe.source import apt, apt_root, distribution
from kmodpipe.util.screen import Mode, Screen

KUNIT = "tools/testing/kunit"
PACKAGES = (("trixie", "linux-source-6.12"), ("sid", "linux-source-7."))

# Where ours is stricter, and why; docs/verdicts.md has the same in general. Nowhere is it laxer.
STRICTER = {
    "test_is_test_passed-no_tests_no_plan.log": "theirs passes a subtest that has a header and no results",
    "output of test_parse_late_test_plan": "theirs passes one result of a plan of four",
}

# Runs theirs in a process of its own, as each tree has a module of that name. `Printer` came after 6.12.
_THEIRS = """
import contextlib, inspect, io, json, sys
sys.path.insert(0, sys.argv[1])
found = []
with contextlib.redirect_stdout(io.StringIO()):
    import kunit_parser, kunit_printer
    printer = len(inspect.signature(kunit_parser.parse_run_tests).parameters) > 1
    for text in json.load(sys.stdin):
        lines = text.splitlines(keepends=True)
        test = kunit_parser.parse_run_tests(lines, *[kunit_printer.stdout] * printer)
        c = test.counts
        found.append([test.status.name, c.passed, c.failed, c.crashed, c.skipped, c.errors])
json.dump(found, sys.stdout)
"""


@dataclass(frozen=True)
class Reading:
    """What a reader makes of one text."""

    # pass, fail, skip, error, or none
    verdict: str
    # Passed, failed, missing (theirs: crashed), skipped.
    counts: tuple[int, int, int, int]
    # Whether something is wrong with the text itself.
    faulty: bool

    def __str__(self) -> str:
        names = ("passed", "failed", "missing", "skipped")
        counts = ", ".join(f"{n} {name}" for n, name in zip(self.counts, names, strict=True) if n)
        return f"{self.verdict}: {counts or 'nothing'}{', faulty' if self.faulty else ''}"


@dataclass(frozen=True)
class Row:
    """One text, read by both."""

    tree: str
    name: str
    theirs: Reading
    ours: Reading

    @property
    def agreed(self) -> bool:
        return self.theirs == self.ours

    @property
    def reason(self) -> str:
        """Why ours is stricter; empty if it is not, or no reason is known."""
        stricter = self.theirs.verdict == "pass" and self.ours.verdict != "pass"
        return STRICTER.get(self.name, "") if stricter else ""


def theirs(tree: Path, texts: Sequence[str]) -> list[Reading]:
    """Read texts as the parser of ``tree`` does."""
    argv = [sys.executable, "-c", _THEIRS, str(tree / KUNIT)]
    run = subprocess.run(argv, input=json.dumps(list(texts)), capture_output=True, text=True, check=True)
    verdicts = {"SUCCESS": "pass", "FAILURE": "fail", "SKIPPED": "skip", "FAILURE_TO_PARSE_TESTS": "none"}
    readings = []
    for status, passed, failed, crashed, skipped, errors in json.loads(run.stdout):
        counts = (passed, failed, crashed, skipped)
        # What is not a report at all is an error of theirs; ours has no report then.
        faulty = errors > 0 and status != "FAILURE_TO_PARSE_TESTS"
        readings.append(Reading(verdicts.get(status, "error"), counts, faulty))
    return readings


def ours(text: str) -> Reading:
    """Read a text as kmodpipe does."""
    report = ktap.parse(text)
    if report is None:
        return Reading("none", (0, 0, 0, 0), False)
    verdicts = [s.verdict for s in report.subtests]
    counts = (verdicts.count("pass"), verdicts.count("fail"), report.missing, verdicts.count("skip"))
    return Reading(report.verdict, counts, bool(report.problems))


def texts(tree: Path) -> dict[str, str]:
    """Return the test data of a tree's kunit by name: its logs, and the texts in its own test."""
    found = {path.name: path.read_text() for path in sorted((tree / KUNIT / "test_data").glob("*.log"))}
    for node in ast.walk(ast.parse((tree / KUNIT / "kunit_tool_test.py").read_text())):
        if isinstance(node, ast.FunctionDef):
            for inner in ast.walk(node):
                value = inner.value if isinstance(inner, ast.Constant) else None
                if isinstance(value, str) and "AP version" in value and "\n" in value:
                    found[f"output of {node.name}"] = value
    return found


def compare(tree: Path) -> list[Row]:
    """Read all test data of a tree by both."""
    data = texts(tree)
    return [
        Row(tree.name, name, their, ours(text))
        for (name, text), their in zip(data.items(), theirs(tree, list(data.values())), strict=True)
    ]


def table(rows: Iterable[Row]) -> Table:
    out = Table("tree", "text", "theirs", "ours", "agreed", title="KUnit's test data")
    for row in rows:
        verdict = "yes" if row.agreed else f"stricter: {row.reason}" if row.reason else "NO"
        out.add_row(row.tree, row.name, str(row.theirs), str(row.ours), verdict)
    return out


def packaged(folder: Path) -> list[Path]:
    """Download Debian's sources of 6.12 and of 7.x; return a folder with tools/testing/kunit of each.

    Raise LookupError if this machine's apt has no mirror that has them.
    """
    trees = []
    for suite, name in PACKAGES:
        uris = distribution.mirrors(apt.targets(), suite)
        if not uris:
            raise LookupError("this machine's apt has no Debian mirror")
        root = folder / f"apt-{suite}"
        root.mkdir()
        own = apt_root.make(root, [f"deb [arch=amd64 signed-by={apt.KEYRING}] {uris[0]} {suite} main"])
        with Screen(Mode.QUIET).step(f"fetch {name}") as step:
            own.update(step)
            known = own.ask("pkgnames", name).split()
            fitting = [p for p in known if re.fullmatch(r"linux-source-[0-9]+\.[0-9]+", p)]
            if not fitting:
                raise LookupError(f"{suite} has no {name}")
            newest = max(fitting, key=lambda p: [int(n) for n in p.rpartition("-")[2].split(".")])
            own.get(["download", newest], step, cwd=root)
        trees.append(_unpack(next(root.glob("*.deb")), folder / newest.rpartition("-")[2]))
    return trees


def _unpack(deb: Path, target: Path) -> Path:
    """Unpack tools/testing/kunit alone."""
    child = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE)
    with child, tarfile.open(fileobj=child.stdout, mode="r|") as outer:
        for member in outer:
            if member.isreg() and ".tar." in member.name and (inner := outer.extractfile(member)):
                with tarfile.open(fileobj=inner, mode="r|*") as source:
                    for file in source:
                        file.name = file.name.partition("/")[2]
                        if file.isreg() and file.name.startswith(f"{KUNIT}/"):
                            source.extract(file, target, filter="data")
                break
        child.kill()
    deb.unlink()
    return target


def main(arguments: Sequence[str]) -> int:
    console = Console(width=200)
    with tempfile.TemporaryDirectory() as folder:
        trees = [Path(a) for a in arguments] or packaged(Path(folder))
        rows = [row for tree in trees for row in compare(tree)]
    console.print(table(rows))
    unexplained = [row for row in rows if not row.agreed and not row.reason]
    console.print(f"{len(rows)} texts: {sum(r.agreed for r in rows)} agreed, {len(unexplained)} unexplained")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
