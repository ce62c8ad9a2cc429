"""The page of a run with too many results for one table: the answer without a script, all results as data."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any
from xml.etree.ElementTree import Element

import pytest

from kmodpipe import results
from kmodpipe.report import html, wording
from kmodpipe.report.html import folded
from kmodpipe.results import CellResult, Run, State, Verdict
from tests.support.hostile import HOSTILE, MARKUP
from tests.support.large_run import large
from tests.unit.report.html.test_init import found, parsed, words

RUN = large(220, 12, 40)


@cache
def page() -> str:
    return html.text(RUN)


@cache
def tree() -> Element:
    return parsed(page())


def data(root: Element, name: str = "results") -> Any:
    (script,) = [s for s in root.iter("script") if s.get("id") == name]
    assert script.get("type") == "application/json"
    return json.loads(script.text or "")


def test_what_fits_in_one_table_is_not_folded() -> None:
    assert not folded.needed(100, 100) and folded.needed(1024, 100) and folded.needed(201, 1)
    assert 'id="results"' not in html.text(large(20, 20, 7))


def test_the_summary_has_each_case_with_the_worst_of_each_series() -> None:
    root = tree()
    (table,) = [t for t in root.iter("table") if t.get("id") == "summary"]
    assert [words(th) for th in found(table, "th", class_="cell")] == ["unpatched", "v1", "v2", "v3"]
    rows = {words(tr[0]): [words(td) for td in tr.iter("td")] for tr in next(iter(table.iter("tbody")))}
    assert list(rows) == [info.id for info in RUN.cases]
    for case, fields in rows.items():
        for variant, field in zip(("unpatched", "v1", "v2", "v3"), fields, strict=True):
            own = [c.case(case) for c in RUN.cells if c.variant == variant]
            bad = sum(bool(r) and r.verdict is Verdict.FAIL for r in own)  # type: ignore[union-attr]
            assert field == (
                f"✗ {bad} of {len(own)}, not as expected" if bad else f"✓ {len(own)}, as expected"
            )


def test_the_data_is_every_result() -> None:
    made = data(tree())
    told = {}
    for row, (case, _, _) in enumerate(made["cases"]):
        for column, (_, _, cell, _) in enumerate(made["cells"]):
            told[cell, case] = tuple(made["kinds"][made["results"][row][column]])
    marks = {(c.cell, r.case): (wording.mark(r), r.word) for c, r in RUN.results()}
    changes = {(cell, e.case) for e in results.effects(RUN) if e.kind in wording.CHANGED for cell in e.cells}
    assert not changes, "its series ran alone"
    expected = {key: (mark.key, mark.sign, word, mark.word, "") for key, (mark, word) in marks.items()}
    assert told == expected and len(told) == 2640
    assert made["axes"] == ["A"] and made["groups"] == ["unpatched", "v1", "v2", "v3"]
    facts = data(tree(), "cells-data")
    assert [cell[1] for cell in facts["cells"]] == [c.cell for c in RUN.cells]
    last = facts["cells"][-1]
    pairs = {facts["texts"][n]: facts["texts"][v] for n, v in zip(last[4][::2], last[4][1::2], strict=True)}
    assert pairs == {"variant": "v3", "A": "219"}, "what all cells have stands once, in the page itself"
    assert last[5] == [last[5][0], "./v219/console.log"]


def test_the_answer_and_the_failures_need_no_script() -> None:
    root = tree()
    failed = results.totals(RUN)["fail"]
    cards = [d for d in root.iter("details") if d.get("data-card") is not None]
    # Each case fails in the same way wherever it fails: one card, with the cells that show it.
    assert failed == 66 and len(cards) == len({r.case for _, r in wording.wrong(RUN)})
    told = words(next(e for e in root.iter("main")))
    assert "v1 ran alone" in told and "is not as expected in" in told and "qemu qemu" in told
    for item in cards:
        assert found(item, "pre", class_="command") and "the kernel's log" in words(item)
    named = [[words(li) for ul in found(c, "ul", class_="chips") for li in ul.iter("li")] for c in cards]
    wrong = {c.cell for c, _ in wording.wrong(RUN)}
    for own in named:
        assert set(own[:-1]) <= wrong and len(own) == 13 and own[-1].endswith(" more")
    # Each link leads to something on the page, or to a cell that the script draws.
    ids = {e.get("id") for e in root.iter()} | {cell[0] for cell in data(root, "cells-data")["cells"]}
    links = [a.get("href") or "" for a in root.iter("a")]
    assert not [href for href in links if href.startswith("#") and href[1:] not in ids]
    assert {anchor for _, _, anchor in data(root)["links"]} <= ids


def test_much_evidence_and_many_cells_that_did_not_run_are_bounded() -> None:
    many = large(220, 60, 4)
    assert html.text(many).count(" data-card ") == 15, "a card a case that fails, with all its cells"
    apart = replace(many, cells=tuple(differing(cell) for cell in many.cells))
    text = html.text(apart)
    assert text.count(" data-card ") == 250 and "3050 more are in the matrix below" in text
    assert len(text.encode()) < 8_000_000
    wide = large(401, 2, 40)
    cells = tuple(replace(c, state=State.INFRA, reason="no disk\n" * 99, cases=()) for c in wide.cells)
    text = html.text(results.planned(replace(wide, cells=cells)))
    assert text.count('id="cells-infra-') == 1 and "401 cells" in text, "one reason is one card"
    cells = tuple(replace(c, reason=f"no disk {n}") for n, c in enumerate(cells))
    text = html.text(results.planned(replace(wide, cells=cells)))
    assert text.count('id="cells-infra-') == 300 and "101 more cells did not run" in text


def differing(cell: CellResult) -> CellResult:
    """A cell whose failures are like those of no other one."""
    word = "".join("abcdefghij"[int(digit)] for digit in cell.choice["A"])
    return replace(cell, cases=tuple(replace(r, message=f"{word}: {r.message}") for r in cell.cases))


@pytest.mark.parametrize(
    "text", [HOSTILE, MARKUP, "</script><script>alert(1)</script><!--", "\U0001fffe\ufdd0"]
)
def test_hostile_text_stays_data(text: str) -> None:
    cell = RUN.cells[0]
    cases = tuple(
        replace(r, outcome=text, verdict=Verdict.FAIL, message=text, evidence=text) for r in cell.cases
    )
    bad = replace(
        cell, choice={text: text}, flavour=text, cases=cases,
        properties={text: text}, artifacts={text: text},
    )  # fmt: skip
    infos = tuple(replace(info, summary=text) for info in RUN.cases)
    run = Run(text, text, infos, (bad, *RUN.cells[1:]), {text: text})
    root = parsed(html.text(run))
    assert len(found(root, "script")) == 3 and len(found(root, "style")) == 1
    assert not [e for e in root.iter() if e.tag in ("img", "iframe", "object", "base", "embed")]
    strings = json.dumps([data(root), data(root, "cells-data")], ensure_ascii=False)
    assert not any(c in strings for c in "\x00\x1b\u202e\ufdd0\ufffe\U0001fffe\x85")
    hrefs = [one for cell in data(root, "cells-data")["cells"] for one in cell[5][1::2]]
    assert hrefs and all(href.startswith("./") and ":" not in href for href in hrefs)
