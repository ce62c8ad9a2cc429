"""Parse KTAP (and TAP 12 to 14) in a case's output into subtests. Pure.

The format is defined in the kernel tree: Documentation/dev-tools/ktap.rst.

    KTAP version 1
    1..2
      KTAP version 1            nested reports are indented, by any amount
      1..1
      not ok 1 inner # SKIP no xattr
    ok 1 outer
    not ok 2 - other # TIMEOUT

Lines that are not KTAP are ignored, as kernel messages may be mixed in. Missing parts are not: a plan that
was not fulfilled, a nested report without its parent's result, and a `Bail out!` are problems, since a
report that was cut must never count as a pass.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_VERSION = re.compile(r"^(\s*)K?TAP version \d+\s*$")
_PLAN = re.compile(r"^(\s*)1\.\.(\d+)(?:\s*#\s*(.*))?\s*$")
_RESULT = re.compile(r"^(\s*)(not )?ok(?=\s|$)(?:\s+(\d+))?(?:\s+-)?\s*(.*)$")
_DIRECTIVE = re.compile(r"(?:^|\s)#\s*(SKIP|TODO|XFAIL|TIMEOUT|ERROR)\b:?\s*(.*)$", re.IGNORECASE)
_BAIL = re.compile(r"^\s*Bail out!\s*(.*)$")
_MAX_PROBLEMS = 20


@dataclass(frozen=True)
class Subtest:
    """One leaf of a report."""

    name: str  # the path from the outermost test: "outer / inner"
    verdict: str  # pass, fail or skip; an expected failure is a pass
    note: str = ""  # the directive with its text


@dataclass(frozen=True)
class Report:
    """The subtests of one output."""

    subtests: tuple[Subtest, ...]
    problems: tuple[str, ...]  # empty if the report is whole

    @property
    def failed(self) -> tuple[Subtest, ...]:
        return tuple(s for s in self.subtests if s.verdict == "fail")

    @property
    def counts(self) -> str:
        """The numbers by verdict: ``3 passed, 1 failed, 0 skipped``."""
        verdicts = [s.verdict for s in self.subtests]
        passed, failed, skipped = (verdicts.count(v) for v in ("pass", "fail", "skip"))
        return f"{passed} passed, {failed} failed, {skipped} skipped"


@dataclass
class _Level:
    indent: int
    planned: int | None = None
    skip_all: str | None = None
    numbers: list[int] = field(default_factory=list)
    leaves: list[Subtest] = field(default_factory=list)

    def all_leaves(self) -> list[Subtest]:
        """Return the leaves; for the empty plan ``1..0`` one skipped leaf with the reason."""
        if self.skip_all is not None and not self.leaves:
            return [Subtest("(all)", "skip", self.skip_all)]
        return self.leaves


class _Parser:
    def __init__(self) -> None:
        self.levels: list[_Level] = []
        self.finished: list[Subtest] = []
        self.problems: list[str] = []

    def problem(self, text: str) -> None:
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(text)

    def version(self, indent: int) -> None:
        while self.levels and self.levels[-1].indent > indent:
            self.close(self.levels.pop(), orphan=True)
        if self.levels and self.levels[-1].indent == indent:
            # Another report, as when a script runs several programs.
            self.close(self.levels.pop(), orphan=bool(self.levels))
        self.levels.append(_Level(indent))

    def plan(self, indent: int, count: int, note: str) -> None:
        while self.levels[-1].indent > indent and len(self.levels) > 1:
            self.close(self.levels.pop(), orphan=True)
        if self.levels[-1].indent < indent:
            self.levels.append(_Level(indent))  # kunit's older nested reports begin with their plan
        level = self.levels[-1]
        if level.planned is not None:
            self.problem(f"two plans in one report: 1..{level.planned} and 1..{count}")
        level.planned = count
        if count == 0:
            level.skip_all = note

    def result(self, indent: int, number: int | None, ok: bool, rest: str) -> None:
        nested: list[Subtest] = []
        while self.levels[-1].indent > indent and len(self.levels) > 1:
            level = self.levels.pop()
            self.check(level)
            nested = level.all_leaves() + nested
        if self.levels[-1].indent < indent:
            self.levels.append(_Level(indent))
        level = self.levels[-1]
        level.numbers.append(number if number is not None else len(level.numbers) + 1)
        own = _leaf(ok, rest, number)
        level.leaves += [Subtest(f"{own.name} / {s.name}", s.verdict, s.note) for s in nested]
        covered = own.verdict == "pass" or own.verdict in {s.verdict for s in nested}
        if not nested or not covered:
            level.leaves.append(own)

    def check(self, level: _Level) -> None:
        if level.planned is None:
            self.problem("the report has no plan line (1..N)")
            return
        seen = set(level.numbers)
        missing = [n for n in range(1, min(level.planned, 100_000) + 1) if n not in seen]
        if missing:
            names = ", ".join(str(n) for n in missing[:8]) + (" …" if len(missing) > 8 else "")
            self.problem(f"{len(missing)} of {level.planned} planned results are missing: {names}")
        if len(level.numbers) > level.planned or len(seen) != len(level.numbers):
            self.problem(f"{len(level.numbers)} results for a plan of {level.planned}")

    def close(self, level: _Level, *, orphan: bool) -> None:
        self.check(level)
        if orphan:
            self.problem("a nested report ended without its parent's result")
        self.finished += level.all_leaves()

    def finish(self) -> Report:
        while self.levels:
            level = self.levels.pop()
            self.close(level, orphan=bool(self.levels))
        return Report(tuple(self.finished), tuple(self.problems))


def _leaf(ok: bool, rest: str, number: int | None) -> Subtest:
    directive = _DIRECTIVE.search(rest)
    name = (rest[: directive.start()] if directive else rest).strip() or f"test {number or '?'}"
    if not directive:
        return Subtest(name, "pass" if ok else "fail")
    kind, text = directive.group(1).upper(), directive.group(2).strip()
    note = f"{kind} {text}".strip()
    if kind == "SKIP":
        return Subtest(name, "skip", note)
    if kind in ("TODO", "XFAIL"):
        return Subtest(name, "pass", note)
    return Subtest(name, "fail", note)


def parse(text: str) -> Report | None:
    """Return the report in ``text``, or None if there is no version line.

    The indentation of the first version line is the outermost level.
    """
    parser: _Parser | None = None
    for line in text.split("\n"):
        line = line.expandtabs(8).rstrip()
        if match := _VERSION.match(line):
            parser = parser or _Parser()
            parser.version(len(match.group(1)))
        elif parser is None or not parser.levels:
            continue
        elif match := _PLAN.match(line):
            parser.plan(len(match.group(1)), int(match.group(2)[:9]), match.group(3) or "")
        elif match := _RESULT.match(line):
            number = int(match.group(3)[:9]) if match.group(3) else None
            parser.result(len(match.group(1)), number, not match.group(2), match.group(4))
        elif match := _BAIL.match(line):
            parser.problem(f"bail out: {match.group(1)}".rstrip(": "))
    return parser.finish() if parser else None
