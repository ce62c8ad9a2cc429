"""The first screen: the numbers, and the cells in which something went wrong. Pure."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from kmodpipe.report import wording
from kmodpipe.report.difference import Difference
from kmodpipe.report.html.records import Card, Tile, Trouble, Unfinished
from kmodpipe.report.wording import Mark
from kmodpipe.results import EffectKind, Run, State, is_fixed

_COLOURS = {"pass": "#1a7f37", "fail": "#cf222e", "error": "#8250df"}
_CHANGES = (
    (EffectKind.REGRESSED, "cases that worked without the series"),
    (EffectKind.FIXED, "cases that did not work without it"),
    (EffectKind.KNOWN_DEFECT, "cases with a defect that is expected"),
)
_RESULTS = (
    (wording.FAIL, "results not as expected"),
    (wording.FLAKY, "results that failed and passed"),
    (wording.ERROR, "results without verdict"),
)


def tiles(run: Run, found: Sequence[Difference], counts: Mapping[str, int]) -> tuple[Tile, ...]:
    """Return the numbers of a run: what changed as cases, what went wrong as results, cells ruled out.

    Where nothing was compared there is no number of what was fixed and broken: 0 would say too much.
    """
    made = []
    compared = [one for one in found if one.ran and not one.alone]
    for kind, words in _CHANGES if compared else ():
        change = wording.CHANGES[kind]
        number = len({row.case for one in compared for row in one.changed if row.change is change})
        made.append(Tile(change.key, number, change.name, words, change.sign, "difference"))
    for its, words in _RESULTS:
        if counts[its.key] or its is wording.FAIL:
            made.append(Tile(its.key, counts[its.key], its.name, words, its.sign, "failures"))
    good = counts[wording.PASS.key] + counts[wording.UNMET.key] + counts[wording.DEFECT.key]
    made.append(Tile("good", good, wording.PASS.name, "results as expected", wording.PASS.sign, "matrix"))
    skip, out = wording.SKIP, len(wording.ruled_out(run))
    if counts[skip.key]:
        words = "results that do not apply"
        made.append(Tile(skip.key, counts[skip.key], skip.name, words, skip.sign, "matrix"))
    if out:
        made.append(Tile("", out, "RULED OUT", f"{wording.units(run)[1]} that cannot be", "–", "skipped"))
    sections = {"difference": True, "failures": _any_failure(run), "skipped": bool(out)}
    return tuple(t if sections.get(t.anchor, True) else replace(t, anchor="matrix") for t in made)


def _any_failure(run: Run) -> bool:
    return any(True for _ in wording.wrong(run)) or any(
        cell.state not in (State.RAN, State.SKIPPED) and not is_fixed(cell) for cell in run.cells
    )


def troubles(
    run: Run, cards: Sequence[Card], undone: Sequence[Unfinished], anchors: Mapping[str, str]
) -> tuple[Trouble, ...]:
    """Return the cells in which something is not as expected, in the run's order."""
    leads = {cell: one.anchor for one in undone for cell in one.ids}
    for card in cards:
        for name, _ in card.results:
            leads.setdefault(name, card.anchor)
    counts: dict[str, Counter[str]] = {}
    for cell, result in wording.wrong(run):
        counts.setdefault(cell.cell, Counter())[wording.mark(result).key] += 1
    found = []
    for one in run.cells:
        own = counts.get(one.cell)
        if own:
            marks = [m for m in wording.MARKS if own[m.key]]
            told = ", ".join(f"{own[m.key]} {m.name}" for m in marks)
            # A card that there was no room for.
            lead = leads.get(one.cell, anchors[one.cell])
            found.append(Trouble(one.cell, one.kernel, told, marks[0], lead))
        elif one.state not in (State.RAN, State.SKIPPED) and not is_fixed(one):
            its = wording.FAIL if one.state is State.BUILD_FAILED else wording.ERROR
            told = {State.BUILD_FAILED: "does not build", State.NOT_RUN: "did not run"}.get(
                one.state, one.state.value
            )
            found.append(Trouble(one.cell, one.kernel, told, its, leads.get(one.cell, anchors[one.cell])))
    return tuple(found)


def icon(state: Mark) -> str:
    """Return the page's icon as a data URL: a disc with the sign of the run."""
    signs = {"pass": "M5 9l3 3 5-6", "fail": "M5.5 5.5l7 7m0-7l-7 7"}
    path = signs.get(state.key, "M9 4.5v5.5M9 13v.2")
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 18 18"><circle cx="9" cy="9" r="9" '
        f'fill="{_COLOURS.get(state.key, _COLOURS["error"])}"/><path d="{path}" fill="none" stroke="#fff" '
        'stroke-width="2.2" stroke-linecap="round" stroke-linejoin="round"/></svg>'
    )
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
