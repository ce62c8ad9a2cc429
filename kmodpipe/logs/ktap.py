"""Parse KTAP (and TAP 12 to 14) in a case's output into subtests. Pure, linear, bounded.

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
report that was cut must never count as a pass. Nor must a `not ok` that is part of no report.

The kernel's own reader is tools/testing/kunit/kunit_parser.py. docs/verdicts.md says where this is stricter.
"""

from __future__ import annotations

from dataclasses import dataclass

from kmodpipe.logs.ktap_lines import Kind, Line, is_sentence, lines
from kmodpipe.logs.ktap_result import Subtest
from kmodpipe.logs.ktap_section import MAX_PROBLEMS, Section

__all__ = ["Report", "Subtest", "parse"]

_MAX_QUOTES = 5
_MAX_STREAMS = 1000
_MAX_DETAILS = 200


@dataclass(frozen=True)
class Report:
    """The subtests of one output."""

    subtests: tuple[Subtest, ...]
    # Empty if the report is whole.
    problems: tuple[str, ...] = ()
    # Failed results that are part of no report, as they were printed; the first few.
    stray: tuple[str, ...] = ()
    # How many planned results did not come.
    missing: int = 0

    @property
    def failed(self) -> tuple[Subtest, ...]:
        return tuple(s for s in self.subtests if s.verdict == "fail")

    @property
    def verdict(self) -> str:
        """The whole report's: fail, error, skip or pass; a report that is not whole is an error."""
        if self.failed or self.stray:
            return "fail"
        if self.problems or not self.subtests:
            return "error"
        return "skip" if all(s.verdict == "skip" for s in self.subtests) else "pass"

    @property
    def counts(self) -> str:
        """The numbers by verdict: ``3 passed, 1 failed, 0 skipped``."""
        verdicts = [s.verdict for s in self.subtests]
        passed, failed, skipped = (verdicts.count(v) for v in ("pass", "fail", "skip"))
        return f"{passed} passed, {failed} failed, {skipped} skipped"

    @property
    def details(self) -> tuple[str, ...]:
        """The numbers, each failed subtest, and what is wrong with the report, a line each."""
        found = [f"not ok: {s.name} {s.note}".rstrip() for s in self.failed]
        found += [
            f"expected to fail: {s.name} {s.note}"
            for s in self.subtests
            if s.verdict == "pass" and s.note.startswith(("TODO", "XFAIL"))
        ]
        more = [f"… {len(found) - _MAX_DETAILS} more"] if len(found) > _MAX_DETAILS else []
        found = [*found[:_MAX_DETAILS], *more]
        found += [f"not ok, in no report: {text}" for text in self.stray]
        found += [f"KTAP: {problem}" for problem in self.problems]
        return (f"subtests: {self.counts}", *found)


class _Stream:
    """The reports behind one stem, one after another, at one depth of comment marks."""

    def __init__(self, stem: str, depth: int = 0) -> None:
        self.stem = stem
        self.depth = depth
        self.section = Section(stem, depth)
        self.below: _Stream | None = None  # the lines with one comment mark more
        self.has_results = False
        self.has_report = False
        self.subtests: list[Subtest] = []
        self.problems: list[str] = []
        self.stray: list[str] = []
        self.missing = 0

    def feed(self, line: Line) -> None:
        if line.comments > self.depth:
            self.below = self.below or _Stream(self.stem, self.depth + 1)
            self.below.feed(line)
            return
        self.has_results |= line.kind is Kind.RESULT and line.ok and line.number is not None
        if self.section.is_over(line):
            self._settle()
        if line.kind is Kind.RESULT and self.below and self.section.takes(line):
            below, self.below = self.below.finish(), None
            self.section.feed(line, below)
        else:
            self.section.feed(line)

    def _settle(self) -> None:
        """Take over what the section holds; of one that is no report, only what failed."""
        section, self.section = self.section, Section(self.stem, self.depth)
        section.close()
        if section.is_report:
            self.has_report = True
            self.subtests += section.leaves
            self.problems += section.problems
            self.missing += section.missing
        elif self.has_results or not is_sentence(self.stem):
            self.stray += section.stray[: _MAX_QUOTES - len(self.stray)]

    def finish(self) -> Report:
        self._settle()
        if self.below:
            below = self.below.finish()
            # Comments behind the last result: passes that no result stands for are not counted.
            self.subtests += below.failed if self.has_report else below.subtests
            self.problems += below.problems
            self.stray += below.stray
            self.missing += below.missing
            self.has_report |= self.below.has_report
        problems = tuple(self.problems[:MAX_PROBLEMS])
        return Report(tuple(self.subtests), problems, tuple(self.stray[:_MAX_QUOTES]), self.missing)


def parse(text: str) -> Report | None:
    """Return the reports in ``text`` as one, or None if nothing in it reads as one.

    A report has a version line or, as in TAP 12, a plan. A failed result outside of any is in `Report.stray`.
    """
    streams: dict[str, _Stream] = {}
    for line in lines(text):
        stem = line.stem
        if stem not in streams:
            if stem and line.kind is Kind.RESULT and line.number is None:
                continue
            # Those beyond the bound share one.
            stem = stem if len(streams) < _MAX_STREAMS else "…"
            streams.setdefault(stem, _Stream(stem))
        streams[stem].feed(line)
    finished = [(stream, stream.finish()) for stream in streams.values()]
    reports = [report for stream, report in finished if stream.has_report or report.stray]
    if not reports:
        return None
    return Report(
        tuple(s for report in reports for s in report.subtests),
        tuple(p for report in reports for p in report.problems)[:MAX_PROBLEMS],
        tuple(q for report in reports for q in report.stray)[:_MAX_QUOTES],
        sum(report.missing for report in reports),
    )
