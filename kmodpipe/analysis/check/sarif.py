"""Write a report as SARIF 2.1.0 (OASIS), for GitHub's code scanning and for editors. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from kmodpipe import __version__
from kmodpipe.analysis.check.annotations import place
from kmodpipe.analysis.check.fingerprints import Fingerprints
from kmodpipe.analysis.check.model import CHECKS, Finding, Level, PatchReport, Report, SeriesReport
from kmodpipe.util.text import visible_lines

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "note"}


def document(report: Report) -> dict[str, object]:
    """Return the log: a result for each finding, and a notification for what was not checked."""
    rules: dict[str, int] = {}
    known = Fingerprints()
    results = []
    for series, patch, outcome, one in report.findings:
        rule = f"{outcome.check}/{one.rule}" if one.rule else outcome.check
        results.append(
            _result(
                series,
                patch,
                one,
                rule,
                rules.setdefault(rule, len(rules)),
                known.of(outcome.check, patch, one),
            )
        )
    summaries = {check.id: check.summary for check in CHECKS}
    driver = {
        "name": "kmodpipe check",
        "version": __version__,
        "rules": [
            {
                "id": visible_lines(rule),
                "shortDescription": {"text": summaries.get(rule.partition("/")[0], rule)},
            }
            for rule in rules
        ],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "utf16CodeUnits",
        "originalUriBaseIds": {"SRCROOT": {"description": {"text": "the top of the source"}}},
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": _notifications(report)}],
        "results": results,
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(
    series: SeriesReport, patch: PatchReport, one: Finding, rule: str, index: int, fingerprint: str
) -> dict[str, object]:
    made: dict[str, object] = {
        "ruleId": visible_lines(rule),
        "ruleIndex": index,
        "level": _LEVELS[one.level],
        "message": {"text": visible_lines(one.text) or "(no text)"},
        "partialFingerprints": {"kmodpipe/v1": fingerprint},
        "properties": {
            "series": series.series,
            "patch": f"{patch.number}: {visible_lines(patch.subject or patch.name)}",
            **({"kernel": series.kernel} if series.kernel else {}),
            **({"cells": list(one.cells)} if one.cells else {}),
        },
    }
    file, line = place(patch, one)
    if file:
        where: dict[str, object] = {
            "artifactLocation": {"uri": quote(file, errors="surrogateescape"), "uriBaseId": "SRCROOT"}
        }
        if line:
            where["region"] = {"startLine": line}
        made["locations"] = [{"physicalLocation": where}]
    return made


def _notifications(report: Report) -> list[Mapping[str, object]]:
    found = {
        f"{series.series}, patch {patch.number}, {one.check}: not checked: {one.not_checked}"
        for series in report.series
        for patch in series.patches
        for one in patch.outcomes
        if one.not_checked
    }
    found |= {f"{name}: not checked: {why}" for name, why in report.not_checked.items()}
    return [{"level": "error", "message": {"text": visible_lines(text)}} for text in sorted(found)]
