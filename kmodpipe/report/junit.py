"""JUnit XML of a run, in two profiles.

The *strict* profile is valid against Jenkins' junit-10.xsd (xunit plugin). The default adds what other
readers accept: properties of each case, and each attempt of a repeated case as Maven's surefire marks them:
``rerunFailure`` if all failed, ``flakyFailure`` if one passed. A ``failure`` stands beside these, so that no
reader takes a flaky case for a pass.

Rules of that schema and of the known readers, which this file follows:

- ``testsuites``: name, time, tests, failures, errors; no ``skipped``, no ``disabled``. Only suites inside.
- ``testsuite``: name, tests, failures, errors are required; time, skipped, timestamp are allowed. Inside, in
  the order that the stricter readers need: properties, testcase …, system-out, system-err.
- ``testcase``: name, classname, time and nothing else. Inside: (properties,) skipped | error | failure, at
  most one of them, (the attempts,) then system-out, system-err.
- time is plain decimal digits, here seconds with three decimals; a suite's is what the test of its cell
  took, guests and all, or where that is not known the sum of its cases'.
- classname (the cell) and name (the case) are unique as a pair: of two equal ones GitLab keeps the first.
- junit-xml reads a failure without message and text as a pass: a message is always set.
- libxml2 refuses text nodes over 10 MB: text is cut to head and tail. GitLab refuses files over 20 MB and
  shows 5,000 cases of one: a larger run is written in parts.
- what is the same in every cell, properties of the run and of the cases, stands once, in a suite ``(run)``
  without cases; a case that passed has its outcome and a sentence, and its cell's suite names its files.
- Jenkins archives any host file that a line ``[[ATTACHMENT|path]]`` names: such lines are broken up.

A dead axis is a failure ``(axis NAME)`` in a suite named after its variant: it belongs to several cells, and
counts as one failure. A run or a series without a judged case is an error ``(judged)`` in a suite of its own;
with --allow-empty it is skipped.

An expected bug of the control (``ESTALE``, as expected) passes; its system-out says what was seen, and why.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from junit_xml import TestCase

from kmodpipe.report import junit_files, new_warnings, rerun, wording
from kmodpipe.report.junit_suites import Suite, axis_suite, empty_suite, properties_of
from kmodpipe.report.junit_text import TEXT_LIMIT, cut, name_of, shown
from kmodpipe.report.wording import CHANGED, NOT_COMPARED, close
from kmodpipe.results import (
    CHECKED,
    CONTROL,
    CaseInfo,
    CaseResult,
    CellResult,
    Controls,
    Run,
    Span,
    State,
    Verdict,
    effects,
    is_fixed,
)

# Characters of all failures and errors together, and of all else.
_BAD_BUDGET, _GOOD_BUDGET = 9 * 1024 * 1024, 3 * 1024 * 1024
_LEAST_TEXT = 512
_PROPERTY_LIMIT = 300
_BAD_STATES = {
    State.BUILD_FAILED: "the cell did not build",
    State.INFRA: "infrastructure",
    State.INTERRUPTED: "interrupted",
    State.NOT_RUN: "not run",
}


@dataclass(frozen=True)
class Reported:
    """One result, with all that a report needs of it."""

    run: Run
    cell: CellResult
    result: CaseResult
    # None for a case that the run does not describe.
    info: CaseInfo | None

    @property
    def files(self) -> dict[str, str]:
        """The raw files that the result is in."""
        return files_of(self.cell, self.result)

    @property
    def command(self) -> str:
        """The command that runs it again."""
        return rerun.command(self.run, self.cell, self.info)


def text(run: Run, *, strict: bool = False) -> str:
    """Return the whole run as one file. Every case of the run is in it exactly once."""
    (file,) = junit_files.assemble(run, _suites(run, strict), split=False)
    return file


def files(run: Run, *, strict: bool = False) -> Iterator[str]:
    """Yield the run as files that its readers take: one, or parts (`kmodpipe.report.junit_files`).

    Every case of the run is in one of them, exactly once. In parts, what went wrong comes first: who reads
    the first file alone never takes a bad run for a good one.
    """
    if sum(len(cell.cases) for cell in run.cells) <= junit_files.MOST_CASES:
        whole = list(junit_files.assemble(run, _suites(run, strict), split=True))
        if len(whole) == 1:
            yield whole[0]
            return
    ordered = replace(run, cells=tuple(sorted(run.cells, key=lambda cell: not _is_bad(cell))))
    yield from junit_files.assemble(run, _suites(ordered, strict, shared_first=True), split=True)


def save(run: Run, path: Path, *, strict: bool = False) -> tuple[Path, ...]:
    """Write the file *path* atomically; of a run that is too large for its readers, the parts beside it.

    Return their paths.
    """
    return junit_files.save(path, files(run, strict=strict))


def _is_bad(cell: CellResult) -> bool:
    bad = any(case.verdict in (Verdict.FAIL, Verdict.ERROR) for case in cell.cases)
    return bad or (cell.state in _BAD_STATES and not is_fixed(cell))


def _suites(run: Run, strict: bool, *, shared_first: bool = False) -> Iterator[ET.Element]:
    """Yield the suite of each cell, and behind or before them those that are about several."""
    shared = [axis_suite(run, name) for name in dict.fromkeys(d.variant for d in run.dead_axes if d.failure)]
    if empty := wording.empty(run):
        shared.append(empty_suite(run, empty))
    if shared_first:
        yield from (one.build_xml_doc() for one in shared)
    notes, limits = _effect_properties(run), _text_limits(run)
    infos = {info.id: info for info in run.cases}
    beside, spans = Controls(run), _spans(run)
    for cell in run.cells:
        reported = [Reported(run, cell, result, infos.get(result.case)) for result in cell.cases]
        facts = {**_compared_with(run, beside, cell), **notes.get(cell.cell, {})}
        suite = _suite(run, cell, [_case(one, limits) for one in reported], facts, spans.get(cell.cell))
        element = suite.build_xml_doc()
        if not strict:
            for one, case in zip(reported, element.iter("testcase"), strict=False):
                _enrich(case, one, limits[one.result.verdict])
        yield element
    if not shared_first:
        yield from (one.build_xml_doc() for one in shared)


def _spans(run: Run) -> dict[str, Span]:
    """Return when the test of each cell began and how long it took, as far as that is known.

    A cell that was tested in several parts began with the first, and took what all of them did.
    """
    found: dict[str, Span] = {}
    for span in run.timeline:
        if span.kind == "test":
            known = found.get(span.subject)
            if known:
                span = replace(span, began=min(span.began, known.began), seconds=span.seconds + known.seconds)
            found[span.subject] = span
    return found


def _text_limits(run: Run) -> dict[Verdict, int]:
    """Return how many characters a text node may have, by verdict, so that a file stays under 20 MB.

    Failures and errors get more than the others; the more cases a file has, the less each of them gets.
    """
    counts = Counter(case.verdict for _, case in run.results())

    def share(budget: int, *verdicts: Verdict) -> int:
        nodes = 3 * max(min(sum(counts[v] for v in verdicts), junit_files.MOST_CASES), 1)
        return max(_LEAST_TEXT, min(TEXT_LIMIT, budget // nodes))

    bad = share(_BAD_BUDGET, Verdict.FAIL, Verdict.ERROR)
    good = share(_GOOD_BUDGET, Verdict.PASS, Verdict.SKIP)
    return {Verdict.FAIL: bad, Verdict.ERROR: bad, Verdict.PASS: good, Verdict.SKIP: good}


def _enrich(element: ET.Element, one: Reported, limit: int) -> None:
    """Add what the strict profile does not allow to the element of a test case.

    *limit* is for each text node, in characters.
    """
    result, info, files = one.result, one.info, one.files
    bad = result.verdict in (Verdict.FAIL, Verdict.ERROR)
    values = {
        "observed": result.outcome,
        "goal-met": "no" if result.goal_met is False else "",
        "known-defect": "yes" * result.known_defect,
        "flaky": "yes" * result.flaky,
        "attempts": str(result.attempts) if result.attempts > 1 else "",
        "failures": str(result.failures) if result.attempts > 1 else "",
    }
    if bad:
        # Of the others, these stand with the case in `(run)`, with the cell, and in the text.
        values |= {
            "summary": info.summary if info else "",
            "goal": info.goal if info else "",
            "expected": result.expected,
            "why": result.reason,
            "repeat": one.command if info else "",
            **files,
        }
    properties = ET.Element("properties")
    for name, value in values.items():
        if value:
            # A command or a path is useless if cut; the other values are in the text of the case as well.
            room = 4096 if name in ("repeat", *files) else _PROPERTY_LIMIT
            ET.SubElement(properties, "property", {"name": name, "value": name_of(value, room)})
    if len(properties):
        element.insert(0, properties)
    tag = "flakyFailure" if result.flaky else "rerunFailure"
    # The first attempt of a case that never passed is the failure itself.
    failed = [t for t in result.tries if t.verdict is Verdict.FAIL][0 if result.flaky else 1 :]
    at = next((n for n, e in enumerate(element) if e.tag.startswith("system-")), len(element))
    for number, attempt in enumerate(failed):
        mark = ET.Element(tag, {"message": name_of(attempt.message), "type": "unexpected"})
        own = files_of(one.cell, replace(result, guest=attempt.guest))
        lines = [attempt.message, *(f"{name}: {value}" for name, value in own.items())]
        ET.SubElement(mark, "stackTrace").text = shown("\n".join(lines), limit)
        element.insert(at + number, mark)


def files_of(cell: CellResult, result: CaseResult) -> dict[str, str]:
    """Return the raw files that a result is in, label to path: those of its guest, as far as they exist."""
    suffix = f"-{result.guest}" if result.guest > 1 else ""
    wanted = {
        "full console": f"console{suffix}.log",
        "verdict stream": f"verdict{suffix}.log",
        "boot script": f"reproduce{suffix}.sh",
        "build log": "build.log" if cell.state is State.BUILD_FAILED else "",
    }
    found = {name: cell.artifacts[file] for name, file in wanted.items() if file in cell.artifacts}
    if output := cell.artifacts.get(f"output{suffix}"):
        found["whole output"] = f"{output}/{result.case}.txt"
    return found


def _suite(
    run: Run, cell: CellResult, cases: list[TestCase], notes: Mapping[str, str], span: Span | None
) -> Suite:
    """Return the suite of a cell; *notes* are further properties."""
    properties = {
        "variant": cell.variant,
        "design": cell.design,
        **{f"axis.{axis}": value for axis, value in cell.choice.items()},
        **({"flavour": cell.flavour} if cell.flavour else {}),
        **({"kernel": cell.kernel} if cell.kernel else {}),
        "state": cell.state.value,
        **({"reason": cell.reason} if cell.reason else {}),
        **({"repeat": rerun.command(run, cell)} if cell.cases else {}),
        **(
            {"new-warnings": "\n".join(map(str, fresh))} if (fresh := new_warnings.in_cell(run, cell)) else {}
        ),
        **cell.properties,
        **{f"file.{name}": path for name, path in cell.artifacts.items()},
        **notes,
    }
    if (
        cell.state in _BAD_STATES
        and not is_fixed(cell)
        and not any(case.is_failure() or case.is_error() for case in cases)
    ):
        cases = [*cases, _cell_case(cell)]
    began = datetime.fromtimestamp(span.began, UTC).isoformat(timespec="seconds") if span else run.started
    suite = Suite(name_of(cell.cell), cases, timestamp=shown(began, 64), properties=properties_of(properties))
    suite.took_s = span.seconds if span else None
    return suite


def _compared_with(run: Run, beside: Controls, cell: CellResult) -> dict[str, str]:
    """Return the property that names the control's cell of a series' cell, or says that there is none."""
    if cell.variant == CONTROL or cell.state is not State.RAN:
        return {}
    if CHECKED in run.properties:
        return {"compared-with": "the source before the patch"}
    control = beside.compared_with(cell)
    return {"compared-with": control.cell if control else NOT_COMPARED}


def _effect_properties(run: Run) -> dict[str, dict[str, str]]:
    """Return by series cell the properties ``effect.<case>``, such as ``fixed: ESTALE → mounted``, of what
    changed."""
    notes: dict[str, dict[str, str]] = {}
    for effect in effects(run):
        if effect.kind not in CHANGED and not effect.unexpected:
            continue
        change = f"{effect.before} → {effect.after}" if effect.before else effect.after
        name, value = f"effect.{effect.case}", f"{effect.kind.value}: {change}"
        for cell in effect.cells:
            notes.setdefault(cell, {})[name] = value
    return notes


def _cell_case(cell: CellResult) -> TestCase:
    """Return the test case for a cell that went wrong and has no failed case."""
    case = TestCase("(cell)", classname=name_of(cell.cell), elapsed_sec=0.0)
    state, reason = _BAD_STATES[cell.state], cell.reason or "no reason was recorded"
    message = name_of(state if reason == state else f"{state}: {reason}")
    if cell.state is State.BUILD_FAILED:
        case.add_failure_info(message, message, "build")
    else:
        case.add_error_info(message, message, "infrastructure")
    return case


def _case(one: Reported, limits: Mapping[Verdict, int]) -> TestCase:
    """Return the test case of a result, in the strict profile; *limits* as in `_text_limits`."""
    cell, result, files = one.cell, one.result, one.files
    limit = limits[result.verdict]
    full = cut(result.message, limit).strip() or f"{result.verdict.value}: no message was recorded"
    message = name_of(full.split("\n", 1)[0])
    case = TestCase(
        name_of(result.case),
        classname=name_of(cell.cell),
        elapsed_sec=max(result.duration_s, 0.0),
    )
    details = shown(_details(one, full, limit), limit)
    if result.verdict is Verdict.FAIL:
        kind = "build" if cell.state is State.BUILD_FAILED and not result.attempts else "unexpected"
        case.add_failure_info(message, details, "flaky" if result.flaky else kind)
    elif result.verdict is Verdict.ERROR:
        case.add_error_info(message, details, "infrastructure")
    elif result.verdict is Verdict.SKIP:
        case.add_skipped_info(message, details if details != message else None)
    if result.verdict in (Verdict.FAIL, Verdict.ERROR):
        case.stdout = shown(result.output_excerpt, limit, files.get("verdict stream", "")) or None
        case.stderr = shown("\n".join(result.kmsg), limit, files.get("full console", "")) or None
    elif result.verdict is Verdict.PASS:
        # What it printed, its evidence and the kernel's messages are in results.json and the cell's files.
        case.stdout = details
    return case


def _details(one: Reported, message: str, limit: int) -> str:
    """Return the text of a result.

    The first line of *message* comes first, then the command that repeats it, observed, expected, why, the
    files, the rest of *message*, and the evidence, cut to *limit* characters.
    """
    result = one.result
    bad = result.verdict in (Verdict.FAIL, Verdict.ERROR)
    issue = "yes: expected of this design, and a failure if it disappears"
    # The message of a case that passed says what was observed, as expected, and why.
    said = not bad and result.reason in message and result.outcome in message
    rows = [
        ("repeat", one.command if bad else ""),
        ("observed", "" if said else result.outcome),
        ("expected", "" if said else result.expected),
        ("why", "" if said else result.reason),
        ("known issue", issue * result.known_defect),
        ("attempts", f"{result.attempts}, {result.failures} failed" if result.attempts > 1 else ""),
        ("took", close(result)),
        *(one.files.items() if bad or result.guest > 1 else ()),
    ]
    first_line, _, more = message.partition("\n")
    lines = [first_line, *(f"{name}: {value}" for name, value in rows if value)]
    if more.strip():
        lines += ["", more.strip("\n")]
    # That of a case that passed is in results.json alone, unless the kernel reported what was let off.
    if result.evidence and (bad or result.reports):
        lines += ["", cut(result.evidence, limit)]
    return "\n".join(lines)
