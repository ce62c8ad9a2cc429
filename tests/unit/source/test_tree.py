"""source: what --tree means, directories, tarballs, git on this machine; nothing here needs a network."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import shutil
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from kmodpipe import source
from kmodpipe.cache import integrity
from kmodpipe.source import TreeSpec, Unreachable, apt, archive, debian
from kmodpipe.source import tree as trees
from kmodpipe.util import process
from kmodpipe.util.errors import InfraError, Interrupted, UserError
from kmodpipe.util.screen import Mode, Screen
from tests.support.trees import FILES, commit_all, contents, git, make_tree, write

NO_PORT = "http://127.0.0.1:9"
"""Nothing listens on the discard port of the loopback interface: refused at once."""


@pytest.fixture
def screen() -> Screen:
    return Screen(Mode.QUIET, out=io.StringIO())


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def warnings_of(screen: Screen) -> str:
    out = screen._err.file
    assert isinstance(out, io.StringIO)
    return out.getvalue()


def get(arg: str, cache: Path, screen: Screen) -> source.Tree:
    return source.fetch(source.resolve(arg, {}), {}, cache, screen)


# -- what was asked for ------------------------------------------------------------------------------
def test_the_projects_own_trees_are_valid_and_an_unknown_field_is_not() -> None:
    table = {"git": "https://git.invalid/x", "commit": "1" * 40, "first-parent": True, "stand-in": "other"}
    assert TreeSpec.model_validate(table).first_parent
    for wrong in (
        {**table, "comit": "x"},
        {**table, "tarball": "x.tar"},
        {**table, "commit": "123"},
        {**table, "version": "1"},
        {"summary": "no kind"},
        {"debian-package": "linux-source-5.10"},
    ):
        with pytest.raises(ValidationError):
            TreeSpec.model_validate(wrong)


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


# -- directories -------------------------------------------------------------------------------------
def test_a_directory_is_copied_without_build_products_and_never_touched(
    tmp_path: Path, cache: Path, screen: Screen
) -> None:
    mine = make_tree(tmp_path / "mine")
    os.utime(mine / "Kconfig", ns=(10**18, 10**18))
    built = {".config": "x", "include/config/auto.conf": "x", "fs/toy/super.o": "x", "vmlinux": "x"}
    built |= {"arch/x86/include/generated/a.h": "x", "fs/toy/.super.o.cmd": "x"}
    write(mine, built)
    (mine / "scripts/fixdep").write_bytes(b"\x7fELF...")
    (mine / "scripts/fixdep").chmod(0o755)
    before = contents(mine)

    tree = get(str(mine), cache, screen)

    assert contents(mine) == before
    assert set(contents(tree.path)) == set(before) - set(built) - {"scripts/fixdep"}
    assert tree.kernel_version == "5.10.7-toy"
    assert (tree.path / "Kconfig").stat().st_mtime_ns == 10**18
    assert os.access(tree.path / "scripts/run.sh", os.X_OK)
    assert tree.provenance["directory"] == str(mine) and tree.identity.startswith("dir:")
    assert source.locate(source.resolve(str(mine), {}), {}, cache) == tree


def test_a_changed_file_makes_a_new_tree_of_links_to_the_old_copy(
    tmp_path: Path, cache: Path, screen: Screen
) -> None:
    mine = make_tree(tmp_path / "mine")
    old = get(str(mine), cache, screen)
    times = (mine / "fs/toy/toy.h").stat()
    (mine / "fs/toy/toy.h").write_text("int A;\nint b;\nint c;\n")
    os.utime(mine / "fs/toy/toy.h", ns=(times.st_atime_ns, times.st_mtime_ns))

    spec = source.resolve(str(mine), {})
    assert source.locate(spec, {}, cache) is None, "same size and mtime, but not the same file"
    new = get(str(mine), cache, screen)

    assert new.identity != old.identity
    assert (new.path / "fs/toy/toy.h").read_text().startswith("int A")
    assert (old.path / "fs/toy/toy.h").read_text().startswith("int a")
    assert (new.path / "Makefile").samefile(old.path / "Makefile")
    assert not (new.path / "Makefile").samefile(mine / "Makefile")


def test_a_git_checkout_says_its_head_and_what_differs(tmp_path: Path, cache: Path, screen: Screen) -> None:
    mine = make_tree(tmp_path / "mine")
    write(mine, {".gitignore": "*.bak\n", "kept.o": "tracked on purpose\n"})
    head = commit_all(mine, "first")
    write(mine, {"x.bak": "ignored", ".config": "configured in place"})
    os.utime(mine / "Kconfig", ns=(10**18, 10**18))
    git_index = (mine / ".git/index").read_bytes()

    tree = get(str(mine), cache, screen)
    assert tree.provenance["git-head"] == head and tree.provenance["git-state"] == "clean"
    assert "kept.o" in contents(tree.path) and not {"x.bak", ".config"} & set(contents(tree.path))
    assert (mine / ".git/index").read_bytes() == git_index, "even a refreshed index is a change"

    write(mine, {"fs/toy/new.c": "", "Kconfig": "changed\n"})
    changed = get(str(mine), cache, screen)
    assert changed.provenance["git-state"] == "modified: 1 changed, 1 untracked"
    assert "fs/toy/new.c" in contents(changed.path)


def test_a_checkouts_configuration_runs_no_program(tmp_path: Path, cache: Path, screen: Screen) -> None:
    mine = make_tree(tmp_path / "mine")
    commit_all(mine, "first")
    trap = tmp_path / "trap"
    for key in ("core.fsmonitor", "filter.x.clean", "diff.external", "core.pager"):
        git(mine, "config", key, f"touch {trap}")
    write(mine, {".gitattributes": "* filter=x\n", "Kconfig": "changed\n"})
    assert get(str(mine), cache, screen).provenance["git-state"].startswith("modified")
    assert not trap.exists()


def test_a_folder_that_is_no_kernel_tree_names_what_is_missing(
    tmp_path: Path, cache: Path, screen: Screen
) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/Makefile").write_text("all:\n")
    with pytest.raises(UserError, match="no Kconfig, no scripts/"):
        get(str(tmp_path / "x"), cache, screen)
    write(tmp_path / "x", {"Kconfig": "", "scripts/a": ""})
    with pytest.raises(UserError, match="VERSION, no PATCHLEVEL"):
        get(str(tmp_path / "x"), cache, screen)


def test_a_link_out_of_a_directory_is_refused(tmp_path: Path, cache: Path, screen: Screen) -> None:
    mine = make_tree(tmp_path / "mine")
    (mine / "fs/out").symlink_to("../../secret")
    with pytest.raises(UserError, match="fs/out points out of the tree"):
        get(str(mine), cache, screen)
    assert not list((cache / "trees").glob("dir-*")) and not list((cache / "work").iterdir())


def test_what_cannot_be_read_is_named(
    tmp_path: Path, cache: Path, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = make_tree(tmp_path / "mine")
    opened = os.open

    def closed(path: str, *rest: int, **more: int | None) -> int:
        if str(path).endswith("mine/fs/toy/toy.h"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *rest, **more)

    monkeypatch.setattr(os, "open", closed)
    with pytest.raises(UserError, match=r"'fs/toy/toy\.h' cannot be read: Permission denied"):
        get(str(mine), cache, screen)


def test_half_made_and_damaged_trees_are_not_taken_for_whole(
    tmp_path: Path, cache: Path, screen: Screen
) -> None:
    mine = make_tree(tmp_path / "mine")
    spec = source.resolve(str(mine), {})
    tree = get(str(mine), cache, screen)
    record = trees.record_path(tree.path)

    record.unlink()
    assert source.locate(spec, {}, cache) is None
    assert get(str(mine), cache, screen).path == tree.path and record.exists()

    # A power cut: a file whose bytes never reached the disk.
    (tree.path / "fs/toy/super.c").write_text("")
    told: list[str] = []
    assert source.locate(spec, {}, cache, tell=told.append) is None
    assert "fs/toy/super.c changed" in told[0] and "made again" in told[0]
    assert (get(str(mine), cache, screen).path / "fs/toy/super.c").read_text() == FILES["fs/toy/super.c"]


@pytest.mark.parametrize("damage", ["same size", "deleted", "a link", "more", "mode", "manifest", "cut"])
def test_a_tree_that_was_changed_in_the_cache_is_made_again(
    tmp_path: Path, cache: Path, screen: Screen, damage: str
) -> None:
    mine = make_tree(tmp_path / "mine")
    spec = source.resolve(str(mine), {})
    tree = get(str(mine), cache, screen)
    before = contents(tree.path)
    victim = tree.path / "fs/toy/super.c"
    match damage:
        case "same size":
            victim.write_text(victim.read_text().replace("line 7", "line 8"))
        case "deleted":
            victim.unlink()
        case "a link":
            victim.unlink()
            victim.symlink_to("toy.h")
        case "more":
            (tree.path / "fs/toy/more.c").touch()
        case "mode":
            victim.chmod(0o755)
        case "manifest":
            trees.record_path(tree.path).with_suffix(".manifest").write_bytes(b"nonsense")
        case _:
            shutil.rmtree(tree.path / "fs")
    assert source.locate(spec, {}, cache) is None
    assert contents(get(str(mine), cache, screen).path) == before
    assert source.locate(spec, {}, cache)


def test_a_tree_of_an_earlier_version_was_counted_and_gets_a_manifest(
    tmp_path: Path, cache: Path, screen: Screen
) -> None:
    mine = make_tree(tmp_path / "mine")
    tree = get(str(mine), cache, screen)
    record, manifest = trees.record_path(tree.path), tree.path.with_name(f"{tree.path.name}.manifest")
    manifest.unlink()
    spec = source.resolve(str(mine), {})
    assert source.locate(spec, {}, cache) is None, "neither counted nor listed"
    files = [p for p in tree.path.rglob("*") if p.is_symlink() or p.is_file()]
    census = [len(files), sum(p.lstat().st_size for p in files)]
    record.write_text(json.dumps({**json.loads(record.read_text()), "census": census}))
    assert source.locate(spec, {}, cache) and manifest.is_file()
    (tree.path / "Kconfig").write_text('mainmenu "xoy"\n')
    assert source.locate(spec, {}, cache) is None


def test_an_interruption_leaves_nothing_half_made(tmp_path: Path, cache: Path, screen: Screen) -> None:
    mine = make_tree(tmp_path / "mine")
    with process.Children().collecting() as children:
        children.stop_all()
        with pytest.raises(Interrupted):
            get(str(mine), cache, screen)
    assert not list((cache / "trees").glob("dir-*"))
    assert get(str(mine), cache, screen).kernel_version == "5.10.7-toy"


# -- tarballs ----------------------------------------------------------------------------------------
def pack(path: Path, folder: Path, mode: str = "w:xz") -> Path:
    with tarfile.open(path, mode) as archive_file:  # type: ignore[call-overload]
        archive_file.add(folder, "linux-5.10.7")
    return path


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_tarball_becomes_a_tree_without_its_top_folder(
    tmp_path: Path, cache: Path, screen: Screen, kind: str
) -> None:
    mine = make_tree(tmp_path / "mine")
    tarball = pack(tmp_path / f"linux.{kind}", mine, {"tar": "w"}.get(kind, f"w:{kind[4:]}"))
    sha256 = hashlib.sha256(tarball.read_bytes()).hexdigest()
    tree = get(f"{tarball}#sha256={sha256}", cache, screen)
    assert tree.identity == f"tar:{sha256}" and tree.provenance["sha256"] == sha256
    assert set(contents(tree.path)) == set(contents(mine))
    assert os.access(tree.path / "scripts/run.sh", os.X_OK)
    assert not os.access(tree.path / "Kconfig", os.X_OK)
    assert source.locate(source.resolve(str(tarball), {}), {}, cache) is not None
    with pytest.raises(UserError, match="expected 000"):
        get(f"{tarball}#sha256={'0' * 64}", cache, screen)


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([_member("linux/../../evil")], "points out of the archive"),
        ([_member("/evil")], "absolute name"),
        ([_member("linux/a", tarfile.SYMTYPE, "/etc/passwd")], "link out of the tree"),
        ([_member("linux/d/a", tarfile.SYMTYPE, "../../evil")], "link out of the tree"),
        ([_member("linux/a", tarfile.LNKTYPE, "../evil")], "points out of the archive"),
        ([_member("linux/a", tarfile.LNKTYPE, "linux/none")], "no file before it"),
        ([_member("linux/a", tarfile.SYMTYPE, "."), _member("linux/a/evil")], "used as a folder"),
        (
            [_member("linux/a", tarfile.SYMTYPE, "b"), _member("linux/h", tarfile.LNKTYPE, "linux/a")],
            "no file before",
        ),
        (
            [
                _member("linux/d/up", tarfile.SYMTYPE, ".."),
                _member("linux/a", tarfile.SYMTYPE, "d/up/../evil"),
            ],
            "link out of the tree",
        ),
        ([_member("linux/.git/config")], "belongs to a git repository"),
        ([_member(f"linux/{'x' * 256}")], "impossible name"),
        ([_member("linux/null", tarfile.CHRTYPE)], "device"),
        ([_member("linux/pipe", tarfile.FIFOTYPE)], "device, pipe"),
        ([_member("linux/a"), _member("linux/a")], "is there twice"),
        ([_member(f"linux/{n}") for n in range(30)], "more than the 20 members"),
        ([_member("linux/big", size=4096)], "larger than any kernel"),
    ],
)
def test_an_archive_that_is_not_safe_is_refused_by_member(
    tmp_path: Path, members: list[tarfile.TarInfo], said: str
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive_file:
        top = _member("linux", tarfile.DIRTYPE)
        for info in [top, *members]:
            archive_file.addfile(info, io.BytesIO(b"x" * info.size))
    inside = tmp_path / "outer" / "inside"
    inside.mkdir(parents=True)
    limits = archive.Limits(members=20, total_bytes=3000)
    with pytest.raises(UserError, match=said):
        archive.unpack(io.BytesIO(buffer.getvalue()), inside, what="evil.tar", limits=limits)
    assert [p.name for p in tmp_path.rglob("evil")] == []


@pytest.mark.parametrize("pressed", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_cut_archive_is_never_taken_for_whole(tmp_path: Path, pressed: Callable[[bytes], bytes]) -> None:
    plain = pack(tmp_path / "linux.tar", make_tree(tmp_path / "mine"), "w").read_bytes()
    whole = pressed(plain)
    # The plain one also exactly between two members, where nothing but the missing end tells.
    cuts = [len(whole) // 2, len(whole) - 20] if pressed is not bytes else [len(plain) // 2, 512 * 3]
    for number, cut in enumerate(cuts):
        target = tmp_path / f"out{number}"
        target.mkdir()
        with pytest.raises(UserError, match="damaged or cut short"):
            archive.unpack(io.BytesIO(whole[:cut]), target, what="cut")


def test_an_archive_that_unpacks_to_far_more_than_it_is(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive_file:
        archive_file.addfile(_member("linux/zeros", size=1 << 20), io.BytesIO(bytes(1 << 20)))
    packed = gzip.compress(buffer.getvalue())
    limits = archive.Limits(small_bytes=1 << 16)
    with pytest.raises(UserError, match="more than 200 times as large as the archive"):
        archive.unpack(io.BytesIO(packed), tmp_path, what="bomb", packed=len(packed), limits=limits)
    assert list(tmp_path.iterdir()) == []


def test_headers_of_headers_end(tmp_path: Path) -> None:
    data = _member("x", tarfile.GNUTYPE_LONGNAME).tobuf(tarfile.GNU_FORMAT) * 5000
    with pytest.raises(UserError, match="headers without end"):
        archive.unpack(io.BytesIO(data), tmp_path, what="bomb")


def test_a_bomb_in_a_header_does_not_reach_memory(tmp_path: Path) -> None:
    name = _member("x", tarfile.GNUTYPE_LONGNAME, size=2 * 1024 * 1024)
    data = name.tobuf(tarfile.GNU_FORMAT) + b"a" * name.size + b"\0" * 1024
    with pytest.raises(UserError, match="header of 2097152 bytes"):
        archive.unpack(io.BytesIO(data), tmp_path, what="bomb")


# -- git, on this machine ----------------------------------------------------------------------------
@pytest.fixture
def repo(tmp_path: Path) -> tuple[Path, str, str]:
    """A repository of three commits; returns it with the hashes of the second and the third."""
    folder = make_tree(tmp_path / "repo")
    commit_all(folder, "first")
    write(folder, {"fs/toy/toy.h": "second\n"})
    second = commit_all(folder, "second")
    write(folder, {"fs/toy/toy.h": "third\n"})
    return folder, second, commit_all(folder, "third")


def test_a_pinned_first_parent_a_branch_and_the_moving_head(
    repo: tuple[Path, str, str], cache: Path, screen: Screen
) -> None:
    folder, second, third = repo
    spec = TreeSpec(name="t", git=folder.as_uri(), commit=third, first_parent=True, head="main")
    assert source.locate(spec, {}, cache) is None
    tree = source.fetch(spec, {}, cache, screen)
    assert tree.identity == f"git:{second}" and (tree.path / "fs/toy/toy.h").read_text() == "second\n"
    assert tree.provenance["first-parent-of"] == third and tree.provenance["url"] == folder.as_uri()
    head = source.fetch(spec, {}, cache, screen, head=True)
    assert head.identity == f"git:{third}" and head.provenance["ref"] == "main"
    assert source.locate(spec, {}, cache, head=True) == head

    by_ref = source.resolve(f"{folder}#main", {})
    assert source.fetch(by_ref, {}, cache, screen).path == head.path
    write(folder, {"fs/toy/toy.h": "fourth\n"})
    fourth = commit_all(folder, "fourth")
    assert source.locate(by_ref, {}, cache) is not None, "as it was fetched last"
    assert source.fetch(by_ref, {}, cache, screen).identity == f"git:{fourth}"

    # The pin needs no server any more.
    shutil.rmtree(folder)
    assert source.fetch(spec, {}, cache, screen).identity == f"git:{second}"
    assert source.locate(spec, {}, cache) == tree


def test_wrong_refs_and_commits_are_the_users_and_take_no_stand_in(
    repo: tuple[Path, str, str], tmp_path: Path, cache: Path, screen: Screen
) -> None:
    folder, _, third = repo
    with pytest.raises(UserError, match="did you mean main"):
        get(f"{folder}#mian", cache, screen)
    with pytest.raises(UserError, match="no branch or tag") as e:
        get(f"{folder}#{third[:12]}", cache, screen)
    assert "all 40 digits" in e.value.hint
    declared = {"other": TreeSpec(name="other", path=make_tree(tmp_path / "other"))}
    missing = TreeSpec(name="t", git=folder.as_uri(), commit="1" * 40, stand_in="other")
    with pytest.raises(UserError, match="no commit 1111"):
        source.fetch(missing, declared, cache, screen)
    git(folder, "tag", "main")
    with pytest.raises(UserError, match="both a branch and a tag"):
        get(f"{folder}#main", cache, screen)
    assert get(f"{folder}#refs/tags/main", cache, screen).identity == f"git:{third}"


def test_a_repository_with_a_link_out_of_the_tree_is_never_checked_out(
    repo: tuple[Path, str, str], cache: Path, screen: Screen
) -> None:
    folder = repo[0]
    (folder / "evil").symlink_to("/etc")
    commit_all(folder, "evil")
    with pytest.raises(UserError, match="evil points out of the tree"):
        get(f"{folder}#main", cache, screen)
    assert not list((cache / "trees").glob("git-*"))


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
    assert "127.0.0.1 cannot be reached" in warnings_of(screen) and "stand-in other" in warnings_of(screen)
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


# -- Debian ------------------------------------------------------------------------------------------
def test_mirrors_come_from_debians_own_entries_only() -> None:
    def target(site: str, origin: str = "Debian", label: str = "Debian") -> apt.Target:
        return apt.Target(site, "bookworm", "main", origin, label)

    found = [
        target("http://mirror.invalid/debian/"),
        target("http://packages.invalid/linux/debian", origin="Docker"),
        target("file:/media/debian"),
    ]
    assert debian.mirrors(found, "bullseye") == ["http://mirror.invalid/debian"]
    assert debian.mirrors(found, "bullseye-security") == ["http://mirror.invalid/debian-security"]
    own = [*found, target("http://other.invalid/sec", label="Debian-Security")]
    assert debian.mirrors(own, "bullseye-security")[0] == "http://other.invalid/sec"


def test_a_machine_without_the_key_ring_says_so(cache: Path, screen: Screen) -> None:
    spec = TreeSpec.model_validate(
        {"debian-package": "linux-source-5.10", "version": "1", "suites": ["x"], "keyring": "/nowhere.gpg"}
    )
    with pytest.raises(InfraError, match=r"/nowhere\.gpg|not on this machine"):
        source.fetch(spec, {}, cache, screen)
    assert source.check_reach(spec)[0] is False


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


@pytest.mark.parametrize("folder", [".", "drivers"])
def test_every_half_of_a_tree_is_listed_and_its_changes_are_told(tmp_path: Path, folder: str) -> None:
    made = {
        "drivers/a/Makefile": "a",
        "drivers/b.c": "b",
        "fs/drivers/c.c": "c",
        "-type/d.c": "d",
        "\n.c": "e",
    }
    for name, text in made.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "drivers" / "link").symlink_to("/etc")
    before = integrity.listing(tmp_path)
    rows = before.split(b"\0")[:-1]
    folders = ["drivers/", "drivers/a/", "fs/", "fs/drivers/", "-type/"]
    assert sorted(os.fsdecode(row.split(b"\t")[0]) for row in rows) == sorted(
        [*made, "drivers/link", *folders]
    )
    assert integrity.listed_changes(before, integrity.listing(tmp_path)) == ""
    (tmp_path / folder / "more.c").write_text("f")
    told = integrity.listed_changes(before, integrity.listing(tmp_path))
    assert told == f"{(Path(folder) / 'more.c')} not part of it"
