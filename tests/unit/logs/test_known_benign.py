"""Rules that let a report off: of what they speak, and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.logs import known_benign
from kmodpipe.logs.known_benign import Benign, KnownBenign
from kmodpipe.pipeline import config
from kmodpipe.util.errors import UserError
from tests.support import REPO
from tests.support.sample_reports import USE_AFTER_FREE, WARNING, report

RULE = """\
[[benign]]
kind = "WARNING"
title = "WARNING in caller"
reason = "it is a harmless one, and only a test"
"""


def rules(folder: Path, text: str) -> tuple[Benign, ...]:
    path = folder / "benign.toml"
    path.write_text(text)
    return known_benign.load(path)


@pytest.mark.parametrize(
    ("more", "fits"),
    [
        ("", True),
        ('functions = ["caller", "last"]', True),
        ('functions = ["last", "caller"]', False),
        ('functions = ["elsewhere"]', False),
        ('module = "first"', True),
        ('module = "second"', False),
        ('flavours = ["kasan", "plain"]', True),
        ('flavours = ["kasan"]', False),
        ('versions = ["6.1", "5.10"]', True),
        ('versions = ["5.1"]', False),
        ('says = ["first.c:15", "PID: 27"]', True),
        ('says = ["first.c:15", "elsewhere.c:3"]', False),
    ],
)
def test_a_rule_speaks_of_one_report_at_one_place(tmp_path: Path, more: str, fits: bool) -> None:
    known = KnownBenign(rules(tmp_path, RULE + more), "5.10.223")
    assert bool(known.reason_for(report())) is fits
    assert not known.reason_for(report(USE_AFTER_FREE))


def test_what_a_panic_followed_is_never_let_off(tmp_path: Path) -> None:
    log = WARNING + b"[    2.000000] Kernel panic - not syncing: panic_on_warn set ...\n"
    assert not KnownBenign(rules(tmp_path, RULE)).reason_for(report(log))


def test_a_title_without_its_function_covers_nothing(tmp_path: Path) -> None:
    """The titles of two defects whose traces were cut off are the same."""
    rule = RULE.replace("WARNING in caller", "WARNING in")
    cut = report(b"WARNING: CPU: 1 PID: 27 at 0xffffffffc0a01010\n")
    assert cut.title == "WARNING" and cut.vague
    (known,) = rules(tmp_path, rule)
    assert not known.model_copy(update={"title": cut.title}).fits(cut, "", "5.10")


@pytest.mark.parametrize(
    ("line", "one", "other"),
    [
        (
            "BUG: using smp_processor_id() in preemptible [00000000] code: mount/12\ncaller is {}+0x1/0x2",
            "f",
            "g",
        ),
        (
            "BUG: Bad page state in process mount  pfn:12345\nCall Trace:\n bad_page+0x1/0x2\n {}+0x1/0x2",
            "f",
            "g",
        ),
        ("BUG: spinlock bad magic on CPU#0, a/1\nCall Trace:\n spin_dump+0x1/0x2\n {}+0x1/0x2", "f", "g"),
    ],
)
def test_a_rule_for_one_place_does_not_cover_another(tmp_path: Path, line: str, one: str, other: str) -> None:
    mine, others = (report(line.format(name).encode()) for name in (one, other))
    rule = RULE.replace('"WARNING"', f'"{mine.kind}"').replace("WARNING in caller", mine.title)
    known = KnownBenign(rules(tmp_path, rule), "5.10.223")
    assert known.reason_for(mine) and not known.reason_for(others)


@pytest.mark.parametrize(
    "text",
    [
        RULE + 'says = [""]\n',
        RULE.replace('title = "WARNING in caller"\n', ""),
        RULE.replace('reason = "it is a harmless one, and only a test"\n', ""),
        RULE.replace("it is a harmless one, and only a test", ""),
        RULE.replace("it is a harmless one, and only a test", "          "),
        RULE.replace('kind = "WARNING"\n', ""),
        RULE.replace('kind = "WARNING"', 'kind = "anything"'),
        RULE.replace("WARNING in caller", "*"),
        RULE.replace("WARNING in caller", "WARNING in .*"),
        RULE.replace("WARNING in caller", "WARNING"),
        RULE + "surprise = 1\n",
        "benign = 1\n",
        "[[benign]\n",
    ],
)
def test_a_rule_that_is_too_wide_or_wrong_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"harmless|TOML") as caught:
        rules(tmp_path, text)
    assert "benign.toml" in str(caught.value.where)


def test_the_projects_own_rules_are_valid() -> None:
    project = config.load(REPO)
    assert project.benign is not None
    known_benign.load(project.benign)
    with pytest.raises(UserError, match="does not exist"):
        known_benign.load(project.root / "no-such-file.toml")
