"""The numbers of the first screen."""

from __future__ import annotations

from dataclasses import replace

from kmodpipe import results
from kmodpipe.report import difference, wording
from kmodpipe.report.html import Files, first
from kmodpipe.report.html.records import Tile
from kmodpipe.report.html.view import page_of
from kmodpipe.results import CONTROL, Run, State
from tests.support.sample_run import INFOS, Y_Y, cell, change, failed, finished


def tiles(run: Run) -> dict[str, Tile]:
    return {tile.name: tile for tile in page_of(run, Files()).tiles}


def numbers(run: Run) -> dict[str, int]:
    return {name: tile.number for name, tile in tiles(run).items()}


def test_changes_are_cases_and_a_cell_that_cannot_be_is_one_cell() -> None:
    assert numbers(finished()) == {
        "BROKEN": 0, "FIXED": 2, "KNOWN ISSUE": 1, "FAIL": 0, "PASS": 18, "SKIP": 2, "RULED OUT": 2,
    }  # fmt: skip
    bad = change(finished(), Y_Y, failed(3, "EIO", "shared"))
    assert numbers(bad)["BROKEN"] == 1 and numbers(bad)["FAIL"] == 1


def test_what_was_expected_to_fail_and_works_is_no_fix() -> None:
    wrong = replace(failed(0, "mounted", "ESTALE"), goal_met=True)
    run = change(finished(), Y_Y, wrong)
    assert numbers(run)["FIXED"] == 2 and numbers(run)["FAIL"] == 1
    (one,) = difference.of_run(run)
    (row,) = [row for row in one.changed if row.case == INFOS[0].id]
    assert row.change is wording.FAIL


def test_without_the_control_there_is_no_number_of_what_was_broken() -> None:
    alone = replace(finished(), cells=tuple(c for c in finished().cells if c.variant != CONTROL))
    assert not {"BROKEN", "FIXED", "KNOWN ISSUE"} & set(numbers(alone))


def test_a_number_leads_to_something_without_a_script() -> None:
    assert tiles(finished())["FAIL"].anchor == "matrix", "there is no section on failures"
    assert tiles(change(finished(), Y_Y, failed(0, "EIO", "x")))["FAIL"].anchor == "failures"


def test_cells_with_trouble_are_named_with_what_it_is() -> None:
    run = change(finished(), Y_Y, failed(2, "ESTALE", "mounted"))
    run = results.with_cell(run, cell("unpatched", "n", "n", state=State.BUILD_FAILED, reason="no"))
    run = results.with_cell(run, cell("index-nouuid", "y", "n", state=State.INFRA, reason="no disk"))
    page = page_of(run, Files())
    assert [(t.cell, t.told, t.mark.key) for t in page.troubles] == [
        ("unpatched.INDEX=n.NOUUID=n", "does not build", "fail"),
        ("index-nouuid.INDEX=y.NOUUID=n", "infra", "error"),
        (Y_Y, "1 FAIL", "fail"),
    ]
    anchors = {card.anchor for card in page.cards} | {one.anchor for one in page.unfinished}
    assert {t.anchor for t in page.troubles} == anchors


def test_the_icon_is_a_picture_of_the_state() -> None:
    icons = {first.icon(mark) for mark in (wording.PASS, wording.FAIL, wording.ERROR)}
    assert len(icons) == 3 and all(icon.startswith("data:image/svg+xml;base64,") for icon in icons)
