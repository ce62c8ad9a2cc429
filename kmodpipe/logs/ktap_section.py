"""Read one KTAP report from its lines: what is nested in what, and what is missing. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kmodpipe.logs.ktap_lines import Kind, Line, is_sentence
from kmodpipe.logs.ktap_result import NAME_CHARS, NOTE_CHARS, Subtest, read_result

MAX_PROBLEMS = 20
MAX_DEPTH = 32
MAX_SUBTESTS = 50_000
_PATH_CHARS = 500
_QUOTES = 5
_ORPHAN = "a nested report ended without its parent's result"
_SKIP_ALL = re.compile(r"#?\s*skip\w*[\s:]*(.*)$", re.IGNORECASE)


class Nested(Protocol):
    """What comments below a result report, as kselftest's runner prints the output of a program."""

    @property
    def failed(self) -> tuple[Subtest, ...]: ...
    @property
    def problems(self) -> tuple[str, ...]: ...
    @property
    def stray(self) -> tuple[str, ...]: ...
    @property
    def missing(self) -> int: ...


@dataclass
class _Level:
    indent: int
    version: bool = False
    name: str = ""  # by its "# Subtest:" line
    header: str = ""  # the last "# Subtest:" line, if it may be about nested lines that follow
    planned: int | None = None
    skip_all: str | None = None
    outer: bool = False  # its results are numbered by what ran before, as kunit's are for a module
    report: bool = False  # a report was nested in it
    numbered: bool = False
    numbers: list[int] = field(default_factory=list)
    orphans: int = 0  # nested reports without a result of this level
    leaves: list[Subtest] = field(default_factory=list)
    passed: int = 0  # leaves, as `failed`
    failed: int = 0
    totalled: tuple[int, int] = (0, 0)  # passed and failed before the last totals line

    def add(self, leaves: Iterable[Subtest]) -> None:
        for leaf in leaves:
            self.leaves.append(leaf)
            self.passed += leaf.verdict == "pass"
            self.failed += leaf.verdict == "fail"

    def all_leaves(self) -> list[Subtest]:
        """Return the leaves; for the empty plan ``1..0`` one skipped leaf with the reason."""
        if self.skip_all is not None and not self.leaves:
            return [Subtest("(all)", "skip", self.skip_all)]
        return self.leaves

    def may_adopt(self, inner: _Level) -> bool:
        """Return whether what is nested is this level's own, by an indentation that is off."""
        begun = inner.version or inner.name or self.numbers or self.leaves
        return not begun and (self.planned is None or inner.planned is None)

    def adopt(self, inner: _Level) -> None:
        self.numbers, self.numbered = inner.numbers, inner.numbered
        self.add(inner.leaves)
        self.planned = inner.planned if self.planned is None else self.planned
        self.skip_all = inner.skip_all if self.skip_all is None else self.skip_all

    @property
    def fulfilled(self) -> bool:
        return self.planned is not None and len(self.numbers) >= self.planned > 0

    @property
    def is_report(self) -> bool:
        return self.version or bool(self.name) or self.planned is not None or self.report


class Section:
    """One report, from its version line or first result on, without the reports that follow it."""

    def __init__(self, stem: str, depth: int) -> None:
        self.stem = stem
        self.commented = depth > 0
        self.levels: list[_Level] = []
        self.leaves: list[Subtest] = []
        self.problems: list[str] = []
        self.stray: list[str] = []
        self.missing = 0
        # Whether KTAP's rule holds that every result has a number; TAP has no such rule.
        self.is_ktap = False
        self.is_report = False
        self.bailed = False

    def is_over(self, line: Line) -> bool:
        """Return whether another report begins with ``line``."""
        if not self.levels:
            return False
        outermost = self.levels[0]
        if line.kind is Kind.VERSION:
            return line.indent <= outermost.indent
        return line.kind is Kind.PLAN and line.indent == outermost.indent and outermost.fulfilled

    def takes(self, line: Line) -> bool:
        """Return whether a result counts here.

        One without a number counts behind a stem or a comment mark only in what is known to be a report, else
        any sentence would be one.
        """
        if line.number is not None:
            return True
        if (self.stem or self.commented) and not any(level.is_report for level in self.levels):
            return False
        if line.ok:
            numbered = bool(self.levels) and self.levels[-1].numbered
            return not line.is_word and not self.is_ktap and not numbered
        return True

    def feed(self, line: Line, below: Nested | None = None) -> None:
        """Take the next line; ``below`` is what was nested in a result as comments."""
        if line.kind is Kind.VERSION:
            self._version(line)
        elif line.kind is Kind.SUBTEST:
            self._header(line)
        elif line.kind is Kind.PLAN:
            self._plan(line)
        elif line.kind is Kind.TOTALS:
            self._totals(line)
        elif line.kind is Kind.BAIL:
            self._bail(line)
        elif self.takes(line):
            self._result(line, below)

    def close(self) -> None:
        """End the report."""
        outermost = self.levels[0] if self.levels else None
        while self.levels:
            self._pop()
        if outermost:
            self.leaves += outermost.all_leaves()
            self.is_report = self._is_report(outermost)
        if self.bailed:
            self.is_report = True

    def _is_report(self, outermost: _Level) -> bool:
        if outermost.numbers or outermost.orphans or outermost.leaves:
            return outermost.is_report
        # Without any result it may be a sentence about TAP.
        if outermost.version:
            return not is_sentence(self.stem)
        return outermost.is_report and not self.commented and (not self.stem or self.stem[-1] in "]>|")

    def _problem(self, text: str) -> None:
        if len(self.problems) < MAX_PROBLEMS and text not in self.problems:
            self.problems.append(text)

    # -- levels ------------------------------------------------------------------------------------------
    def _push(self, level: _Level) -> None:
        if len(self.levels) < MAX_DEPTH:
            self.levels.append(level)
        else:
            self._problem(f"reports are nested more than {MAX_DEPTH} deep")

    def _pop(self) -> None:
        """Close the innermost level, which no result of its parent closed."""
        level = self.levels.pop()
        parent = self.levels[-1] if self.levels else None
        if parent is None:
            self._check(level)
            if level.name and (level.numbers or level.planned):
                self._problem(f"{_ORPHAN}: {level.name}")
            return
        parent.report |= level.is_report
        if parent.may_adopt(level):
            parent.adopt(level)
            return
        self._check(level)
        self._problem(f"{_ORPHAN}{f': {level.name}' if level.name else ''}")
        parent.orphans += 1
        parent.add(level.all_leaves())

    def _check(self, level: _Level, own: Subtest | None = None) -> None:
        """Note what a level lacks; ``own`` is the result of the test that it is nested in."""
        if level.header not in ("", level.name):
            self._problem(f"subtest {level.header} has a header and no results")
        if level.planned is None:
            if not level.numbers and not level.orphans and not (own and own.verdict != "pass"):
                if level.name:
                    self._problem(f"subtest {level.name} has a header and no results")
                elif not self.commented:
                    self._problem("the report has no results and no plan")
            elif not level.outer and level.numbers != list(range(1, len(level.numbers) + 1)):
                self._problem(f"the results are numbered {_some(level.numbers)}")
            return
        seen = {n for n in level.numbers if 1 <= n <= level.planned}
        if missing := level.planned - len(seen):
            names: list[int] = []
            number = 1
            while len(names) < min(missing, 8):
                if number not in seen:
                    names.append(number)
                number += 1
            more = " …" if missing > len(names) else ""
            listed = ", ".join(map(str, names))
            self._problem(f"{missing} of {level.planned} planned results are missing: {listed}{more}")
        self.missing += max(level.planned - len(level.numbers) - level.orphans, 0)
        if len(level.numbers) > level.planned or len(seen) != len(level.numbers):
            self._problem(f"{len(level.numbers)} results for a plan of {level.planned}")
        elif level.numbers != sorted(level.numbers):
            self._problem(f"the results are numbered {_some(level.numbers)}")
        skipped = level.skip_all is not None or (own and own.verdict == "skip")
        if not level.planned and not level.numbers and not skipped:
            self._problem("no tests were run: the plan is 1..0")

    # -- one line ----------------------------------------------------------------------------------------
    def _version(self, line: Line) -> None:
        while self.levels and self.levels[-1].indent >= line.indent:
            self._pop()
        self._push(_Level(line.indent, version=True))
        self.is_ktap = line.text.startswith("K")
        if line.number not in ((1,) if self.is_ktap else (13, 14)):
            self._problem(f"not a known version: {line.text[:40]}")

    def _header(self, line: Line) -> None:
        name = line.rest[:NAME_CHARS] or "?"
        while self.levels and self.levels[-1].indent > line.indent:
            self._pop()
        if not self.levels or self.levels[-1].indent < line.indent:
            self._push(_Level(line.indent, name=name, header=name))
            return
        level = self.levels[-1]
        if level.header:
            self._problem(f"subtest {level.header} has a header and no results")
        begins = level.version and not level.name and level.planned is None and not level.numbers
        if begins:
            level.name = name
        if not begins or len(self.levels) == 1:
            # KTAP has it within the subtest, TAP 14 before it, at the indentation of the subtest's result.
            level.header = name

    def _plan(self, line: Line) -> None:
        if line.is_prose and not any(level.version or level.name for level in self.levels):
            return
        while len(self.levels) > 1 and self.levels[-1].indent > line.indent:
            self._pop()
        if not self.levels or self.levels[-1].indent < line.indent:
            self._push(_Level(line.indent))
        level = self.levels[-1]
        name = level.header
        if level.planned is not None and level.fulfilled and len(self.levels) > 1:
            # The next subtest: the one before it has no result of its parent.
            level.header = ""
            self._pop()
            level = _Level(line.indent, name=name)
            self._push(level)
        elif level.planned is not None:
            self._problem(f"two plans in one report: 1..{level.planned} and 1..{line.number}")
        if level.name == name:
            level.header = ""
        level.planned = line.number
        if level.planned == 0 and (match := _SKIP_ALL.match(line.rest)):
            level.skip_all = match.group(1)[:NOTE_CHARS]

    def _bail(self, line: Line) -> None:
        if not is_sentence(self.stem) or any(level.is_report for level in self.levels):
            self.bailed = True
            what = "" if line.rest.startswith("kunit") else "bail out: "
            self._problem(f"{what}{line.rest[:NOTE_CHARS]}".rstrip(": "))

    def _totals(self, line: Line) -> None:
        """Hold the counts of kselftest or kunit against the results."""
        says = line.counts
        failed = says.get("fail", 0) + says.get("error", 0)
        passed = says.get("pass", 0) + says.get("xfail", 0) + says.get("xpass", 0)
        # kunit prints it before the result of the suite, kselftest after the last result.
        level = self.levels[-1] if self.levels else None
        nested = [inner for inner in self.levels if inner.indent > line.indent]
        held = [(sum(inner.passed for inner in nested), sum(inner.failed for inner in nested))]
        if level and not nested:
            held = [(level.passed, level.failed)]
            held.append((level.passed - level.totalled[0], level.failed - level.totalled[1]))
            level.totalled = held[0]
        if (passed, failed) in held:
            return
        if level is None:
            self.stray += [line.text[:NAME_CHARS]] if failed else []
            return
        counts = f"{held[0][0]} passed and {held[0][1]} failed"
        self._problem(f"its totals say {passed} passed and {failed} failed, its results {counts}")

    # -- results -----------------------------------------------------------------------------------------
    def _result(self, line: Line, below: Nested | None) -> None:
        inner = self._close_nested(line)
        level = self._own_level(line, inner)
        if inner:
            level.report |= inner.is_report
        number = line.number if line.number is not None else len(level.numbers) + 1
        if line.number is not None or not level.numbered:
            level.numbers.append(number)
        level.numbered |= line.number is not None
        own = read_result(line, number)
        if below:
            level.report |= bool(below.problems)
            own = self._held_against(own, below)
        if inner:
            self._check(inner, own)
        if level.header:
            is_tap14 = own.name == level.header or level.header != level.name
            if is_tap14 and not inner:
                self._problem(f"subtest {level.header} has a header and no results")
            level.name = "" if is_tap14 and level.header == level.name else level.name
            level.header = ""
        nested = inner.all_leaves() if inner else []
        if own.verdict == "fail" and len(self.stray) < _QUOTES:
            self.stray.append(line.text[:NAME_CHARS])
        if len(level.leaves) + len(nested) >= MAX_SUBTESTS:
            self._problem(f"there are more than {MAX_SUBTESTS} results")
            return
        level.add(Subtest(_path(own.name, s.name), s.verdict, s.note) for s in nested)
        # A test that has subtests is only counted where it failed and none of them did.
        if not nested or (own.verdict == "fail" and not any(s.verdict == "fail" for s in nested)):
            level.add([own])

    def _close_nested(self, line: Line) -> _Level | None:
        """Close what is indented more than a result; return the level that is nested in it."""
        while self.levels and self.levels[-1].indent > line.indent:
            level = self.levels[-1]
            if len(self.levels) > 1 and self.levels[-2].indent > line.indent:
                self._pop()
            elif len(self.levels) == 1 and not level.numbers and not level.orphans and not level.name:
                level.indent = line.indent  # its results are indented less than its version line
            else:
                return self.levels.pop()
        return None

    def _own_level(self, line: Line, inner: _Level | None) -> _Level:
        """Return the level of a result; begin one if there is none."""
        if not self.levels:
            self._push(_Level(line.indent, outer=inner is not None))
        level = self.levels[-1]
        if level.indent < line.indent:
            goes_on = line.number is not None and level.numbers and line.number == level.numbers[-1] + 1
            if not goes_on:
                self._push(_Level(line.indent))
        return self.levels[-1]

    def _held_against(self, own: Subtest, below: Nested) -> Subtest:
        """Return a result with what contradicts it in the report below it, if anything does."""
        if failed := [*(f"not ok {s.name}" for s in below.failed), *below.stray]:
            says = own.note if own.verdict == "fail" else f"it says ok {own.note}".rstrip()
            return Subtest(own.name, "fail", f"{says}; below it: {_some(failed)}".lstrip("; ")[:NOTE_CHARS])
        if own.verdict == "pass":
            for problem in below.problems:
                self._problem(f"{own.name}: {problem}")
            self.missing += below.missing
        return own


def _path(outer: str, inner: str) -> str:
    path = f"{outer} / {inner}"
    return path if len(path) <= _PATH_CHARS else f"{path[: _PATH_CHARS // 2]}…{path[-_PATH_CHARS // 2 :]}"


def _some(items: Sequence[object]) -> str:
    return ", ".join(str(item) for item in items[:8]) + (" …" if len(items) > 8 else "")
