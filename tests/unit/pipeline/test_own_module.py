"""What a module's own source is compared with."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.kconfig.own_source import OwnSource
from kmodpipe.pipeline import own_module
from kmodpipe.results import WORKTREE
from kmodpipe.util.errors import UserError
from tests.support.trees import commit_all, git, write

FILES = {"src/Kbuild": "obj-m := m.o\n", "src/m.c": "int a;\n", "README": "m\n"}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose branch ``topic`` has a commit that main does not have."""
    root = write(tmp_path / "repository", FILES)
    commit_all(root, "first")
    git(root, "checkout", "-q", "-b", "topic")
    write(root, {"src/m.c": "int b;\n"})
    commit_all(root, "second")
    return root


def find(
    root: Path, source: str = "src", *, none: bool = False, **declared: str
) -> own_module.ModuleUnderTest:
    return own_module.find(OwnSource(source=source, **declared), root, (), none=none)[0]


def test_a_branch_is_compared_with_where_it_left_the_default_branch(repository: Path) -> None:
    found, change = own_module.find(OwnSource(source="src"), repository, (), none=False)
    assert (found.name, found.folder) == ("repository", "src")
    assert found.spec.commit == git(repository, "rev-parse", "main")
    assert found.control.startswith("main (")
    (one,) = change
    assert (one.name, one.touched) == (WORKTREE, ("src/m.c",))


def test_what_is_not_committed_is_part_of_the_change(repository: Path) -> None:
    write(repository, {"src/new.h": "int c;\n", "src/m.o": "a product\n"})
    _, (one,) = own_module.find(OwnSource(source="src"), repository, (), none=False)
    assert one.touched == ("src/m.c", "src/new.h")


def test_what_is_only_about_its_tests_is_no_change(repository: Path) -> None:
    git(repository, "checkout", "-q", "main")
    write(repository, {"kmodpipe.toml": "", "cases/load.sh": "", ".github/workflows/x.yml": ""})
    aside = [repository / "kmodpipe.toml", repository / "cases"]
    found = own_module.find(OwnSource(source="src"), repository, (), none=False, aside=aside)
    assert found[1] == ()
    write(repository, {"src/m.c": "int changed;\n"})
    assert own_module.find(OwnSource(source="src"), repository, (), none=False, aside=aside)[1]


def test_the_default_branch_without_a_change_is_a_control_alone(repository: Path) -> None:
    git(repository, "checkout", "-q", "main")
    found, change = own_module.find(OwnSource(source="src"), repository, (), none=False)
    assert change == ()
    assert found.spec.commit == git(repository, "rev-parse", "HEAD")


def test_another_ref_may_be_the_control(repository: Path) -> None:
    git(repository, "tag", "v1", "topic")
    assert find(repository, control="v1").spec.commit == git(repository, "rev-parse", "topic")


def test_a_ref_that_git_does_not_have_is_told_with_the_nearest(repository: Path) -> None:
    with pytest.raises(UserError, match="mian") as caught:
        find(repository, control="mian")
    assert "main" in str(caught.value)


def test_series_are_for_the_source_as_it_is(repository: Path) -> None:
    found = find(repository, none=True)
    assert (found.spec.path, found.spec.git) == (repository, None)


def test_a_folder_without_git_is_its_own_control(tmp_path: Path) -> None:
    root = write(tmp_path / "m", {"Kbuild": "obj-m := m.o\n"})
    found, change = own_module.find(OwnSource(source="."), root, (), none=False)
    assert (found.spec.path, found.folder, change) == (root, "", ())
    with pytest.raises(UserError, match="no repository"):
        find(root, ".", control="v1")


def test_a_folder_without_a_build_file_is_refused_with_one_that_has_it(repository: Path) -> None:
    with pytest.raises(UserError, match="neither Kbuild nor Makefile") as caught:
        find(repository, ".")
    assert "src" in caught.value.hint
    with pytest.raises(UserError, match="no folder"):
        find(repository, "nowhere")


def test_a_url_names_its_ref(tmp_path: Path) -> None:
    found = find(tmp_path, "https://example.org/some/module.git#v2")
    assert (found.name, found.control, found.spec.ref) == ("module", "v2", "v2")


@pytest.mark.parametrize(
    ("fragment", "name", "ref", "folder"),
    [
        ("", "hello", None, ""),
        ("#v2:src", "hello", "v2", "src"),
        ("#v2:net/core/", "core", "v2", "net/core"),
        ("#:net", "net", None, "net"),
        ("#v2:", "hello", "v2", ""),
    ],
)
def test_a_url_names_a_folder_as_git_does(
    fragment: str, name: str, ref: str | None, folder: str, tmp_path: Path
) -> None:
    found = find(tmp_path, f"https://example.org/some/hello.git{fragment}")
    assert (found.name, found.spec.ref, found.folder) == (name, ref, folder)
    assert found.spec.git == "https://example.org/some/hello.git"
    pinned = own_module.at_commit(found, "a" * 40)
    assert pinned.control == f"{found.control} (aaaaaaaaaaaa)"
    again = find(tmp_path, pinned.declared.source)
    assert (again.spec, again.folder, again.name) == (pinned.spec, folder, name)


@pytest.mark.parametrize("folder", ["../x", "a/../..", "/etc/..", "a//b"])
def test_a_folder_of_a_url_is_below_its_top(folder: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a folder of the repository"):
        find(tmp_path, f"https://example.org/module.git#v2:{folder}")


def test_a_ref_of_a_folder_here_is_named_as_its_control(repository: Path) -> None:
    with pytest.raises(UserError, match="no folder") as caught:
        find(repository, "src#main")
    assert 'control = "main"' in caught.value.hint


@pytest.mark.parametrize(
    ("folder", "name"),
    [(".", "project"), ("src", "project"), ("kernel/src", "project"), ("net", "net"), ("net/src", "net")],
)
def test_a_folder_whose_name_says_nothing_has_that_of_the_one_above(
    tmp_path: Path, folder: str, name: str
) -> None:
    top = tmp_path / "src" / "project"
    write(top / folder, {"Kbuild": "obj-m := m.o\n"})
    commit_all(top, "first")
    found = find(top, folder)
    assert (found.name, found.spec.name) == (name, name)


def test_the_hint_names_a_folder_that_builds_a_module_however_deep(tmp_path: Path) -> None:
    files = {"docs/Makefile": "html:\n", "src/mod/Makefile": "all:\n", "src/mod/a/Kbuild": "obj-m := a.o\n"}
    write(tmp_path, files)
    with pytest.raises(UserError) as caught:
        find(tmp_path, ".")
    assert caught.value.hint == 'is it in src/mod/a? source = "./src/mod/a"'
