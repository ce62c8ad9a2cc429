"""series: quilt folders, mailboxes, strict application, and what a reject says."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe import series, source
from kmodpipe.util import process
from kmodpipe.util.errors import Interrupted, UserError
from kmodpipe.util.screen import Mode, Screen
from tests.support.trees import commit_all, contents, git, make_tree, write


def diff(changes: Mapping[str, str], folder: Path) -> str:
    """A git patch from the toy tree to the toy tree with these files; made by git itself."""
    make_tree(folder)
    commit_all(folder, "base")
    write(folder, changes)
    git(folder, "add", "-A")
    return git(folder, "diff", "--cached", "-M") + "\n"


def toy_header(line: str) -> dict[str, str]:
    return {"fs/toy/toy.h": f"int a;\n{line}\nint c;\n"}


@pytest.fixture
def screen() -> Screen:
    return Screen(Mode.QUIET, out=io.StringIO())


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def tree(tmp_path: Path, cache: Path, screen: Screen) -> source.Tree:
    spec = source.resolve(str(make_tree(tmp_path / "mine")), {})
    return source.fetch(spec, {}, cache, screen)


def folder_of(root: Path, patches: Mapping[str, str], toml: str = "", listing: str | None = None) -> Path:
    """A series ``fix`` below ``root``; returns ``root``."""
    write(
        root / "fix",
        {**patches, "series.toml": toml, "series": listing or "".join(f"{n}\n" for n in patches)},
    )
    return root


# -- reading -----------------------------------------------------------------------------------------
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
        ("a.patch -p0\n", "", "-p0 is not supported"),
        ("a.patch -R\n", "", "-R is not supported"),
        ("../../outside.patch\n", "", "outside the series' folder"),
        ("link.patch\n", "", "outside the series' folder"),
        ("a.patch\nb.patch\n", "", "no patch b.patch"),
        ("a.patch\na.patch\n", "", "listed twice"),
        ("# none\n", "", "holds no patch"),
        ("text.patch\n", "", "git cannot read patch text.patch"),
        ("cut.patch\n", "", "git cannot read patch cut.patch"),
        ("a.patch\n", 'modul = "fs/toy"\n', "modul: Extra inputs"),
        ("a.patch\n", 'applies-to = ["v5"]\n', "not VERSION.PATCHLEVEL"),
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
    with pytest.raises(UserError, match="number 1 more than once"):
        series.load(str(tmp_path / "twice.mbox"), tmp_path)
    (tmp_path / "none.mbox").write_text(mail("hello", "No patch here."))
    with pytest.raises(UserError, match="no message in it carries a patch"):
        series.load(str(tmp_path / "none.mbox"), tmp_path)


def test_what_a_reply_goes_to_is_the_cover_letter_or_what_the_series_says(tmp_path: Path) -> None:
    patch = diff(toy_header("int B;"), tmp_path / "w1")
    one = mail("[PATCH 1/1] toy: B", "Why.\n---\n" + patch)
    cover = mail("[PATCH v3 0/1] toy:\n things", "A letter.").replace(
        "Date:", "Message-ID: <cover@x>\nDate:", 1
    )
    reply = mail("Re: [PATCH v3 0/1] toy: things", "Nice.").replace(
        "Date:", "Message-ID: <reply@x>\nDate:", 1
    )
    for name, text, wanted in (
        ("covered", reply + cover + one, ("[PATCH v3 0/1] toy: things", "<cover@x>")),
        ("bare", reply + one, ("[PATCH 1/1] toy: B", "")),
    ):
        (tmp_path / f"{name}.mbox").write_text(text)
        loaded = series.load(str(tmp_path / f"{name}.mbox"), tmp_path)
        assert (loaded.subject, loaded.message_id) == wanted
    root = folder_of(tmp_path / "patches", {"a.patch": one, "b.patch": patch})
    assert series.load("fix", root).subject == "[PATCH 1/1] toy: B"
    folder_of(root, {"a.patch": one}, 'subject = "[PATCH 0/1] mine"\nmessage-id = "<m@x>"\n')
    loaded = series.load("fix", root)
    assert (loaded.subject, loaded.message_id) == ("[PATCH 0/1] mine", "<m@x>")
    assert loaded.digest == series.load("fix", folder_of(tmp_path / "p", {"a.patch": one})).digest


# -- applying ----------------------------------------------------------------------------------------
def test_applying_leaves_the_tree_as_it_was_and_is_done_once(
    tmp_path: Path, tree: source.Tree, cache: Path, screen: Screen
) -> None:
    work = make_tree(tmp_path / "w")
    commit_all(work, "base")
    write(work, {**toy_header("int B;"), "fs/toy/new.c": "new\n"})
    git(work, "rm", "-q", "Kconfig")
    write(work, {"Kconfig": 'mainmenu "other"\n'})
    git(work, "mv", "fs/toy/super.c", "fs/moved.c")
    (work / "Makefile").chmod(0o755)
    git(work, "add", "-A")
    root = folder_of(tmp_path / "patches", {"a.patch": git(work, "diff", "--cached", "-M") + "\n"})
    loaded = series.load("fix", root)
    before = contents(tree.path)
    assert series.applied_path(loaded, tree, cache) is None

    path = series.apply(loaded, tree, cache, screen)

    assert contents(tree.path) == before
    after = {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    wanted = {p.relative_to(work).as_posix(): p.read_bytes() for p in work.rglob("*") if p.is_file()}
    assert after == {name: data for name, data in wanted.items() if not name.startswith(".git/")}
    assert (path / "scripts/run.sh").samefile(tree.path / "scripts/run.sh"), "untouched files cost nothing"
    assert series.applied_path(loaded, tree, cache) == path
    stamp = path.stat().st_ino
    assert series.apply(loaded, tree, cache, screen) == path and path.stat().st_ino == stamp


def test_no_repository_around_and_no_configuration_has_a_say(
    tmp_path: Path, tree: source.Tree, cache: Path, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Inside a repository git apply skips, without a word, what lies outside its folder.
    commit_all(write(tmp_path, {"enclosing": ""}), "enclosing")
    home = write(tmp_path / "home", {".gitconfig": "[apply]\n\tignoreWhitespace = change\n"})
    monkeypatch.setenv("HOME", str(home))
    exact = folder_of(tmp_path / "p1", {"a.patch": diff(toy_header("int B;"), tmp_path / "w")})
    path = series.apply(series.load("fix", exact), tree, cache, screen)
    assert "int B;" in (path / "fs/toy/toy.h").read_text()

    spaced = (exact / "fix/a.patch").read_text().replace("\n int a;", "\n int  a;")
    loose = folder_of(tmp_path / "p2", {"a.patch": spaced})
    with pytest.raises(UserError, match="does not apply"):
        series.apply(series.load("fix", loose), tree, cache, screen)


def rejected(text: str, tmp_path: Path, tree: source.Tree, cache: Path, screen: Screen) -> UserError:
    """The error of a series whose second patch is ``text``; nothing of it is left behind."""
    good = diff({"fs/toy/new.c": "new\n"}, tmp_path / "good")
    root = folder_of(
        tmp_path / "patches", {"0001-good.patch": good, "0002-bad.patch": text}, 'applies-to = ["5.11"]'
    )
    before = contents(tree.path)
    with pytest.raises(UserError) as e:
        series.apply(series.load("fix", root), tree, cache, screen)
    assert contents(tree.path) == before
    assert not list((cache / "trees").glob("patched-*")) and not list((cache / "work").iterdir())
    assert "fix" in str(e.value) and "0002-bad.patch" in str(e.value)
    return e.value


def test_a_reject_names_file_hunk_and_the_line_that_differs(
    tmp_path: Path, tree: source.Tree, cache: Path, screen: Screen
) -> None:
    lines = [f"line {n}" for n in range(1, 41)]
    lines[4], lines[29] = "changed 5", "changed 30"
    text = diff({"fs/toy/super.c": "\n".join(lines) + "\n", **toy_header("int B;")}, tmp_path / "w")
    error = rejected(text.replace(" line 28\n", " line twenty-eight\n"), tmp_path, tree, cache, screen)
    assert error.where == "fs/toy/super.c, hunk @@ -27,7 +27,7 @@ line 26"
    assert "line 28: expected 'line twenty-eight'" in error.detail
    assert "line 28: found 'line 28'" in error.detail
    assert "for Linux 5.11" in error.hint


def test_a_change_that_is_already_there_is_told_from_one_that_does_not_fit(
    tmp_path: Path, tree: source.Tree, cache: Path, screen: Screen
) -> None:
    again = diff({"fs/toy/new.c": "new\n"}, tmp_path / "w")
    assert "already there" in rejected(again, tmp_path, tree, cache, screen).what


def test_one_files_change_that_is_already_there(
    tmp_path: Path, tree: source.Tree, cache: Path, screen: Screen
) -> None:
    work = make_tree(tmp_path / "w")
    write(work, {"fs/toy/toy.h": "int a;\nint old;\nint c;\n"})
    commit_all(work, "base")
    write(work, {"fs/toy/toy.h": "int a;\nint b;\nint c;\n", "Kconfig": "new\n"})
    text = git(work, "diff") + "\n"
    error = rejected(text, tmp_path, tree, cache, screen)
    assert error.where.startswith("fs/toy/toy.h, hunk @@ -1,3 +1,3 @@")
    assert "already there" in error.where and "already there" not in error.what


def test_a_patch_for_a_file_that_is_not_there(
    tmp_path: Path, tree: source.Tree, cache: Path, screen: Screen
) -> None:
    text = "--- a/fs/none.c\n+++ b/fs/none.c\n@@ -1 +1 @@\n-a\n+b\n"
    error = rejected(text, tmp_path, tree, cache, screen)
    assert error.where == "fs/none.c" and "No such file" in error.detail


def test_a_fuzzy_hunk_is_a_reject(tmp_path: Path, tree: source.Tree, cache: Path, screen: Screen) -> None:
    text = diff(toy_header("int B;"), tmp_path / "w").replace(" int c;", " int C;")
    assert "fs/toy/toy.h, hunk" in rejected(text, tmp_path, tree, cache, screen).where


def test_links_that_lead_out_together_are_refused(
    tmp_path: Path, tree: source.Tree, cache: Path, screen: Screen
) -> None:
    def link(name: str, to: str) -> str:
        head = f"diff --git a/{name} b/{name}\nnew file mode 120000\n--- /dev/null\n+++ b/{name}\n"
        return f"{head}@@ -0,0 +1 @@\n+{to}\n\\ No newline at end of file\n"

    patches = {"1.patch": link("fs/toy/up", "../.."), "2.patch": link("out", "fs/toy/up/../x")}
    fix = series.load("fix", folder_of(tmp_path, patches))
    with pytest.raises(UserError, match=r"out of the tree: out to 'fs/toy/up/\.\./x'"):
        series.apply(fix, tree, cache, screen)


def test_a_copy_of_a_file_outside_is_refused(tmp_path: Path) -> None:
    text = (
        "diff --git a/../../etc/passwd b/fs/leak.h\nsimilarity index 100%\n"
        "copy from ../../etc/passwd\ncopy to fs/leak.h\n"
    )
    with pytest.raises(UserError, match=r"no patch may touch: '\.\./\.\./etc/passwd'"):
        series.load("fix", folder_of(tmp_path, {"1.patch": text}))


def test_a_link_out_of_the_tree_is_refused(
    tmp_path: Path, tree: source.Tree, cache: Path, screen: Screen
) -> None:
    text = "diff --git a/fs/l b/fs/l\nnew file mode 120000\n--- /dev/null\n+++ b/fs/l\n@@ -0,0 +1 @@\n"
    (tmp_path / "l.patch").write_text(text + "+/etc/passwd\n\\ No newline at end of file\n")
    with pytest.raises(UserError, match="link out of the tree: fs/l"):
        series.apply(series.load(str(tmp_path / "l.patch"), tmp_path), tree, cache, screen)
    assert not list((cache / "trees").glob("patched-*"))


def test_an_interruption_leaves_no_farm(
    tmp_path: Path, tree: source.Tree, cache: Path, screen: Screen
) -> None:
    root = folder_of(tmp_path / "patches", {"a.patch": diff(toy_header("int B;"), tmp_path / "w")})
    loaded = series.load("fix", root)
    with process.Children().collecting() as children:
        children.stop_all()
        with pytest.raises(Interrupted):
            series.apply(loaded, tree, cache, screen)
    assert not list((cache / "trees").glob("patched-*")) and not list((cache / "work").iterdir())


def test_mismatch_warns_by_version(tmp_path: Path, tree: source.Tree) -> None:
    patch = {"a.patch": diff(toy_header("int B;"), tmp_path / "w")}
    fits = series.load("fix", folder_of(tmp_path / "p1", patch, 'applies-to = ["5.9", "5.10"]'))
    other = series.load("fix", folder_of(tmp_path / "p2", patch, 'applies-to = ["5.1"]'))
    assert series.mismatch(fits, tree) is None
    assert "for Linux 5.1;" in str(series.mismatch(other, tree))
