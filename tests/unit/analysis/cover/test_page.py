"""The page: the patch as a diff, its margin marked, complete without a script, hostile text escaped."""

from __future__ import annotations

import re
from dataclasses import replace

import html5lib
import pytest

from kmodpipe.analysis.cover import page
from kmodpipe.analysis.cover.join import Question, join
from tests.support.coverage import changes, coverage
from tests.support.hostile import MARKUP


@pytest.fixture(scope="module")
def text() -> str:
    return page.text(join(Question("fix", "linux-6.1", changes()), coverage(crash=True)), "20260101-1")


def test_each_line_has_a_sign_a_word_and_its_cases(text: str) -> None:
    rows = re.findall(r'<tr class="([^"]*)">(.*)</tr>', text)
    by_number = {
        re.sub("<.*?>", "", row.split("</td>")[1]): (kind, row) for kind, row in rows if "added" in kind
    }
    assert by_number["16"][0] == "added unknown" and '?<span class="sr"> not known' in by_number["16"][1]
    assert (
        by_number["15"][0] == "added executed" and "✓" in by_number["15"][1] and "mount" in by_number["15"][1]
    )
    assert "1 of 2 branches" in by_number["15"][1]
    assert "in 1 of 2 cells" in by_number["32"][1]


def test_it_is_valid_and_needs_nothing_from_elsewhere(text: str) -> None:
    html5lib.HTMLParser(strict=True).parse(text)
    assert "<script" not in text and "http" not in re.sub("http-equiv", "", text)
    assert re.findall(r'href="([^"#]*)"', text) == ["data:,", "./report.html"]


def test_hostile_text_is_escaped() -> None:
    answer = join(Question("fix", "linux-6.1", changes()), coverage())
    hunks = tuple(
        replace(
            h,
            patch=MARKUP,
            header=MARKUP,
            path=MARKUP,
            lines=tuple(replace(x, cases={MARKUP: ()}) for x in h.lines),
        )
        for h in answer.hunks
    )
    made = page.text(replace(answer, hunks=hunks, notices=(MARKUP,), series=MARKUP), "1")
    html5lib.HTMLParser(strict=True).parse(made)
    assert MARKUP not in made
