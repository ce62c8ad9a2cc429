"""The HTML report in a real browser: what a reader does, by mouse, keyboard and screen reader, on a desk and
on a phone, with and without the script; and what the checkers of others say of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kmodpipe import results
from kmodpipe.report import html, junit
from kmodpipe.results import Run, Span, State
from tests.integration.conftest import require
from tests.support.browser import Page, browser
from tests.support.hostile import MARKUP
from tests.support.large_run import large
from tests.support.sample_run import DEAD, INFOS, cell, change, failed, finished, on_disk

pytestmark = [pytest.mark.integration, pytest.mark.thorough]
Y_Y = "index-nouuid.INDEX=y.NOUUID=y"
SETTLE_S = 0.3


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    require(shutil.which("chromium") is not None, "no chromium: invoke setup --tests")
    with browser() as opened:
        yield opened


FAULT = "overlayfs: failed to verify origin (/lower, ino=12, err=-116)"
SECOND = f"failure-{INFOS[2].id}"


def sample() -> Run:
    run = change(finished(), Y_Y, replace(failed(2, "ESTALE", "mounted"), guest=1, kmsg=(FAULT,)))
    bad = replace(failed(1, MARKUP, "mounted"), message=MARKUP, evidence=MARKUP, output_excerpt=MARKUP)
    run = change(run, "index-nouuid.INDEX=y.NOUUID=n", replace(bad, kmsg=("k " * 400,)))
    run = results.with_cell(
        run, cell("unpatched", "n", "n", state=State.BUILD_FAILED, reason="inode.c:7: error\nmore")
    )
    spans = [Span("base", "ed4538da4cd5", 0, 92.0), Span("test", Y_Y, 92, 4.0, "failed")]
    run = replace(run, dead_axes=(DEAD,), timeline=(*spans, Span("guest", Y_Y, 92.2, 3.5, "done", 1.3)))
    return replace(run, properties={**run.properties, "series.index-nouuid.0001-a.patch": "a" * 64})


def consoles(run: Run, folder: Path) -> None:
    """Write the console of each cell, with the fault in the midst of it."""
    lines = [f"[    {n}.000000] booting" for n in range(9)]
    lines += [f"[    9.000000] {FAULT}", *(f"[   {n}.000000] going on" for n in range(10, 60))]
    for path in {c.artifacts["console.log"] for c in run.cells if "console.log" in c.artifacts}:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("\r\n".join(lines) + "\r\n")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("pages") / "20991231-000000"
    folder.mkdir()
    consoles(sample(), folder)
    before = replace(sample(), id="20991230-000000", finished="2099-12-30T00:10:00+00:00")
    on_disk(before, folder.parent)
    now = replace(sample(), id=folder.name)
    made = {}
    plain = change(finished(), Y_Y, failed(3, "EIO", "shared"))
    for name, run in (
        ("sample", now),
        ("plain", plain),
        ("large", large(100, 100, 20)),
        ("huge", large(1024, 100, 50)),
    ):
        html.save(run, folder / f"{name}.html")
        made[name] = (folder / f"{name}.html").as_uri()
    return made


@pytest.fixture
def opened(page: Page, files: dict[str, str]) -> Page:
    page.media(prefers_color_scheme="light")
    page.size(1280, 900)
    page.console.clear()
    page.requests.clear()
    page.open(files["sample"])
    return page


def shown(page: Page, selector: str) -> list[str]:
    """The texts of the elements that a reader can see."""
    found: list[str] = page.run(
        f"[...document.querySelectorAll({selector!r})].filter(e => e.checkVisibility())"
        ".map(e => e.innerText.trim())"
    )
    return found


def filtered(page: Page, text: str = "", verdict: str = "") -> str:
    page.run("document.getElementById('filter').reset()")
    page.run("document.querySelector('input[name=text]').focus()")
    page.type(text)
    if verdict:
        page.run(
            f"(() => {{ const s = document.querySelector('select'); s.value = {verdict!r};"
            "s.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )
    # By the page's own clock: on a busy machine its timer for the filter may come late.
    page.run(f"new Promise((done) => setTimeout(done, {SETTLE_S * 1000:.0f}))")
    return str(page.run("document.getElementById('found').textContent"))


def test_it_opens_without_a_request_an_error_or_a_violation(opened: Page, files: dict[str, str]) -> None:
    time.sleep(SETTLE_S)
    assert opened.requests == [files["sample"]]
    assert opened.console == []
    assert opened.run("document.title") == "kmodpipe: index-nouuid"


def whole_matrix(page: Page) -> None:
    page.run("document.getElementById('matrix-d').open = true")


def test_the_first_screen_is_the_answer_and_what_changed(opened: Page, files: dict[str, str]) -> None:
    assert "1 axis makes no difference" in shown(opened, "h1")[0]
    opened.open(files["plain"])
    (sentence,) = shown(opened, "h1")
    assert sentence == "✗ FAIL index-nouuid fixes 2, breaks 1, has 1 known issue, 1 case not as expected."
    on_screen = (
        "[...document.querySelectorAll('.tile, .troubles a, .change tbody tr')].filter(e =>"
        "e.checkVisibility() && e.getBoundingClientRect().bottom <= innerHeight)"
        ".map(e => e.className || e.tagName)"
    )
    seen = opened.run(on_screen)
    assert seen.count("TR") == 4 and sum(one.startswith("tile") for one in seen) == 7
    assert shown(opened, "#matrix tbody th") == [], "the full matrix is a click away"
    opened.run("document.querySelector('a[href=\"#matrix\"]').click()")
    time.sleep(SETTLE_S)
    assert shown(opened, "#matrix tbody th") == [i.id for i in INFOS]


def test_a_number_filters_the_page_and_shows_all_again(opened: Page) -> None:
    rows = "#difference ~ div .change tbody tr"
    everything = shown(opened, rows)
    opened.run("document.querySelector('[data-filter=fixed]').click()")
    time.sleep(SETTLE_S)
    assert shown(opened, rows) and all("FIXED" in row for row in shown(opened, rows))
    assert shown(opened, "#failures-s details.card") == []
    pressed = "[...document.querySelectorAll('[aria-pressed=true]')].map(e => e.dataset.filter)"
    assert opened.run(pressed) == ["fixed"]
    opened.run("document.querySelector('[data-filter=fixed]').click()")
    time.sleep(SETTLE_S)
    assert shown(opened, rows) == everything and opened.run(pressed) == []
    opened.run("document.querySelector('[data-filter=good]').click()")
    time.sleep(SETTLE_S)
    assert opened.run("document.getElementById('found').textContent").startswith("13 results")
    assert shown(opened, "#matrix tbody th"), "what is in the matrix alone is shown there"


def test_a_reader_filters_by_name_and_by_verdict(opened: Page) -> None:
    whole_matrix(opened)
    everything = shown(opened, "#matrix tbody th")
    assert everything == [i.id for i in INFOS]
    assert filtered(opened, "default index=y") == "3 results in 1 case and 3 cells"
    assert shown(opened, "#matrix tbody th") == ["uuid-remount-default"]
    assert len(shown(opened, "#matrix thead th.cell")) == 3
    assert filtered(opened, verdict="defect") == "2 results in 1 case and 2 cells"
    assert shown(opened, "#matrix thead th[data-size]") == ["index-nouuid"]
    assert filtered(opened, verdict="fail").startswith("6 results in 4 cases and 3 cells")
    assert filtered(opened, "no such thing") == "0 results in 0 cases and 0 cells"
    assert shown(opened, "#failures-s details[data-card] summary") == []
    opened.key("Escape")
    time.sleep(SETTLE_S)
    assert shown(opened, "#matrix tbody th") == everything
    assert len(shown(opened, "#failures-s details[data-card]")) == 2


def test_a_link_in_the_matrix_opens_its_evidence(opened: Page) -> None:
    cards = "#failures-s [data-card] .sides"
    assert len(shown(opened, cards)) == 1, "the first is open"
    whole_matrix(opened)
    opened.run(f"document.querySelector('#matrix td.m-fail a[href=\"#{SECOND}\"]').click()")
    time.sleep(SETTLE_S)
    told = shown(opened, cards)
    assert len(told) == 2 and "ESTALE" in told[-1] and "mounted" in told[-1]
    assert opened.run(
        f"(() => {{ const r = document.getElementById('{SECOND}').getBoundingClientRect();"
        "return r.top >= 0 && r.top < innerHeight; })()"
    )
    opened.run("document.querySelector('[data-open=no]').click()")
    assert shown(opened, cards) == []
    opened.run("document.querySelector('[data-open=yes]').click()")
    assert len(shown(opened, cards)) == 2


def test_the_console_is_open_at_the_fault(opened: Page) -> None:
    marked = "document.querySelector('.console mark')"
    opened.run(f"{marked}.closest('details').open = true")
    time.sleep(SETTLE_S)
    assert opened.run(f"{marked}.textContent") == f"[    9.000000] {FAULT}"
    assert opened.run(
        f"(() => {{ const m = {marked}.getBoundingClientRect();"
        f"const p = {marked}.parentElement.getBoundingClientRect();"
        "return m.top >= p.top && m.bottom <= p.bottom; })()"
    )


def test_a_command_is_copied(opened: Page) -> None:
    opened.call("Emulation.setFocusEmulationEnabled", enabled=True)
    opened.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    opened.run("document.querySelector('#failures-s details[open] [data-copy]').click()")
    time.sleep(SETTLE_S)
    assert shown(opened, "#failures-s details[open] [data-copy]")[0] == "Copied"
    copied = opened.run("navigator.clipboard.readText()")
    assert copied.startswith("invoke test --series index-nouuid --cell index-nouuid.")
    assert copied == opened.run("document.querySelector('#failures-s details[open] pre.command').textContent")


def test_the_keyboard_reaches_everything_in_order(opened: Page) -> None:
    focus = "(e => e.className + '|' + e.tagName + '|' + e.innerText.split('\\n')[0])(document.activeElement)"
    opened.key("Tab")
    assert opened.run(focus) == "skip|A|Skip to the report"
    assert opened.run("document.activeElement.getBoundingClientRect().left") >= 0
    opened.key("Enter")
    time.sleep(SETTLE_S)
    seen = []
    for _ in range(80):
        opened.key("Tab")
        if "|BODY|" in opened.run(focus):
            break  # behind the last
        seen.append(opened.run(focus))
        # What has the focus shows it.
        style = "getComputedStyle(document.activeElement).outlineStyle"
        assert opened.run(style) not in ("none", ""), seen[-1]
    kinds = [s.split("|")[1] for s in seen]
    order = [kinds.index(k) for k in ("INPUT", "SELECT", "BUTTON", "DIV", "SUMMARY")]
    assert order == sorted(order)  # the filter, what changed, what went wrong
    assert any(s.startswith("scroll") for s in seen), "what changed scrolls by keyboard"
    summary = next(s for s in seen if "|SUMMARY|" in s and "FAIL" in s and "FAIL" in s)
    while opened.run(focus) != summary:
        opened.key("Tab", shift=True)
    was = opened.run("document.activeElement.parentElement.open")
    opened.key("Enter")
    assert opened.run("document.activeElement.parentElement.open") is not was
    # A number is a button for the keyboard too.
    opened.run("document.querySelector('[data-filter=fail]').focus()")
    opened.key(" ")
    assert opened.run("document.querySelector('[data-filter=fail]').ariaPressed") == "true"
    opened.run("document.activeElement.blur()")
    opened.key("/")
    assert opened.run("document.activeElement.name") == "text"
    assert opened.run("document.activeElement.value") == ""


def test_without_the_script_everything_is_there(page: Page, files: dict[str, str]) -> None:
    page.scripts(on=False)
    try:
        page.open(files["sample"])
        page.scripts(on=True)
        assert shown(page, "#filter, button") == []
        assert len(shown(page, "h1")) == 1 and len(shown(page, ".tile")) == 7
        assert len(shown(page, "#difference ~ div .change tbody tr")) >= 4
        assert len(shown(page, "#failures-s details.card > summary")) == 3
        (first,) = shown(page, "#failures-s [data-card] .sides")
        assert "observed" in first, "the first failure is open"
        page.open("about:blank")
        page.scripts(on=False)
        page.open(f"{files['sample']}#{SECOND}")
        page.scripts(on=True)
        assert len(shown(page, "#failures-s [data-card] .sides")) == 2, "a link opens what it leads into"
    finally:
        page.scripts(on=True)


@pytest.mark.parametrize("name", ["sample", "large", "huge"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_the_page_does_not_scroll_sideways(page: Page, files: dict[str, str], name: str, width: int) -> None:
    page.size(width, 740)
    page.open(files[name])
    page.run("document.querySelectorAll('#failures-s details').forEach((d, i) => d.open = i < 20)")
    page.run("document.querySelectorAll('.difference details, #matrix-d').forEach((d, i) => d.open = i < 20)")
    page.run("document.querySelectorAll('main > section:last-of-type details').forEach(d => d.open = true)")
    assert page.run("document.documentElement.scrollWidth") <= width
    wide = (
        "[...document.querySelectorAll('body *')].filter(e => e.checkVisibility()"
        " && !e.closest('.scroll, pre, .skip, .sr, u, svg')"
        f" && e.getBoundingClientRect().right > {width} + 1).map(e => e.outerHTML.slice(0, 200))"
    )
    assert page.run(wide) == []


def thread_s(page: Page) -> float:
    """Return how long the page's own thread has had a processor, in seconds."""
    metrics = page.call("Performance.getMetrics")["metrics"]
    return float(next(m["value"] for m in metrics if m["name"] == "ThreadTime"))


def test_100_by_100_opens_filters_and_scrolls(page: Page, files: dict[str, str]) -> None:
    page.size(1280, 900)
    page.call("Performance.enable", timeDomain="threadTicks")
    before = thread_s(page)
    page.open(files["large"])
    page.run("document.body.offsetHeight")
    # The processor's time, not the clock's: others may be using this machine.
    assert thread_s(page) - before < 2
    before = thread_s(page)
    assert filtered(page, "name-42 a=7").startswith("11 results in 1 case and 11 cells")
    assert thread_s(page) - before < 1
    filtered(page)
    whole_matrix(page)
    # The headers stay where they are while the matrix moves.
    page.run("document.getElementById('matrix-h').scrollIntoView()")
    page.run("(e => { e.scrollTop = 1500; e.scrollLeft = 900; })(document.querySelector('#matrix .scroll'))")
    time.sleep(SETTLE_S)
    assert page.run(
        "(() => { const box = document.querySelector('#matrix .scroll').getBoundingClientRect();"
        "const at = (x, y) => document.elementFromPoint(x, y).closest('th');"
        "return [at(box.left + 20, box.top + 300).scope, at(box.left + 400, box.top + 40).scope]; })()"
    ) == ["row", "col"]


def test_102_400_results_open_and_are_filtered_a_page_at_a_time(page: Page, files: dict[str, str]) -> None:
    page.size(1280, 900)
    page.call("Performance.enable", timeDomain="threadTicks")
    before = thread_s(page)
    page.open(files["huge"])
    page.run("document.body.offsetHeight")
    assert thread_s(page) - before < 1
    assert page.console == []
    whole_matrix(page)
    assert len(shown(page, "#summary tbody tr")) == 100
    table = "#results-table"
    assert len(shown(page, f"{table} thead th.cell")) == 40 and len(shown(page, f"{table} tbody tr")) == 50
    before = thread_s(page)
    assert filtered(page, "name-42 a=7").startswith("111 results in 1 case and 111 cells")
    assert filtered(page, verdict="fail") == "2,048 results in 2 cases and 1,024 cells"
    assert thread_s(page) - before < 0.5
    # The next page, and the way from a cell and from a failure to what is told of them.
    page.run("document.querySelector('[data-page=cells][data-step=\"1\"]').click()")
    assert page.run("document.getElementById('cells-shown').textContent") == "cells 41 to 80 of 1,024"
    page.run(f"document.querySelector('{table} thead th.cell a').click()")
    time.sleep(SETTLE_S)
    (facts,) = shown(page, "#cell-list details[open] table")
    assert "variant" in facts and page.run("document.querySelector('#cell-list details[open]').offsetTop") > 0
    filtered(page)
    page.run("document.querySelector('[data-open=no]').click()")
    page.run(f"document.querySelector('{table} td.m-fail a').click()")
    time.sleep(SETTLE_S)
    assert len(shown(page, "#failures-s details.card[open]")) == 1


def test_of_102_400_results_the_answer_and_the_failures_need_no_script(
    page: Page, files: dict[str, str]
) -> None:
    page.scripts(on=False)
    page.size(1280, 3000)
    try:
        page.open(files["huge"])
        page.scripts(on=True)
        assert shown(page, "#browse, form, button") == []
        assert shown(page, "h1")[0].startswith("✗ FAIL")
        # Failures that differ in their cells alone are one card.
        assert len(shown(page, "#failures-s details.card > summary")) == 2
        assert any("in results.json" in text for text in shown(page, "noscript"))
        whole_matrix(page)
        assert len(shown(page, "#summary tbody tr")) == 100
    finally:
        page.scripts(on=True)


CONTRAST = """
(() => {
  const luminance = (c) => {
    const [r, g, b] = c.map((v) => v / 255).map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const colour = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = colour(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] === 1) return c.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const bad = [];
  for (const e of document.querySelectorAll('body *')) {
    if (!e.checkVisibility() || e.closest('svg, script, style, .skip')) continue;
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    const a = luminance(colour(getComputedStyle(e).color).slice(0, 3)), b = luminance(behind(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) bad.push([e.outerHTML.slice(0, 120), ratio]);
  }
  return bad;
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(opened: Page, scheme: str) -> None:
    opened.media(prefers_color_scheme=scheme)
    opened.run("document.querySelectorAll('details').forEach((d) => d.open = true)")
    background = opened.run("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    assert opened.run(CONTRAST) == []


def test_a_screen_reader_gets_names_headers_and_states(opened: Page) -> None:
    whole_matrix(opened)
    tree = opened.call("Accessibility.getFullAXTree")["nodes"]
    named: dict[str, list[str]] = {}
    for node in tree:
        if not node.get("ignored"):
            role = node.get("role", {}).get("value", "")
            named.setdefault(role, []).append(node.get("name", {}).get("value", ""))
    for role in (
        "link",
        "button",
        "textbox",
        "searchbox",
        "combobox",
        "checkbox",
        "region",
        "table",
        "image",
    ):
        assert all(named.get(role, [])), (role, named.get(role))
    assert {"rowheader", "columnheader", "navigation", "main", "banner", "status", "search"} <= set(named)
    assert "Builds and boots over time" in " ".join(named["image"])
    assert [n for n in named["link"] if re.fullmatch(r" ?ESTALE ?, not as expected", n)], [
        n for n in named["link"] if "ESTALE" in n
    ]
    assert len([h for h in named["heading"] if h]) >= 8


# -- what others' programs say ------------------------------------------------------------------------
def npm(folder: Path, package: str) -> Path:
    """A package from npm, in a folder that goes away; nothing of it is ours."""
    require(shutil.which("npm") is not None, "no npm: invoke setup --tests")
    done = subprocess.run(
        ["npm", "install", "--prefix", str(folder), "--no-save", "--no-audit", "--no-fund", package],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    require(done.returncode == 0, f"npm cannot install {package}: {done.stderr[-500:]}")
    return folder / "node_modules"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(opened: Page, tmp_path_factory: pytest.TempPathFactory, scheme: str) -> None:
    modules = npm(_once(tmp_path_factory, "axe"), "axe-core@4")
    opened.media(prefers_color_scheme=scheme)
    opened.run("document.querySelectorAll('details').forEach((d) => d.open = true)")
    opened.run((modules / "axe-core" / "axe.min.js").read_text() + "; 0")
    found: dict[str, Any] = opened.run(
        "axe.run(document, {resultTypes: ['violations']}).then(r => ({passes: r.passes.length, bad: "
        "r.violations.map(v => [v.id, v.help, v.nodes.slice(0, 3).map(n => n.html.slice(0, 200))])}))"
    )
    assert found["bad"] == [] and found["passes"] > 20


def test_axe_finds_nothing_on_the_page_of_a_large_run(
    page: Page, files: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    modules = npm(_once(tmp_path_factory, "axe"), "axe-core@4")
    page.size(1280, 900)
    page.open(files["huge"])
    # Of thousands of fields alike a few are enough, and of as many details.
    page.run(
        "document.querySelectorAll('tbody tr:nth-child(n+9), [data-item]:nth-child(n+4)')"
        ".forEach(e => e.remove())"
    )
    page.run("document.querySelectorAll('#cell-list details').forEach((d, i) => { d.open = i < 3; })")
    page.run((modules / "axe-core" / "axe.min.js").read_text() + "; 0")
    found: dict[str, Any] = page.run(
        "axe.run(document, {resultTypes: ['violations']}).then(r => ({passes: r.passes.length, bad: "
        "r.violations.map(v => [v.id, v.help, v.nodes.slice(0, 3).map(n => n.html.slice(0, 200))])}))"
    )
    assert found["bad"] == [] and found["passes"] > 20


def _once(factory: pytest.TempPathFactory, name: str) -> Path:
    folder = factory.getbasetemp() / f"npm-{name}"
    folder.mkdir(exist_ok=True)
    return folder


def test_an_html_validator_takes_it(tmp_path: Path) -> None:
    modules = npm(tmp_path, "html-validate@9")
    html.save(sample(), tmp_path / "report.html")
    rules = {
        "extends": ["html-validate:standard"],
        "rules": {"long-title": "off", "no-inline-style": "error"},
    }
    (tmp_path / ".htmlvalidate.json").write_text(json.dumps(rules))
    done = subprocess.run(
        ["node", str(modules / "html-validate" / "bin" / "html-validate.mjs"), "-f", "json", "report.html"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    found = [(m["ruleId"], m["message"], m["line"]) for r in json.loads(done.stdout) for m in r["messages"]]
    assert found == [], done.stderr


def test_an_html_viewer_reads_the_junit_file(tmp_path: Path) -> None:
    """xunit-viewer, both profiles: it counts what we count."""
    program = npm(tmp_path, "xunit-viewer@10") / "xunit-viewer" / "bin" / "xunit-viewer"
    run, told = sample(), []
    for strict in (True, False):
        junit.save(run, tmp_path / "in" / "junit.xml", strict=strict)
        done = subprocess.run(
            ["node", str(program), "--results", "in", "--console", "--no-color", "--output", "view.html"],
            cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        told.append(done.stdout)
    n = results.totals(run)
    wrong = n["fail"] + n["dead axes"]
    for one in told:
        assert f"{n['pass']} passed, {wrong} failure, {n['skip']} skipped" in one
