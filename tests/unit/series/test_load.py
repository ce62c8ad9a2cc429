"""Quilt folders and mailboxes, and what is refused of them."""

from __future__ import annotations

from dataclasses import replace
from email import message_from_string
from pathlib import Path

import pytest

from kmodpipe import series
from kmodpipe.util.errors import UserError
from tests.support.sample_series import diff, folder_of, toy_header
from tests.support.trees import commit_all, git, make_tree, write


def test_a_quilt_folder_is_read_in_its_order_with_its_declaration(tmp_path: Path) -> None:
    second = diff({"fs/toy/new.c": "new\n"}, tmp_path / "w2")
    first = diff(toy_header("int B;"), tmp_path / "w1")
    toml = 'summary = "s"\nmodule = "fs/toy"\ndesign = "d"\napplies-to = ["5.10"]\n'
    toml += 'axes = { NOUUID = "TOY_NOUUID" }\n'
    listing = "# order matters\nz.patch -p1  # the first\n\na.patch\n"
    root = folder_of(tmp_path / "patches", {"a.patch": second, "z.patch": first}, toml, listing)

    loaded = series.load("fix", root)

    assert [p.name for p in loaded.patches] == ["z.patch", "a.patch"]
    assert loaded.touched == ("fs/toy/new.c", "fs/toy/toy.h")
    assert (loaded.module, loaded.design, loaded.applies_to) == ("fs/toy", "d", ("5.10",))
    assert loaded.axes == {"NOUUID": "TOY_NOUUID"}
    (first_alone,) = loaded.prefixes()
    assert (first_alone.name, first_alone.partial) == ("fix@1", True)
    assert [p.name for p in first_alone.patches] == ["z.patch"]
    assert first_alone.digest != loaded.digest and not loaded.partial
    assert series.available(root) == ("fix",)
    assert series.load(str(root / "fix"), tmp_path).digest == loaded.digest
    backwards = replace(loaded, patches=loaded.patches[::-1])
    assert backwards.digest != loaded.digest, "order is part of what a series is"
    assert replace(loaded, summary="other").digest == loaded.digest


@pytest.mark.parametrize(
    ("listing", "toml", "said"),
    [
        ("a.patch -p0\n", "", "listed with -p0, and has a/ and b/"),
        ("a.patch -R\n", "", "-R is not supported"),
        ("../../outside.patch\n", "", "outside the series' folder"),
        ("link.patch\n", "", "outside the series' folder"),
        ("a.patch\nb.patch\n", "", "no patch b.patch"),
        ("a.patch\na.patch\n", "", "listed twice"),
        ("# none\n", "", "holds no patch"),
        ("text.patch\n", "", "git cannot read patch text.patch"),
        ("cut.patch\n", "", "git cannot read patch cut.patch"),
        ("a.patch\n", 'modul = "fs/toy"\n', "modul: there is no such field; did you mean module"),
        ("a.patch\n", 'applies-to = ["v5"]\n', "no version of the kernel: .v5."),
    ],
)
def test_a_wrong_folder_is_refused(tmp_path: Path, listing: str, toml: str, said: str) -> None:
    good = diff(toy_header("int B;"), tmp_path / "w")
    write(tmp_path, {"outside.patch": good})
    cut = good[: good.rindex("\n int c")] + "\n"
    root = folder_of(
        tmp_path / "patches", {"a.patch": good, "text.patch": "hello\n", "cut.patch": cut}, toml, listing
    )
    (root / "fix/link.patch").symlink_to("../../outside.patch")
    with pytest.raises(UserError, match=said):
        series.load("fix", root)


def test_unknown_names_get_the_near_ones(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "patches", {"a.patch": diff(toy_header("int B;"), tmp_path / "w")})
    with pytest.raises(UserError, match="did you mean fix"):
        series.load("fxi", root)
    with pytest.raises(UserError, match="neither a folder nor a file"):
        series.load("./fxi", root)


def test_a_renamed_file_is_touched_under_both_names(tmp_path: Path) -> None:
    work = make_tree(tmp_path / "w")
    commit_all(work, "base")
    git(work, "mv", "fs/toy/super.c", "fs/other.c")
    (tmp_path / "one.patch").write_text(git(work, "diff", "--cached", "-M") + "\n")
    loaded = series.load(str(tmp_path / "one.patch"), tmp_path)
    assert loaded.touched == ("fs/other.c", "fs/toy/super.c")


@pytest.mark.parametrize("name", ["../evil", "/evil", ".git/hooks/x", "a/../../evil", "fs/.GIT/config"])
def test_names_that_no_patch_may_touch(tmp_path: Path, name: str) -> None:
    text = f"--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+evil\n"
    (tmp_path / "evil.patch").write_text(text)
    with pytest.raises(UserError, match=r"no patch may touch|cannot read"):
        series.load(str(tmp_path / "evil.patch"), tmp_path)


def mail(subject: str, body: str, encoding: str = "") -> str:
    header = (
        f"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: {encoding}\n"
        if encoding
        else ""
    )
    return (
        "From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\n"
        f"From: toy <toy@localhost.invalid>\nDate: Thu, 24 Sep 2020 10:00:00 +0000\n{header}"
        f"Subject: {subject}\n\n{body}\n"
    )


def test_a_mailbox_gives_its_patches_by_number_and_decoded(tmp_path: Path) -> None:
    first, second = toy_header("int B;"), {"Kconfig": 'mainmenu "x=y"\n'}
    quoted = diff(second, tmp_path / "w2").replace("=", "=3D")
    text = mail("[PATCH v2 0/2] cover", "A letter.\n\n--- \n fs/toy/toy.h | 2 +-\n")
    text += mail("[PATCH v2 2/2] kconfig: say it", "Why.\n---\n" + quoted, "quoted-printable")
    text += mail("Re: [PATCH v2 2/2] kconfig: say it", "> -a\n> +b\nrather:\n" + diff(first, tmp_path / "w3"))
    text += mail("[PATCH v2 1/2] toy: B", "Why.\n---\n" + diff(first, tmp_path / "w1"))
    (tmp_path / "thread v2.mbox").write_text(text)

    loaded = series.load(str(tmp_path / "thread v2.mbox"), tmp_path)

    assert loaded.name == "thread-v2"
    assert [p.name for p in loaded.patches] == ["0001-toy-B.patch", "0002-kconfig-say-it.patch"]
    assert b'+mainmenu "x=y"' in loaded.patches[1].data

    (tmp_path / "twice.mbox").write_text(text + mail("[PATCH 1/2] toy: B", diff(first, tmp_path / "w4")))
    newest = series.load(str(tmp_path / "twice.mbox"), tmp_path)
    assert newest.digest == loaded.digest
    assert "v1 and v2 are there: v2 is tested" in newest.notices
    (tmp_path / "none.mbox").write_text(mail("hello", "No patch here."))
    with pytest.raises(UserError, match="no message in it carries a patch"):
        series.load(str(tmp_path / "none.mbox"), tmp_path)


def test_what_a_reply_goes_to_is_the_cover_letter_or_what_the_series_says(tmp_path: Path) -> None:
    patch = diff(toy_header("int B;"), tmp_path / "w1")
    one = mail("[PATCH v3 1/1] toy: B", "Why.\n---\n" + patch)
    cover = mail("[PATCH v3 0/1] toy:\n things", "A letter.").replace(
        "Date:", "Message-ID: <cover@x>\nDate:", 1
    )
    reply = mail("Re: [PATCH v3 0/1] toy: things", "Nice.").replace(
        "Date:", "Message-ID: <reply@x>\nDate:", 1
    )
    for name, text, wanted in (
        ("covered", reply + cover + one, ("[PATCH v3 0/1] toy: things", "<cover@x>")),
        ("bare", reply + one, ("[PATCH v3 1/1] toy: B", "")),
    ):
        (tmp_path / f"{name}.mbox").write_text(text)
        loaded = series.load(str(tmp_path / f"{name}.mbox"), tmp_path)
        assert (loaded.subject, loaded.message_id) == wanted
    root = folder_of(tmp_path / "patches", {"a.patch": one, "b.patch": patch})
    assert series.load("fix", root).subject == "[PATCH v3 1/1] toy: B"
    folder_of(root, {"a.patch": one}, 'subject = "[PATCH 0/1] mine"\nmessage-id = "<m@x>"\n')
    loaded = series.load("fix", root)
    assert (loaded.subject, loaded.message_id) == ("[PATCH 0/1] mine", "<m@x>")
    assert loaded.digest == series.load("fix", folder_of(tmp_path / "p", {"a.patch": one})).digest


def test_a_copy_of_a_file_outside_is_refused(tmp_path: Path) -> None:
    text = (
        "diff --git a/../../etc/passwd b/fs/leak.h\nsimilarity index 100%\n"
        "copy from ../../etc/passwd\ncopy to fs/leak.h\n"
    )
    with pytest.raises(UserError, match=r"no patch may touch: '\.\./\.\./etc/passwd'"):
        series.load("fix", folder_of(tmp_path, {"1.patch": text}))


def test_a_mailbox_in_a_folder(tmp_path: Path) -> None:
    first = mail("[PATCH 1/2] toy: B", "Why.\n---\n" + diff(toy_header("int B;"), tmp_path / "w1"))
    second = mail("[PATCH 2/2] toy: new", "Why.\n---\n" + diff({"fs/toy/new.c": "new\n"}, tmp_path / "w2"))
    write(tmp_path / "posted", {"thread.mbox": second + first, "notes.txt": "hello\n"})
    loaded = series.load(str(tmp_path / "posted"), tmp_path)
    assert [p.touched for p in loaded.patches] == [("fs/toy/toy.h",), ("fs/toy/new.c",)]
    assert len({p.name for p in loaded.patches}) == 2
    assert loaded.notices == ("notes.txt: not of a kind that is read, and not part of the series",)
    assert (loaded.name, loaded.design) == ("posted", "")
    write(tmp_path / "posted", {"series": "thread.mbox\n"})
    with pytest.raises(UserError, match="contradicts"):
        series.load(str(tmp_path / "posted"), tmp_path)


def test_a_cover_letter_is_the_subject_and_the_text(tmp_path: Path) -> None:
    patch = mail("[PATCH 1/1] toy: B", "Why.\n---\n" + diff(toy_header("int B;"), tmp_path / "w1"))
    cover = mail("[PATCH 0/1] toy: all of it", "A letter.\n\nIts end.")
    folder = write(tmp_path / "posted", {"0000-cover-letter.patch": cover, "0001-x.patch": patch})
    loaded = series.load(str(folder), tmp_path)
    assert (loaded.summary, loaded.subject) == ("toy: all of it", "[PATCH 0/1] toy: all of it")
    assert loaded.text == "A letter.\n\nIts end." and loaded.patches[0].text == "Why."


@pytest.mark.parametrize(
    ("body", "text", "author"),
    [
        ("Why.\n\nSigned-off-by: x\n---\n stat\n", "Why.\n\nSigned-off-by: x", None),
        # Whom `git am` takes for the author.
        ("From: C D <c@d.example>\n\nWhy.\n---\n", "Why.", "C D <c@d.example>"),
        # Without a message, and without the line that ends it.
        ("---\n stat\n", "", None),
        ("Why.\n\n", "Why.", None),
        # Longer than what results keep: its trailers are at its end.
        ("x" * 20_000 + "\n\nSigned-off-by: x\n---\n", "x" * 20_000 + "\n\nSigned-off-by: x", None),
    ],
)
def test_a_patch_has_its_message_and_its_author(
    tmp_path: Path, body: str, text: str, author: str | None
) -> None:
    sent = mail("[PATCH v2] toy: B", body + diff(toy_header("int B;"), tmp_path / "w1"))
    (patch,) = series.load(str(write(tmp_path / "posted", {"0001-x.patch": sent})), tmp_path).patches
    assert (patch.text, patch.subject) == (text, "[PATCH v2] toy: B")
    assert patch.author == (author or message_from_string(sent)["From"])


@pytest.mark.parametrize(
    ("port", "files", "said"),
    [
        ('kernel = ">=6.1"\nfolder = "6.1"', {"b.patch": "good"}, "unknown patch 'b.patch'"),
        ('kernel = ">=6.1"\nfolder = "6.1"', {"readme.txt": "good"}, "the port holds no patch"),
        ('kernel = ">=6.1"\nfolder = "6.1"', {"a.patch": "text"}, "git cannot read|not one patch"),
        ('kernel = ">=6.1"\nfolder = "6.2"', {"a.patch": "good"}, "no folder 6.2"),
        ('kernel = ">=6.1"\nfolder = "../x"', {"a.patch": "good"}, "below the series' own"),
        ('kernel = "newer"\nfolder = "6.1"', {"a.patch": "good"}, "no version of the kernel: 'newer'"),
        ('folder = "6.1"', {"a.patch": "good"}, "kernel"),
    ],
)
def test_a_wrong_port_is_refused(tmp_path: Path, port: str, files: dict[str, str], said: str) -> None:
    good = diff(toy_header("int B;"), tmp_path / "w")
    root = folder_of(tmp_path / "patches", {"a.patch": good}, f"[[port]]\n{port}\n", "a.patch\n")
    write(root / "fix/6.1", {name: good if text == "good" else text for name, text in files.items()})
    with pytest.raises(UserError, match=said):
        series.load("fix", root)


def test_the_first_port_that_is_for_a_kernel_replaces_patches_by_name(tmp_path: Path) -> None:
    good, other = diff(toy_header("int B;"), tmp_path / "w"), diff(toy_header("int C;"), tmp_path / "v")
    ports = "".join(
        f'[[port]]\nkernel = {k}\nfolder = "{f}"\n'
        for k, f in (('[">=6.6", "5.4"]', "6.6"), ('">=6.1"', "6.1"))
    )
    root = folder_of(tmp_path / "patches", {"a.patch": good, "b.patch": good}, ports, "a.patch\nb.patch\n")
    write(root / "fix/6.6", {"b.patch": other})
    write(root / "fix/6.1", {"a.patch": other})
    fix = series.load("fix", root)
    assert fix.on("5.10.223") is fix
    for version, port, patches in (("6.6.1", "6.6", "ab'"), ("5.4.2", "6.6", "ab'"), ("6.1", "6.1", "a'b")):
        own = fix.on(version)
        assert own.port == port and own.digest != fix.digest
        assert "".join(p.name[0] + "'" * (b"int C;" in p.data) for p in own.patches) == patches
    assert len(fix.prefixes()[0].on("6.1").patches) == 1
