"""A patch as the mail that checkpatch reads: what it says cannot become a header."""

from __future__ import annotations

from pathlib import Path

from kmodpipe.analysis.check.mails import mail
from kmodpipe.series.model import Patch

DIFF = b"diff --git a/x b/x\n"


def test_a_patch_is_as_format_patch_writes_it() -> None:
    one = Patch(
        "p", Path(), "", (), DIFF, text="Why.\n\nS: x", subject="[RFC v2 9/9] ovl: x", author="A <a@b>"
    )
    assert mail(one, 2, 3) == b"From: A <a@b>\nSubject: [PATCH 2/3] ovl: x\n\nWhy.\n\nS: x\n---\n\n" + DIFF
    assert b"[PATCH] ovl" in mail(one, 1, 1)


def test_a_message_is_there_once() -> None:
    """A file of a series' folder is read with its message before the diff."""
    whole = b"From: x\n\nWhy.\n\nSigned-off-by: x\n---\n a.c | 1 +\n\n" + DIFF
    one = Patch(
        "p", Path(), "", (), whole, text="Why.\n\nSigned-off-by: x", subject="ovl: x", author="A <a@b>"
    )
    assert mail(one, 1, 1).count(b"Signed-off-by") == 1 and mail(one, 1, 1).endswith(b"\n---\n\n" + DIFF)


def test_a_bare_diff_stays_one() -> None:
    assert mail(Patch("p", Path(), "", (), DIFF), 1, 2) == DIFF
    of_working_tree = Patch("p", Path(), "", (), DIFF, subject="the working tree of x against HEAD")
    assert mail(of_working_tree, 1, 1) == DIFF


def test_author_and_subject_are_lines() -> None:
    one = Patch("p", Path(), "", (), DIFF, subject="a\nSigned-off-by: x", author="b\r\n\r\nc \udcff")
    head = mail(one, 1, 1).split(b"\n\n")[0]
    assert head == b"From: b\\x0d\\n\\x0d\\nc \\udcff\nSubject: [PATCH] a\\nSigned-off-by: x"
