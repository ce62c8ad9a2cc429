"""Write a report as GitLab reads code quality reports, for the widget of a merge request. Pure."""

from __future__ import annotations

from kmodpipe.analysis.check.annotations import place
from kmodpipe.analysis.check.fingerprints import Fingerprints
from kmodpipe.analysis.check.model import Level, Report
from kmodpipe.util.text import one_line

_SEVERITIES = {Level.ERROR: "critical", Level.WARNING: "major", Level.NOTE: "info"}


def document(report: Report) -> list[dict[str, object]]:
    """Return an entry for each finding; GitLab wants a path and a line of each."""
    known = Fingerprints()
    made: list[dict[str, object]] = []
    for _, patch, outcome, one in report.findings:
        file, line = place(patch, one)
        rule = f" [{one.rule}]" if one.rule else ""
        made.append(
            {
                "description": one_line(f"patch {patch.number}: {one.text}{rule}"),
                "check_name": outcome.check,
                "fingerprint": known.of(outcome.check, patch, one),
                "severity": _SEVERITIES[one.level],
                "location": {"path": one_line(file or patch.name), "lines": {"begin": max(line, 1)}},
            }
        )
    return made
