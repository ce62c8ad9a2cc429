"""source against real servers: a git daemon, an HTTP server that hangs up, Debian's archive through apt."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kmodpipe import source
from kmodpipe.pipeline import config
from kmodpipe.source import TreeSpec
from kmodpipe.util.errors import InfraError, UserError
from kmodpipe.util.screen import Mode, Screen
from tests.integration.conftest import require
from tests.support.servers import git_daemon
from tests.support.trees import commit_all, contents, git, make_tree, write

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("source")]

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def screen() -> Screen:
    return Screen(Mode.PLAIN, out=io.StringIO())


def said(screen: Screen) -> str:
    out = screen._err.file
    assert isinstance(out, io.StringIO)
    return out.getvalue()


# -- git ---------------------------------------------------------------------------------------------
@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A git daemon that serves one repository of 60 commits; its URL, and the repository."""
    require(shutil.which("git") is not None, "git is not installed")
    served = make_tree(tmp_path / "served" / "linux")
    for number in range(60):
        write(served, {"fs/toy/toy.h": f"commit {number}\n"})
        commit_all(served, f"commit {number}")
    git(served, "tag", "v5.10")
    with git_daemon(served) as port:
        yield f"git://127.0.0.1:{port}/linux", served


def test_a_shallow_fetch_from_a_real_daemon(daemon: tuple[str, Path], tmp_path: Path, screen: Screen) -> None:
    url, served = daemon
    cache = tmp_path / "cache"
    pin = git(served, "rev-parse", "HEAD~30")
    spec = TreeSpec(name="t", git=url, commit=pin, first_parent=True)

    tree = source.fetch(spec, {}, cache, screen)

    assert tree.identity == f"git:{git(served, 'rev-parse', 'HEAD~31')}"
    assert (tree.path / "fs/toy/toy.h").read_text() == "commit 28\n"
    assert set(contents(tree.path)) == set(contents(served))
    shared = cache / "git" / "trees.git"
    assert git(shared, "rev-list", "--all", "--count") == "2", "the pin and its parent, no history"
    assert source.fetch(source.resolve(f"{url}#v5.10", {}), {}, cache, screen).provenance["ref"] == "v5.10"
    assert source.check_reach(spec)[0]
    with pytest.raises(UserError, match="no commit"):
        source.fetch(TreeSpec(git=url, commit="1" * 40), {}, cache, screen)
    # Both worktrees stand beside each other, and the first needs no server now.
    assert source.locate(spec, {}, cache) == tree


def test_a_server_that_refuses_single_commits_gives_all_branches(
    daemon: tuple[str, Path], tmp_path: Path, screen: Screen
) -> None:
    url, served = daemon
    # The old protocol is the one in which a server may refuse a hash that it does not advertise.
    home = write(tmp_path / "home", {".gitconfig": "[protocol]\n\tversion = 0\n"})
    pin = git(served, "rev-parse", "HEAD~30")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        tree = source.fetch(TreeSpec(name="t", git=url, commit=pin), {}, tmp_path / "cache", screen)
        assert tree.identity == f"git:{pin}"
        assert "does not serve single commits" in said(screen)
        with pytest.raises(UserError, match="no commit"):
            source.fetch(TreeSpec(git=url, commit="1" * 40), {}, tmp_path / "cache", screen)


# -- http --------------------------------------------------------------------------------------------
@dataclass
class Served:
    """What the server does, and what it has done."""

    data: bytes
    etag: str = '"one"'
    hang_up_after: list[int] = field(default_factory=list)
    honour_range: bool = True
    sent: int = 0
    requests: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    """A real HTTP server on loopback with ranges, validators, and a habit of hanging up."""
    packed = io.BytesIO()
    make_tree(tmp_path / "mine")
    (tmp_path / "mine/noise").write_bytes(os.urandom(3_000_000))
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
        tar.add(tmp_path / "mine", "linux-5.10.7")
    served = Served(packed.getvalue())

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.requests.append(self.headers.get("Range", "all"))
            if self.path.startswith("/none"):
                self.send_error(404)
                return
            if self.headers.get("If-None-Match") == served.etag:
                self.send_response(304)
                self.end_headers()
                return
            wanted = self.headers.get("Range", "").removeprefix("bytes=").removesuffix("-")
            fresh = self.headers.get("If-Range") in (None, served.etag)
            start = int(wanted) if wanted and fresh and served.honour_range else 0
            body = served.data[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(served.data) - 1}/{len(served.data)}")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", served.etag)
            self.end_headers()
            # The probe that asks whether the server is there reads no body: not counted.
            if self.headers.get("Accept-Encoding") != "identity":
                served.requests.pop()
                return
            if served.hang_up_after:
                body = body[: served.hang_up_after.pop(0)]
            self.wfile.write(body)
            served.sent += len(body)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{httpd.server_address[1]}/linux-5.10.7.tar.gz"
    yield served
    httpd.shutdown()
    httpd.server_close()


def pinned(server: Served) -> str:
    return f"{server.url}#sha256={hashlib.sha256(server.data).hexdigest()}"


def get(arg: str, cache: Path, screen: Screen) -> source.Tree:
    return source.fetch(source.resolve(arg, {}), {}, cache, screen)


def test_a_dropped_download_goes_on_where_it_was(server: Served, tmp_path: Path, screen: Screen) -> None:
    server.hang_up_after = [1_000_000, 700_000]
    tree = get(pinned(server), tmp_path / "cache", screen)
    assert server.requests == ["all", "bytes=1000000-", "bytes=1700000-"]
    assert server.sent == len(server.data), "no byte twice"
    assert tree.kernel_version == "5.10.7-toy" and tree.provenance["url"] == server.url
    assert get(pinned(server), tmp_path / "cache", screen) == tree
    assert server.sent == len(server.data), "and none again"


def test_a_download_that_failed_is_continued_by_the_next_run(
    server: Served, tmp_path: Path, screen: Screen
) -> None:
    server.hang_up_after = [1_000_000, 0, 0, 0, 0]
    with pytest.raises(InfraError, match="broke off") as e:
        get(pinned(server), tmp_path / "cache", screen)
    assert "goes on from there" in e.value.hint
    server.hang_up_after.clear()
    get(pinned(server), tmp_path / "cache", screen)
    assert server.sent == len(server.data)


def test_a_server_without_ranges_and_a_changed_file_start_again(
    server: Served, tmp_path: Path, screen: Screen
) -> None:
    server.hang_up_after, server.honour_range = [1_000_000], False
    get(pinned(server), tmp_path / "a", screen)
    assert server.sent == len(server.data) + 1_000_000

    server.sent, server.honour_range, server.hang_up_after = 0, True, [1_000_000, 0, 0, 0, 0]
    with pytest.raises(InfraError):
        get(server.url, tmp_path / "b", screen)
    # Another file of the same length under the same address: its tail must not be sewn to the old head.
    other = bytearray(server.data)
    other[4:8] = b"\1\2\3\4"
    server.data, server.etag, server.sent = bytes(other), '"two"', 0
    server.hang_up_after.clear()
    tree = get(server.url, tmp_path / "b", screen)
    assert tree.identity == f"tar:{hashlib.sha256(other).hexdigest()}" and server.sent == len(other)


def test_wrong_digests_missing_files_and_unchanged_ones(
    server: Served, tmp_path: Path, screen: Screen
) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(InfraError, match="expected 0000"):
        get(f"{server.url}#sha256={'0' * 64}", cache, screen)
    assert not list((cache / "downloads").iterdir())
    with pytest.raises(UserError, match="HTTP status 404"):
        get(server.url.replace("/linux", "/none"), cache, screen)
    first = get(server.url, cache, screen)
    sent = server.sent
    assert get(server.url, cache, screen) == first and server.sent == sent, "not modified: no byte"
    assert "no sha256" in first.provenance["verified-by"]


# -- Debian ------------------------------------------------------------------------------------------
def debian_spec() -> TreeSpec:
    spec = config.load(REPO).trees["debian-5.10"]
    reached, why = source.check_reach(spec)
    require(reached, f"this machine's apt cannot serve {spec.suites}: {why}")
    return spec


@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_the_debian_package_is_fetched_verified_and_whole(tmp_path: Path, screen: Screen) -> None:
    spec = debian_spec()
    require(shutil.disk_usage(tmp_path).free > 4 << 30, "less than 4 GiB of disk free")
    tree = source.fetch(spec, {}, tmp_path, screen)
    assert tree.kernel_version == "5.10.223"
    assert tree.provenance["version"] == "5.10.223-1" and tree.provenance["suite"] == "bullseye"
    assert (tree.path / "fs/overlayfs/super.c").is_file()
    assert sum(1 for p in tree.path.rglob("*") if p.is_file()) > 70_000
    deb = tmp_path / "downloads/linux-source-5.10_5.10.223-1_all.deb"
    assert hashlib.sha256(deb.read_bytes()).hexdigest() == tree.provenance["sha256"]
    assert source.locate(spec, {}, tmp_path) == tree
    # 1.2 GB that nobody needs to find in pytest's own folder later.
    assert source.remove_trees(tmp_path) == 1
    assert source.locate(spec, {}, tmp_path) is None
    shutil.rmtree(tmp_path / "downloads")


def test_a_key_ring_that_did_not_sign_it_is_refused(tmp_path: Path, screen: Screen) -> None:
    spec = debian_spec()
    require(shutil.which("gpg") is not None, "gpg is not installed")
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", ""]
    subprocess.run(
        [*gpg, "--quick-generate-key", "stranger@localhost.invalid"], check=True, capture_output=True
    )
    keyring = tmp_path / "stranger.gpg"
    subprocess.run([*gpg, "--export", "--output", str(keyring)], check=True, capture_output=True)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, capture_output=True)

    with pytest.raises(InfraError, match="could not fetch and verify") as e:
        source.fetch(spec.model_copy(update={"keyring": keyring}), {}, tmp_path / "cache", screen)

    assert "signature" in e.value.detail.lower() or "NO_PUBKEY" in e.value.detail
    assert not list((tmp_path / "cache").glob("trees/deb-*")) and not list(
        (tmp_path / "cache").glob("downloads/*")
    )
