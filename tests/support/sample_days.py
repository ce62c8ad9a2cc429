"""Runs of two days, one without a known defect and one with a failure."""

from __future__ import annotations

from dataclasses import replace

from kmodpipe.results import Run
from tests.support.sample_run import change, failed, finished, seen

Y_Y = "index-nouuid.INDEX=y.NOUUID=y"
KNOWN = {
    "repeat-with": "invoke test --tree ~/linux",
    "tree.kernel-version": "5.10.223",
    "tree": "linux",
    "series.index-nouuid": "72694c37212960c5f85a4b96250694d5",
    "series.index-nouuid.subject": "[PATCH v2 0/6] ovl: index=nouuid",
    "series.index-nouuid.message-id": "<20200924.1@example.org>",
    "accel": "tcg",
}


def good() -> Run:
    """A run without a known defect."""
    run = replace(finished(), properties=KNOWN)
    for c in run.cells:
        if any(r.known_defect for r in c.cases):
            run = change(run, c.cell, seen(3, "shared"))
    return run


def bad() -> Run:
    return change(replace(good(), id="20201014-120000"), Y_Y, failed(2, "ESTALE", "mounted"))
