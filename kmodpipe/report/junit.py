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
- time is plain decimal digits, here seconds with three decimals; a suite's is the sum of its cases'.
- classname (the cell) and name (the case) are unique as a pair: of two equal ones GitLab keeps the first.
- junit-xml reads a failure without message and text as a pass: a message is always set.
- libxml2 refuses text nodes over 10 MB, GitLab files over 20 MB: text is cut to head and tail.
- Jenkins archives any host file that a line ``[[ATTACHMENT|path]]`` names: such lines are broken up.

A dead axis is a failure ``(axis NAME)`` in a suite named after its variant: it belongs to several cells, and
counts as one failure. A run or a series without a judged case is an error ``(judged)`` in a suite of its own;
with --allow-empty it is skipped.

An expected bug of the control (``ESTALE``, as expected) passes; its system-out lists observed, expected, why.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from junit_xml import TestCase, TestSuite

from kmodpipe.report import new_warnings, rerun, wording
from kmodpipe.report.wording import NOT_COMPARED, close
from kmodpipe.results import (
    CHECKED,
    CONTROL,
    CaseInfo,
    CaseResult,
    CellResult,
    Run,
    State,
    Verdict,
    compared_with,
    effects,
    may_be_empty,
    unjudged,
)
from kmodpipe.util.files import write_atomically
from kmodpipe.util.text import one_line, visible_lines

TEXT_LIMIT = 64 * 1024
"""The most characters of one text node; of longer text half of them are its head and half its tail."""
# Characters of all failures and errors together, and of all else.
_BAD_BUDGET, _GOOD_BUDGET = 9 * 1024 * 1024, 3 * 1024 * 1024
_LEAST_TEXT = 512
_MESSAGE_LIMIT = 1000
_PROPERTY_LIMIT = 300
_NOT_XML = re.compile("[\ufdd0-\ufdef\ufffe\uffff]")
_ATTACHMENT = re.compile(r"\[(?=\s*\[\s*ATTACHMENT)", re.IGNORECASE)
_BAD_STATES = {
    State.BUILD_FAILED: "the cell did not build",
    State.INFRA: "infrastructure",
    State.INTERRUPTED: "interrupted",
    State.NOT_RUN: "not run",
}


def shown(text: str, limit: int = TEXT_LIMIT, whole: str = "") -> str:
    """Return *text* as it may stand in the file.

    It is cut to *limit* characters (*whole* is the file that has all of it), characters that XML forbids are
    shown as text like ``\\x1b``, and attachment marks are broken up.
    """
    text = _NOT_XML.sub(lambda m: f"\\u{ord(m.group()):04x}", visible_lines(_cut(text, limit, whole)))
    return _ATTACHMENT.sub("[ ", text)


def _name(text: str, limit: int = _MESSAGE_LIMIT) -> str:
    """Return *text* as the value of an attribute: one line, never empty."""
    line = one_line(text)
    return shown(line if len(line) <= limit else f"{line[: limit - 1]}…", 2 * limit) or "(no name)"


def _cut(text: str, limit: int, whole: str = "") -> str:
    """Return head and tail of *text*, *limit* characters in all; *whole* is the file that has all of it."""
    if len(text) <= limit:
        return text
    half = limit // 2
    where = f", the whole is in {whole}" if whole else ""
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out{where} …]\n{text[-half:]}"


class _Suite(TestSuite):  # type: ignore[misc]  # junit-xml has no types
    """A suite of junit-xml, corrected.

    The library writes ``disabled``, floats of any length and no time for a case of 0 s, and it puts the
    suite's output before its cases.
    """

    def build_xml_doc(self, encoding: str | None = None) -> ET.Element:
        root: ET.Element = super().build_xml_doc(encoding)
        root.attrib.pop("disabled", None)
        times = []
        for element, case in zip(root.iter("testcase"), self.test_cases, strict=True):
            times.append(round(case.elapsed_sec or 0.0, 3))
            element.set("time", f"{times[-1]:.3f}")
        root.set("time", f"{sum(times):.3f}")
        rank = {"properties": 0, "testcase": 1, "system-out": 2, "system-err": 3}
        root[:] = sorted(root, key=lambda child: rank[child.tag])
        return root


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
    """Return the whole file. Every case of the run is in it exactly once."""
    notes = _effect_properties(run)
    infos = {info.id: info for info in run.cases}
    root = ET.Element("testsuites", {"name": _name(f"kmodpipe {run.id}")})
    limits = _text_limits(run)
    for cell in run.cells:
        reported = [Reported(run, cell, result, infos.get(result.case)) for result in cell.cases]
        suite = _suite(run, cell, [_case(one, limits) for one in reported], notes.get(cell.cell, {}))
        suite_element = suite.build_xml_doc()
        if not strict:
            for element, one in zip(suite_element.iter("testcase"), reported, strict=False):
                _enrich(element, one, limits[one.result.verdict])
        root.append(suite_element)
    for variant in dict.fromkeys(dead.variant for dead in run.dead_axes if dead.failure):
        root.append(_axis_suite(run, variant).build_xml_doc())
    if empty := wording.empty(run):
        root.append(_empty_suite(run, empty).build_xml_doc())
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    root.set("time", f"{sum(float(suite.get('time', '0')) for suite in root):.3f}")
    ET.indent(root, space=" ")
    body = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _text_limits(run: Run) -> dict[Verdict, int]:
    """Return how many characters a text node may have, by verdict, so that the file stays under 20 MB.

    Failures and errors get more than the others; the more cases a run has, the less each of them gets.
    """
    counts = Counter(case.verdict for _, case in run.results())

    def share(budget: int, *verdicts: Verdict) -> int:
        nodes = 3 * max(sum(counts[v] for v in verdicts), 1)
        return max(_LEAST_TEXT, min(TEXT_LIMIT, budget // nodes))

    bad = share(_BAD_BUDGET, Verdict.FAIL, Verdict.ERROR)
    good = share(_GOOD_BUDGET, Verdict.PASS, Verdict.SKIP)
    return {Verdict.FAIL: bad, Verdict.ERROR: bad, Verdict.PASS: good, Verdict.SKIP: good}


def save(run: Run, path: Path, *, strict: bool = False) -> None:
    """Write the file atomically."""
    write_atomically(path, text(run, strict=strict))


def _enrich(element: ET.Element, one: Reported, limit: int) -> None:
    """Add what the strict profile does not allow to the element of a test case.

    *limit* is for each text node, in characters.
    """
    result, info, files = one.result, one.info, one.files
    values = {
        "summary": info.summary if info else "",
        "goal": info.goal if info else "",
        "observed": result.outcome,
        "expected": result.expected,
        "why": result.reason,
        "goal-met": {True: "yes", False: "no", None: ""}[result.goal_met],
        "known-defect": "yes" * result.known_defect,
        "flaky": "yes" * result.flaky,
        "attempts": str(result.attempts) if result.attempts > 1 else "",
        "failures": str(result.failures) if result.attempts > 1 else "",
        "digest": info.digest if info else "",
        "repeat": one.command if info else "",
        **files,
    }
    properties = ET.Element("properties")
    for name, value in values.items():
        if value:
            # A command or a path is useless if cut; the other values are in the text of the case as well.
            room = 4096 if name in ("repeat", *files) else _PROPERTY_LIMIT
            ET.SubElement(properties, "property", {"name": name, "value": _name(value, room)})
    element.insert(0, properties)
    tag = "flakyFailure" if result.flaky else "rerunFailure"
    # The first attempt of a case that never passed is the failure itself.
    failed = [t for t in result.tries if t.verdict is Verdict.FAIL][0 if result.flaky else 1 :]
    at = next((n for n, e in enumerate(element) if e.tag.startswith("system-")), len(element))
    for number, attempt in enumerate(failed):
        mark = ET.Element(tag, {"message": _name(attempt.message), "type": "unexpected"})
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


def _suite(run: Run, cell: CellResult, cases: list[TestCase], notes: dict[str, str]) -> _Suite:
    """Return the suite of a cell; *notes* are further properties."""
    properties = {
        "variant": cell.variant,
        "design": cell.design,
        **{f"axis.{axis}": value for axis, value in cell.choice.items()},
        **({"flavour": cell.flavour} if cell.flavour else {}),
        **({"kernel": cell.kernel} if cell.kernel else {}),
        "state": cell.state.value,
        **_compared_with(run, cell),
        **({"reason": cell.reason} if cell.reason else {}),
        **(
            {"new-warnings": "\n".join(map(str, fresh))} if (fresh := new_warnings.in_cell(run, cell)) else {}
        ),
        **run.properties,
        **cell.properties,
        **{f"file.{name}": path for name, path in cell.artifacts.items()},
        **notes,
    }
    if cell.state in _BAD_STATES and not any(case.is_failure() or case.is_error() for case in cases):
        cases = [*cases, _cell_case(cell)]
    return _Suite(
        _name(cell.cell),
        cases,
        timestamp=shown(run.started, 64),
        properties={_name(k, 256): shown(v, 4096) for k, v in properties.items()},
    )


def _compared_with(run: Run, cell: CellResult) -> dict[str, str]:
    """Return the property that names the control's cell of a series' cell, or says that there is none."""
    if cell.variant == CONTROL or cell.state is not State.RAN:
        return {}
    if CHECKED in run.properties:
        return {"compared-with": "the source before the patch"}
    control = compared_with(run, cell)
    return {"compared-with": control.cell if control else NOT_COMPARED}


def _axis_suite(run: Run, variant: str) -> _Suite:
    """Return the suite with the dead axes of one variant."""
    cases = []
    for dead in run.dead_axes:
        if dead.failure and dead.variant == variant:
            case = TestCase(f"(axis {_name(dead.axis)})", classname=_name(variant), elapsed_sec=0.0)
            cells = [f"the same module: {', '.join(cells)}" for cells in dead.cells]
            details = shown("\n".join([dead.message, *dead.clues, "", *cells]))
            case.add_failure_info(_name(dead.message), details, "dead axis")
            cases.append(case)
    properties = {"variant": variant, **run.properties}
    return _Suite(
        _name(variant),
        cases,
        timestamp=shown(run.started, 64),
        properties={_name(k, 256): shown(v, 4096) for k, v in properties.items()},
    )


def _empty_suite(run: Run, empty: Sequence[str]) -> _Suite:
    """Return the suite that says that no case was judged: errors, or skipped if the user accepts that."""
    cases = []
    for one, text in zip(unjudged(run), empty, strict=True):
        case = TestCase("(judged)", classname=_name(one.variant or "run"), elapsed_sec=0.0)
        if may_be_empty(run):
            case.add_skipped_info(_name(text), shown(text))
        else:
            case.add_error_info(_name(text), shown(text), "nothing was judged")
        cases.append(case)
    properties = {_name(k, 256): shown(v, 4096) for k, v in run.properties.items()}
    return _Suite("nothing was judged", cases, timestamp=shown(run.started, 64), properties=properties)


def _effect_properties(run: Run) -> dict[str, dict[str, str]]:
    """Return by series cell the properties ``effect.<case>``, such as ``fixed: ESTALE → mounted``."""
    notes: dict[str, dict[str, str]] = {}
    for effect in effects(run):
        change = f"{effect.before} → {effect.after}" if effect.before else effect.after
        for cell in effect.cells:
            notes.setdefault(cell, {})[f"effect.{effect.case}"] = f"{effect.kind.value}: {change}"
    return notes


def _cell_case(cell: CellResult) -> TestCase:
    """Return the test case for a cell that went wrong and has no failed case."""
    case = TestCase("(cell)", classname=_name(cell.cell), elapsed_sec=0.0)
    state, reason = _BAD_STATES[cell.state], cell.reason or "no reason was recorded"
    message = _name(state if reason == state else f"{state}: {reason}")
    if cell.state is State.BUILD_FAILED:
        case.add_failure_info(message, message, "build")
    else:
        case.add_error_info(message, message, "infrastructure")
    return case


def _case(one: Reported, limits: dict[Verdict, int]) -> TestCase:
    """Return the test case of a result, in the strict profile; *limits* as in `_text_limits`."""
    cell, result, files = one.cell, one.result, one.files
    limit = limits[result.verdict]
    full = _cut(result.message, limit).strip() or f"{result.verdict.value}: no message was recorded"
    message = _name(full.split("\n", 1)[0])
    case = TestCase(
        _name(result.case),
        classname=_name(cell.cell),
        elapsed_sec=max(result.duration_s, 0.0),
    )
    details = shown(_details(one, full, limit), limit)
    if result.verdict is Verdict.FAIL:
        kind = "build" if cell.state is State.BUILD_FAILED and not result.attempts else "unexpected"
        case.add_failure_info(message, details, "flaky" if result.flaky else kind)
    elif result.verdict is Verdict.ERROR:
        case.add_error_info(message, details, "infrastructure")
    elif result.verdict is Verdict.SKIP:
        case.add_skipped_info(message, details)
    out = shown(result.output_excerpt, limit, files.get("verdict stream", ""))
    if result.verdict is Verdict.PASS:
        out = f"{details}\n\n{out}".rstrip()
    case.stdout = out or None
    case.stderr = shown("\n".join(result.kmsg), limit, files.get("full console", "")) or None
    return case


def _details(one: Reported, message: str, limit: int) -> str:
    """Return the text of a result.

    The first line of *message* comes first, then the command that repeats it, observed, expected, why, the
    files, the rest of *message*, and the evidence, cut to *limit* characters.
    """
    result = one.result
    defect = "yes: expected of this design, and a failure if it disappears"
    rows = [
        ("repeat", one.command if result.verdict in (Verdict.FAIL, Verdict.ERROR) else ""),
        ("observed", result.outcome),
        ("expected", result.expected),
        ("why", result.reason),
        ("known defect", defect * result.known_defect),
        ("attempts", f"{result.attempts}, {result.failures} failed" if result.attempts > 1 else ""),
        ("took", close(result)),
        *one.files.items(),
    ]
    first_line, _, more = message.partition("\n")
    lines = [first_line, *(f"{name}: {value}" for name, value in rows if value)]
    if more.strip():
        lines += ["", more.strip("\n")]
    if result.evidence:
        lines += ["", _cut(result.evidence, limit)]
    return "\n".join(lines)
