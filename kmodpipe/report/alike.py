"""Failures that are one: the same case, outcome and message, in several cells. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection

from kmodpipe.report.wording import mark, sentence, wrong
from kmodpipe.results import CaseResult, CellResult, Run

Failure = tuple[CellResult, CaseResult]


def groups(run: Run, variants: Collection[str] = ()) -> list[list[Failure]]:
    """Return the failures and errors in cells that ran, those that are alike together, in the run's order.

    They are if they differ in their cells, and in numbers of their message, alone. *variants* limits them to
    the cells of these.
    """
    found: dict[tuple[str, ...], list[Failure]] = {}
    for cell, result in wrong(run):
        if not variants or cell.variant in variants:
            key = (result.case, mark(result).key, result.outcome, re.sub(r"[0-9]+", "N", sentence(result)))
            found.setdefault(key, []).append((cell, result))
    return list(found.values())
