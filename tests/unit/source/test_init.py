"""What --tree means, and stand-ins for servers that are not reached."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from kmodpipe import source
from kmodpipe.source import TreeSpec, Unreachable
from kmodpipe.util.errors import UserError
from kmodpipe.util.screen import Screen
from tests.support.trees import get, git, make_tree

NO_PORT = "http://127.0.0.1:9"
"""Nothing listens on the discard port of the loopback interface: refused at once."""


def warnings_of(screen: Screen) -> str:
    out = screen._err.file
    assert isinstance(out, io.StringIO)
    return out.getvalue()


@pytest.mark.parametrize(
    ("arg", "kind", "detail"),
    [
        ("https://git.invalid/linux.git#v5.10", "git", "v5.10"),
        ("git://git.invalid/linux#" + "a" * 40, "git", "a" * 40),
        ("me@git.invalid:linux.git", "git", "None"),
        ("https://mirror.invalid/linux-5.10.tar.xz", "tarball", "None"),
        ("https://mirror.invalid/linux-5.10.tar.gz?a=b#sha256=" + "AB" * 32, "tarball", "ab" * 32),
    ],
)
def test_resolve_tells_the_kinds_apart(arg: str, kind: str, detail: str) -> None:
    spec = source.resolve(arg, {})
    assert spec.kind == kind and spec.name == arg
    assert str(spec.commit or spec.ref or spec.sha256) == detail


def test_resolve_takes_paths_and_prefers_a_declared_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make_tree(tmp_path / "linux").parent)
    declared = {"linux": TreeSpec(git="https://git.invalid/x")}
    assert source.resolve("linux", declared).kind == "git"
    assert source.resolve("linux", declared).name == "linux"
    assert source.resolve("./linux", declared).kind == "directory"
    assert source.resolve("./linux#main", declared).git == (tmp_path / "linux").as_uri()


@pytest.mark.parametrize(
    ("arg", "said"),
    [
        ("overlayfs-nxt", "did you mean overlayfs-next"),
        ("./nowhere", "no such folder or file"),
        ("ext::sh -c touch% /tmp/x", "cannot be fetched over ext"),
        ("ftp://host.invalid/linux.git", "cannot be fetched over ftp"),
        ("https://host.invalid/x.git#--upload-pack=x", "not a branch, tag or commit"),
        ("https://host.invalid/x.tar.xz#sha256=12", "not a digest"),
    ],
)
def test_resolve_refuses(arg: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        source.resolve(arg, {"overlayfs-next": TreeSpec(git="https://git.invalid/x")})


def test_an_unreachable_server_is_told_at_once_and_the_stand_in_named(
    tmp_path: Path, cache: Path, screen: Screen
) -> None:
    other = TreeSpec(name="other", path=make_tree(tmp_path / "other"))
    spec = TreeSpec(name="mine", git=f"{NO_PORT}/linux.git", commit="1" * 40, stand_in="other", head="main")
    started = time.monotonic()
    tree = source.fetch(spec, {"other": other}, cache, screen)
    assert time.monotonic() - started < 10
    assert tree.name == "mine" and tree.identity.startswith("dir:")
    assert tree.provenance["requested"] == "mine" and tree.provenance["tree"] == "other"
    assert "1111" in tree.provenance["stand-in-for"] and "refused" in tree.provenance["stand-in-reason"]
    assert "127.0.0.1 cannot be reached" in warnings_of(
        screen
    ) and "other, the fallback for mine" in warnings_of(screen)
    assert source.locate(spec, {"other": other}, cache) == tree

    with pytest.raises(Unreachable):
        source.fetch(spec, {"other": other}, cache, screen, head=True)
    with pytest.raises(UserError, match="unknown tree"):
        source.fetch(spec, {}, cache, screen)
    alone = spec.model_copy(update={"stand_in": None})
    with pytest.raises(Unreachable, match="refused"):
        source.fetch(alone, {}, cache, screen)
    assert source.locate(alone, {}, cache) is None
    assert source.check_reach(spec)[0] is False and source.check_reach(other)[0] is True


def test_a_stand_in_is_not_taken_before_the_real_one_was_tried(
    tmp_path: Path, cache: Path, screen: Screen
) -> None:
    other = TreeSpec(name="other", path=make_tree(tmp_path / "other"))
    source.fetch(other, {}, cache, screen)
    spec = TreeSpec(name="mine", git=f"{NO_PORT}/linux.git", commit="1" * 40, stand_in="other")
    assert source.locate(spec, {"other": other}, cache) is None


def test_remove_trees_frees_worktrees_too(repo: tuple[Path, str, str], cache: Path, screen: Screen) -> None:
    tree = get(f"{repo[0]}#main", cache, screen)
    assert source.remove_trees(cache) == 1
    assert not tree.path.exists() and not list((cache / "trees").glob("*.json"))
    assert "git-" not in git(cache / "git/trees.git", "worktree", "list")
    assert get(f"{repo[0]}#main", cache, screen) == tree


@pytest.mark.parametrize(
    "url",
    [
        "https://me:hunter2@git.example.org/linux.git#v5.10",
        "https://hunter2@git.example.org/linux.git#v5.10",
        "ssh://me:hunter2@git.example.org/linux.git#v5.10",
        "https://me:hunter2@example.org/linux.tar.xz",
    ],
)
def test_a_url_with_a_password_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UserError, match="holds a user name or a password") as raised:
        source.resolve(url, {})
    assert "hunter2" not in str(raised.value)
    declared = {"x": TreeSpec(name="x", git=url.partition("#")[0], commit="0" * 40)}
    with pytest.raises(UserError) as raised:
        source.resolve("x", declared)
    assert "hunter2" not in str(raised.value)


def test_a_user_of_ssh_is_no_secret() -> None:
    assert source.resolve("ssh://git@git.example.org/linux.git#v5.10", {}).git
