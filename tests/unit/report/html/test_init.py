"""The HTML report, read with html5lib: whole, harmless, bounded."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

import html5lib
import pytest

from kmodpipe import results
from kmodpipe.report import html
from kmodpipe.results import CaseResult, Run, Span, State, Verdict
from tests.support.hostile import HOSTILE, MARKUP
from tests.support.large_run import large
from tests.support.sample_run import DEAD, INFOS, SKELETON, cell, change, failed, finished, seen

Y_Y = "index-nouuid.INDEX=y.NOUUID=y"


def parsed(text: str) -> Element:
    """The document; html5lib's strict parser finds no error in it."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    root: Element = parser.parse(text)
    return root


def page(run: Run) -> Element:
    root = parsed(html.text(run))
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    for link in root.iter("a"):
        target = link.get("href") or ""
        assert target.startswith(("#", "./", "../")), target
        if target.startswith("#"):
            assert target[1:] in ids, target
    for element in root.iter():
        for name in ("aria-labelledby", "aria-describedby"):
            assert set((element.get(name) or "").split()) <= set(ids)
    return root


def words(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


def found(root: Element, tag: str, **attributes: str) -> list[Element]:
    return [
        e
        for e in root.iter(tag)
        if all(e.get(k.rstrip("_").replace("_", "-")) == v for k, v in attributes.items())
    ]


def broken() -> Run:
    run = change(finished(), Y_Y, replace(failed(2, "ESTALE", "mounted"), guest=1))
    return replace(run, properties={**run.properties, "repeat-with": "invoke test --tree ~/linux"})


def test_the_matrix_has_every_result_with_its_sign_and_headers() -> None:
    root = page(broken())
    (table,) = [t for t in root.iter("table") if found(t, "th", scope="colgroup")]
    rows = next(iter(table.iter("tbody")))
    assert [words(th) for th in found(table, "th", scope="row")] == [i.id for i in INFOS]
    columns = [words(th) for th in found(table, "th", scope="col")][1:]
    assert columns[0] == "unpatched INDEX=n NOUUID=n" and len(columns) == 5
    assert [th.get("colspan") for th in found(table, "th", scope="colgroup")] == ["2", "3"]
    results_of = {words(row[0]): [words(td) for td in row.iter("td")] for row in rows}
    assert results_of[INFOS[2].id][-1] == "✗ ESTALE, not as expected"
    assert results_of[INFOS[3].id][-1] == "⚠ hardlinks-split, known issue"
    assert results_of[INFOS[3].id][0] == "– skipped, skipped"


def test_a_failure_shows_its_evidence_and_the_command_that_repeats_it() -> None:
    root = page(broken())
    (link,) = [a for td in found(root, "td", class_="m-fail") for a in td.iter("a")]
    body = next(e for e in root.iter() if e.get("id") == (link.get("href") or "")[1:])
    told = words(body)
    assert "expected mounted observed ESTALE" in told and "why the origin's UUID is verified" in told
    command = f"invoke test --tree ~/linux --series index-nouuid --cell {Y_Y} --case {INFOS[2].id}"
    assert [words(p) for p in found(body, "pre", class_="command")] == [command]
    assert "failed to verify origin" in told and "some output" in told
    assert "./cells/index-nouuid/console.log" in [a.get("href") for a in body.iter("a")]


def test_the_verdict_is_a_paragraph_with_names() -> None:
    root = page(finished())
    (sentence,) = root.iter("h1")
    assert words(sentence) == "✓ PASS index-nouuid fixes 2, breaks 0, has 1 known issue."
    (verdict,) = found(root, "div", class_="verdict")
    told = words(next(verdict.iter("p")))
    assert told.startswith("index-nouuid breaks nothing; fixes 2 cases (")
    assert "uuid-remount-index-nouuid, uuid-remount-default (1 of 3 cells)" in told
    assert "has known issues in 1 case (hardlinks-after-uuid-change (2 of 3 cells))" in told
    assert "verdict bad" in [d.get("class") for d in page(broken()).iter("div")]


def test_a_crash_is_shown_without_the_marks_of_the_evidence() -> None:
    crash = replace(
        failed(2, "oops", "mounted"),
        evidence="ended: no end\ncrash: BUG: x in ovl_fill\n| RIP: ovl_fill+0x1 (fs/overlayfs/super.c:7)",
    )
    told = words(page(change(finished(), Y_Y, crash)))
    assert "What the kernel reported BUG: x in ovl_fill RIP: ovl_fill+0x1 (fs/overlayfs/super.c:7)" in told


def test_what_came_close_to_its_time_limit_is_told_where_it_is_looked_for() -> None:
    late = replace(failed(2, "timeout", "mounted"), limit_used=1.02)
    near = replace(seen(0, "ESTALE", duration_s=18.6), limit_used=0.93)
    told = replace(seen(1, "mounted"), limit_used=0.4)
    run = finished()
    for result in (late, near, told):
        run = change(run, Y_Y, result)
    root = page(run)
    (section,) = found(root, "section", aria_labelledby="close")
    rows = [[words(td) for td in row] for row in next(section.iter("tbody")).iter("tr")]
    assert rows == [["93%", "18.6 s", INFOS[0].id, Y_Y]]
    card = next(e for e in root.iter() if e.get("id") == f"failure-{INFOS[2].id}")
    assert "took 102% of its time limit" in words(card)
    assert not found(page(finished()), "section", aria_labelledby="close")
    many = replace(run.cells[-1], cases=tuple(replace(c, limit_used=0.9) for c in run.cells[-1].cases))
    assert len(found(page(results.with_cell(run, many)), "section", aria_labelledby="close")) == 1


def test_cells_that_did_not_run_and_dead_axes_are_told() -> None:
    bad = cell("index-nouuid", "y", "y", state=State.BUILD_FAILED, reason="inode.c:7: error\n  more")
    root = page(replace(results.with_cell(finished(), bad), dead_axes=(DEAD,)))
    summaries = [words(s) for s in root.iter("summary")]
    assert f"✗ FAIL {Y_Y} build-failed: inode.c:7: error" in summaries
    assert DEAD.message in words(root) and DEAD.clues[0] in words(root)
    assert "the tree has no OVERLAY_FS_INDEX_NOUUID" in words(root)


@pytest.mark.parametrize("text", [HOSTILE, MARKUP, "\U0001fffe\ufdd0\uffff", "javascript:alert(1)//"])
def test_hostile_text_is_shown_and_harmless(text: str) -> None:
    bad = CaseResult(
        INFOS[0].id, Verdict.FAIL, text, text, text, text, evidence=text, output_excerpt=text,
        kmsg=(text,), observations={text: text}, attempts=1,
    )  # fmt: skip
    run = change(finished(), Y_Y, bad)
    last = replace(run.cells[-1], artifacts={text: text, "console.log": text}, properties={text: text})
    run = results.with_cell(replace(run, id=text, properties={text: text}, started=text), last)
    run = replace(run, dead_axes=(replace(DEAD, message=text, clues=(text,)),))
    run = replace(run, timeline=(Span(text, text, 0, 1, text), Span("guest", text, 0, 1, text, 0.5)))
    root = page(run)
    # Nothing but the page's own: no element and no attribute that text could have brought.
    assert len(found(root, "script")) == 1 and len(found(root, "style")) == 1
    assert not [e for e in root.iter() if e.tag in ("img", "iframe", "object", "base", "embed")]
    assert not [n for e in root.iter() for n in e.attrib if n.startswith("on") or n == "style"]
    links = [a.get("href") or "" for a in root.iter("a")]
    assert not [h for h in links if ":" in h or re.match(r"(\./)?/", h)]
    shown = "".join(root.itertext())
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ufdd0\ufffe\uffff\U0001fffe]", shown)


def test_the_policy_allows_the_pages_own_style_and_script_alone() -> None:
    root = page(finished())
    policy = found(root, "meta", **{"http-equiv": "Content-Security-Policy"})[0].get("content") or ""
    for tag in ("style", "script"):
        (own,) = found(root, tag)
        digest = base64.b64encode(hashlib.sha256((own.text or "").encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert not found(root, "link", rel="stylesheet")


def test_what_was_prepared_is_the_same_page() -> None:
    run = broken()
    before = html.text(run)
    html.prepare()
    assert html.text(run) == before


def test_links_lead_from_where_the_file_is_to_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "run #1"
    folder.mkdir(parents=True)
    html.save(broken(), folder / "report.html")
    html.save(broken(), tmp_path / "report.html", folder)
    links = [
        {a.get("href") for a in parsed(f.read_text()).iter("a")}
        for f in (folder / "report.html", tmp_path / "report.html")
    ]
    assert "./junit.xml" in links[0] and "./out/run%20%231/junit.xml" in links[1]


def test_the_end_of_the_console_is_shown_where_the_guest_told_nothing(tmp_path: Path) -> None:
    silent = replace(failed(2, "died", "mounted"), kmsg=(), guest=1)
    run = change(finished(), Y_Y, silent)

    def told(log: str) -> str:
        there = replace(run.cells[-1], artifacts={"console.log": log})
        html.save(results.with_cell(run, there), tmp_path / "run" / "report.html")
        return (tmp_path / "run" / "report.html").read_text()

    (tmp_path / "run" / "c").mkdir(parents=True)
    (tmp_path / "secret").write_text("of another folder")
    (tmp_path / "run" / "c" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "run" / "c" / "console.log").write_bytes(b"x" * 5000 + b"\r\nlast words <\x1b[0m>\r\n")
    shown = told("c/console.log")
    assert "The end of the console" in shown and "last words &lt;\\x1b[0m&gt;" in shown
    for elsewhere in ("../secret", str(tmp_path / "secret"), "c/link", "c", "c/none", ""):
        assert "of another folder" not in told(elsewhere)


@pytest.mark.parametrize(("bad", "cards"), [(100, 1), (2, 50)])
def test_100_by_100_is_bounded(bad: int, cards: int) -> None:
    began = time.process_time()
    text = html.text(large(100, 100, bad))
    assert time.process_time() - began < 8
    assert len(text.encode()) < 12_000_000
    assert text.count("<td class=") >= 10_000
    assert text.count(" data-card ") == cards


def test_a_run_of_an_older_version_or_an_empty_one_has_a_page_too() -> None:
    assert "Where the time went" not in words(page(finished()))
    assert "No case was planned." in words(page(Run("none", "")))
    assert "not finished" in words(page(results.planned(SKELETON)))
