"""The runs before this one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe import results
from kmodpipe.report import history, html
from kmodpipe.results import Run
from tests.support.sample_run import INFOS, Y_Y, change, failed, finished, on_disk, seen
from tests.unit.report.html.test_init import found, parsed, words

SAME = {"module": "fs/overlayfs", "question": "q1"}


def day(number: int, run: Run, **properties: str) -> Run:
    started = f"2020-10-{number:02}T12:00:00+00:00"
    ended = f"2020-10-{number:02}T12:00:{10 + number:02}+00:00"
    return replace(
        run, id=f"202010{number:02}-120000-abcd", started=started, finished=ended,
        properties={**SAME, **properties},
    )  # fmt: skip


BAD = change(finished(), Y_Y, failed(2, "ESTALE", "mounted"))


def test_runs_of_the_same_module_and_series_before_it(tmp_path: Path) -> None:
    now = day(9, finished())
    for one in (
        day(1, finished()), day(2, BAD), day(3, finished(), question="q2"),
        day(4, finished(), module="fs/ext4"),
        replace(day(5, finished()), cells=finished().cells[:3]), now, day(10, BAD),
    ):  # fmt: skip
        on_disk(one, tmp_path)
    past = history.load(tmp_path / now.id, now)
    assert [(p.id[6:8], p.mark.name, p.same, p.seconds) for p in past] == [
        ("01", "PASS", True, 11.0),
        ("02", "FAIL", True, 12.0),
        ("03", "PASS", False, 13.0),
    ]
    strip = history.of_runs(past, now)
    assert strip and [p.mark.sign for p in strip.points] == ["✓", "✗", "✓", "✓"]
    assert strip.steadiness == "failed in 1 of 3 runs with the same inputs" and strip.flaky
    assert strip.durations == "11.0 s to 19.0 s, now 19.0 s" and len(strip.line.split()) == 4


def test_what_passed_and_failed_with_the_same_inputs_is_unsteady(tmp_path: Path) -> None:
    now = day(9, finished())
    for one in (day(1, BAD), day(2, change(finished(), Y_Y, failed(0, "EIO", "x")), question="q2"), now):
        on_disk(one, tmp_path)
    past = history.load(tmp_path / now.id, now)
    assert history.unsteady(past, now) == ((Y_Y, INFOS[2].id),), "with other inputs it may have been fixed"
    strip = history.of_case(past, now, Y_Y, INFOS[2].id)
    assert strip and [(p.mark.name, p.now) for p in strip.points] == [
        ("FAIL", False),
        ("PASS", False),
        ("PASS", True),
    ]
    assert history.of_case(past, now, Y_Y, "another") is None
    assert history.unsteady((), now) == () and history.of_runs((), now) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"run": 1}',
        '{"run": {"properties": [], "cells": {}}}',
        "[" * 100_000,
        "\x00\xff",
    ],
)
def test_what_cannot_be_read_is_as_if_it_were_not_there(tmp_path: Path, text: str) -> None:
    now = day(9, finished())
    on_disk(now, tmp_path)
    (tmp_path / "20201001-120000-dead").mkdir()
    (tmp_path / "20201001-120000-dead" / "results.json").write_text(text)
    (tmp_path / "20201002-120000-file").write_text("no folder")
    (tmp_path / "20201003-120000-link").symlink_to(tmp_path)
    assert history.load(tmp_path / now.id, now) == ()


def test_odd_values_stay_harmless(tmp_path: Path) -> None:
    now = day(9, finished())
    folder = on_disk(day(1, BAD), tmp_path)
    document = json.loads((folder / "results.json").read_text())
    document["run"]["started"] = "<b>"
    document["exit_code"] = {"a": 1}
    for cell in document["run"]["cells"]:
        for case in cell["cases"]:
            case["verdict"], case["duration_s"] = "<script>", "1e999"
    (folder / "results.json").write_text(json.dumps(document).replace('"1e999"', "1e999"))
    on_disk(now, tmp_path)
    html.save(now, tmp_path / now.id / "report.html")
    page = (tmp_path / now.id / "report.html").read_text()
    assert "<script>" not in page.partition("</style>")[2].partition("<footer>")[0]


def test_the_page_shows_it(tmp_path: Path) -> None:
    now = day(9, BAD)
    for one in (day(1, finished()), day(2, change(finished(), Y_Y, seen(2, "mounted", duration_s=3))), now):
        on_disk(one, tmp_path)
    html.save(now, tmp_path / now.id / "report.html")
    root = parsed((tmp_path / now.id / "report.html").read_text())
    (section,) = found(root, "section", aria_labelledby="history")
    links = [a.get("href") for a in section.iter("a")]
    assert links == ["./../20201001-120000-abcd/report.html", "./../20201002-120000-abcd/report.html"]
    assert "failed in 1 of 3 runs with the same inputs" in words(section)
    card = next(e for e in root.iter() if e.get("id") == f"failure-{INFOS[2].id}")
    assert len(found(card, "ol", class_="strip")) == 1
    assert results.load(tmp_path / now.id / "results.json").id == now.id
