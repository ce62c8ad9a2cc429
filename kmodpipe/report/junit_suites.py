"""The suites of a JUnit file that are about more than one cell, and the class that all suites have. Pure."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence

from junit_xml import TestCase, TestSuite

from kmodpipe.report.junit_text import name_of, shown
from kmodpipe.results import Run, may_be_empty, unjudged

RUN = "(run)"
"""The suite without cases that has the properties of the run and of the cases."""


class Suite(TestSuite):  # type: ignore[misc]  # junit-xml has no types
    """A suite of junit-xml, corrected.

    The library writes ``disabled``, floats of any length and no time for a case of 0 s, and it puts the
    suite's output before its cases.
    """

    # What the suite took, where that is known; else the sum of its cases.
    took_s: float | None = None

    def build_xml_doc(self, encoding: str | None = None) -> ET.Element:
        root: ET.Element = super().build_xml_doc(encoding)
        root.attrib.pop("disabled", None)
        times = []
        for element, case in zip(root.iter("testcase"), self.test_cases, strict=True):
            times.append(round(case.elapsed_sec or 0.0, 3))
            element.set("time", f"{times[-1]:.3f}")
        root.set("time", f"{sum(times) if self.took_s is None else self.took_s:.3f}")
        rank = {"properties": 0, "testcase": 1, "system-out": 2, "system-err": 3}
        root[:] = sorted(root, key=lambda child: rank[child.tag])
        return root


def properties_of(values: Mapping[str, str]) -> dict[str, str]:
    """Return properties as they may stand in the file."""
    return {name_of(name, 256): shown(value, 4096) for name, value in values.items()}


def run_suite(run: Run, part: Mapping[str, str]) -> Suite:
    """Return the suite with what is the same in every cell: properties of the run, and of each case.

    *part* are properties of the file, where the run has several.
    """
    cases = {
        f"case.{info.id}.{name}": value
        for info in run.cases
        for name, value in (("summary", info.summary), ("goal", info.goal), ("digest", info.digest))
        if value
    }
    properties = properties_of({"run": run.id, **part, **run.properties, **cases})
    return Suite(RUN, timestamp=shown(run.started, 64), properties=properties)


def axis_suite(run: Run, variant: str) -> Suite:
    """Return the suite with the dead axes of one variant."""
    cases = []
    for dead in run.dead_axes:
        if dead.failure and dead.variant == variant:
            case = TestCase(f"(axis {name_of(dead.axis)})", classname=name_of(variant), elapsed_sec=0.0)
            cells = [f"the same module: {', '.join(cells)}" for cells in dead.cells]
            details = shown("\n".join([dead.message, *dead.clues, "", *cells]))
            case.add_failure_info(name_of(dead.message), details, "dead axis")
            cases.append(case)
    return Suite(
        name_of(variant),
        cases,
        timestamp=shown(run.started, 64),
        properties=properties_of({"variant": variant}),
    )


def empty_suite(run: Run, empty: Sequence[str]) -> Suite:
    """Return the suite that says that no case was judged: errors, or skipped if the user accepts that."""
    cases = []
    for one, text in zip(unjudged(run), empty, strict=True):
        case = TestCase("(judged)", classname=name_of(one.variant or "run"), elapsed_sec=0.0)
        if may_be_empty(run):
            case.add_skipped_info(name_of(text), shown(text))
        else:
            case.add_error_info(name_of(text), shown(text), "nothing was judged")
        cases.append(case)
    return Suite("nothing was judged", cases, timestamp=shown(run.started, 64))
