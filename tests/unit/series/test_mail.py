"""What mails hold, hostile ones too; every form that works is in test_containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe import series
from kmodpipe.util.errors import UserError

DIFF = b"---\n\ndiff --git a/fs/x.c b/fs/x.c\n--- a/fs/x.c\n+++ b/fs/x.c\n@@ -1 +1 @@\n-a\n+b\n-- \n2.39\n"


def load(tmp_path: Path, data: bytes, name: str = "x.eml") -> series.Series:
    (tmp_path / name).write_bytes(data)
    return series.load(str(tmp_path / name), tmp_path)


@pytest.mark.parametrize(
    ("raw", "subject"),
    [
        (b"=?UTF-8?q?=5BPATCH_1/1=5D_caf=C3=A9?=", "[PATCH 1/1] café"),
        (b"[PATCH 1/1] a\n subject on\n\tthree lines", "[PATCH 1/1] a subject on three lines"),
        ("[PATCH 1/1] café".encode(), "[PATCH 1/1] café"),
        (b"[PATCH 1/1] caf\xe9", "[PATCH 1/1] caf�"),
        (b"=?x-none?q?=5BPATCH?=", None),
        (b"", ""),
    ],
)
def test_subjects(raw: bytes, subject: str | None, tmp_path: Path) -> None:
    loaded = load(tmp_path, b"From: a\nSubject: " + raw + b"\n\nWhy.\n" + DIFF)
    assert subject is None or loaded.subject == subject
    assert loaded.touched == ("fs/x.c",)


@pytest.mark.parametrize(
    "charset", ["utf-16", "../../etc/passwd", "unicode_escape", "idna", '"', "x" * 5000, "rot13"]
)
def test_hostile_charsets_change_nothing(charset: str, tmp_path: Path) -> None:
    head = f"From: a\nSubject: [PATCH] x\nContent-Type: text/plain; charset={charset}\n\n".encode()
    assert b"+\xc3\xa9\n" in load(tmp_path, head + DIFF.replace(b"+b", b"+\xc3\xa9")).patches[0].data


def test_bytes_that_contradict_their_charset_stay_as_they_are(tmp_path: Path) -> None:
    head = b"From: a\nSubject: [PATCH] x\nContent-Type: text/plain; charset=%b\n\n"
    for charset, sent, wanted in (
        (b"iso-8859-1", b"\xe9", b"\xc3\xa9"),
        (b"iso-8859-1", b"\xc3\xa9", b"\xc3\xa9"),
        (b"utf-8", b"\xe9", b"\xe9"),
        (b"koi8-r", b"\xc1", "а".encode()),
        (b"shift_jis", b"\xff", b"\xff"),
    ):
        loaded = load(tmp_path, head % charset + DIFF.replace(b"+b", b"+" + sent))
        assert b"+" + wanted + b"\n" in loaded.patches[0].data


def test_a_quoted_diff_is_none(tmp_path: Path) -> None:
    quoted = b"".join(b"> " + line + b"\n" for line in DIFF.splitlines())
    with pytest.raises(UserError, match="carries a patch"):
        load(tmp_path, b"From: a\nSubject: [PATCH] x\n\n" + quoted)


def test_parts_without_end(tmp_path: Path) -> None:
    nested = b""
    for number in range(2000):
        nested += b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (number, number)
    with pytest.raises(UserError, match=r"nested too deeply|carries a patch"):
        load(tmp_path, b"From: a\nSubject: x\n" + nested)
    many = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 300
    with pytest.raises(UserError, match="more than 200 parts"):
        load(tmp_path, b"From: a\nSubject: x\n" + many)


def test_html_and_signatures_are_no_patches(tmp_path: Path) -> None:
    both = (
        b"From: a\nSubject: [PATCH] x\nContent-Type: multipart/alternative; boundary=b\n\n--b\n"
        b"Content-Type: text/html\n\n<pre>\n"
        + DIFF
        + b"</pre>\n--b\nContent-Type: text/plain\n\n"
        + DIFF
        + b"--b--\n"
    )
    assert load(tmp_path, both).patches[0].data.count(b"diff --git") == 1


def test_a_mail_that_encloses_another(tmp_path: Path) -> None:
    inner = b"From: b\nSubject: [PATCH 1/1] inner\n\nWhy.\n" + DIFF
    outer = b"From: a\nSubject: look\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhere\n--b\n"
    loaded = load(tmp_path, outer + b"Content-Type: message/rfc822\n\n" + inner + b"\n--b--\n")
    assert loaded.subject == "[PATCH 1/1] inner"


def test_a_message_with_lines_like_a_patch(tmp_path: Path) -> None:
    # The @@ is text for git am, and would be a damaged patch for git apply.
    loaded = load(tmp_path, b"From: a\nSubject: [PATCH] x\n\n@@ -1 +1 @@ is a hunk\n" + DIFF)
    assert loaded.touched == ("fs/x.c",) and b"is a hunk" not in loaded.patches[0].data


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"hello\n", b"From nobody\n", b"\x1f\x8b", b"\xfd7zXZ\x00", b"PK\x03\x04x", b"\xff\xfe\x00"],
)
def test_what_is_no_patch_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        load(tmp_path, data)
