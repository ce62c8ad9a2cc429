"""Messages of patches as people write them, against what maintainers want of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.analysis.check import tags
from kmodpipe.analysis.check.model import Level
from kmodpipe.analysis.check.tags import Commits
from kmodpipe.series.model import Patch

AUTHOR = "A B <a@b.example>"
SIGNED = f"Signed-off-by: {AUTHOR}"
SUBJECT = "ovl: fix it"
KNOWN = Commits({"0123456789ab": SUBJECT, "0123456789abcdef": SUBJECT}.get)
SHALLOW = Commits(lambda sha: None, "the tree's history was fetched in part only")


def patch(text: str, subject: str = "[PATCH 2/3] ovl: x", author: str = AUTHOR) -> Patch:
    return Patch("1.patch", Path(), "", (), text=text, subject=subject, author=author)


def said(text: str, commits: Commits = KNOWN, **more: str) -> list[tuple[str, Level]]:
    return [(one.rule, one.level) for one in tags.check(patch(text, **more), commits).findings]


def test_a_good_message_is_clean() -> None:
    assert said(f'Why.\n\nFixes: 0123456789ab ("{SUBJECT}")\n{SIGNED}') == []


@pytest.mark.parametrize(
    ("text", "rule", "level"),
    [
        ("Why.", "signed-off-by", Level.ERROR),
        ("Why.\n\nSigned-off-by: A B", "signed-off-by", Level.WARNING),
        (f"Why.\n\nsigned-off-by: {AUTHOR}", "signed-off-by", Level.WARNING),
        ("Why.\n\nSigned-off-by: C D <c@d.example>", "signed-off-by", Level.WARNING),
        (SIGNED, "message", Level.WARNING),
        (f'Why.\n\nFixes: 01234567 ("{SUBJECT}")\n{SIGNED}', "fixes", Level.WARNING),
        (f'Why.\n\nFixes: 0123456789ab ("{SUBJECT}") # v5.9\n{SIGNED}', "fixes", Level.WARNING),
        (f'Why.\n\nFixes: commit 0123456789ab ("{SUBJECT}")\n{SIGNED}', "fixes", Level.WARNING),
        (f"Why.\n\nFixes: 0123456789ab\n{SIGNED}", "fixes", Level.WARNING),
        (f'Why.\n\nFixes: 0123456789ab ("ovl: another")\n{SIGNED}', "fixes", Level.WARNING),
        (f'Why.\n\nFixes: fedcba987654 ("ovl: lost")\n{SIGNED}', "fixes", Level.WARNING),
        (f"Why.\n\nFixes: https://bugs.example/1\n{SIGNED}", "fixes", Level.WARNING),
        (f"Why.\n\nCc: <stable@vger.kernel.org>\n{SIGNED}", "fixes", Level.NOTE),
    ],
)
def test_what_is_wrong_is_told(text: str, rule: str, level: Level) -> None:
    assert (rule, level) in said(text), said(text)


def test_the_right_line_is_offered() -> None:
    (one,) = tags.check(patch(f"Why.\n\nFixes: 0123456789abcdef (ovl)\n{SIGNED}"), KNOWN).findings
    assert f'write Fixes: 0123456789ab ("{SUBJECT}")' in one.text


def test_a_commit_that_a_part_of_history_lacks_is_not_wrong() -> None:
    text = f'Why.\n\nFixes: fedcba987654 ("ovl: lost")\n{SIGNED}'
    assert said(text, SHALLOW) == [("fixes", Level.NOTE)]
    assert said(text, Commits(unknown="the tree is not from git")) == [("fixes", Level.NOTE)]


def test_prose_about_fixes_is_no_tag() -> None:
    assert said(f"This fixes 0123456789 cases.\nFixes a leak.\n\n{SIGNED}") == []


def test_the_author_may_sign_with_another_address_or_spelling() -> None:
    assert said("Why.\n\nSigned-off-by: A B <private@c.example>") == []
    assert said("Why.\n\nSigned-off-by: Alpha B <A@B.example>") == []


def test_a_subject_is_looked_at() -> None:
    text = f"Why.\n\n{SIGNED}"
    assert said(text, subject="[PATCH] does things.") == [("subject", Level.NOTE)] * 2
    assert said(text, subject="[PATCH] ovl: " + "x" * 90) == [("subject", Level.NOTE)]
    assert said(text, subject="") == [("subject", Level.WARNING)]


def test_a_bare_diff_has_no_message() -> None:
    for subject in ("", "the working tree of x against HEAD"):
        outcome = tags.check(patch("", subject=subject, author=""), KNOWN)
        assert (outcome.skipped, outcome.findings) == ("a bare diff has no message", ())


def test_hostile_text_stays_short() -> None:
    (one, *_) = tags.check(patch("Why.\n\nSigned-off-by: " + "x" * 10**6), KNOWN).findings
    assert len(one.text) < 300
