"""The matrix of a run with too many results for one table: a summary by series, and all results as data.

A browser takes seconds to lay out a hundred thousand cells of a table. The page has a table of cases by
series and kernel instead, with how many cells went how; the script of the page draws the part of the whole
matrix that a reader filters for, from the JSON that is made here. Pure.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kmodpipe.report import wording
from kmodpipe.report.html.records import CellPart, Column, Folded, FoldedRow, Row, Share
from kmodpipe.report.html.shown import shown
from kmodpipe.report.wording import Mark

# What one table of results is still good for.
_MOST_RESULTS, _MOST_CELLS = 12_000, 200
# What comes first in a field of the summary: what a reader has to know of.
_ORDER = (
    wording.FAIL, wording.FLAKY, wording.ERROR, wording.DEFECT, wording.UNMET, wording.PASS, wording.SKIP,
)  # fmt: skip
_RANK = {m.key: n for n, m in enumerate(_ORDER)}


def needed(cells: int, cases: int) -> bool:
    """Return whether a matrix of so many cells and cases is folded."""
    return cells * cases > _MOST_RESULTS or cells > _MOST_CELLS


def fold(columns: Sequence[Column], rows: Iterable[Row], cells: Sequence[CellPart]) -> Folded:
    """Return the folded matrix; *rows* are looked at one by one, and not kept."""
    groups = tuple(dict.fromkeys(column.variant for column in columns))
    of = [groups.index(column.variant) for column in columns]
    marks = {m.key: m for m in wording.MARKS}
    kinds: dict[tuple[str, str, str, str, str], int] = {}
    cases: list[list[str]] = []
    results: list[list[int]] = []
    links: list[tuple[int, int, str]] = []
    made: list[FoldedRow] = []
    for number, row in enumerate(rows):
        counts = [Counter[str]() for _ in groups]
        own = []
        for at, (group, one) in enumerate(zip(of, row.results, strict=True)):
            counts[group][one.key] += 1
            own.append(kinds.setdefault((one.key, one.sign, one.word, one.meaning, one.change), len(kinds)))
            if one.anchor:
                links.append((number, at, one.anchor))
        cases.append([shown(row.case), shown(row.text), row.anchor])
        results.append(own)
        made.append(FoldedRow(row.case, row.anchor, tuple(_share(c, marks) for c in counts)))
    common = _common(cells)
    choices = [_choice(column.label) for column in columns]
    axes = list(dict.fromkeys(axis for own in choices for axis in own))
    return Folded(
        groups,
        tuple(made),
        sum(len(one) for one in results),
        _json(
            {
                "cases": cases,
                "groups": [shown(group) for group in groups],
                "axes": [shown(axis) for axis in axes],
                "cells": [
                    [group, [shown(own.get(axis, "·")) for axis in axes], shown(c.cell), c.anchor]
                    for group, c, own in zip(of, columns, choices, strict=True)
                ],
                "kinds": [[shown(text) for text in kind] for kind in kinds],
                "results": results,
                "links": links,
            }
        ),
        _json(_facts(cells, common)),
        tuple(common.items()),
    )


def _choice(label: str) -> dict[str, str]:
    """Return the values of axes in a heading of lines such as ``INDEX=y``; the flavour has no such name."""
    pairs = [line.rpartition("=") for line in label.split("\n")]
    return {axis or "flavour": value for axis, _, value in pairs}


def _share(counts: Counter[str], marks: Mapping[str, Mark]) -> Share:
    key = min(counts, key=lambda one: _RANK[one])
    return Share(marks[key], counts[key], counts.total())


def _common(cells: Sequence[CellPart]) -> dict[str, str]:
    """Return the properties that every cell has with the same value."""
    if not cells:
        return {}
    common = dict(cells[0].properties)
    for cell in cells:
        own = dict(cell.properties)
        common = {name: value for name, value in common.items() if own.get(name) == value}
    return common


def _facts(cells: Sequence[CellPart], common: Mapping[str, str]) -> dict[str, Any]:
    """Return what is told of each cell; texts that occur again and again stand once."""
    texts: dict[str, int] = {}

    def at(text: str) -> int:
        return texts.setdefault(shown(text), len(texts))

    rows = [
        [
            cell.anchor,
            shown(cell.cell),
            at(cell.mark.key),
            at(f"{cell.mark.sign} {cell.mark.word}"),
            [n for name, value in cell.properties if name not in common for n in (at(name), at(value))],
            [one for name, href in cell.files for one in (at(name), shown(href))],
        ]
        for cell in cells
    ]
    return {"texts": list(texts), "cells": rows}


def _json(value: Any) -> str:
    """Return JSON that can stand in a script element."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
